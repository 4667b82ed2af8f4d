"""A disk whose power can be cut: an apsw VFS that knows what has been synced and what has not.

After the cut, of the writes that were not synced any may be missing, any may be torn at a sector, in any order: what
POSIX allows a disk with a write cache. Everything that was synced stays.
"""

from pathlib import Path

import apsw
import numpy as np

SECTOR = 512


class PowerCut(Exception):
    """The power is gone; nothing reaches the disk any more."""


class Disk(apsw.VFS):
    """Files below a folder. `cut_after` operations (writes, syncs, truncations) the power goes."""

    def __init__(self, name: str, cut_after: int):
        self.name, self.left, self.dead = name, cut_after, False
        self.synced: dict[str, bytearray] = {}
        self.pending: dict[str, list[tuple[int, bytes | None]]] = {}
        super().__init__(name, "")

    def xOpen(self, name, flags):
        return File(self, name, flags)

    def xDelete(self, filename, syncdir):
        if self.dead:
            return
        super().xDelete(filename, syncdir)
        self.synced.pop(filename, None)
        self.pending.pop(filename, None)

    def spend(self) -> bool:
        """One operation; False when the power is gone."""
        if self.dead:
            return False
        self.left -= 1
        if self.left < 0:
            self.dead = True
            raise PowerCut
        return True

    def leave(self, folder: Path, rng: np.random.Generator) -> None:
        """Write what is on the disk after the cut into `folder`."""
        for name in {*self.synced, *self.pending}:
            data = bytearray(self.synced.get(name, b""))
            waiting = [w for w in self.pending.get(name, ()) if rng.random() < 0.5]
            rng.shuffle(waiting)
            for offset, piece in waiting:
                apply(data, offset, torn(piece, rng))
            (folder / Path(name).name).write_bytes(data)


class File(apsw.VFSFile):
    """One file of the disk; everything is also passed on, so that a running store reads what it wrote."""

    def __init__(self, disk: Disk, name, flags):
        self.disk = disk
        self.file = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        super().__init__("", name, flags)

    def xWrite(self, data, offset):
        if self.disk.spend():
            self.disk.pending.setdefault(self.file, []).append((offset, bytes(data)))
        super().xWrite(data, offset)

    def xTruncate(self, newsize):
        if self.disk.spend():
            self.disk.pending.setdefault(self.file, []).append((newsize, None))
        super().xTruncate(newsize)

    def xSync(self, flags):
        if self.disk.spend():
            data = self.disk.synced.setdefault(self.file, bytearray())
            for offset, piece in self.disk.pending.pop(self.file, ()):
                apply(data, offset, piece)


def apply(data: bytearray, offset: int, piece: bytes | None) -> None:
    """A write, or a truncation to `offset`."""
    if piece is None:
        del data[offset:]
        return
    data.extend(bytes(max(0, offset + len(piece) - len(data))))
    data[offset : offset + len(piece)] = piece


def torn(piece: bytes | None, rng: np.random.Generator) -> bytes | None:
    """Perhaps only the first sectors of a write."""
    if piece is None or rng.random() < 0.5:
        return piece
    return piece[: SECTOR * int(rng.integers(0, len(piece) // SECTOR + 1))]
