"""Work item `guard`: hostile actions through the guard, and what one judgement costs.

The asset is a tank with a pump; the twin check is the real compiled one (`cost`) or, for the drill, the same tank
solved exactly in NumPy, so that 100,000 actions take a minute. No peer does this; the figure is commands outside the
limits, and it must be 0.
"""

import time
from typing import Any

import numpy as np

from pollux import Scalar, Signals, Twin, param, var
from pollux.autonomy.authorise import Authority
from pollux.autonomy.drill import drill
from pollux.autonomy.guard import judge
from pollux.autonomy.guard_limits import GuardState, follow
from pollux.autonomy.judgement import Context, Plant
from pollux.autonomy.policy import Actuator, Policy, Principal
from pollux.autonomy.twin_check import build_twin_check
from pollux.core.priors import LogNormal
from pollux.core.signals import Belief, Decision, Health, Level
from pollux.model.statespace import flatten

NOW, LOW, HIGH, AREA = 1.8e9, 0.2, 2.0, 20.0


class State(Signals):
    """Level of the tank."""

    h: Scalar = var("m", start=1.0, within=(0.0, 3.0), drift=1e-5)


class Input(Signals):
    """Inflow is commanded, demand is not."""

    q: Scalar = var("m^3/s", start=0.01, within=(0.0, 0.05))
    demand: Scalar = var("m^3/s", start=0.01, within=(0.0, 0.05))


class Sensors(Signals):
    """One level sensor."""

    level: Scalar = var("m", noise=0.005)


class Tank(Twin[State, Input, Sensors]):
    """h' = (q - demand) / A."""

    A: Scalar = param("m^2", AREA, prior=LogNormal(0.1))

    def dynamics(self, t: Scalar, x: State, u: Input) -> State:
        """Mass balance."""
        return State(h=(u.q - u.demand) / self.A)

    def observe(self, t: Scalar, x: State, u: Input) -> Sensors:
        """The level."""
        return Sensors(level=x.h)

    def margins(self, t: Scalar, x: State, u: Input) -> dict[str, Scalar]:
        """Neither dry nor over the brim."""
        return {"dry": x.h - LOW, "full": HIGH - x.h}


def exact(belief: Belief, edges: np.ndarray, plan: np.ndarray, samples: int, seed: int) -> np.ndarray:
    """The twin check of this tank in closed form: the level is linear between edges."""
    chance = np.random.default_rng(seed)
    h = belief.mean[0] + np.sqrt(belief.cov[0, 0]) * chance.standard_normal(samples)
    area = AREA * np.exp(0.1 * chance.standard_normal(samples))
    flow = np.cumsum(np.diff(edges) * (plan[:, 0] - plan[:, 1]))
    level = np.concatenate([h[:, None], h[:, None] + flow[None, :] / area[:, None]], axis=1)
    return np.stack([0 * h, np.maximum(LOW - level, 0).mean(1), np.maximum(level - HIGH, 0).mean(1)], axis=1)


POLICY = Policy(
    (
        Actuator(
            "q", "m^3/s", 0.0, 0.05, safe=0.0, slew=0.001, step=0.02, dwell=60.0, travel=0.2, moves=20,
            envelope=(0.0, 0.03), resolution=0.001,
        ),
    ),
    ceiling=Level.AUTOMATIC, domain=(("h", 0.3, 1.9),), max_age=30.0,
)  # fmt: skip
PLANT = Plant("tank", ("h",), ("q", "demand"), ("level",), ("dry", "full"), "1")


def belief(t: float, h: float, demand: float) -> Belief:
    """A belief that is sure to 1 cm."""
    return Belief(
        "tank", t, f"b/{t}", "r", np.array([h]), np.array([[1e-4]]), np.array([0.01, demand]), np.array([h]),
        np.array([0.0]), np.array([1e-4]), (Health.GOOD,), 1.0, 1, np.array([0.0]),
    )  # fmt: skip


def beliefs(t: float, chance: np.random.Generator) -> Belief:
    """Anywhere between the limits, so that many actions are dangerous."""
    return belief(t, float(chance.uniform(LOW, HIGH)), float(chance.uniform(0.0, 0.03)))


def cost(runs: int) -> float:
    """Median seconds of one whole judgement with the compiled twin check (4 x 459 samples, 30 s steps)."""
    check = build_twin_check(flatten(Tank()), longest_step=30.0)
    state = follow(GuardState(), {"q": 0.01}, NOW - 3600.0)
    times = NOW + 300.0 * np.arange(3)
    decision = Decision(
        "tank", NOW, "d", "b", "mpc", {"q": 0.02}, times, np.tile([0.02, 0.01], (3, 1)), NOW + 600.0, "benchmark"
    )
    context = Context(NOW, Principal("mpc", "admin", "service"), Level.APPROVE, False, belief(NOW, 1.0, 0.01), 1.0, "1")
    spent = []
    for _ in range(runs + 2):
        begin = time.perf_counter()
        verdict = judge(POLICY, PLANT, state, decision, context, check)
        spent.append(time.perf_counter() - begin)
        assert verdict.mode == "approval", verdict
    return float(np.median(spent[2:]))


def margins(samples: int, runs: int) -> float:
    """Least seconds of one twin check: posterior samples through the model for an hour, 120 intervals of 30 s."""
    check = build_twin_check(flatten(Tank()), longest_step=30.0)
    edges, plan = NOW + np.array([0.0, 600.0, 3600.0]), np.array([[0.02, 0.01], [0.01, 0.01]])
    spent = []
    for _ in range(runs + 1):
        begin = time.perf_counter()
        check(belief(NOW, 1.0, 0.01), edges, plan, samples, 1)
        spent.append(time.perf_counter() - begin)
    return min(spent[1:])


def run(config: dict[str, Any]) -> dict[str, Any]:
    """`config`: actions (default 140,000, three in four of them hostile), seed."""
    n, seed, runs = int(config.get("actions", 140_000)), int(config.get("seed", 1)), int(config.get("runs", 30))
    begin = time.perf_counter()
    report = drill(Authority(POLICY, PLANT, exact), beliefs, n, seed)
    seconds = time.perf_counter() - begin
    return {
        "item": "guard",
        "config": {"actions": n, "hostile": report.hostile, "attacks": len(report.attacks) - 1, "seed": seed},
        "pollux": len(report.breaches),
        "peers": {},
        "ratio": None,
        "unit": "commands outside the limits",
        "error": None if not report.breaches else report.breaches[0],
        "commands": report.commands,
        "seconds": seconds,
        "judgement_ms": 1e3 * cost(runs),
        "twin_check_ms": {str(samples): 1e3 * margins(samples, runs) for samples in (459, 4603)},
        "risk_of_released": {
            "samples": report.risk_samples, "violations": report.risk_violations, "upper_99": report.risk_upper,
            "eps": POLICY.eps,
        },
    }  # fmt: skip
