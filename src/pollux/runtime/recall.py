"""What did we know at 14:03? A past belief, computed again from the journal, bit for bit as the live twin held it.

Two questions have two answers:

    by the wall clock  what the twin believed when the clock showed 14:03, from what had been received by then
    by event time      what the twin believed about 14:03, from all that it took in for that instant, also later

Both are the fold of a restart over a view of the store as it was (`Past`), from the newest snapshot before the
moment: so at most an hour of data is folded for a moment of the last day, a day's for one of the last year. It reads
over a connection of its own and shares only kernels, which are pure, with the live twin.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from typing import Any, cast

import numpy as np

from pollux.core.errors import InputError, StoreError
from pollux.core.signals import Readings
from pollux.core.time import ManualClock
from pollux.runtime import frames, proposals
from pollux.runtime.binding import Binding, bind
from pollux.runtime.build import Foundation, blueprint_of, foundation
from pollux.runtime.events import Event as Fact
from pollux.runtime.events import StepResult
from pollux.runtime.fingerprint import digest_of
from pollux.runtime.fold import Fold
from pollux.runtime.identity import KIND, Raised, identity, same, software, starts
from pollux.runtime.intake import TagTable
from pollux.runtime.jsonable import number
from pollux.runtime.lane import Lane
from pollux.runtime.live import LiveTwin
from pollux.runtime.moments import Moment, instant
from pollux.runtime.store.base import Block, Event, Snapshot, Track
from pollux.runtime.store.reading import Reading
from pollux.runtime.store.snapshots import Mark
from pollux.runtime.store.writer import StoreWriter
from pollux.runtime.wiring import TwinWiring, Wiring


@dataclass(frozen=True)
class Subject:
    """One twin of a project, compiled: whose past is asked for."""

    base: Foundation
    binding: Binding
    wiring: TwinWiring


def subject(wiring: Wiring, name: str) -> Subject:
    """A twin of a project, compiled; `name` may be empty where there is one. Slow. Raises `InputError`."""
    known = [twin.name for twin in wiring.twins]
    twin = next((t for t in wiring.twins if t.name == name or (name == "" and len(known) == 1)), None)
    if twin is None:
        raise InputError(
            f"Say which twin: {name[:100]!r} is none of {known}; the past of members of fleets is not kept"
        )
    base = foundation(twin, blueprint_of(twin, wiring.folder))
    return Subject(base, bind(twin, base.space.y, base.space.u), twin)


@dataclass(frozen=True)
class Recalled:
    """A twin as it was."""

    live: LiveTwin
    moment: Moment
    rows: int
    """Rows of the journal, of all twins, that were known."""
    received: float | None
    """Wall time at which the last of them was accepted."""
    steps: int
    """Readings that were folded again."""
    stopped: bool
    """Whether the stop was set, as far as the journal was told."""
    note: str
    """Why the last bits may differ from what was held then; empty when nothing says so."""


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
    """The fold has come to the moment. Never leaves this module."""


class Until(LiveTwin):
    """A live twin that takes no reading of after `until`."""

    until = inf
    taken = 0
    """Readings that were folded."""

    def step(self, readings: Readings) -> StepResult:
        """Fold in one reading."""
        if readings.t > self.until:
            raise Enough
        self.taken += 1
        return super().step(readings)


class Closed:
    """The event journal of a twin that is only recalled."""

    async def append(self, events: Sequence[Fact]) -> None:
        """Refuse."""
        raise StoreError("A recalled twin writes nothing; act on the live one")


def recall(subject: Subject, reading: Reading, moment: Moment, alive: Callable[[], None] = lambda: None) -> Recalled:
    """The twin as it was at a moment. Slow; for a worker thread. `alive` is called often and may raise to end it.

    Raises `InputError` when nothing was known yet, or when another definition or wiring than the present computed
    what was known; `StoreError` when the journal no longer reaches back to a snapshot before the moment.
    """
    mine = identity(subject.base, subject.wiring)
    begun = starts(reading.events(subject.wiring.name, (KIND,)))
    run = _run(begun, mine, moment)
    mark, next_mark = _between(subject, reading, run, moment)
    start = 0 if mark is None else mark.seq
    end = reading.next_seq if next_mark is None else next_mark.seq
    if not moment.event_time:
        end = max(reading.known_at(moment.t, start, end) or 0, start)
    snapshot = None if mark is None else reading.snapshot(mark.id)
    if mark is not None and snapshot is None:
        raise StoreError(f"The snapshot at row {mark.seq} is damaged or was dropped meanwhile; ask again, or later")
    past = Past(reading, end, snapshot, moment.knew, alive)
    live = folded(subject, past, moment)
    if not live.visible:
        raise InputError(f"Twin {subject.wiring.name!r} knew nothing yet at {instant(moment.t)}: no reading had come")
    rows = start if past.last is None else min(past.last.first + len(past.last.rows), end)
    wall = reading.received(rows)
    if moment.event_time:
        before = [b for b in begun if wall is None or b.received <= wall]
        same(mine, before[-1] if before else begun[0], f"What was known of {instant(moment.t)}")
    last = run[-1]
    note = "" if last.software == software() else f"computed by {software()}; the live twin ran on {last.software}"
    return Recalled(live, moment, rows, wall, live.taken, _stopped(reading, subject.wiring.name, moment, rows), note)


def folded(subject: Subject, past: Past, moment: Moment) -> Until:
    """Fold what `past` holds, up to the moment."""
    base, binding = subject.base, subject.binding
    live = Until(
        base.face, ManualClock(moment.t), settings=base.settings, mirror=base.mirror, detector=base.detector,
        authority=base.authority, gauge=base.gauge, outlook=base.blueprint.outlook,
    )  # fmt: skip
    live.until = moment.t if moment.event_time else inf
    unwritten = cast(StoreWriter, None)  # a fold that only replays writes nothing
    fold = Fold(base, binding, Lane(live, Closed()), unwritten, lambda binding, outcome: None)
    with suppress(Enough):
        fold.replay(past, TagTable(past, [binding]))
    past.check_start(fold.began)
    return live


def _run(begun: Sequence[Raised], mine: str, moment: Moment) -> list[Raised]:
    """The starts since the twin has been as it was at the moment, up to then; at an event time: as it is now."""
    before = [b for b in begun if moment.event_time or b.received <= moment.t]
    if not before:
        when = f"; the first start that it tells of was at {instant(begun[0].received)}" if begun else ""
        raise InputError(f"The journal does not say what ran at {instant(moment.t)}{when}; give a later time")
    same(mine, before[-1], f"What was known at {instant(moment.t)}")
    first = len(before)
    while first and before[first - 1].identity == mine:
        first -= 1
    return before[first:]


def _between(
    subject: Subject, reading: Reading, run: Sequence[Raised], moment: Moment
) -> tuple[Mark | None, Mark | None]:
    """The newest snapshot before the moment that the twin of `run` made or went on from, and the one after it.

    None as the first: from the start of the journal.
    """
    first = run[0]
    known = [m for m in reading.marks(subject.wiring.name) if m.model == subject.base.model_hash]
    marks = [m for m in known if m.seq >= reading.first_seq and (m.seq > first.seq or m.seq == first.began > 0)]
    found, after = None, None
    for mark in marks:
        if _time(reading, mark, moment) <= moment.t:
            found, after = mark, None
        elif after is None:
            after = mark
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


def _stopped(reading: Reading, twin: str, moment: Moment, rows: int) -> bool:
    told = [e for e in reading.events(twin, ("stopped", "stop_reset")) if e.seq <= rows and moment.knew(e)]
    return bool(told) and told[-1].kind == "stopped"


def answer(found: Recalled) -> dict[str, Any]:
    """A recalled twin as JSON: the page's `Frame` of that moment, with what it rests on."""
    live, moment = found.live, found.moment
    state, wall = live.view, found.moment.t if not found.moment.event_time else (found.received or live.t)
    now = live.t if live.settings.time == "event" or moment.event_time else moment.t
    age = max((wall - (found.received or wall)) if live.settings.time == "event" else wall - state.belief.t, 0.0)
    stale, unknown, gauge = age > live.settings.stale_after, live.unknown(state), live.parts.gauge
    sd = np.sqrt(np.maximum(np.diag(state.belief.cov), 0.0))
    told = max(proposals.listed(state), key=lambda row: row["t"], default=None)
    return {
        "twin": live.face.name,
        "at": moment.t,
        "by": "event time" if moment.event_time else "wall clock",
        "meaning": moment.meaning,
        "t": state.belief.t,
        "belief": state.belief.id,
        "digest": digest_of(state.belief),
        "rows": found.rows,
        "received": found.received,
        "folded": found.steps,
        "note": found.note,
        "estimates": {
            s.name: {"mean": number(state.belief.mean[i]), "sd": number(float(sd[i])), "unit": s.unit}
            for i, s in enumerate(live.face.estimated)
        },
        "decision": told,
        "frame": {"settled": number(live.t)}
        | frames.frame(
            live.face, live.parts.authority, state, now=now, wall=wall, data_age=age, stale=stale,
            stopped=found.stopped, unknown=unknown,
            margins=None if gauge is None else gauge(state.belief),
        ),
    }  # fmt: skip
