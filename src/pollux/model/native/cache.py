"""Object code on disk: a second start links instead of compiling. Private to the user and verified when read."""

import hashlib
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

_MAGIC = b"pollux kernel 1\n"


class Cache(Protocol):
    """Where object code is kept, by key."""

    def get(self, key: str) -> tuple[dict[str, Any], bytes] | None:
        """(description, object code) of `key`, or None where there is none that is whole."""
        ...

    def put(self, key: str, about: dict[str, Any], code: bytes) -> None:
        """Keep object code. Never raises for want of room or rights: then there is no second start."""
        ...


@dataclass(frozen=True)
class NoCache:
    """Keeps nothing."""

    def get(self, key: str) -> None:
        """None."""

    def put(self, key: str, about: dict[str, Any], code: bytes) -> None:
        """Nothing is kept."""


@dataclass(frozen=True)
class Folder:
    """One file a kernel in a folder that only the user may enter.

    A file counts only if it and the folder belong to the user and nobody else may write them, its key is the one that
    was asked for, and its SHA-256 is right; anything else is as if it were not there.
    """

    path: Path

    def get(self, key: str) -> tuple[dict[str, Any], bytes] | None:
        """See `Cache`."""
        file = self.path / key
        try:
            if not (_private(self.path) and _private(file)):
                return None
            raw = file.read_bytes()
        except OSError:
            return None
        digest, body = raw[len(_MAGIC) : len(_MAGIC) + 32], raw[len(_MAGIC) + 32 :]
        if not raw.startswith(_MAGIC) or hashlib.sha256(key.encode() + body).digest() != digest:
            return None
        size = int.from_bytes(body[:8], "little")
        return json.loads(body[8 : 8 + size]), body[8 + size :]

    def put(self, key: str, about: dict[str, Any], code: bytes) -> None:
        """See `Cache`."""
        head = json.dumps(about).encode()
        body = len(head).to_bytes(8, "little") + head + code
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self.path)  # created with mode 600
            with os.fdopen(handle, "wb") as out:
                out.write(_MAGIC + hashlib.sha256(key.encode() + body).digest() + body)
            Path(name).replace(self.path / key)
        except OSError:
            return


def default_folder() -> Path:
    """`$POLLUX_CACHE/kernels`, else the user's cache folder."""
    base = os.environ.get("POLLUX_CACHE")
    if base:
        return Path(base) / "kernels"
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "pollux" / "kernels"


def _private(path: Path) -> bool:
    about = path.stat()
    mine = not hasattr(os, "getuid") or about.st_uid == os.getuid()
    return mine and not about.st_mode & 0o022
