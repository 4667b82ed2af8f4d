"""The token file of a project: who may come in, with which role. Made at first start, readable by its owner only.

`{"tokens": [{"name": "admin", "role": "admin", "kind": "person", "token": "..."}, ...]}`. A token of somebody else may
be kept as `"sha256": "<hex of the token>"` instead, so that the file does not hold it.
"""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from pollux.autonomy.policy import ROLES, Principal
from pollux.core.errors import AccessError, StoreError

FILE = "tokens.json"
KINDS = ("person", "service", "agent")


@dataclass(frozen=True)
class Entry:
    """One token: whom it stands for, the hash to compare with, and the token itself where the file holds it."""

    who: Principal
    digest: str
    token: str | None


def open_tokens(folder: Path, make: Callable[[], str]) -> tuple[Entry, ...]:
    """The entries of the folder's token file; made (an `admin` and an `agent`) when there is none.

    Raises `StoreError` when it can be neither read nor written, `AccessError` when others may read it or it is wrong.
    """
    path = folder / FILE
    try:
        if not path.exists():
            _write(path, make)
        mode = path.stat().st_mode
        raw = path.read_text()
    except OSError as error:
        raise StoreError(
            f"The token file {str(path)!r} cannot be used ({error.strerror}); give the project a folder that "
            "can be written"
        ) from None
    if mode & 0o077:
        raise AccessError(f"The token file {str(path)!r} can be read by others (mode {mode & 0o777:o}); `chmod 600` it")
    return parse(raw, str(path))


def parse(raw: str, path: str) -> tuple[Entry, ...]:
    """The entries of a token file's text. Raises `AccessError` that names what is wrong."""
    try:
        rows = json.loads(raw)["tokens"]
        entries = tuple(_entry(row) for row in rows)
    except (ValueError, KeyError, TypeError) as error:
        raise AccessError(
            f"The token file {path!r} is not as it must be ({error}); delete it to get a new one"
        ) from None
    if len({e.digest for e in entries}) != len(entries) or not entries:
        raise AccessError(f"The token file {path!r} must hold at least one token, and each only once; correct it")
    return entries


def digest(token: str) -> str:
    """What a token is compared by."""
    return sha256(token.encode()).hexdigest()


def token_of(folder: Path, kind: str = "person") -> str:
    """The first token of this kind that the file holds, for the local command line.

    Raises `AccessError` when there is none: the project was never started, or the file is another user's.
    """
    path = folder / FILE
    try:
        entries = parse(path.read_text(), str(path))
    except OSError as error:
        raise AccessError(
            f"The token file {str(path)!r} cannot be read ({error.strerror}); start the project with `pollux run`, "
            "or give `--url` and `--token`"
        ) from None
    for entry in entries:
        if entry.token and entry.who.kind == kind:
            return entry.token
    raise AccessError(f"The token file {str(path)!r} holds no token of kind {kind!r}; add one")


def _entry(row: dict[str, Any]) -> Entry:
    name, role, kind = row["name"], row["role"], row.get("kind", "person")
    if not (isinstance(name, str) and 0 < len(name) <= 100 and name.isprintable()):
        raise ValueError(f"`name` is a short text, received {name!r}")
    if role not in ROLES:
        raise ValueError(f"`role` of {name!r} is one of {list(ROLES)}, received {role!r}")
    if kind not in KINDS:
        raise ValueError(f"`kind` of {name!r} is one of {list(KINDS)}, received {kind!r}")
    token = row.get("token")
    if token is not None and not (isinstance(token, str) and len(token) >= 20):
        raise ValueError(f"`token` of {name!r} has at least 20 characters")
    found = digest(token) if token is not None else str(row["sha256"]).lower()
    return Entry(Principal(name, role, kind), found, token)


def _write(path: Path, make: Callable[[], str]) -> None:
    rows = [
        {"name": "admin", "role": "admin", "kind": "person", "token": make()},
        {"name": "agent", "role": "operator", "kind": "agent", "token": make()},
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(file, json.dumps({"tokens": rows}, indent=1).encode())
        os.fsync(file)
    finally:
        os.close(file)
