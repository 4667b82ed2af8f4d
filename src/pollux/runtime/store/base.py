"""What a store keeps and hands back: the records and the `Store` protocol.

The journal is the truth: readings in the order in which they were accepted, numbered without gaps. Everything else
(chunks of one channel, estimates, snapshots) can be derived from it again.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from jaxtyping import Float, UInt32

from pollux.core.errors import StoreError

if TYPE_CHECKING:
    from pollux.runtime.store.reading import Reading


class UnavailableError(StoreError):
    """The server of the store is away: nothing is wrong with what was to be written, and writing goes on when it is
    back."""


@dataclass(frozen=True)
class Rows:
    """Readings as a structure of arrays of equal length: event time, tag id in the store, value (NaN = missing)."""

    t: Float[np.ndarray, " n"]
    tag: UInt32[np.ndarray, " n"]
    value: Float[np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.t)


@dataclass(frozen=True)
class Block:
    """What one commit appended: rows `first` .. `first + len(rows) - 1`, accepted at wall time `received`."""

    first: int
    received: float
    rows: Rows


@dataclass(frozen=True)
class Snapshot:
    """The state of one twin after every row before `seq` was folded in. A cache: it may be missing, never wrong."""

    twin: str
    seq: int
    t: float
    model: str
    """Hash of the model that computed it; another model must not use it."""
    data: bytes


@dataclass(frozen=True)
class Event:
    """Something that happened: an alarm, decision, command, acknowledgement, change of level ..."""

    id: int
    t: float
    twin: str
    kind: str
    ref: str
    """Id of the value that it is about, e.g. a decision's id."""
    data: Mapping[str, Any]
    seq: int = 0
    """The twin had folded every row before `seq` when it happened: where a replay applies it."""


@dataclass(frozen=True)
class Refused:
    """A message that did not pass the border, with the reason in one word and in a sentence."""

    received: float
    source: str
    topic: str
    reason: str
    message: str
    payload: bytes


@dataclass(frozen=True)
class Track:
    """Estimates of one twin over time: mean and standard deviation of the tracked vector, shape (time, n)."""

    t: Float[np.ndarray, " time"]
    mean: Float[np.ndarray, "time n"]
    sd: Float[np.ndarray, "time n"]

    def __len__(self) -> int:
        return len(self.t)


class Source(Protocol):
    """What a replay reads; a `Store`, or a view of one as it was earlier. Thread-safe; raises as a `Store` does."""

    def tag_ids(self, twin: str, names: Sequence[str]) -> UInt32[np.ndarray, " n"]:
        """Ids of the tags of a twin; a store registers those that are new."""
        ...

    def blocks(self, start: int = 0) -> Iterator[Block]:
        """The journal from row `start` on, in order, each block verified; without a gap or an error is raised."""
        ...

    @property
    def next_seq(self) -> int:
        """Sequence number that the next row will get: the number of rows ever accepted."""
        ...

    @property
    def first_seq(self) -> int:
        """The oldest row that the journal still holds; later than 0 where retention has dropped some."""
        ...

    def history(self, twin: str, tag: str, start: float, end: float) -> tuple[np.ndarray, np.ndarray]:
        """(t, value) of one channel for start <= t <= end, sorted by time, each instant once (the first to come)."""
        ...

    def track(self, twin: str, start: float, end: float) -> Track:
        """Estimates for start <= t <= end, sorted by time, each instant once (the newest computed)."""
        ...

    def load_snapshot(self, twin: str, model: str) -> Snapshot | None:
        """The newest intact snapshot that this model computed; a damaged one is passed over."""
        ...

    def events_from(self, twin: str, seq: int, after: int = 0) -> list[Event]:
        """All events of a twin with id > `after` and place >= `seq`, in the order in which they happened."""
        ...


class Store(Source, Protocol):
    """A durable store with one writer. Writing methods belong inside `transaction()`; reading ones are thread-safe.

    Every method raises `StoreError`; its subclasses `CorruptionError` when a checksum does not match and
    `FencedError` when another writer has taken over.
    """

    def transaction(self) -> AbstractContextManager[None]:
        """All or nothing; durable (on the disk, not in a cache) when the block is left."""
        ...

    def append(self, rows: Rows, received: float) -> int:
        """Add rows to the journal; the sequence number of the first."""
        ...

    def chart(self, twin: str, tag: str, start: float, end: float, points: int) -> tuple[np.ndarray, np.ndarray]:
        """At most `points` (4 or more) readings of one channel: of each of points / 2 equal spans of time the smallest
        and the largest. Where retention has dropped readings, of what it kept."""
        ...

    def last_time(self, twin: str, tag: str) -> float | None:
        """Event time of the newest row of one channel, None when there is none."""
        ...

    def add_track(self, twin: str, track: Track) -> None:
        """Keep estimates."""
        ...

    def save_snapshot(self, snapshot: Snapshot) -> None:
        """Keep a snapshot, and of the older ones of the twin fewer and fewer."""
        ...

    def add_event(
        self, t: float, twin: str, kind: str, data: Mapping[str, Any], ref: str = "", seq: int | None = None
    ) -> int:
        """Keep an event; its id. `seq` is its place among the rows, the end of the journal when it is not given."""
        ...

    def events(
        self, twin: str | None = None, kinds: Sequence[str] = (), after: int = 0, limit: int = 1000
    ) -> list[Event]:
        """The newest `limit` events with id > `after`, oldest first."""
        ...

    def refuse(self, refused: Sequence[Refused], counts: Mapping[str, int] | None = None) -> None:
        """Keep refused messages (a bounded number) and count them by reason."""
        ...

    def refused(self, limit: int = 100) -> tuple[list[Refused], dict[str, int]]:
        """The newest refused messages, and how many there were by reason."""
        ...

    def reading(self) -> "AbstractContextManager[Reading]":
        """All that is durable, over a connection of its own."""
        ...

    def maintain(self) -> bool:
        """A step of housekeeping between two transactions, some tens of milliseconds, where it is due; whether there
        is more to do."""
        ...

    def retain(self, now: float, folds: Collection[str]) -> bool:
        """Drop a part of what is older than the store keeps (wall time `now`), where some is; whether there may be
        more. Nothing that one of `folds`, the twins and fleets that run, may need after a crash."""
        ...

    def close(self) -> None:
        """Give the store back."""
        ...
