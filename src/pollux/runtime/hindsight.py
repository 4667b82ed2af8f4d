"""A store as it was at a moment, and where a fold over it begins: what computing a past again needs of a journal.

The fold of a restart goes over `Past`, from the newest snapshot before the moment that was made by what ran then.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from math import inf

import numpy as np

from pollux.core.errors import InputError, StoreError
from pollux.runtime.identity import KIND, Raised, same, since, software, starts
from pollux.runtime.moments import Moment, instant
from pollux.runtime.store.base import Block, Event, Snapshot, Track
from pollux.runtime.store.reading import Reading
from pollux.runtime.store.snapshots import Mark


@dataclass(frozen=True)
class Whose:
    """Whose past is asked for: the name in the journal, the hash of the model, the fingerprint of what runs now."""

    name: str
    model: str
    identity: str


class Past:
    """A view of a store: rows up to `end`, the events that `known` says, and one snapshot. A `Source`."""

    def __init__(
        self,
        reading: Reading,
        end: int,
        snapshot: Snapshot | None,
        known: Callable[[Event], bool],
        alive: Callable[[], None],
    ):
        self._reading, self.next_seq, self._snapshot, self._known, self._alive = reading, end, snapshot, known, alive
        self.last: Block | None = None
        """The newest block that was read."""

    def check_start(self, row: int) -> None:
        """Raises `StoreError` where a fold did not begin at the snapshot, because it could not read it."""
        if self._snapshot is not None and row != self._snapshot.seq:
            raise StoreError(
                f"The fold must go on from the snapshot at row {self._snapshot.seq}, which this Pollux "
                "cannot read; use the version that wrote it, on a copy"
            )

    def tag_ids(self, twin: str, names: Sequence[str]) -> np.ndarray:
        """Ids of the tags of a twin."""
        return self._reading.tag_ids(twin, names)

    def transaction(self) -> AbstractContextManager[None]:
        """Nothing is written, so there is nothing to keep together."""
        return nullcontext()

    def blocks(self, start: int = 0) -> Iterator[Block]:
        """The journal from row `start` to the end of the view."""
        if start >= self.next_seq:
            return
        for block in self._reading.blocks(start):
            if block.first >= self.next_seq:
                return
            self._alive()
            self.last = block
            yield block

    @property
    def first_seq(self) -> int:
        """The oldest row that the journal still holds."""
        return self._reading.first_seq

    def history(self, twin: str, tag: str, start: float, end: float) -> tuple[np.ndarray, np.ndarray]:
        """None: charts are not recalled."""
        return np.empty(0), np.empty(0)

    def track(self, twin: str, start: float, end: float) -> Track:
        """None: charts are not recalled."""
        return Track(np.empty(0), np.empty((0, 0)), np.empty((0, 0)))

    def load_snapshot(self, twin: str, model: str) -> Snapshot | None:
        """The snapshot from which the fold goes on."""
        return self._snapshot

    def events_from(self, twin: str, seq: int, after: int = 0) -> list[Event]:
        """The events that were known."""
        return [e for e in self._reading.events_from(twin, seq, after, self.next_seq) if self._known(e)]


class Enough(Exception):
    """The fold has come to the moment. Never leaves what computes a past."""


@dataclass(frozen=True)
class Hindsight:
    """What was there at a moment."""

    past: Past
    moment: Moment
    mine: str
    begun: Sequence[Raised]
    """All starts."""
    last: Raised
    """The start of what ran at the moment."""
    start: int
    """The row from which the fold goes on."""

    def rests_on(self, reading: Reading) -> tuple[int, float | None, str]:
        """After the fold: rows that were known, when the last of them was accepted, and why bits may differ.

        Raises `InputError` where something else than what runs now computed what was known of an event time.
        """
        last, end = self.past.last, self.past.next_seq
        rows = self.start if last is None else min(last.first + len(last.rows), end)
        wall = reading.received(rows)
        if self.moment.event_time:
            before = [b for b in self.begun if wall is None or b.received <= wall]
            same(self.mine, before[-1] if before else self.begun[0], f"What was known of {instant(self.moment.t)}")
        ran = self.last.software
        return rows, wall, "" if ran == software() else f"computed by {software()}; the live twin ran on {ran}"


def hindsight(
    whose: Whose, reading: Reading, moment: Moment, alive: Callable[[], None], told: Sequence[Event] = ()
) -> Hindsight:
    """What was there at a moment. `told` are events that a snapshot holds, whose time of acceptance counts too.

    Raises `InputError` when the journal does not say what ran then, or something else ran; `StoreError` when it no
    longer reaches back to a snapshot before the moment.
    """
    begun = starts(reading.events(whose.name, (KIND,)))
    run = _run(begun, whose.identity, moment)
    mark, next_mark = _between(whose, reading, run, moment, told)
    start = 0 if mark is None else mark.seq
    end = reading.next_seq if next_mark is None else next_mark.seq
    if not moment.event_time:
        end = max(reading.known_at(moment.t, start, end) or 0, start)
    snapshot = None if mark is None else reading.snapshot(mark.id)
    if mark is not None and snapshot is None:
        raise StoreError(f"The snapshot at row {mark.seq} is damaged or was dropped meanwhile; ask again, or later")
    return Hindsight(Past(reading, end, snapshot, moment.knew, alive), moment, whose.identity, begun, run[-1], start)


def _run(begun: Sequence[Raised], mine: str, moment: Moment) -> Sequence[Raised]:
    """The starts since it has been as it was at the moment, up to then; at an event time: as it is now."""
    before = [b for b in begun if moment.event_time or b.received <= moment.t]
    if not before:
        when = f"; the first start that it tells of was at {instant(begun[0].received)}" if begun else ""
        raise InputError(f"The journal does not say what ran at {instant(moment.t)}{when}; give a later time")
    return since(before, mine, f"What was known at {instant(moment.t)}")


def _between(
    whose: Whose, reading: Reading, run: Sequence[Raised], moment: Moment, told: Sequence[Event]
) -> tuple[Mark | None, Mark | None]:
    """The newest snapshot before the moment that was made, or gone on from, by `run`, and the one after it.

    None as the first: from the start of the journal.
    """
    first = run[0]
    known = [m for m in reading.marks(whose.name) if m.model == whose.model]
    marks = [m for m in known if m.seq >= reading.first_seq and (m.seq > first.seq or m.seq == first.began > 0)]
    found, after = None, None
    for mark in marks:
        t = _time(reading, mark, moment)
        if t > moment.t:
            after = after or mark
        elif moment.event_time or all(_received(e) <= moment.t for e in told if e.seq <= mark.seq):
            found, after = mark, None
    if found is None and (first.began > 0 or reading.first_seq > 0):
        raise StoreError(
            f"What was known at {instant(moment.t)} cannot be computed again: the state from which the twin went on "
            f"at {instant(first.received)} is not kept. The next moment that can be recalled is "
            + ("of a later snapshot" if after is None else instant(_time(reading, after, moment)))
        )
    return found, None if moment.event_time else after


def _time(reading: Reading, mark: Mark, moment: Moment) -> float:
    """When a snapshot was true, on the clock of the moment: when its last row came, or the next if that was dropped."""
    if moment.event_time:
        return mark.t
    for row in (mark.seq, mark.seq + 1):
        wall = reading.received(row)
        if wall is not None:
            return wall
    return inf


def _received(event: Event) -> float:
    return float(event.data.get("received", -inf))
