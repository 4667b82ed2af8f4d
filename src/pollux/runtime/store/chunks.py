"""Channel history: the journal rewritten by channel and time, so that one channel reads a few blobs and not all rows.

A chunk covers a range of tags (`shelves`): many channels with some rows each, or one busy channel. Of each tag every
instant is in exactly one chunk of level 0. Chunks of the levels `LEVELS` hold, of each bucket of 2^level seconds, the
smallest and the largest reading: what a chart of a long span needs. All are derived: the journal can make them again.
"""

from collections.abc import Iterator, Sequence
from operator import itemgetter

import numpy as np

from pollux.runtime.store.base import Rows
from pollux.runtime.store.layout import (
    find_in_chunk,
    join,
    pack_chunk,
    runs_of,
    sort_by_tag_and_time,
    take,
    unpack_chunk,
)
from pollux.runtime.store.seal import check_seal, seal
from pollux.runtime.store.shelves import nodes_of, split, tags_of
from pollux.runtime.store.sql import Connection, fetch
from pollux.runtime.store.thin import thin_rows

LEVELS = (6, 12)
"""Buckets of 64 s and of 4096 s: a chart of 2000 points reads at most 64 times what it shows, up to 130 years."""

SMALL = 256
"""A range's last chunk is filled up while it holds fewer rows than this."""
WIDE = 2048
"""A chunk of several tags holds at most this many rows: what a query of one of them reads too much, 8-16 kB."""
LARGE = 8192
"""A chunk of one tag holds at most this many rows, 128 kB: what a narrow query reads too much."""

FEW = 64
"""Chunks that are looked through at once for rows that may have come before."""
PAGE = 64
"""Chunks fetched at a time where all are read."""

COLUMNS = "id, level, node, t_min, t_max, rows, data, seal"
OF_TAG = f"level=? AND node IN ({','.join('?' * len(nodes_of(0)))})"


class ChunkWriter:
    """The writing end, inside the caller's transaction."""

    def __init__(self, connection: Connection):
        self._connection = connection
        self._key = connection.execute("SELECT coalesce(max(id), 0) FROM chunk").get

    def keep(self, rows: Rows, low: int, width: int) -> None:
        """Keep rows of the range of 2^width tags from `low`, sorted by (tag, t), and their levels for charts."""
        levels = [(0, rows)]
        for level in LEVELS:
            levels.append((level, thin_rows(levels[-1][1], level)))
        for node, a, b in split(rows.tag, low, width, WIDE):
            first, last = rows.tag[a], rows.tag[b - 1]
            for level, part in levels:
                inside = slice(int(part.tag.searchsorted(first)), int(part.tag.searchsorted(last, "right")))
                self._write(level, node, take(part, inside))

    def _write(self, level: int, node: int, rows: Rows) -> None:
        last = self._connection.execute(
            "SELECT id, rows FROM chunk WHERE level=? AND node=? ORDER BY t_max DESC LIMIT 1", (level, node)
        ).fetchone()
        if last is not None and last[1] < SMALL:
            before = self._connection.execute(f"SELECT {COLUMNS} FROM chunk WHERE id=?", (last[0],)).fetchone()
            rows = sort_by_tag_and_time(join([unpack_chunk(_verified(before), last[1]), rows]))
            rows = thin_rows(rows, level) if level else rows
            self._connection.execute("DELETE FROM chunk WHERE id=?", (last[0],))
        for at in range(0, len(rows), LARGE):
            self._insert(level, node, take(rows, slice(at, at + LARGE)))

    def _insert(self, level: int, node: int, rows: Rows) -> None:
        self._key += 1
        t_min, t_max = float(rows.t.min()), float(rows.t.max())
        fields = (self._key, level, node, t_min, t_max, len(rows), pack_chunk(rows))
        self._connection.execute("INSERT INTO chunk VALUES(?,?,?,?,?,?,?,?)", (*fields, seal(*fields)))


def read_chunks(
    connection: Connection, level: int, tag: int, start: float, end: float
) -> list[tuple[np.ndarray, np.ndarray]]:
    """(t, value) of one tag from every chunk that reaches into start .. end."""
    rows = fetch(
        connection,
        f"SELECT {COLUMNS} FROM chunk WHERE {OF_TAG} AND t_max>=? AND t_min<=?",
        (level, *nodes_of(tag), start, end),
    )
    rows.sort(key=itemgetter(4))  # here, where only references move
    return [find_in_chunk(_verified(row), row[5], tag) for row in rows]


def reach(connection: Connection, tag: int) -> list[float]:
    """Two instants that all chunks with the tag lie between; none without chunks."""
    low, high = connection.execute(
        f"SELECT min(t_min), max(t_max) FROM chunk WHERE {OF_TAG}", (LEVELS[-1], *nodes_of(tag))
    ).fetchone()
    bucket = 2.0 ** LEVELS[-1]
    return [] if low is None else [float(np.floor(low / bucket) * bucket), float(np.floor(high / bucket + 1) * bucket)]


def without_known(connection: Connection, rows: Rows, late: np.ndarray) -> Rows:
    """`rows`, sorted by (tag, t), without the instants that chunks hold already; only those marked `late` can be."""
    at = np.flatnonzero(late)
    if not len(at):
        return rows
    known = _near(connection, rows.tag[at], rows.t[at])
    if known is None:
        again = np.zeros(len(at), bool)
        for mine in np.split(np.arange(len(at)), runs_of(rows.tag[at])[1:]):
            t = rows.t[at[mine]]
            found = [
                part for part, _ in read_chunks(connection, 0, int(rows.tag[at[mine[0]]]), float(t[0]), float(t[-1]))
            ]
            again[mine] = np.isin(t, np.concatenate([[], *found]))
    else:
        tag, t = np.r_[known.tag, rows.tag[at]], np.r_[known.t, rows.t[at]]
        order = np.lexsort((t, tag))  # stable: of an instant that both have, the known comes first
        repeated = np.zeros(len(order), bool)
        repeated[order[1:]] = (np.diff(tag[order].astype(np.int64)) == 0) & (np.diff(t[order]) == 0)
        again = repeated[len(known) :]
    return take(rows, np.delete(np.arange(len(rows)), at[again])) if again.any() else rows


def _near(connection: Connection, tag: np.ndarray, t: np.ndarray) -> Rows | None:
    """What the chunks that may hold these rows hold; None where many end later, as for rows that are long late: then
    a search for each tag is shorter. After a restart, with clocks that differ, it is the other way round."""
    found = fetch(
        connection,
        "SELECT id, node FROM chunk WHERE level = 0 AND t_max >= ? LIMIT ?",
        (float(t.min()), FEW + 1),
    )
    if len(found) > FEW:
        return None
    parts = [Rows(np.empty(0), np.empty(0, np.uint32), np.empty(0))]
    for key, node in found:
        low, high = tags_of(node)
        if tag.searchsorted(np.uint32(low)) < tag.searchsorted(np.uint32(high), "right"):
            row = connection.execute(f"SELECT {COLUMNS} FROM chunk WHERE id=?", (key,)).fetchone()
            parts.append(unpack_chunk(_verified(row), row[5]))
    return join(parts)


def newest_first(connection: Connection, tag: int) -> Iterator[tuple[float, np.ndarray]]:
    """(largest time in the chunk, times of one tag), chunk by chunk."""
    for key, t_max in fetch(
        connection, f"SELECT id, t_max FROM chunk WHERE {OF_TAG} ORDER BY t_max DESC", (0, *nodes_of(tag))
    ):
        row = connection.execute(f"SELECT {COLUMNS} FROM chunk WHERE id=?", (key,)).fetchone()
        yield t_max, find_in_chunk(_verified(row), row[5], tag)[0]


def check_chunks(connection: Connection) -> None:
    """Raises `CorruptionError` at the first that is damaged."""
    at, page = 0, PAGE
    while page == PAGE:
        rows = fetch(connection, f"SELECT {COLUMNS} FROM chunk WHERE id>? ORDER BY id LIMIT ?", (at, PAGE))
        for row in rows:
            _verified(row)
        at, page = (rows[-1][0] if rows else at), len(rows)


def between(parts: Sequence[tuple[np.ndarray, np.ndarray]], start: float, end: float) -> tuple[np.ndarray, np.ndarray]:
    """(t, value) for start <= t <= end, sorted, each instant once: of equal times the first in `parts`."""
    if not parts:
        return np.empty(0), np.empty(0)
    t, value = np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])
    keep = (t >= start) & (t <= end)
    t, value = t[keep], value[keep]
    if np.all(t[1:] > t[:-1]):
        return t, value
    t, first = np.unique(t, return_index=True)
    return t, value[first]


def _verified(row: tuple) -> bytes:
    *fields, digest = row
    check_seal(f"chunk {row[0]}", digest, *fields)
    return row[6]
