"""What did we know at 14:03? A past belief, computed again from the journal, bit for bit as the live twin held it.

Two questions have two answers:

    by the wall clock  what the twin believed when the clock showed 14:03, from what had been received by then
    by event time      what the twin believed about 14:03, from all that it took in for that instant, also later

Both are the fold of a restart over a view of the store as it was (`Past`), from the newest snapshot before the
moment: so at most an hour of data is folded for a moment of the last day, a day's for one of the last year. It reads
over a connection of its own and shares only kernels, which are pure, with the live twin.
"""

from collections.abc import Callable, Sequence
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
from pollux.runtime.hindsight import Enough, Past, Whose, hindsight
from pollux.runtime.identity import identity
from pollux.runtime.intake import TagTable
from pollux.runtime.jsonable import number
from pollux.runtime.lane import Lane
from pollux.runtime.live import LiveTwin
from pollux.runtime.moments import Moment, instant
from pollux.runtime.store.reading import Reading
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
        fleets = [fleet.each.name for fleet in wiring.fleets]
        also = f"; or a member of the fleets {fleets} by its name, which `pollux twins` lists" if fleets else ""
        raise InputError(f"Say which twin: {name[:100]!r} is none of {known}{also}")
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
    name = subject.wiring.name
    seen = hindsight(
        Whose(name, subject.base.model_hash, identity(subject.base, subject.wiring)), reading, moment, alive
    )
    live = folded(subject, seen.past, moment)
    if not live.visible:
        raise InputError(f"Twin {name!r} knew nothing yet at {instant(moment.t)}: no reading had come")
    rows, wall, note = seen.rests_on(reading)
    return Recalled(live, moment, rows, wall, live.taken, _stopped(reading, name, moment, rows), note)


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
