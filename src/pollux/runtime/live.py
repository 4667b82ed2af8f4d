"""One live twin: the fold over its readings and over what people and planners did. Synchronous; no I/O.

    readings -> mirror -> detector -> alarms -> level        `step`
    intent   -> (guard) -> events, commands, answer          `decide` (changes nothing)
    event    -> state                                        `apply`

The kernels are opaque. Everything that a restart needs is in `state`, a value.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import nan
from typing import Any

import numpy as np

from pollux.autonomy.authorise import Audit, Authority, begin
from pollux.core.errors import InputError, PolluxError
from pollux.core.signals import Belief, Cause, Decision, Finding, Forecast, Level, Readings
from pollux.core.time import Clock
from pollux.runtime import alarms, asked, desk, findings, folding, frames
from pollux.runtime.alarms import AlarmBook
from pollux.runtime.estimate import Estimate, advance
from pollux.runtime.estimate import begin as begin_estimate
from pollux.runtime.events import Event, Intent, Outcome, StepResult
from pollux.runtime.face import TwinFace
from pollux.runtime.failing import contained
from pollux.runtime.outlooks import Plan, expected_inputs, grid, with_values
from pollux.runtime.ports import Detector, Forecaster, Gauge, Mirror, Planner
from pollux.runtime.rings import Ring
from pollux.runtime.settings import LiveSettings
from pollux.runtime.state import EXPLAINED, LiveState

log = logging.getLogger("pollux.live")

Outlook = Callable[[Belief, np.ndarray], np.ndarray]
"""(belief, times (k,)) -> expected inputs (k, u); NaN where it says nothing."""


@dataclass
class Parts:
    """The kernels of one twin, as far as they are compiled."""

    mirror: Mirror | None = None
    detector: Detector | None = None
    forecaster: Forecaster | None = None
    planner: Planner | None = None
    authority: Authority | None = None
    gauge: Gauge | None = None
    outlook: Outlook | None = None


class LiveTwin:
    """Everything about one live twin. One thread at a time may call `step` and `apply`; the rest only reads."""

    def __init__(
        self,
        face: TwinFace,
        clock: Clock,
        *,
        settings: LiveSettings | None = None,
        audit: Audit | None = None,
        stopped: Callable[[], bool] = lambda: False,
        **parts: Any,
    ):
        """`audit` is called before any command exists and returns when its record is durable."""
        self.face, self.clock = face, clock
        self.settings = settings or LiveSettings()
        self.audit: Audit = audit or (lambda kind, t, body: None)
        self.stopped = stopped
        self.parts = Parts()
        self.ring = self.new_ring()
        self.forecast: Forecast | None = None
        self.present: Estimate | None = None
        """What is known since the settled belief (see `present`); None where there is nothing newer."""
        self.sensor_names = frozenset(s.name for s in face.sensors)
        self._state: LiveState | None = None
        self._stepped = clock.monotonic()
        self.attach(**parts)

    def new_ring(self) -> Ring:
        """An empty ring buffer for the charts of this twin."""
        face = self.face
        return Ring(self.settings.chart_points, len(face.estimated), len(face.sensors), len(face.inputs))

    def attach(self, **parts: Any) -> None:
        """Take kernels as they get compiled: mirror, detector, forecaster, planner, authority, gauge, outlook."""
        for name, part in parts.items():
            if not hasattr(self.parts, name):
                raise TypeError(f"A live twin has no part {name!r}; it has {sorted(vars(self.parts))}")
            setattr(self.parts, name, part)
        authority = self.parts.authority
        if self._state is not None and authority is not None and self._state.autonomy is None:
            self._state = replace(self._state, autonomy=begin(authority.policy))

    @property
    def ready(self) -> bool:
        """Whether there is a belief to look at."""
        return self._state is not None

    @property
    def state(self) -> LiveState:
        """The state. Raises `InputError` before the first reading."""
        if self._state is None:
            raise InputError(f"Twin {self.face.name!r} has not seen a reading yet; wait for its first data")
        return self._state

    @property
    def visible(self) -> bool:
        """Whether there is something to look at: a settled belief, or a present one."""
        return self._state is not None or self.present is not None

    @property
    def view(self) -> LiveState:
        """The state with the present estimate: what people and forecasts look at. Raises `InputError`."""
        now, state = self.present, self._state
        if now is None or (state is not None and now.belief.t <= state.belief.t):
            return self.state
        state = state or self._begin(now.belief.t)
        return replace(state, **vars(now))

    @property
    def t(self) -> float:
        """Time of the settled belief, NaN before the first."""
        return nan if self._state is None else self._state.belief.t

    def now(self) -> float:
        """The twin's present: the clock's, or its newest reading's where the plant runs at its own speed."""
        return self.t if self.settings.time == "event" else self.clock.now()

    # ---------------------------------------------------------------- the folds

    def step(self, readings: Readings) -> StepResult:
        """Fold in one reading: belief, anomalies, alarms, level.

        A reading that mirror or detector cannot take leaves the belief as it was and is an alarm, so that one bad twin
        does not end a fleet. Raises `InputError` while there is no mirror.
        """
        before = self._state or self._begin(readings.t)
        try:
            now, found = advance(self.parts, self.sensor_names, before, readings)
        except Exception as error:
            return self._failed(before, readings, error)
        belief = now.belief
        active = (*found, *self._own_findings(before, belief))
        book = alarms.follow(before.alarms, active, belief.t)
        state = replace(
            before,
            belief=belief,
            detector=now.detector,
            alarms=book,
            seen=now.seen,
            raised=_raised(before.raised, book, belief),
            suspects=now.suspects,
        )
        if self.parts.authority is not None:
            unknown = self.unknown(state)
            state = replace(state, measured=desk.measured(self.parts.authority, state, readings))
            state = replace(state, autonomy=desk.follow(self.parts.authority, state, belief, unknown))
        self._state = state
        self.ring.add(readings, belief)
        self._stepped = self.clock.monotonic()
        raised = {id for what, id in book.changes if what == "raised"}
        sources = {a.source for a in book.alarms if a.id in raised}
        new = tuple(f for f in active if f.id in sources)
        return StepResult(belief, new, tuple(self._alarm_events(book, before, state)))

    def decide(self, intent: Intent) -> Outcome:
        """What an intent leads to. Changes nothing; raises `AccessError` or `InputError` when it is refused."""
        from pollux.runtime.intents import HANDLERS

        if intent.kind not in HANDLERS:
            raise InputError(f"A live twin does not know {intent.kind!r}; it knows {sorted(HANDLERS)}")
        intent = replace(intent, at=self.now(), stopped=self.stopped())
        outcome = HANDLERS[intent.kind](self, intent)
        return asked.noted(outcome, intent, self.parts.forecaster is not None)

    def apply(self, event: Event) -> None:
        """Fold in one event. Derived ones came with their readings and change nothing."""
        if not event.derived:
            self._state = folding.apply(self.state, event, self.parts.authority)

    def adopt(self, estimate: Estimate) -> None:
        """Go on from another estimate of the same time; alarms, levels and proposals stay."""
        self._state = replace(self.state, **vars(estimate))

    def snapshot(self) -> LiveState | None:
        """The state to keep; None before the first reading."""
        return self._state

    def restore(self, state: LiveState) -> None:
        """Go on from a kept state."""
        self._state = state
        self.attach()

    def shown(self, state: LiveState, readings: Readings) -> None:
        """Take a state that another computed from these readings: a fleet, whose kernel steps all members at once."""
        self._state = state
        self.ring.add(readings, state.belief)
        self._stepped = self.clock.monotonic()

    # ---------------------------------------------------------------- looking ahead (pure, slow)

    def due(self) -> tuple[str, ...]:
        """Which of `forecast` and `plan` should be made now."""
        if self._state is None:
            return ()
        s, state = self.settings, self._state
        found = []
        if self.parts.forecaster and not state.belief.t - state.forecast_t < s.forecast_every:
            found.append("forecast")
        if self.parts.planner and s.plan_every > 0 and not state.belief.t - state.plan_t < s.plan_every:
            found.append("plan")
        if self.parts.authority and state.autonomy and self._overdue(state):
            found.append("veto")
        return tuple(found)

    def foresee(
        self, values: dict[str, float] | None = None, *, hours: float | None = None, state: LiveState | None = None
    ) -> Forecast:
        """Forecast from the present: as planned, or with some inputs held at `values` (for `hours`, then as planned).

        Raises `InputError` for an unknown input, and while the forecaster is being compiled.
        """
        forecaster, state = self.parts.forecaster, state or self.view
        if forecaster is None:
            raise InputError(f"The forecaster of {self.face.name!r} is not there (yet); try again in a moment")
        times = grid(state.belief, self.settings)
        rows = self.expected(state, times)
        if values:
            last = np.inf if hours is None else state.belief.t + 3600.0 * hours
            rows = np.where((times <= last)[:, None], with_values(self.face, rows, values), rows)
        samples, seed = self.settings.samples, self.settings.seed
        with contained(f"The forecast of {self.face.name!r}"):
            return forecaster.forecast(state.belief, times, rows, samples=samples, seed=seed)

    def expected(self, state: LiveState, times: np.ndarray) -> np.ndarray:
        """Inputs (k, u) that are expected at `times`: the running plan, else the outlook, else as now."""
        outlook = self.parts.outlook
        said = None if outlook is None else Plan(times, outlook(state.belief, times))
        return expected_inputs(state.belief, times, state.plan, said)

    def outlook(self, state: LiveState) -> tuple[np.ndarray, np.ndarray]:
        """Expected inputs as planner and guard take them: times (k,), values (k, u)."""
        times = grid(state.belief, self.settings)
        return times, self.expected(state, times)

    def plan(self) -> Decision | None:
        """Ask the planner. Raises `InputError` when there is none."""
        if self.parts.planner is None:
            raise InputError(f"Twin {self.face.name!r} has no planner; wire one, or propose an action yourself")
        state = self.state
        with contained(f"The plan of {self.face.name!r}"):
            return self.parts.planner.plan(state.belief, outlook=self.outlook(state))

    def keep(self, forecast: Forecast) -> None:
        """Show this forecast. Its crossings enter the fold by the intent `foreseen`."""
        self.forecast = forecast

    # ---------------------------------------------------------------- looking

    def unknown(self, state: LiveState) -> bool:
        """Whether a command was sent and not answered in time."""
        return any(state.belief.t - t > self.settings.ack_within for t in state.waiting.values())

    def level(self) -> Level:
        """The level that holds now."""
        state = self.state
        return desk.level(self.parts.authority, state, self.now(), self.unknown(state))

    def data_age(self) -> float:
        """How old what is shown is, in wall seconds."""
        quiet = self.clock.monotonic() - self._stepped
        return quiet if self.settings.time == "event" else max(self.clock.now() - self.t, 0.0)

    def frame(self) -> dict[str, Any]:
        """`Frame` of the contract: the present. `settled` is the time of the belief that nothing changes any more."""
        state, age = self.view, self.data_age()
        gauge = self.parts.gauge
        return {"settled": None if self._state is None else self.t} | frames.frame(
            self.face,
            self.parts.authority,
            state,
            now=self.now(),
            wall=self.clock.now(),
            data_age=age,
            stale=age > self.settings.stale_after,
            stopped=self.stopped(),
            unknown=self.unknown(state),
            margins=None if gauge is None else gauge(state.belief),
        )

    def card(self) -> dict[str, Any]:
        """A row of the fleet page; a twin that waits for its first reading has one too."""
        if not self.visible:
            return {
                "name": self.face.name, "title": self.face.title, "kind": self.face.kind, "status": "watch",
                "health": 0.0, "t": None, "data_age": self.clock.monotonic() - self._stepped, "alarms": 0,
                "level": 0, "figures": [],
            }  # fmt: skip
        state, age = self.view, self.data_age()
        return frames.card(
            self.face, self.parts.authority, state, now=self.now(), data_age=age,
            stale=age > self.settings.stale_after, unknown=self.unknown(state),
        )  # fmt: skip

    # ---------------------------------------------------------------- inside

    def begin(self, t: float) -> Estimate:
        """The estimate before any reading. Raises `InputError` while there is no mirror."""
        return begin_estimate(self.parts, t, len(self.face.sensors))

    def _begin(self, t: float) -> LiveState:
        first, authority = self.begin(t), self.parts.authority
        return LiveState(
            belief=first.belief,
            detector=first.detector,
            alarms=AlarmBook(clear_after=self.settings.clear_after),
            autonomy=begin(authority.policy) if authority else None,
            seen=first.seen,
        )

    def _failed(self, before: LiveState, readings: Readings, error: Exception) -> StepResult:
        """The step after which nothing is known that was not known before, except that it failed."""
        log.error("step failed", exc_info=error, extra={"data": {"twin": self.face.name, "readings": readings.id}})
        said = str(error) if isinstance(error, PolluxError) else f"{type(error).__name__} in the model or the detector"
        t = max(readings.t, before.belief.t)
        found = Finding(
            self.face.name, t, f"{readings.id}/failed", readings.id, Cause.SYSTEM, "estimation",
            f"A reading could not be used: {said}", 1, {"t": readings.t},
        )  # fmt: skip
        book = alarms.follow(before.alarms, (found, *self._own_findings(before, before.belief)), t)
        self._state = replace(before, alarms=book)
        new = (found,) if any(what == "raised" for what, _ in book.changes) else ()
        return StepResult(before.belief, new, tuple(self._alarm_events(book, before, self._state)))

    def _own_findings(self, state: LiveState, belief: Belief) -> tuple[Finding, ...]:
        s = self.settings
        return (
            *findings.silent(self.face, belief),
            *findings.limits(self.face, belief, state.crossings, state.crossings_from, s.likely),
            *findings.unanswered(self.face.name, belief.t, belief.id, state.waiting, s.ack_within),
            *state.reported,
        )

    def _alarm_events(self, book: AlarmBook, before: LiveState, after: LiveState) -> list[Event]:
        t, twin = after.belief.t, self.face.name
        made = alarms.events(book, twin, t)
        old, new = before.autonomy, after.autonomy
        if old and new and new.levels.granted != old.levels.granted:
            data = {"level": int(new.levels.granted), "why": list(new.levels.lowered) or [new.levels.by]}
            made.append(Event(twin, t, f"{after.belief.id}/level", "level_lowered", "guard", data, derived=True))
        return made

    def _overdue(self, state: LiveState) -> bool:
        assert state.autonomy is not None
        now = self.now()
        return any(
            now >= p.expires or (p.auto_at is not None and now >= p.auto_at) for p in state.autonomy.approvals.open
        )


def _raised(before: Mapping[str, Belief], book: AlarmBook, belief: Belief) -> Mapping[str, Belief]:
    """The beliefs that explain the newest alarms."""
    new = {id: belief for what, id in book.changes if what in ("raised", "escalated")}
    if not new:
        return before
    known = {a.id for a in book.alarms}
    kept = {id: b for id, b in {**before, **new}.items() if id in known}
    return dict(list(kept.items())[-EXPLAINED:])
