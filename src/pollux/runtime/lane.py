"""One live twin on the event loop: steps and commands take turns, facts are durable before they take effect.

    step   readings -> live.step -> journal -> page
    act    intent -> live.decide -> journal (durable) -> live.apply -> actuators -> page

All mathematics runs in worker threads; the loop only waits.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, Protocol, TypeVar

from pollux.autonomy.policy import Principal
from pollux.core.errors import AccessError, InputError, PolluxError
from pollux.core.signals import Cause, Command, Finding, Readings
from pollux.runtime.events import Intent, StepResult
from pollux.runtime.hub import Hub
from pollux.runtime.live import LiveTwin
from pollux.runtime.outlooks import forecast_json
from pollux.runtime.ports import Actuators, AuditTrail, EventJournal, Site

P = ParamSpec("P")
R = TypeVar("R")

FRAME_GAP = 0.1
"""Shortest time between two frames, wall seconds: the page draws at most ten times a second."""
STRETCH = 256
"""Most steps made in one call of a worker thread; commands wait for no more."""
BUDGET = 0.05
"""Seconds after which such a call ends."""
SYSTEM = Principal("pollux", "operator", "service")
PLANNER = Principal("mpc", "operator", "service")


class Switch(Protocol):
    """The latched stop (`autonomy.killswitch.KillSwitch`)."""

    def stopped(self) -> bool:
        """Whether the stop is set; unknown counts as set."""
        ...

    def stop(self, who: str, reason: str, now: float) -> bool:
        """Set it."""
        ...

    def reset(self, who: Principal, reason: str) -> None:
        """Release it; raises `AccessError` unless a person does."""
        ...


class Lane:
    """One live twin with its journal, actuators, site and listeners."""

    def __init__(
        self,
        live: LiveTwin,
        journal: EventJournal,
        actuators: Actuators | None = None,
        *,
        switch: Switch | None = None,
        site: Site | None = None,
        trail: AuditTrail | None = None,
    ):
        self.live, self.journal, self.actuators = live, journal, actuators
        self.switch, self.site, self.trail = switch, site, trail
        self.hub = Hub()
        self.unfused: Counter[str] = Counter()
        """Readings that were stored and not fused since the start, by reason: `late`, `duplicate`, `future`."""
        self.sources: Callable[[], dict[str, Any]] = dict
        """What is known of each source's clock and delay; the fold says it."""
        self.dialogue: Any = None
        """Answers questions about this twin; trained at the first one (`serve.asking`)."""
        self.conversations: dict[str, Any] = {}
        """Person -> an agent's turn that waits for the decision on what it proposed."""
        self.training = asyncio.Lock()
        self.charts = asyncio.Event()
        """Set when the charts hold what the store holds."""
        self.charts.set()
        self._turn = asyncio.Lock()
        self._looking = asyncio.Lock()
        self._published = -FRAME_GAP
        self._pending: asyncio.TimerHandle | None = None
        self._safe = False
        """Whether the safe command went out since the stop was set."""
        if switch is not None:
            live.stopped = switch.stopped

    @property
    def name(self) -> str:
        """Name of the twin."""
        return self.live.face.name

    async def step(self, readings: Readings) -> StepResult:
        """Fold in a reading that is durable already."""
        return (await self.fold((readings,)))[0]

    async def fold(self, readings: Sequence[Readings]) -> list[StepResult]:
        """Fold in readings that are durable already: up to `STRETCH` of them in one call of a worker thread.

        A stretch ends where a step has events, so that these are kept with the belief that they came with.
        """
        results: list[StepResult] = []
        while len(results) < len(readings):
            async with self._turn:
                results += await asyncio.to_thread(self._steps, readings[len(results) : len(results) + STRETCH])
                if results[-1].events:
                    await self.journal.append(results[-1].events)
            if self.switch is not None and not self._safe and self.switch.stopped():
                await self.act(Intent("stop", SYSTEM, {"reason": "the stop file was found"}))
            self.publish_soon()
        return results

    def _steps(self, readings: Sequence[Readings]) -> list[StepResult]:
        done: list[StepResult] = []
        until = self.live.clock.monotonic() + BUDGET
        for each in readings:
            done.append(self.live.step(each))
            if done[-1].events or self.live.clock.monotonic() > until:
                break
        return done

    async def act(self, intent: Intent) -> Any:
        """Do what an intent asks for, or refuse: the answer. Raises `AccessError` or `InputError`."""
        if intent.kind == "stop":
            self._latch(intent)
            if not self.live.ready:
                return {"stopped": True, "safe": {}}
        if intent.kind == "reset_stop":
            self._release(intent)
        async with self._turn:
            outcome = await asyncio.to_thread(self.live.decide, intent)
            if outcome.events:
                try:
                    await self.journal.append(outcome.events)
                except PolluxError:
                    if intent.kind != "stop":  # a stop works with the store down; everything else does not happen
                        raise
            for event in outcome.events:
                self.live.apply(event)
            unsent = [await self._send(command) for command in outcome.commands]
            self._safe = self._safe or intent.kind == "stop"
        for finding in filter(None, unsent):
            await self.report(finding)
        self.publish_soon()
        return outcome.answer

    async def look_ahead(self) -> None:
        """Make the forecast and the plan that are due, and close vetoes that have run out."""
        if self._looking.locked():
            return
        async with self._looking:
            due = self.live.due()
            if "forecast" in due:
                forecast = await asyncio.to_thread(self.live.foresee)
                self.live.keep(forecast)
                await self.act(Intent("foreseen", SYSTEM, {"forecast": forecast}))
                self.publish_forecast()
            if "veto" in due:
                await self.act(Intent("close_vetoes", SYSTEM))
            if "plan" in due:
                await self.ask_planner()

    async def ask_planner(self) -> Any:
        """Plan and let the plan be judged: the proposal, or None when the planner has nothing better."""
        decision = await asyncio.to_thread(self.live.plan)
        return await self.act(Intent("propose_decision", PLANNER, {"decision": decision}))

    async def answered(self, command: str, status: str) -> None:
        """An actuator said what became of a command."""
        if self.live.ready and command in self.live.state.waiting:
            await self.act(Intent("answered", SYSTEM, {"command": command, "status": status}))

    async def report(self, finding: Finding) -> None:
        """Show something that is wrong outside the twin as an alarm, until it is withdrawn."""
        await self.act(Intent("report", SYSTEM, {"finding": finding}))

    async def withdraw(self, cause: str, subject: str) -> None:
        """What was reported is over."""
        if any((str(f.cause), f.subject) == (cause, subject) for f in self.live.state.reported):
            await self.act(Intent("withdraw", SYSTEM, {"cause": cause, "subject": subject}))

    async def fault(self, intent: Intent) -> Any:
        """Tell a demo plant to have a fault. Raises `AccessError` where the asset is real."""
        if self.site is None or not self.live.face.faults:
            raise AccessError(f"Twin {self.name!r} mirrors a real asset: faults are injected into demo plants only")
        p = intent.params
        known: dict[str, set[str]] = {"clear": set()}
        for f in self.live.face.faults:
            known.setdefault(f.kind, set()).update(f.where)
        if p["kind"] not in known:
            raise InputError(f"The plant knows the faults {sorted(known)}, received {p['kind']!r}")
        if known[p["kind"]] and p["where"] not in known[p["kind"]]:
            raise InputError(f"`where` is one of {sorted(known[p['kind']])} for this fault, received {p['where']!r}")
        await self.site.fault(p["kind"], p["where"], p["size"], p["duration"])
        return await self.act(intent)

    async def aside(self, fn: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Pure work in a worker thread; steps go on meanwhile."""
        return await asyncio.to_thread(fn, *args, **kwargs)

    def publish(self) -> None:
        """Send a frame to all listeners."""
        self._pending = None
        if len(self.hub) == 0 or not self.live.visible:
            return
        self._published = self.live.clock.monotonic()
        self.hub.publish("frame", dumps(self.live.frame()))

    def publish_forecast(self) -> None:
        """Send the kept forecast to all listeners."""
        forecast = self.live.forecast
        if forecast is not None:
            self.hub.publish("forecast", dumps({"type": "forecast", **forecast_json(self.live.face, forecast)}))

    def publish_soon(self) -> None:
        """Send a frame when the last is `FRAME_GAP` old."""
        if self._pending is None:
            wait = self._published + FRAME_GAP - self.live.clock.monotonic()
            self._pending = asyncio.get_running_loop().call_later(max(wait, 0.0), self.publish)

    async def _send(self, command: Command) -> Finding | None:
        """Send; what could not be sent is a finding, and the command stays unanswered: unknown is never done."""
        why = "no actuator is connected (shadow mode)"
        try:
            if self.actuators is not None:
                await self.actuators.send(command)
                return None
        except PolluxError as error:
            why = str(error)
        return Finding(
            self.name, command.t, f"{command.id}/unsent", command.id, Cause.SYSTEM, "actuators",
            f"Command {command.id} could not be sent: {why}", 1, {"sequence": float(command.sequence)},
        )  # fmt: skip

    def _latch(self, intent: Intent) -> None:
        if self.switch is None:
            raise AccessError(f"Twin {self.name!r} has no stop switch; it sends no commands")
        self.switch.stop(intent.by.name, intent.params.get("reason", ""), self.live.clock.now())
        self._safe = False

    def _release(self, intent: Intent) -> None:
        if self.switch is None:
            raise AccessError(f"Twin {self.name!r} has no stop switch; it sends no commands")
        self.switch.reset(intent.by, intent.params.get("reason", ""))


def dumps(value: Any) -> str:
    """Strict JSON, compact."""
    return json.dumps(value, allow_nan=False, separators=(",", ":"))
