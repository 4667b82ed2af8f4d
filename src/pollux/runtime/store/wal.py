"""Damage in the write-ahead log, which SQLite alone takes for its end.

SQLite reads the log up to the first frame whose checksum is wrong and drops the rest without a word: right after a
power cut, where only the last transaction can be torn, because each is on the disk before the next begins. Frames of
a later transaction behind the first wrong one therefore mean damage, and what it hides was acknowledged.

The file format is documented in "WAL-mode File Format" of SQLite: a header of 32 bytes, then frames of 24 bytes and a
page; the frames of this run of the log carry the salts of the header, older leftovers do not.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

import apsw

from pollux.core.errors import CorruptionError

HEADER, FRAME = 32, 24
MAGIC = (0x377F0682, 0x377F0683)


@dataclass(frozen=True)
class WalFrames:
    """What the headers in a log say: number of frames of this run, and which of them end a transaction."""

    count: int
    commits: tuple[int, ...]
    """Positions (from 1) of the frames that end a transaction."""
    broken: bool = False
    """The header itself is no header, and there are frames behind it."""


def wal_frames(database: Path) -> WalFrames:
    """Read the headers of the log beside `database`; before SQLite opens it."""
    path = database.with_name(database.name + "-wal")
    if not path.exists() or path.stat().st_size < HEADER + FRAME:
        return WalFrames(0, ())
    with path.open("rb") as file:
        header = file.read(HEADER)
        magic, _, page, _, *salts = struct.unpack(">6I", header[:24])
        if magic not in MAGIC or header[24:] != _checksum(header[:24], "<" if magic == MAGIC[0] else ">"):
            return WalFrames(0, (), broken=True)
        last, commits, at = 0, [], 0
        while len(frame := file.read(FRAME)) == FRAME:
            at += 1
            _, size, *frame_salts = struct.unpack(">4I", frame[:16])
            if frame_salts == salts:
                last = at
                if size:
                    commits.append(at)
            file.seek(page, 1)
    return WalFrames(last, tuple(commits))


def check_wal(connection: apsw.Connection, before: WalFrames, path: Path) -> None:
    """Compare with what SQLite has taken over. Raises `CorruptionError` when acknowledged transactions were dropped."""
    connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()  # makes it read the log
    taken, _ = connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
    dropped = [at for at in before.commits if at > max(taken, 0)]
    if before.broken or len(dropped) > 1 or (dropped and dropped[0] < before.count):
        raise CorruptionError(
            f"The write-ahead log must be whole: {path}-wal is damaged and hides what was acknowledged "
            f"(frame {max(taken, 0) + 1} of {before.count}). Restore the store from a copy; to go on without what is "
            "hidden, move that file away."
        )


def _checksum(data: bytes, order: str) -> bytes:
    """SQLite's checksum of the header, as it is stored (big-endian)."""
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    a = b = 0
    for x, y in zip(words[::2], words[1::2], strict=True):
        a = (a + x + b) & 0xFFFFFFFF
        b = (b + y + a) & 0xFFFFFFFF
    return struct.pack(">2I", a, b)
