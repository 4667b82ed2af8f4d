"""Estimates over time: rows of (t, mean, sd) per twin, gathered in memory and written a few ticks at a time.

They can be computed again from the journal, so they are not flushed at every tick; saving a snapshot flushes them,
because the fold does not go back before a snapshot.
"""

import numpy as np

from pollux.runtime.store.base import Track
from pollux.runtime.store.seal import check_seal, seal
from pollux.runtime.store.sql import Connection

GATHER = 64
"""Ticks of one twin that are written as one row."""


class TrackWriter:
    """The writing end."""

    def __init__(self, connection: Connection):
        self._connection = connection
        self._pending: dict[str, list[Track]] = {}

    def add(self, twin: str, track: Track) -> None:
        """Keep estimates; inside the caller's transaction."""
        parts = self._pending.setdefault(twin, [])
        if parts and parts[-1].mean.shape[1] != track.mean.shape[1]:
            self.flush(twin)
            parts = self._pending.setdefault(twin, [])
        parts.append(track)
        if sum(len(p) for p in parts) >= GATHER:
            self.flush(twin)

    def flush(self, twin: str | None = None) -> None:
        """Write what was gathered for one twin or for all."""
        for name in [twin] if twin is not None else list(self._pending):
            parts = self._pending.pop(name, [])
            if parts:
                self._write(name, parts)

    def pending(self, twin: str) -> list[Track]:
        """What is not written yet (a copy: it may be called from any thread)."""
        return list(self._pending.get(twin, ()))

    def _write(self, twin: str, parts: list[Track]) -> None:
        packed = np.concatenate([np.column_stack([p.t, p.mean, p.sd]) for p in parts]).astype("<f8")
        t = packed[:, 0]
        key = self._connection.execute("SELECT coalesce(max(id), 0) + 1 FROM track").get
        fields = (key, twin, float(t.min()), float(t.max()), len(t), parts[0].mean.shape[1], packed.tobytes())
        self._connection.execute("INSERT INTO track VALUES(?,?,?,?,?,?,?,?)", (*fields, seal(*fields)))


def read_track(connection: Connection, pending: list[Track], twin: str, start: float, end: float) -> Track:
    """Estimates for start <= t <= end, each instant once (the newest computed). The width is that of the newest."""
    parts: list[np.ndarray] = []
    for row in connection.execute(
        "SELECT id, twin, t_min, t_max, rows, width, data, seal FROM track"
        " WHERE twin=? AND t_max>=? AND t_min<=? ORDER BY id",
        (twin, start, end),
    ):
        *fields, digest = row
        check_seal(f"estimates {row[0]}", digest, *fields)
        parts.append(np.frombuffer(row[6], "<f8").reshape(row[4], 1 + 2 * row[5]))
    parts += [np.column_stack([p.t, p.mean, p.sd]) for p in pending]
    if not parts:
        return Track(np.empty(0), np.empty((0, 0)), np.empty((0, 0)))
    width = parts[-1].shape[1]
    rows = np.concatenate([p for p in parts if p.shape[1] == width])[::-1]
    rows = rows[(rows[:, 0] >= start) & (rows[:, 0] <= end)]
    t, newest = np.unique(rows[:, 0], return_index=True)
    n = (width - 1) // 2
    return Track(t, rows[newest, 1 : 1 + n], rows[newest, 1 + n :])
