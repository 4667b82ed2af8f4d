"""Retention: what is older than its horizon is dropped, a bounded part at a time, and its place used again.

All readings (journal blocks and chunks of level 0) stay for `keep` seconds; estimates and the extremes of each minute
and hour (the other levels of `chunks`) for `keep_thin`. Blocks age by the wall time at which they were accepted, the
rest by event time. A block also stays while a fold may need it after a crash, and until all its rows are in chunks.
Blocks go from the oldest on, so what is left is a chain without gaps from row `dropped` on.
"""

from collections.abc import Collection
from dataclasses import dataclass
from math import ceil, inf, isfinite

from pollux.core.errors import StoreError
from pollux.runtime.store import meta
from pollux.runtime.store.compact import read_progress
from pollux.runtime.store.snapshots import KEEP, marks
from pollux.runtime.store.sql import Connection, fetch

PART_ROWS = 500_000
"""Readings dropped in one transaction, at most 10 MB, and at least one block or chunk."""
PART = 256
"""Records dropped in one transaction."""
EVERY = 60.0
"""Seconds between two looks where nothing was left to drop."""


@dataclass(frozen=True)
class Retention:
    """Seconds for which all readings, and for which their extremes and the estimates are kept; infinite: for ever."""

    keep: float = inf
    keep_thin: float = inf

    def __post_init__(self) -> None:
        if not 0 < self.keep <= self.keep_thin:
            raise StoreError(
                "Extremes are kept at least as long as all readings: `keep` is "
                f"{self.keep:g} s, `keep_thin` {self.keep_thin:g} s. Make `keep_thin` the longer."
            )


def first_kept(connection: Connection) -> int:
    """The oldest row that the journal holds."""
    return meta.read(connection, "dropped")


def kept_from(connection: Connection, level: int) -> float:
    """The event time from which on all chunks of the level are there."""
    return float(meta.read(connection, _horizon(level)))


def drop(connection: Connection, retention: Retention, now: float, folds: Collection[str]) -> bool:
    """Drop a part of what is too old, inside the caller's transaction; whether there may be more.

    `now` is wall time, `folds` the twins and fleets that run.
    """
    more = False
    if isfinite(retention.keep):
        before = min(read_progress(connection).compacted, needed(connection, folds))
        more |= _drop_blocks(connection, before, now - retention.keep)
    newest = connection.execute("SELECT max(t_max) FROM chunk WHERE level = 0").get
    if newest is None:
        return more
    for levels, keep in (("level = 0", retention.keep), ("level > 0", retention.keep_thin)):
        if isfinite(keep):
            more |= _drop_chunks(connection, levels, min(now, newest) - keep)
    if isfinite(retention.keep_thin):
        more |= _drop_tracks(connection, min(now, newest) - retention.keep_thin)
    return more


def needed(connection: Connection, folds: Collection[str]) -> int:
    """The first row that a fold may need: each can start from the last snapshot but one; without two, from row 0."""
    found = [marks(connection, twin)[-KEEP:] for twin in folds]
    return min((min(m.seq for m in last) if len(last) == KEEP else 0 for last in found), default=0)


def _drop_blocks(connection: Connection, before: int, horizon: float) -> bool:
    newest = connection.execute("SELECT coalesce(max(first), 0) FROM block").get
    end = rows = 0
    found = fetch(connection, "SELECT first, rows, received FROM block ORDER BY first LIMIT ?", (PART,))
    for first, n, received in found:
        if received >= horizon or first + n > min(before, newest) or (rows and rows + n > PART_ROWS):
            break
        end, rows = first + n, rows + n
    if not rows:
        return False
    connection.execute("DELETE FROM block WHERE first < ?", (end,))
    meta.write(connection, "dropped", end)
    return True


def _drop_chunks(connection: Connection, levels: str, horizon: float) -> bool:
    found = fetch(
        connection,
        f"SELECT id, level, rows FROM chunk WHERE {levels} AND t_max < ? ORDER BY t_max LIMIT ?",
        (horizon, PART),
    )
    rows = 0
    for key, level, n in found:
        if rows and rows + n > PART_ROWS:
            break
        if kept_from(connection, level) < ceil(horizon):
            meta.write(connection, _horizon(level), ceil(horizon))
        connection.execute("DELETE FROM chunk WHERE id = ?", (key,))
        rows += n
    return bool(found)


def _drop_tracks(connection: Connection, horizon: float) -> bool:
    twin = connection.execute("SELECT min(twin) FROM track").get
    while twin is not None:
        found = fetch(
            connection,
            "SELECT id FROM track WHERE twin = ? AND t_max < ? ORDER BY t_max LIMIT ?",
            (twin, horizon, PART),
        )
        for (key,) in found:
            connection.execute("DELETE FROM track WHERE id = ?", (key,))
        if found:
            return True
        twin = connection.execute("SELECT min(twin) FROM track WHERE twin > ?", (twin,)).get
    return False


def _horizon(level: int) -> str:
    return f"kept_from_{level}"
