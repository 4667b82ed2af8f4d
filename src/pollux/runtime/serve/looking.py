"""Capabilities that only look: what a twin is, where it is, what it was, what it expects."""

import asyncio
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from pollux.core.errors import AccessError, InputError
from pollux.runtime import proposals
from pollux.runtime.explain import explain
from pollux.runtime.frames import alarm_json, face_json, sensors
from pollux.runtime.jsonable import number, numbers
from pollux.runtime.moments import moment
from pollux.runtime.outlooks import forecast_json
from pollux.runtime.rings import Z95, Span
from pollux.runtime.roster import SORTS, View
from pollux.runtime.serve.capability import Call, Capability, NoParams
from pollux.runtime.serve.strict import Params

Hours = Annotated[float, Field(gt=0, le=24 * 366, description="Length of the horizon in hours")]
Values = Annotated[
    dict[str, float], Field(min_length=1, max_length=64, description="Input name -> value, in the input's own unit")
]
Id = Annotated[str, Field(min_length=1, max_length=200)]


class TwinsParams(Params):
    """Which rows of the fleet."""

    q: str = Field("", max_length=200, description="Words that all occur in the name, title, kind or status")
    status: str = Field("", max_length=10, description="Only `act`, `watch` or `good`; empty = all")
    sort: str = Field("worst", max_length=20, description=f"{', '.join(SORTS)}; `-` in front turns it round")
    offset: int = Field(0, ge=0, le=10**9, description="Rows to skip")
    limit: int = Field(1000, ge=1, le=5000, description="Most rows in the answer; `matched` says how many there are")


class HistoryParams(Params):
    """Which signals, from when to when, in how many points."""

    signals: str = Field("", max_length=4000, description="Names, comma-separated; empty = all sensors")
    start: float | None = Field(None, description="Seconds since 1970 UTC (event time); left out = the oldest kept")
    end: float | None = Field(None, description="Seconds since 1970 UTC (event time); left out = now")
    points: int = Field(1000, ge=2, le=20_000)


class ReadingsParams(HistoryParams):
    """Which signals, from when to when, in how many points of each."""

    points: int = Field(1000, ge=4, le=20_000)


class ForecastParams(Params):
    """How far to look ahead."""

    hours: Hours | None = Field(None, description="Hours ahead; left out = the twin's whole horizon")


class IdParams(Params):
    """What to explain."""

    id: Id = Field(description="Id of an alarm, a proposal or a command")


class RecallParams(Params):
    """Which moment, and on which clock."""

    at: str = Field(min_length=1, max_length=100, description="2026-11-24T14:03 (UTC unless it says), or seconds")
    event_time: bool = Field(False, description="What was believed about this time, not at this time")
    plant_clock: bool = Field(
        False, description="`at` is what the plant's own clock showed; where it keeps wall time, the same"
    )


class AlarmParams(Params):
    """Which alarms."""

    all: bool = Field(False, description="Also those that have cleared")


class AuditParams(Params):
    """How many records."""

    n: int = Field(50, ge=1, le=1000)


async def twins(call: Call[TwinsParams]) -> dict[str, Any]:
    """The fleet, worst first; as many rows as are asked for."""
    p = call.params
    return await asyncio.to_thread(call.host.roster.page, View(p.q, p.status, p.sort), p.offset, p.limit)


async def describe(call: Call[NoParams]) -> dict[str, Any]:
    """The definition as people see it."""
    return face_json(call.live.face)


async def observe(call: Call[NoParams]) -> dict[str, Any]:
    """The present frame."""
    return await call.lane.aside(call.live.frame)


async def history(call: Call[HistoryParams]) -> dict[str, Any]:
    """Measured and estimated values over time."""
    p, live = call.params, call.live
    start, end = _span(p)
    await call.lane.charts.wait()
    span = await call.lane.aside(live.ring.span, start, end, p.points)
    names = [n for n in p.signals.split(",") if n] or [s.name for s in live.face.sensors]
    return {"t": span.t.tolist(), "signals": {n: _columns(call, span, n) for n in names}}


async def readings(call: Call[ReadingsParams]) -> dict[str, Any]:
    """What was measured over any span, however long, with every peak."""
    start, end, p = *_span(call.params), call.params
    signals = [n for n in p.signals.split(",") if n]
    found = await call.host.archive.readings(call.twin, signals, start, end, p.points)
    return {"signals": {name: {"t": t.tolist(), "measured": numbers(v)} for name, (t, v) in found.items()}}


def _span(p: HistoryParams) -> tuple[float, float]:
    start = -np.inf if p.start is None else p.start
    end = np.inf if p.end is None else p.end
    if start > end:
        raise InputError(f"`start` must not be after `end`, received {p.start!r} > {p.end!r}")
    return start, end


async def forecast(call: Call[ForecastParams]) -> dict[str, Any]:
    """What is expected under the present plan; the kept forecast while it is of the present belief."""
    live, kept = call.live, call.live.forecast
    if kept is None or kept.source != live.view.belief.id:
        kept = await call.lane.aside(live.foresee)
        live.keep(kept)
    return forecast_json(live.face, kept, call.params.hours)


async def diagnose(call: Call[NoParams]) -> dict[str, Any]:
    """What is wrong now, how every sensor is doing, and whether the filter is honest about itself."""
    from pollux.runtime.quarantine import WHY
    from pollux.runtime.trust import WINDOW, trust  # loads SciPy, which the command line does not need

    live, state = call.live, call.live.state
    b = state.belief
    rows = sensors(live.face, state)
    with np.errstate(invalid="ignore", divide="ignore"):
        squared = b.innovation**2 / b.innovation_var
    judged = await call.lane.aside(trust, live.face, state, live.ring.last(WINDOW))
    return {
        "findings": [alarm_json(a) for a in state.alarms.open()],
        "nis": number(b.nis),
        "nis_dof": b.nis_dof,
        "sensors": {
            s.name: {"health": rows[s.name]["health"], "age": rows[s.name]["age"], "nis": number(squared[i])}
            for i, s in enumerate(live.face.sensors)
        },
        "trust": judged,
        "time": call.lane.sources(),
        "unfused": {reason: call.lane.unfused[reason] for reason in WHY},
        "refused": dict(call.host.refused()),
    }


async def explain_(call: Call[IdParams]) -> dict[str, Any]:
    """Why: from recorded numbers."""
    return await call.lane.aside(explain, call.live, call.params.id)


async def recall(call: Call[RecallParams]) -> dict[str, Any]:
    """What the twin knew at a moment."""
    p = call.params
    return await call.host.archive.recall(call.twin, moment(p.at, p.event_time, p.plant_clock))


async def alarms(call: Call[AlarmParams]) -> dict[str, Any]:
    """The alarm list, most urgent first."""
    book = call.live.state.alarms
    shown = list(book.open())
    if call.params.all:
        shown += [a for a in reversed(book.alarms) if not a.open]
    return {"alarms": [alarm_json(a) for a in shown], "suppressed": book.suppressed}


async def list_proposals(call: Call[NoParams]) -> dict[str, Any]:
    """What is or was proposed; what waits first."""
    return {"proposals": proposals.listed(call.live.state)}


async def audit(call: Call[AuditParams]) -> dict[str, Any]:
    """The last records of the audit chain, and whether the whole chain verifies."""
    trail = call.lane.trail
    if trail is None:
        raise AccessError(f"Twin {call.twin!r} keeps no audit log; it has no policy and sends no commands")
    records, verified = await call.lane.aside(trail.last, call.params.n)
    return {"records": records, "verified": verified}


def _columns(call: Call[Any], span: Span, name: str) -> dict[str, list[float | None]]:
    face = call.live.face
    for i, s in enumerate(face.sensors):
        if s.name == name:
            mean, sd = span.predicted[:, i], span.predicted_sd[:, i]
            return {"measured": numbers(span.measured[:, i])} | _band(mean, sd)
    for i, s in enumerate(face.estimated):
        if s.name == name:
            return _band(span.mean[:, i], span.sd[:, i])
    for i, s in enumerate(face.inputs):
        if s.name == name:
            return {"mean": numbers(span.inputs[:, i])}
    known = [s.name for s in (*face.sensors, *face.estimated, *face.inputs)]
    raise InputError(f"`{face.name}` has no signal {name[:100]!r}; it has {known}")


def _band(mean: np.ndarray, sd: np.ndarray) -> dict[str, list[float | None]]:
    return {"mean": numbers(mean), "low": numbers(mean - Z95 * sd), "high": numbers(mean + Z95 * sd)}


LOOKING: tuple[Capability, ...] = (
    Capability(
        "twins",
        "query",
        "viewer",
        TwinsParams,
        "{twins: TwinCard[], offset, matched, total, counts, figures}",
        "List the twins, worst first: their status, health and alarms.",
        twins,
        scope="fleet",
    ),
    Capability(
        "describe",
        "query",
        "viewer",
        NoParams,
        "Describe",
        "What the twin is: its signals, units, limits.",
        describe,
    ),
    Capability(
        "observe",
        "query",
        "viewer",
        NoParams,
        "Frame",
        "Where the twin is now: sensors, estimates, margins, alarms, proposals.",
        observe,
    ),
    Capability(
        "history",
        "query",
        "viewer",
        HistoryParams,
        "History",
        "Measured and estimated values over time.",
        history,
    ),
    Capability(
        "readings",
        "query",
        "viewer",
        ReadingsParams,
        "{signals: {NAME: {t, measured}}}",
        "What was measured over any span, from the journal: of each part the smallest and the largest reading.",
        readings,
    ),
    Capability(
        "forecast",
        "query",
        "viewer",
        ForecastParams,
        "Forecast",
        "What is expected under the present plan, with intervals and the probability that each limit is violated.",
        forecast,
    ),
    Capability(
        "diagnose",
        "query",
        "viewer",
        NoParams,
        "Diagnosis",
        "What is wrong now, the health of every sensor, whether the estimate can be trusted, and late or refused data.",
        diagnose,
    ),
    Capability(
        "explain",
        "query",
        "viewer",
        IdParams,
        "Explanation",
        "Why an alarm was raised or an action proposed, from recorded numbers.",
        explain_,
    ),
    Capability(
        "recall",
        "query",
        "viewer",
        RecallParams,
        "{at, by, t, digest, estimates, decision, frame: Frame, ...}",
        "What the twin knew at a past moment, computed again from the journal, bit for bit.",
        recall,
    ),
    Capability(
        "alarms",
        "query",
        "viewer",
        AlarmParams,
        "{alarms: Alarm[]}",
        "The alarm list, most urgent first.",
        alarms,
    ),
    Capability(
        "proposals",
        "query",
        "viewer",
        NoParams,
        "{proposals: Proposal[]}",
        "Actions that wait for an approval, and what became of earlier ones.",
        list_proposals,
    ),
    Capability(
        "audit",
        "query",
        "engineer",
        AuditParams,
        "{records, verified}",
        "The last records of the audit chain, and whether the chain verifies.",
        audit,
    ),
)
