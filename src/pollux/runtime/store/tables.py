"""The store over the tables of `schema` and `postgres_schema`: all that does not depend on the database beneath."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from math import inf
from typing import Any, Generic, TypeVar

import numpy as np

from pollux.core.errors import StoreError
from pollux.runtime.store import events, refusals, snapshots
from pollux.runtime.store.base import Block, Event, Refused, Rows, Snapshot, Track
from pollux.runtime.store.channel import ChannelReader
from pollux.runtime.store.chunks import check_chunks
from pollux.runtime.store.compact import Compactor
from pollux.runtime.store.fence import Epoch
from pollux.runtime.store.journal import Journal, read_blocks
from pollux.runtime.store.reading import Reading
from pollux.runtime.store.retain import EVERY, Retention, drop, first_kept
from pollux.runtime.store.seal import check_seal, seal
from pollux.runtime.store.sql import Connection
from pollux.runtime.store.tracks import TrackWriter, read_track

C = TypeVar("C", bound=Connection)

FOR_EVER = Retention()


class TableStore(ABC, Generic[C]):
    """A `Store` (see `base`). Everything inside `transaction()` must come from one thread at a time.

    Who derives from it opens the connections, calls `_load`, and says what a transaction is.
    """

    _writer: C
    _reader: C

    def __init__(self, place: str, retention: Retention = FOR_EVER):
        self._epoch = Epoch(place)
        self._retention, self._retained = retention, -inf
        self._lock = threading.Lock()
        self._tags: dict[tuple[str, str], int] = {}
        self._appended: list[tuple[int, Rows]] = []

    def _load(self) -> None:
        """Read what the writing end keeps in memory, and take the next epoch."""
        self._epoch.enter(self._writer)
        self._journal = Journal(self._writer)
        self._compactor = Compactor(self._writer)
        self._tracks = TrackWriter(self._writer)
        self._tags = _read_tags(self._writer)
        self._channels = ChannelReader(self._reader, self._compactor.tail)

    @abstractmethod
    def _guarded(self) -> AbstractContextManager[None]:
        """Translates what the database raises into the errors of the store."""

    @abstractmethod
    def _open_reader(self) -> C:
        """A connection that only reads, for one who will close it by `_close_reader`."""

    @abstractmethod
    def _close_reader(self, connection: C) -> None:
        """Give a connection back."""

    @abstractmethod
    def _begin(self) -> None:
        """Begin a transaction that keeps other writers out."""

    @abstractmethod
    def _commit(self) -> None:
        """End it; durable when it returns, undone when it raises."""

    @abstractmethod
    def _undo(self) -> None:
        """Undo the transaction, where it is still open; does not raise when the connection is gone."""

    @abstractmethod
    def _check_structure(self, connection: C) -> None:
        """Raises `CorruptionError` where the database itself can tell that it is damaged."""

    @abstractmethod
    def _leave(self) -> None:
        """Close connections and give the lock back."""

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; durable when the block is left."""
        with self._guarded():
            self._begin()
            appended = self._appended = []
            end, tags = self._journal.end, len(self._tags)
            try:
                self._epoch.check(self._writer)
                yield
                self._commit()
            except BaseException:
                self._undo()
                self._journal.end = end
                while len(self._tags) > tags:
                    self._tags.popitem()
                raise
            for first, rows in appended:
                self._compactor.tail.add(first, rows)

    @property
    def next_seq(self) -> int:
        """Sequence number that the next row will get."""
        return self._journal.next_seq

    def tag_ids(self, twin: str, names: Sequence[str]) -> np.ndarray:
        """Ids of the tags of a twin, registered where they are new (then inside a transaction)."""
        new = [name for name in dict.fromkeys(names) if (twin, name) not in self._tags]
        keys = range(len(self._tags) + 1, len(self._tags) + 1 + len(new))
        if new:
            with nullcontext() if self._writer.in_transaction else self.transaction():
                for key, name in zip(keys, new, strict=True):
                    self._writer.execute("INSERT INTO tag VALUES(?,?,?,?)", (key, twin, name, seal(key, twin, name)))
            self._tags.update({(twin, name): key for key, name in zip(keys, new, strict=True)})
        return np.array([self._tags[twin, name] for name in names], np.uint32)

    def append(self, rows: Rows, received: float) -> int:
        """Add rows to the journal; the sequence number of the first."""
        first = self._journal.append(rows, float(received))
        self._appended.append((first, rows))
        return first

    def maintain(self) -> bool:
        """A step of compaction where one is due; call it outside a transaction, between commits. Whether more is."""
        again = self._compactor.prepare()
        while again:
            with self.transaction():
                self._compactor.step()
            self._compactor.done()
            again = self._compactor.behind
        return self._compactor.due

    def retain(self, now: float, folds: Collection[str]) -> bool:
        """Drop a part of what is older than the store keeps, where some is; whether there may be more. `now` is wall
        time, `folds` the twins and fleets that run; call it where `maintain` may be called."""
        if self._retention == FOR_EVER or now < self._retained + EVERY:
            return False
        with self.transaction():
            more = drop(self._writer, self._retention, now, folds)
        self._retained = self._retained if more else now
        return more

    @property
    def first_seq(self) -> int:
        """The oldest row that the journal still holds."""
        with self._lock, self._guarded():
            return first_kept(self._reader)

    def blocks(self, start: int = 0) -> Iterator[Block]:
        """The journal from row `start` on, verified; over a connection of its own."""
        with self._guarded():
            connection = self._open_reader()
            try:
                yield from read_blocks(connection, start)
            finally:
                self._close_reader(connection)

    @contextmanager
    def reading(self) -> Iterator[Reading]:
        """All that is durable, over a connection of its own: neither the writer nor the pages wait for who reads."""
        with self._guarded():
            connection = self._open_reader()
            try:
                yield Reading(connection)
            finally:
                self._close_reader(connection)

    def history(self, twin: str, tag: str, start: float, end: float) -> tuple[np.ndarray, np.ndarray]:
        """(t, value) of one channel for start <= t <= end, sorted, each instant once."""
        key = self._tags.get((twin, tag))
        if key is None:
            return np.empty(0), np.empty(0)
        with self._lock, self._guarded():
            return self._channels.read(key, start, end)

    def chart(self, twin: str, tag: str, start: float, end: float, points: int) -> tuple[np.ndarray, np.ndarray]:
        """At most `points` readings of one channel: of each span of time the smallest and the largest."""
        key = self._tags.get((twin, tag))
        if key is None:
            return np.empty(0), np.empty(0)
        with self._lock, self._guarded():
            return self._channels.chart(key, start, end, points)

    def last_time(self, twin: str, tag: str) -> float | None:
        """Event time of the newest row of one channel."""
        key = self._tags.get((twin, tag))
        if key is None:
            return None
        with self._lock, self._guarded():
            return self._channels.newest(key)

    def add_track(self, twin: str, track: Track) -> None:
        """Keep estimates."""
        self._tracks.add(twin, track)

    def track(self, twin: str, start: float, end: float) -> Track:
        """Estimates for start <= t <= end."""
        with self._lock, self._guarded():
            pending = self._tracks.pending(twin)
            return read_track(self._reader, pending, twin, start, end)

    def save_snapshot(self, snapshot: Snapshot) -> None:
        """Keep a snapshot, and the estimates up to it."""
        self._tracks.flush(snapshot.twin)
        snapshots.save(self._writer, snapshot)

    def load_snapshot(self, twin: str, model: str) -> Snapshot | None:
        """The newest intact snapshot that this model computed."""
        with self._lock, self._guarded():
            return snapshots.load(self._reader, twin, model, self.next_seq)

    def add_event(
        self, t: float, twin: str, kind: str, data: Mapping[str, Any], ref: str = "", seq: int | None = None
    ) -> int:
        """Keep an event; its id."""
        return events.add(self._writer, t, twin, kind, ref, data, self.next_seq if seq is None else seq)

    def events(
        self, twin: str | None = None, kinds: Sequence[str] = (), after: int = 0, limit: int = 1000
    ) -> list[Event]:
        """The newest `limit` events with id > `after`, oldest first."""
        with self._lock, self._guarded():
            return events.read(self._reader, twin, kinds, after, limit)

    def events_from(self, twin: str, seq: int, after: int = 0) -> list[Event]:
        """All events of a twin with id > `after` and place >= `seq`, in the order in which they happened."""
        with self._lock, self._guarded():
            return events.read_from(self._reader, twin, seq, after)

    def refuse(self, refused: Sequence[Refused], counts: Mapping[str, int] | None = None) -> None:
        """Keep refused messages and count them by reason."""
        refusals.add(self._writer, refused, counts)

    def refused(self, limit: int = 100) -> tuple[list[Refused], dict[str, int]]:
        """The newest refused messages, and how many there were by reason."""
        with self._lock, self._guarded():
            return refusals.read(self._reader, limit)

    def verify(self) -> int:
        """Check the whole store: the database's own structure, every chunk, every journal block. The number of rows."""
        with self._guarded():
            connection = self._open_reader()
            try:
                self._check_structure(connection)
                check_chunks(connection)
                return sum(len(block.rows) for block in read_blocks(connection, first_kept(connection)))
            finally:
                self._close_reader(connection)

    def close(self) -> None:
        """Write what was gathered and give the store back."""
        with suppress(StoreError), self.transaction():  # estimates can be computed again: close in any case
            self._tracks.flush()
        self._leave()


def _read_tags(connection: Connection) -> dict[tuple[str, str], int]:
    tags = {}
    for key, twin, name, digest in connection.execute("SELECT id, twin, name, seal FROM tag ORDER BY id"):
        check_seal(f"tag {key}", digest, key, twin, name)
        tags[twin, name] = key
    return tags
