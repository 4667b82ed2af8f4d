"""What the guard reads from a belief, and the input schedules that it has simulated. Pure."""

from collections.abc import Mapping

import numpy as np

from pollux.autonomy.bounds import Risk, risk
from pollux.autonomy.judgement import Context, Plant
from pollux.autonomy.policy import Policy, Term
from pollux.core.signals import Belief, Decision


def recorded(plant: Plant, belief: Belief) -> dict[str, float]:
    """Recorded values as `sensor.x`, `input.x`, `state.x`; a bare name is a state, else an input, else a sensor."""
    groups = {
        "sensor": (plant.sensors, belief.predicted + belief.innovation),
        "input": (plant.inputs, belief.inputs),
        "state": (plant.tracked, belief.mean),
    }
    facts: dict[str, float] = {}
    for group, (names, values) in groups.items():
        for name, value in zip(names, values, strict=True):
            facts[f"{group}.{name}"] = facts[name] = float(value)
    return facts


def holds(term: Term, facts: Mapping[str, float]) -> bool | None:
    """Whether a term is true; None when its value is missing or not a number."""
    value = facts.get(term.name)
    if value is None or value != value:
        return None
    return {
        "<": value < term.value, "<=": value <= term.value, ">": value > term.value, ">=": value >= term.value,
        "==": value == term.value, "!=": value != term.value,
    }[term.op]  # fmt: skip


def schedule(
    plant: Plant, context: Context, held: dict[str, float], moves: list[tuple[float, dict[str, float]]], end: float
) -> tuple[np.ndarray, np.ndarray]:
    """Edges (k + 1,) and inputs (k, u) from the belief's time to `end`.

    `moves` set actuators from a time on. Every other input follows the trusted outlook where that says something, and
    stays as it is held or was measured where not; never the proposer's plan.
    """
    start, outlook = context.belief.t, context.outlook
    cuts = {start, *(t for t, _ in moves)}
    if outlook is not None:
        cuts |= {float(t) for t in outlook[0]}
    edges = np.array([*sorted(t for t in cuts if start <= t < end), end])
    present = context.belief.inputs.copy()
    for name, value in held.items():
        present[plant.inputs.index(name)] = value
    rows = np.tile(present, (len(edges) - 1, 1))
    for k, t in enumerate(edges[:-1]):
        if outlook is not None and (past := np.flatnonzero(outlook[0] <= t)).size:
            said = outlook[1][past[-1]]
            rows[k] = np.where(np.isfinite(said), said, present)
        for since, values in moves:
            if since <= t:
                for name, value in values.items():
                    rows[k, plant.inputs.index(name)] = value
    return edges, rows


def schedules(
    policy: Policy, plant: Plant, context: Context, held: dict[str, float], decision: Decision
) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """Four schedules, each ending with the safe command: the plan, not acting for as long, the action alone for
    `hold` seconds (nothing need follow it), not acting for as long."""
    now, times = context.now, decision.times
    last = times[-1] - times[-2] if len(times) > 1 else policy.hold
    alone = now + policy.hold
    planned = max(float(times[-1] + last), alone)
    safe = {a.name: a.safe for a in policy.actuators if a.safe is not None}
    act = (now, decision.values)
    later = [
        (float(t), {name: float(row[plant.inputs.index(name)]) for name in decision.values})
        for t, row in zip(times, decision.plan, strict=True)
        if t > now
    ]
    return (
        schedule(plant, context, held, [act, *later, (planned, safe)], planned + policy.recover),
        schedule(plant, context, held, [(planned, safe)], planned + policy.recover),
        schedule(plant, context, held, [act, (alone, safe)], alone + policy.recover),
        schedule(plant, context, held, [(alone, safe)], alone + policy.recover),
    )


def counted(runs: list[np.ndarray], names: tuple[str, ...], confidence: float) -> Risk:
    """Shortfalls (samples, 1 + margins) of one or more schedules as a risk: a sample is bad when it is bad in any.

    A shortfall that is not a number counts as a violation.
    """
    bad = np.any([np.logical_not(run <= 0.0) for run in runs], axis=0)
    share = {name: float(bad[:, k].mean()) for k, name in enumerate(("model", *names))}
    return risk(int(bad.any(axis=1).sum()), len(runs[0]), confidence, share)


def better(acting: list[np.ndarray], waiting: list[np.ndarray], eps: float, confidence: float) -> bool:
    """Whether acting is proven to be the lesser evil, each run against not acting for as long.

    P(some limit is missed by more than without acting) <= eps at this confidence, and at least half of the samples
    miss some limit by less.
    """
    done, idle = np.concatenate(acting, axis=1), np.concatenate(waiting, axis=1)
    worse = np.logical_not(done <= idle).any(axis=1)
    gains = np.logical_not(worse) & (done < idle).any(axis=1)
    return risk(int(worse.sum()), len(done), confidence).upper <= eps and bool(gains.mean() >= 0.5)
