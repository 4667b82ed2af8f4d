"""A tank that can be solved by hand: h' = (q - demand) / A, one pump `q`, one valve `v` that does nothing to h."""

import importlib.util
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pollux.autonomy import authorise as auth
from pollux.autonomy.guard import judge
from pollux.autonomy.guard_limits import GuardState, follow
from pollux.autonomy.judgement import Context, Plant
from pollux.autonomy.policy import Actuator, Policy, Principal
from pollux.core.signals import Belief, Decision, Health, Level

NOW = 1_800_000_000.0
LOW, HIGH, AREA = 0.2, 2.0, 20.0


@dataclass
class TankCheck:
    """Exact: the level is linear between edges, so the extremes are at the edges. A ~ LogNormal(0.1)."""

    calls: int = 0

    def __call__(self, belief, edges, plan, samples, seed):
        self.calls += 1
        chance = np.random.default_rng(seed)
        h = belief.mean[0] + np.sqrt(belief.cov[0, 0]) * chance.standard_normal(samples)
        area = AREA * np.exp(0.1 * chance.standard_normal(samples))
        flow = np.cumsum(np.diff(edges) * (plan[:, 0] - plan[:, 1]))
        level = np.concatenate([h[:, None], h[:, None] + flow[None, :] / area[:, None]], axis=1)
        short = np.stack([0 * h, np.maximum(LOW - level, 0).mean(1), np.maximum(level - HIGH, 0).mean(1)], axis=1)
        return short


PUMP = Actuator(
    "q", "m^3/s", 0.0, 0.05, safe=0.0, slew=0.001, step=0.02, dwell=60.0, travel=0.2, moves=20, envelope=(0.0, 0.03),
    resolution=0.001,
)  # fmt: skip
VALVE = Actuator("v", "%", 0.0, 100.0, resolution=0.5)
POLICY = Policy((PUMP, VALVE), level=Level.APPROVE, ceiling=Level.AUTOMATIC, domain=(("h", 0.3, 1.9),), max_age=30.0)
PLANT = Plant("tank", ("h",), ("q", "demand", "v"), ("level",), ("dry", "full"), "model-1")

ALICE = Principal("alice", "operator", "person")
BOB = Principal("bob", "engineer", "person")
EVE = Principal("eve", "viewer", "person")
PLANNER = Principal("mpc", "admin", "service")
AGENT = Principal("helper", "operator", "agent")


def belief(t=NOW, h=1.0, sd=0.01, **changes):
    b = Belief(
        "tank", t, f"tank/belief/{t:.0f}", "r", np.array([h]), np.array([[sd**2]]), np.array([0.01, 0.01, 50.0]),
        np.array([h]), np.array([0.0]), np.array([1e-4]), (Health.GOOD,), 1.0, 1, np.array([0.0]),
    )  # fmt: skip
    return replace(b, **changes)


def decision(values=None, t=NOW, proposer="mpc", id="tank/d/1", rows=4, step=300.0, **changes):
    values = {"q": 0.02} if values is None else values
    times = t + step * np.arange(rows)
    plan = np.tile([0.01, 0.01, 50.0], (rows, 1))
    for name, value in values.items():
        if name in PLANT.inputs and isinstance(value, float):
            plan[:, PLANT.inputs.index(name)] = value
    d = Decision("tank", t, id, "tank/belief/1", proposer, dict(values), times, plan, t + 600.0, "cheaper hours")
    return replace(d, **changes)


def context(now=NOW, principal=PLANNER, level=Level.APPROVE, **changes):
    c = Context(now, principal, level, False, belief(t=now), 1.0, "model-1")
    return replace(c, **changes)


def guard_state(q=0.01, v=50.0, t=NOW - 3600.0):
    return follow(GuardState(), {"q": q, "v": v}, t)


class Sink:
    """An audit sink in memory; `broken` makes it fail like a full disk."""

    def __init__(self):
        self.records, self.broken = [], False

    def __call__(self, kind, t, body):
        if self.broken:
            raise OSError("disk full")
        self.records.append((kind, t, dict(body)))


@pytest.fixture
def world():
    check, sink = TankCheck(), Sink()
    authority = auth.Authority(POLICY, PLANT, check)
    state = auth.seen(auth.begin(POLICY), {"q": 0.01, "v": 50.0}, NOW - 3600.0)

    def verdict(d=None, c=None, state=None, policy=POLICY):
        d = decision() if d is None else d
        return judge(policy, PLANT, guard_state() if state is None else state, d, c or context(), check)

    return SimpleNamespace(
        now=NOW, check=check, sink=sink, authority=authority, state=state, policy=POLICY, plant=PLANT, alice=ALICE,
        bob=BOB, eve=EVE, planner=PLANNER, agent=AGENT, belief=belief, decision=decision, context=context,
        guard_state=guard_state, verdict=verdict, Sink=Sink,
    )  # fmt: skip


@pytest.fixture(scope="session")
def llm():
    """The module `fake_llm`, which is no package of its own."""
    path = Path(__file__).with_name("fake_llm.py")
    spec = importlib.util.spec_from_file_location("fake_llm", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
