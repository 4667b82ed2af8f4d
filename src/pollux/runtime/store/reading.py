"""Reading a store without being its writer: beside the running one, on a stopped project, or on a copy.

Everything is read over one connection of its own, so neither the writer nor the pages of a running project wait.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from pollux.core.errors import StoreError
from pollux.runtime.store import events as event_rows
from pollux.runtime.store import snapshots
from pollux.runtime.store.base import Block, Event, Snapshot, Track
from pollux.runtime.store.journal import read_blocks
from pollux.runtime.store.schema import guarded, open_reader
from pollux.runtime.store.seal import check_seal
from pollux.runtime.store.snapshots import Mark
from pollux.runtime.store.sql import Connection, fetch
from pollux.runtime.store.tracks import read_track


class Reading:
    """What a store holds, for one thread at a time. Errors are those of a `Store`."""

    def __init__(self, connection: Connection):
        self._connection = connection
        self.tags: dict[tuple[str, str], int] = {}
        """(twin, tag) -> its id in the rows of the journal."""
        for key, twin, name, digest in fetch(connection, "SELECT id, twin, name, seal FROM tag ORDER BY id"):
            check_seal(f"tag {key}", digest, key, twin, name)
            self.tags[twin, name] = key

    @property
    def twins(self) -> list[str]:
        """The twins that have a tag, sorted."""
        return sorted({twin for twin, _ in self.tags})

    @property
    def next_seq(self) -> int:
        """Number of rows ever accepted."""
        return self._connection.execute("SELECT first + rows FROM block ORDER BY first DESC LIMIT 1").get or 0

    @property
    def first_seq(self) -> int:
        """The oldest row that the journal still holds."""
        return self._connection.execute("SELECT coalesce(min(first), 0) FROM block").get

    def blocks(self, start: int = 0) -> Iterator[Block]:
        """The journal from row `start` on, verified."""
        return read_blocks(self._connection, start)

    def received(self, seq: int) -> float | None:
        """When row `seq` - 1, the last before `seq`, was accepted; None when the journal no longer holds it."""
        return self._connection.execute(
            "SELECT received FROM block WHERE first < ? ORDER BY first DESC LIMIT 1", (seq,)
        ).get

    def known_at(self, wall: float, start: int, end: int) -> int | None:
        """The end of the newest block that was accepted at `wall` or before, of those from row `start` to `end`."""
        return self._connection.execute(
            "SELECT max(first + rows) FROM block WHERE first >= ? AND first < ? AND received <= ?", (start, end, wall)
        ).get

    def marks(self, twin: str) -> list[Mark]:
        """Snapshots of a twin, oldest first."""
        return snapshots.marks(self._connection, twin)

    def snapshot(self, id: int) -> Snapshot | None:
        """One snapshot; None when it is damaged or gone."""
        return snapshots.read(self._connection, id)

    def events(
        self, twin: str | None = None, kinds: Sequence[str] = (), after: int = 0, limit: int = 1_000_000
    ) -> list[Event]:
        """The newest `limit` events with id > `after`, oldest first."""
        return event_rows.read(self._connection, twin, kinds, after, limit)

    def events_from(self, twin: str, seq: int, after: int = 0, to: int = event_rows.END) -> list[Event]:
        """Events of a twin by place, in the order in which they happened."""
        return event_rows.read_from(self._connection, twin, seq, after, to)

    def event_page(self, after: int, limit: int) -> list[Event]:
        """The next `limit` events of all twins."""
        return event_rows.page(self._connection, after, limit)

    def track_spans(self, twin: str) -> list[tuple[float, float, int]]:
        """(oldest, newest, number) of the records of estimates of a twin, by their oldest time."""
        sql = "SELECT t_min, t_max, rows FROM track WHERE twin = ? ORDER BY t_min"
        return [(row[0], row[1], row[2]) for row in fetch(self._connection, sql, (twin,))]

    def track(self, twin: str, start: float, end: float) -> Track:
        """Estimates for start <= t <= end."""
        return read_track(self._connection, [], twin, start, end)

    def tag_ids(self, twin: str, names: Sequence[str]) -> np.ndarray:
        """Ids of the tags of a twin; one that no row was ever accepted of has an id that no row has."""
        ids = [self.tags.get((twin, name)) for name in names]
        if None in ids:  # the largest id is looked for only then: a fleet asks once for each of its members
            unknown = max(self.tags.values(), default=0)
            ids = [unknown + 1 + i if id is None else id for i, id in enumerate(ids)]
        return np.array(ids, np.uint32)


@contextmanager
def reading(path: Path) -> Iterator[Reading]:
    """A store in a file, without taking its lock. Raises `StoreError` when there is none."""
    if not path.is_file():
        raise StoreError(
            f"A store in a file is needed: there is no {str(path)!r}. Give the project's state folder; a journal in "
            "PostgreSQL is read with PostgreSQL's own tools, or through the running project"
        )
    with guarded(path):
        connection = open_reader(path)
        try:
            yield Reading(connection)
        finally:
            connection.close()
