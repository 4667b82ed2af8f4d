"""The heated tank of the README as a live twin: real mirror, real guard, and a plain NumPy forecaster and detector."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pollux.autonomy.authorise import Authority
from pollux.autonomy.judgement import Plant
from pollux.autonomy.killswitch import KillSwitch
from pollux.autonomy.policy import Actuator, Policy
from pollux.autonomy.twin_check import build_twin_check
from pollux.core.signals import Belief, Cause, Command, Crossing, Decision, Finding, Forecast, Level, Readings
from pollux.core.time import ManualClock
from pollux.mirror.update import build_mirror
from pollux.model.augment import augment
from pollux.model.statespace import flatten
from pollux.runtime.archive import Archive
from pollux.runtime.events import Event
from pollux.runtime.face import FaultKind, face_of
from pollux.runtime.lane import Lane
from pollux.runtime.live import LiveTwin
from pollux.runtime.roster import Cards, Roster
from pollux.runtime.settings import LiveSettings

T0 = 1_700_000_000.0
STEP = 10.0


@dataclass(frozen=True)
class TankForecaster:
    """Ensemble of Euler runs of the tank's equations, in NumPy."""

    def forecast(
        self, belief: Belief, plan_times: np.ndarray, plan: np.ndarray, *, samples: int, seed: int
    ) -> Forecast:
        rng = np.random.default_rng(seed)
        root = np.linalg.cholesky(belief.cov + 1e-12 * np.eye(len(belief.mean)))
        x = belief.mean[:, None] + root @ rng.standard_normal((len(belief.mean), samples))
        rows = []
        for k, t in enumerate(plan_times):
            rows.append(x[:2].copy())
            dt = (plan_times[k + 1] - t) if k + 1 < len(plan_times) else 0.0
            for _ in range(20):
                h, T, q, heat = np.maximum(x[0], 0.01), x[1], plan[k, 0], plan[k, 1]
                x[0] += dt / 20 * (q - 0.01 * np.sqrt(h)) / 0.5
                x[1] += dt / 20 * ((heat - 50 * (T - 293)) / (4.18e6 * 0.5 * h) + q * (293 - T) / (0.5 * h))
        states = np.quantile(np.array(rows), (0.05, 0.5, 0.95), axis=2)
        margins = np.stack([states[..., 0] - 0.2, 350.0 - states[..., 1]], axis=-1)
        dry = np.array(rows)[:, 0] < 0.2
        crossings = (
            Crossing("dry", float(dry.any(axis=0).mean()), np.nan, np.nan),
            Crossing("hot", 0.0, np.nan, np.nan),
        )
        return Forecast(
            belief.twin, belief.t, f"{belief.id}/forecast", belief.id, plan_times, plan, (0.05, 0.5, 0.95),
            states, states, margins, crossings, samples,
        )  # fmt: skip


@dataclass(frozen=True)
class Memory:
    """State of `LevelDetector`."""

    run: int = 0


class LevelDetector:
    """Three gated level readings in a row are a sensor fault."""

    def start(self) -> Memory:
        return Memory()

    def update(self, state: Memory, belief: Belief) -> tuple[Memory, tuple[Finding, ...]]:
        nu, var = belief.innovation[0], belief.innovation_var[0]
        bad = np.isfinite(nu) and nu**2 > 16 * var
        state = Memory(state.run + 1 if bad else 0)
        if state.run < 3:
            return state, ()
        finding = Finding(
            belief.twin, belief.t, f"{belief.id}/level", belief.id, Cause.SENSOR, "level",
            "Level disagrees with the model", 2, {"innovation": float(nu)},
        )  # fmt: skip
        return state, (finding,)


class HalfFlow:
    """A planner that always wants the inflow at 0.012 m^3/s."""

    def plan(self, belief: Belief, *, outlook: tuple[np.ndarray, np.ndarray]) -> Decision | None:
        times, rows = outlook
        rows = rows.copy()
        rows[:, 0] = 0.012
        return Decision(
            belief.twin, belief.t, f"{belief.id}/plan", belief.id, "mpc", {"q_in": 0.012}, times, rows,
            belief.t + 3600.0, "keeps the level", {"energy [kWh]": 1.0, "without_energy [kWh]": 2.0},
        )  # fmt: skip


@dataclass
class Journal:
    """Keeps events in a list; `broken` makes it fail as a full disk does."""

    events: list[Event] = field(default_factory=list)
    broken: Exception | None = None

    async def append(self, events: Any) -> None:
        if self.broken:
            raise self.broken
        self.events.extend(events)


@dataclass
class Pump:
    """Remembers what was sent."""

    sent: list[Command] = field(default_factory=list)

    async def send(self, command: Command) -> None:
        self.sent.append(command)


@dataclass
class DemoSite:
    """Remembers the faults that were asked for."""

    faults: list[tuple[Any, ...]] = field(default_factory=list)

    async def fault(self, *what: Any) -> None:
        self.faults.append(what)


@dataclass
class Trail:
    """An audit trail in a list."""

    records: list[dict[str, Any]] = field(default_factory=list)

    def __call__(self, kind: str, t: float, body: Any) -> None:
        self.records.append({"n": len(self.records) + 1, "kind": kind, "t": t, "body": dict(body)})

    def last(self, n: int) -> tuple[list[dict[str, Any]], bool]:
        return self.records[-n:], True


@dataclass
class TankHost:
    """An engine without connectors."""

    clock: ManualClock
    phase: str = "live"
    lane: Lane | None = None
    pushed: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.fleets = {}
        self.archive = Archive(self.clock)
        self.roster = Roster(lambda: [Cards([lane.live.card() for lane in self.lanes().values()])], self.clock)

    def lanes(self) -> dict[str, Lane]:
        return {} if self.lane is None else {self.lane.name: self.lane}

    def refused(self) -> dict[str, int]:
        return {"unit": 2}

    async def push(self, readings: list[dict[str, Any]], source: str) -> dict[str, Any]:
        self.pushed += readings
        return {"accepted": len(readings), "refused": []}


@dataclass(frozen=True)
class Kit:
    """What takes time to compile, once a session."""

    space: Any
    mirror: Any
    check: Any


def compile_kit(tank: Any) -> Kit:
    """Mirror and twin check of the tank with `k` tracked."""
    space = flatten(tank)
    wide = augment(space, ("k",))
    return Kit(
        space, build_mirror(tank, name="tank", track=("k",), every=STEP), build_twin_check(wide, longest_step=60.0)
    )


def policy(level: Level = Level.APPROVE) -> Policy:
    """Both inputs may be moved, people approve."""
    return Policy(
        actuators=(
            Actuator("q_in", "m^3/s", 0.0, 0.05, safe=0.01, step=0.02),
            Actuator("heat", "W", 0.0, 2e5, safe=0.0),
        ),
        level=level,
        ceiling=Level.AUTOMATIC,
        eps=0.05,
        consistency=(0.0, 20.0),
        caps=(("mpc", Level.AUTOMATIC), ("user", Level.APPROVE), ("agent", Level.APPROVE)),
    )


def make_live(kit: Kit, clock: ManualClock, trail: Trail, level: Level = Level.APPROVE) -> LiveTwin:
    """A live twin of the tank that has not seen a reading."""
    face = face_of(
        kit.space, name="tank", title="Heated tank", kind="tank", doc="A buffer tank.", tracked=("k",),
        faults=(FaultKind("sensor_bias", ("level", "temp"), 0.1, "m"), FaultKind("clear", (), 0.0, "")),
    )  # fmt: skip
    plant = Plant("tank", ("h", "T", "k"), ("q_in", "heat"), ("level", "temp"), ("dry", "hot"), "tank-1")
    return LiveTwin(
        face, clock, audit=trail, mirror=kit.mirror, detector=LevelDetector(), forecaster=TankForecaster(),
        planner=HalfFlow(), authority=Authority(policy(level), plant, kit.check),
        gauge=lambda b: np.array([b.mean[0] - 0.2, 350.0 - b.mean[1]]),
        settings=LiveSettings(time="event", horizon=7200.0, forecast_step=300.0, samples=32, clear_after=30.0),
    )  # fmt: skip


def readings(k: int, level: float = 1.0, temp: float = 293.15, inputs: tuple[float, float] = (0.01, 0.0)) -> Readings:
    """The k-th reading, noise of a fixed pattern."""
    wiggle = 0.003 * np.sin(1.7 * k)
    t = T0 + STEP * k
    return Readings(
        "tank", t, f"r{k}", "", np.array([level + wiggle, temp + 30 * wiggle]), np.array(inputs, dtype=float)
    )


def make_host(kit: Kit, folder: Any, level: Level = Level.APPROVE) -> tuple[TankHost, Journal, Pump, DemoSite, Trail]:
    """A host with one lane; `feed` gives it data."""
    clock, trail, journal, pump, site = ManualClock(T0), Trail(), Journal(), Pump(), DemoSite()
    live = make_live(kit, clock, trail, level)
    switch = KillSwitch(folder / "STOP")
    lane = Lane(live, journal, pump, switch=switch, site=site, trail=trail)
    return TankHost(clock, lane=lane), journal, pump, site, trail


def feed(live: LiveTwin, n: int = 12, start: int = 0, **kwargs: Any) -> None:
    """Step n times."""
    for k in range(start, start + n):
        live.step(readings(k, **kwargs))
