"""The audit log: a keyed hash chain in JSON lines, with its head kept elsewhere.

    mac_k = HMAC-SHA256(key, canonical(n_k, t_k, kind_k, body_k, mac_{k-1}))
    head  = (n, mac_n, HMAC-SHA256(key, "head" || n || mac_n))

The key lives outside the log; the head is a second file that belongs on another disk or host. Without the key no
record can be edited, dropped, swapped or added, and with the head no tail can be cut off, without `verify` saying so.
Not detected: replacing log *and* head by an older pair, as long as nobody kept a newer head.

The chain functions are pure; `AuditLog` does the writing. A record is durable when `append` returns.
"""

import fcntl
import json
import os
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from hmac import compare_digest, new
from math import isfinite
from pathlib import Path
from threading import Lock
from typing import Any

from pollux.core.errors import CorruptionError, FencedError, StoreError

GENESIS = "0" * 64


@dataclass(frozen=True)
class Head:
    """How long the chain is, and its last code."""

    n: int
    mac: str


@dataclass(frozen=True)
class Report:
    """What `verify` found. `behind` counts valid records after the head: one after a crash between the two writes."""

    ok: bool
    records: int
    first_bad: int | None
    reason: str
    behind: int = 0


def canonical(value: Any) -> bytes:
    """One byte string per value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def plain(value: Any, depth: int = 6) -> Any:
    """A bounded copy of anything that JSON can carry; a float that it cannot carry becomes its name."""
    if value is None or isinstance(value, bool | int):
        return value if not isinstance(value, int) or abs(value) < 2**63 else str(value)[:64]
    if isinstance(value, float):
        return float(value) if isfinite(value) else str(float(value))
    if isinstance(value, str):
        return str(value)[:2000]
    if depth == 0:
        return "..."
    if isinstance(value, Mapping):
        return {str(k)[:200]: plain(v, depth - 1) for k, v in list(value.items())[:200]}
    if isinstance(value, Iterable):
        return [plain(v, depth - 1) for v in list(value)[:200]]
    return str(value)[:200]


def seal(key: bytes, head: Head, t: float, kind: str, body: Mapping[str, Any]) -> tuple[bytes, Head]:
    """The line of the next record, newline included, and the head after it."""
    record = {"n": head.n + 1, "t": plain(float(t)), "kind": kind, "body": plain(body), "prev": head.mac}
    mac = new(key, canonical(record), sha256).hexdigest()
    return canonical(record | {"mac": mac}) + b"\n", Head(head.n + 1, mac)


def check(key: bytes, head: Head, line: bytes) -> Head:
    """The head after a record, or `CorruptionError` when it is not the record that was sealed after `head`."""
    try:
        record = json.loads(line)
        mac = record.pop("mac")
        genuine = canonical(record | {"mac": mac}) + b"\n" == line
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        raise CorruptionError(f"Audit record {head.n + 1} cannot be read") from None
    if not genuine or record.get("n") != head.n + 1 or record.get("prev") != head.mac:
        raise CorruptionError(f"Audit record {head.n + 1} does not follow the one before it")
    if not isinstance(mac, str) or not compare_digest(
        mac.encode(), new(key, canonical(record), sha256).hexdigest().encode()
    ):
        raise CorruptionError(f"Audit record {head.n + 1} was not written with this key")
    return Head(head.n + 1, mac)


def seal_head(key: bytes, head: Head) -> bytes:
    """The content of the head file."""
    return canonical(
        {"n": head.n, "mac": head.mac, "tag": new(key, f"head|{head.n}|{head.mac}".encode(), sha256).hexdigest()}
    )


def open_head(key: bytes, content: bytes) -> Head:
    """The head of a head file, or `CorruptionError`."""
    try:
        said = json.loads(content)
        head = Head(int(said["n"]), str(said["mac"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        raise CorruptionError("The head of the audit log cannot be read") from None
    if seal_head(key, head) != content:
        raise CorruptionError("The head of the audit log was not written with this key")
    return head


def verify_lines(key: bytes, lines: Iterable[bytes], expected: Head) -> Report:
    """Walk a chain and compare it with the head that was kept elsewhere."""
    head, met = Head(0, GENESIS), expected == Head(0, GENESIS)
    for line in lines:
        try:
            head = check(key, head, line)
        except CorruptionError as error:
            return Report(False, head.n, head.n + 1, str(error))
        met = met or head == expected
    if not met:
        why = f"The head says {expected.n} records, the log has {head.n}: the end was cut off or replaced"
        return Report(False, head.n, head.n + 1, why)
    behind = head.n - expected.n
    if behind > 1:
        return Report(False, head.n, expected.n + 2, f"{behind} records follow the head; at most one can", behind)
    return Report(True, head.n, None, "", behind)


def load_key(path: Path) -> bytes:
    """The key, made at first use (32 random bytes, readable by its owner only).

    Raises `StoreError` when others can read it or it is too short.
    """
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                os.write(file, secrets.token_bytes(32))
                os.fsync(file)
            finally:
                os.close(file)
        mode, key = path.stat().st_mode, path.read_bytes()
    except OSError as error:
        raise StoreError(f"The audit key {str(path)!r} cannot be used ({error.strerror}); check its folder") from None
    if mode & 0o077:
        raise StoreError(f"The audit key {str(path)!r} is readable by others; `chmod 600` it")
    if len(key) < 32:
        raise StoreError(
            f"The audit key {str(path)!r} has {len(key)} bytes, at least 32 are needed; move log and key away"
        )
    return key


def verify(log: Path, head: Path, key: Path) -> Report:
    """Check a whole log against its head. Reads only. A log that never began is in order."""
    if not key.exists():
        begun = log.exists() or head.exists()
        return Report(not begun, 0, 1 if begun else None, "The key is missing" if begun else "")
    secret = load_key(key)
    try:
        expected = open_head(secret, head.read_bytes()) if head.exists() else Head(0, GENESIS)
        if not log.exists():
            return verify_lines(secret, (), expected)
        with log.open("rb") as lines:
            return verify_lines(secret, lines, expected)
    except CorruptionError as error:
        return Report(False, 0, 1, str(error))
    except OSError as error:
        raise StoreError(f"The audit log {str(log)!r} cannot be read ({error.strerror})") from None


class AuditLog:
    """The one writer of an audit log; a second one is fenced off.

    Opening verifies the whole chain (`CorruptionError` when it does not hold), takes in a record that a crash left
    after the head, and moves the bytes of a torn record, never acknowledged, to `LOG.torn`.
    """

    def __init__(self, log: Path, head: Path, key: Path):
        self.log, self.head_file = Path(log), Path(head)
        self._key = load_key(Path(key))
        self._lock, self._closed = Lock(), False
        try:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            self.head_file.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.log, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError as error:
            raise StoreError(
                f"The audit log {str(log)!r} cannot be opened ({error.strerror}); check its folder"
            ) from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._file)
            raise FencedError(f"The audit log {str(log)!r} has another writer; stop that one first") from None
        try:
            self.torn = self._mend()
            report = verify(self.log, self.head_file, Path(key))
            if not report.ok:
                raise CorruptionError(f"The audit log does not hold: {report.reason}; keep it and start a new one")
            self.head = self._last()
            self._write_head(self.head)
        except OSError as error:
            os.close(self._file)
            raise StoreError(f"The audit log {str(log)!r} cannot be opened ({error.strerror})") from None
        except BaseException:
            os.close(self._file)
            raise

    def append(self, kind: str, t: float, body: Mapping[str, Any]) -> Head:
        """Write one record; it is on the disk, and the head with it, when this returns. Raises `StoreError`."""
        with self._lock:
            if self._closed:  # another file may have its number by now
                raise StoreError("Not recorded (the audit log was closed); nothing is done, start again")
            before, size = self.head, os.fstat(self._file).st_size
            line, head = seal(self._key, before, t, kind, body)
            try:
                if os.write(self._file, line) != len(line):
                    raise OSError(28, "No space left on device")
                os.fsync(self._file)
                self._write_head(head)
            except OSError as error:
                os.ftruncate(self._file, size)
                raise StoreError(f"Not recorded ({error.strerror}); nothing is done, free space and retry") from None
            self.head = head
            return head

    def close(self) -> None:
        """Release the log; what is appended later is refused."""
        with self._lock:
            if not self._closed:
                self._closed = True
                os.close(self._file)

    def tail(self, n: int) -> list[dict[str, Any]]:
        """The last `n` records, oldest first."""
        with self.log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            block = min(size, 8192)
            while True:
                file.seek(size - block)
                lines = file.read(block).splitlines()
                if len(lines) > n or block == size:
                    break
                block = min(size, block * 4)
        return [json.loads(line) for line in lines[-n:]] if n > 0 else []

    def _last(self) -> Head:
        last = self.tail(1)
        return Head(int(last[0]["n"]), str(last[0]["mac"])) if last else Head(0, GENESIS)

    def _mend(self) -> int:
        """Move the bytes after the last newline away; returns their number."""
        content = self.log.read_bytes()
        whole = content.rfind(b"\n") + 1
        torn = content[whole:]
        if torn:
            with Path(f"{self.log}.torn").open("ab") as file:
                file.write(torn + b"\n")
            os.ftruncate(self._file, whole)
            os.fsync(self._file)
        return len(torn)

    def _write_head(self, head: Head) -> None:
        new_file = Path(f"{self.head_file}.new")
        with new_file.open("wb") as file:
            file.write(seal_head(self._key, head))
            file.flush()
            os.fsync(file.fileno())
        new_file.replace(self.head_file)
        folder = os.open(self.head_file.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
