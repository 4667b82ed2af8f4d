"""`SqliteStore`: the store in one SQLite file, through apsw (which bundles an SQLite without the WAL-reset bug)."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import apsw
import numpy as np

from pollux.core.errors import CorruptionError, StoreError
from pollux.runtime.store import events, meta, refusals, snapshots
from pollux.runtime.store.base import Block, Event, Refused, Rows, Snapshot, Track
from pollux.runtime.store.chunks import ChannelReader, Compactor
from pollux.runtime.store.fence import Fence
from pollux.runtime.store.journal import Journal, read_blocks
from pollux.runtime.store.schema import guarded, open_reader, open_writer
from pollux.runtime.store.seal import check_seal, seal
from pollux.runtime.store.tracks import TrackWriter, read_track

CHECK_BELOW = 256 * 2**20
"""A file smaller than this is checked whole when it is opened (page structure and indices: about 1 s/GB)."""


class SqliteStore:
    """A `Store` (see `base`). Everything inside `transaction()` must come from one thread at a time.

    `takeover` ignores the lock of another writer and fences it by the epoch. Raises `FencedError`,
    `CorruptionError` or `StoreError`. `vfs` names an apsw VFS: the tests put one there that cuts the power.
    """

    def __init__(self, path: Path | str, *, takeover: bool = False, vfs: str | None = None):
        self.path, self._vfs = Path(path), vfs
        self._lock = threading.Lock()
        self._tags: dict[tuple[str, str], int] = {}
        with guarded(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._fence = Fence(self.path, takeover)
            try:
                self._writer = open_writer(self.path, vfs)
                if self.path.stat().st_size <= CHECK_BELOW:
                    check_structure(self._writer, self.path)
                self._fence.enter(self._writer)
                self._journal = Journal(self._writer)
                self._compactor = Compactor(self._writer)
                self._tracks = TrackWriter(self._writer)
                self._tags = _read_tags(self._writer)
                self._reader = open_reader(self.path, vfs)
                self._channels = ChannelReader(self._reader)
            except BaseException:
                self._fence.close()
                raise

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; durable when the block is left."""
        appended = self._appended = []
        with guarded(self.path):
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                self._fence.check(self._writer)
                yield
                self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                self._journal.reload()
                self._tags = _read_tags(self._writer)
                raise
            for rows in appended:
                self._compactor.add(rows)

    @property
    def next_seq(self) -> int:
        """Sequence number that the next row will get."""
        return self._journal.next_seq

    def tag_ids(self, twin: str, names: Sequence[str]) -> np.ndarray:
        """Ids of the tags of a twin, registered where they are new (then inside a transaction)."""
        new = [name for name in dict.fromkeys(names) if (twin, name) not in self._tags]
        keys = range(len(self._tags) + 1, len(self._tags) + 1 + len(new))
        if new:
            with guarded(self.path), self._writer:  # a savepoint: one commit for all, or part of the transaction
                for key, name in zip(keys, new, strict=True):
                    self._writer.execute("INSERT INTO tag VALUES(?,?,?,?)", (key, twin, name, seal(key, twin, name)))
            self._tags.update({(twin, name): key for key, name in zip(keys, new, strict=True)})
        return np.array([self._tags[twin, name] for name in names], np.uint32)

    def append(self, rows: Rows, received: float) -> int:
        """Add rows to the journal; the sequence number of the first."""
        first = self._journal.append(rows, float(received))
        self._appended.append(rows)
        return first

    def maintain(self) -> None:
        """Compact the tail when it is due; call it outside a transaction, between commits."""
        if self._compactor.due:
            with self.transaction():
                self._compactor.compact()
            self._compactor.clear()

    def blocks(self, start: int = 0) -> Iterator[Block]:
        """The journal from row `start` on, verified; over a connection of its own."""
        with guarded(self.path):
            connection = open_reader(self.path, self._vfs)
            try:
                yield from read_blocks(connection, start)
            finally:
                connection.close()

    def history(self, twin: str, tag: str, start: float, end: float) -> tuple[np.ndarray, np.ndarray]:
        """(t, value) of one channel for start <= t <= end, sorted, each instant once."""
        key = self._tags.get((twin, tag))
        if key is None:
            return np.empty(0), np.empty(0)
        with self._lock, guarded(self.path):
            return self._channels.read(key, start, end)

    def last_time(self, twin: str, tag: str) -> float | None:
        """Event time of the newest row of one channel."""
        key = self._tags.get((twin, tag))
        if key is None:
            return None
        with self._lock, guarded(self.path):
            return self._channels.newest(key)

    def add_track(self, twin: str, track: Track) -> None:
        """Keep estimates."""
        self._tracks.add(twin, track)

    def track(self, twin: str, start: float, end: float) -> Track:
        """Estimates for start <= t <= end."""
        with self._lock, guarded(self.path):
            pending = self._tracks.pending(twin)
            return read_track(self._reader, pending, twin, start, end)

    def save_snapshot(self, snapshot: Snapshot) -> None:
        """Keep a snapshot, and the estimates up to it."""
        self._tracks.flush(snapshot.twin)
        snapshots.save(self._writer, snapshot)

    def load_snapshot(self, twin: str, model: str) -> Snapshot | None:
        """The newest intact snapshot that this model computed."""
        with self._lock, guarded(self.path):
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
        with self._lock, guarded(self.path):
            return events.read(self._reader, twin, kinds, after, limit)

    def events_from(self, twin: str, seq: int, after: int = 0) -> list[Event]:
        """All events of a twin with id > `after` and place >= `seq`, in the order in which they happened."""
        with self._lock, guarded(self.path):
            return events.read_from(self._reader, twin, seq, after)

    def refuse(self, refused: Sequence[Refused], counts: Mapping[str, int] | None = None) -> None:
        """Keep refused messages and count them by reason."""
        refusals.add(self._writer, refused, counts)

    def refused(self, limit: int = 100) -> tuple[list[Refused], dict[str, int]]:
        """The newest refused messages, and how many there were by reason."""
        with self._lock, guarded(self.path):
            return refusals.read(self._reader, limit)

    def verify(self) -> int:
        """Read and check the whole file: pages, indices, every journal block. The number of rows."""
        with guarded(self.path):
            connection = open_reader(self.path, self._vfs)
            try:
                check_structure(connection, self.path)
                return sum(len(block.rows) for block in read_blocks(connection, 0))
            finally:
                connection.close()

    def drop_before(self, seq: int) -> int:
        """Retention: delete journal blocks that end before row `seq` and are in chunks; how many (in a transaction)."""
        seq = min(seq, meta.read(self._writer, "compacted"))
        self._writer.execute("DELETE FROM block WHERE first + rows <= ?", (seq,))
        return self._writer.changes()

    def close(self) -> None:
        """Write what was gathered and give the store back."""
        with suppress(StoreError), self.transaction():  # estimates can be computed again: close in any case
            self._tracks.flush()
        self._reader.close()
        self._writer.close()
        self._fence.close()


def check_structure(connection: apsw.Connection, path: Path) -> None:
    """Raises `CorruptionError` when pages or indices do not agree with each other."""
    found = [row[0] for row in connection.execute("PRAGMA integrity_check(3)")]
    if found != ["ok"]:
        raise CorruptionError(
            f"The store must be an intact database: {path} is damaged ({'; '.join(map(str, found))[:300]}). "
            "Restore it from a copy."
        )


def _read_tags(connection: apsw.Connection) -> dict[tuple[str, str], int]:
    tags = {}
    for key, twin, name, digest in connection.execute("SELECT id, twin, name, seal FROM tag ORDER BY id"):
        check_seal(f"tag {key}", digest, key, twin, name)
        tags[twin, name] = key
    return tags
