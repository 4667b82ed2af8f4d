"""Channel history: the journal rewritten channel by channel, so that one channel reads a few blobs and no others.

The newest rows stay only in the journal (the tail) until `TAIL_ROWS` rows or `TAIL_BLOCKS` blocks have gathered; then
one transaction sorts them by channel and time into chunks. A query joins the chunks with the tail. Chunks are derived:
the journal can make them again.
"""

import numpy as np

from pollux.core.errors import CorruptionError
from pollux.runtime.store import meta
from pollux.runtime.store.base import Rows
from pollux.runtime.store.journal import read_blocks
from pollux.runtime.store.layout import join, pack_chunk, unpack_chunk
from pollux.runtime.store.seal import check_seal, seal
from pollux.runtime.store.sql import Connection

TAIL_ROWS = 65_536
TAIL_BLOCKS = 256
SMALL = 256
"""A channel's last chunk is filled up while it holds fewer rows than this."""
LARGE = 8192
"""A chunk holds at most this many rows, 128 kB: what a narrow query reads too much."""


class Compactor:
    """The writing end: remembers the tail in memory and turns it into chunks."""

    def __init__(self, connection: Connection):
        self._connection = connection
        self._tail: list[Rows] = []
        self._rows = self._key = 0
        compacted = meta.read(connection, "compacted")
        for block in read_blocks(connection, compacted):
            self.add(block.rows)
        if self._rows == 0:
            end = connection.execute("SELECT coalesce(max(first + rows), 0) FROM block").get
            if end < compacted:
                raise CorruptionError(
                    f"The journal holds every row that was compacted: it ends at row {end}, {compacted} were. "
                    "Blocks were lost; restore the store from a copy."
                )

    def add(self, rows: Rows) -> None:
        """Note what was committed to the journal."""
        if len(rows):
            self._tail.append(rows)
            self._rows += len(rows)

    @property
    def due(self) -> bool:
        """Whether the tail is long enough."""
        return self._rows >= TAIL_ROWS or len(self._tail) >= TAIL_BLOCKS

    def compact(self) -> None:
        """Write the tail as chunks, inside the caller's transaction; call `clear` after the commit."""
        if not self._tail:
            return
        rows = join(self._tail)
        order = np.argsort(rows.tag, kind="stable")
        tag, t, value = rows.tag[order], rows.t[order], rows.value[order]
        self._key = self._connection.execute("SELECT coalesce(max(id), 0) FROM chunk").get
        starts = np.flatnonzero(np.r_[True, tag[1:] != tag[:-1]])
        for a, b in zip(starts, np.r_[starts[1:], len(tag)], strict=True):
            self._write(int(tag[a]), t[a:b], value[a:b])
        compacted = meta.read(self._connection, "compacted")
        meta.write(self._connection, "compacted", compacted + self._rows)

    def clear(self) -> None:
        """Forget the tail: it is in chunks now."""
        self._tail, self._rows = [], 0

    def _write(self, tag: int, t: np.ndarray, value: np.ndarray) -> None:
        last = self._connection.execute(
            "SELECT id, tag, t_min, t_max, rows, data, seal FROM chunk WHERE tag=? ORDER BY t_max DESC LIMIT 1", (tag,)
        ).fetchone()
        if last is not None and last[4] < SMALL:
            t_old, value_old = _verified(last)
            t, value = np.concatenate([t_old, t]), np.concatenate([value_old, value])
            self._connection.execute("DELETE FROM chunk WHERE id=?", (last[0],))
        if np.any(t[1:] < t[:-1]):
            order = np.argsort(t, kind="stable")  # stable: of equal times the first to come stays first
            t, value = t[order], value[order]
        for at in range(0, len(t), LARGE):
            part = t[at : at + LARGE]
            data = pack_chunk(part, value[at : at + LARGE])
            self._key += 1
            fields = (self._key, tag, float(part[0]), float(part[-1]), len(part), data)
            self._connection.execute("INSERT INTO chunk VALUES(?,?,?,?,?,?,?)", (*fields, seal(*fields)))


class ChannelReader:
    """The reading end over its own connection; not thread-safe, the store holds a lock around it."""

    def __init__(self, connection: Connection):
        self._connection = connection
        self._tail: list[Rows] = []
        self._from = self._to = 0

    def read(self, tag: int, start: float, end: float) -> tuple[np.ndarray, np.ndarray]:
        """(t, value) for start <= t <= end, sorted, each instant once: of equal times the first to come."""
        parts: list[tuple[np.ndarray, np.ndarray]] = []
        with self._connection:
            parts += [
                _verified(row)
                for row in self._connection.execute(
                    "SELECT id, tag, t_min, t_max, rows, data, seal FROM chunk"
                    " WHERE tag=? AND t_max>=? AND t_min<=? ORDER BY id",
                    (tag, start, end),
                )
            ]
            self._refresh()
        for rows in self._tail:
            hit = np.flatnonzero(rows.tag == tag)
            if len(hit):
                parts.append((rows.t[hit], rows.value[hit]))
        if not parts:
            return np.empty(0), np.empty(0)
        t, value = np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])
        keep = (t >= start) & (t <= end)
        t, first = np.unique(t[keep], return_index=True)
        return t, value[keep][first]

    def newest(self, tag: int) -> float | None:
        """The largest event time of the channel."""
        times: list[float] = []
        with self._connection:
            newest = self._connection.execute("SELECT max(t_max) FROM chunk WHERE tag=?", (tag,)).get
            times += [] if newest is None else [newest]
            self._refresh()
        tail = [rows.t[rows.tag == tag] for rows in self._tail]
        return max([*times, *(float(t.max()) for t in tail if len(t))], default=None)

    def _refresh(self) -> None:
        """Bring the remembered tail up to what this read transaction sees."""
        compacted = meta.read(self._connection, "compacted")
        if compacted != self._from:
            self._tail, self._from, self._to = [], compacted, compacted
        last = self._connection.execute("SELECT first, rows FROM block ORDER BY first DESC LIMIT 1").fetchone()
        if last is None or last[0] + last[1] <= self._to:
            return
        for block in read_blocks(self._connection, self._to):
            self._tail.append(block.rows)
            self._to = block.first + len(block.rows)


def _verified(row: tuple) -> tuple[np.ndarray, np.ndarray]:
    *fields, digest = row
    check_seal(f"chunk {row[0]}", digest, *fields)
    return unpack_chunk(row[5], row[4])
