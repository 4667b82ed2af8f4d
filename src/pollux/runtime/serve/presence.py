"""Where a running server can be found: a small file in the project's state folder, there while it runs."""

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pollux.core.errors import InputError

FILE = "server.json"


@dataclass(frozen=True)
class Presence:
    """Address and process of a running server."""

    url: str
    pid: int


@contextlib.contextmanager
def announced(folder: Path | None, url: str) -> Iterator[None]:
    """While the block runs, the file says where the server is. A folder that cannot be written does not stop it.

    A second server on the same folder leaves the first one's word alone; it will be fenced off by the store.
    """
    if folder is None or _taken(folder):
        yield
        return
    path = folder / FILE
    with contextlib.suppress(OSError):
        path.write_text(json.dumps({"url": url, "pid": os.getpid()}))
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def _taken(folder: Path) -> bool:
    """Whether another process that still lives has said that it serves this folder."""
    try:
        pid = read_presence(folder).pid
        os.kill(pid, 0)
    except (InputError, OSError, OverflowError):
        return False
    return pid != os.getpid()


def read_presence(folder: Path) -> Presence:
    """Where the server of this state folder is. Raises `InputError` when none runs."""
    try:
        said = json.loads((folder / FILE).read_text())
        return Presence(str(said["url"]), int(said["pid"]))
    except OSError:
        raise InputError(
            f"No server of {str(folder)!r} is running; start its project with `pollux run PROJECT`"
        ) from None
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{str(folder / FILE)!r} cannot be read; give `--url` and `--token`") from None
