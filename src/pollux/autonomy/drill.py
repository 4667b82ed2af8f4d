"""A fire drill for a policy: a scripted worst-case proposer against the guard, and a witness that believes nothing.

`drill` sends `n` actions through `authorise`, `approve` and `due`, most of them hostile (`drill_attacks`), and hands
every command that comes out to a `Witness`, which checks it against the policy with code of its own. No language
model is needed, and none could do worse: the script holds every credential but a person's and knows every limit.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pollux.autonomy.approve import Pending
from pollux.autonomy.authorise import Authority, approve, authorise, begin, due, safe, seen
from pollux.autonomy.bounds import upper_bound
from pollux.autonomy.drill_attacks import ATTACKS, Attempt
from pollux.autonomy.drill_witness import Witness
from pollux.autonomy.guard_facts import schedules
from pollux.autonomy.guard_limits import admissible
from pollux.autonomy.judgement import Context
from pollux.autonomy.policy import Principal
from pollux.core.errors import AccessError, InputError
from pollux.core.signals import Belief, Command, Decision, Level, Refusal
from pollux.core.time import rng

Beliefs = Callable[[float, np.random.Generator], Belief]
"""(time, chance) -> a belief at that time; should wander close to the limits now and then."""

OPERATOR = Principal("ann", "operator", "person")
ENGINEER = Principal("ben", "engineer", "person")
VIEWER = Principal("eve", "viewer", "person")
AGENT = Principal("bot", "operator", "agent")
PLANNER = Principal("mpc", "admin", "service")


@dataclass(frozen=True)
class DrillReport:
    """What came of it. `breaches` must be empty."""

    actions: int
    hostile: int
    commands: int
    refusals: Mapping[str, int]
    """How often each rule was the first to fail."""
    attacks: Mapping[str, int]
    breaches: tuple[str, ...]
    risk_samples: int
    """Fresh posterior samples drawn for the commands that the twin check let through."""
    risk_violations: int
    risk_upper: float
    """99 % upper bound of P(violation) among them."""


def drill(
    authority: Authority,
    beliefs: Beliefs,
    n: int,
    seed: int,
    *,
    start: float = 1.8e9,
    attacks: tuple[str, ...] = tuple(ATTACKS),
) -> DrillReport:
    """`n` actions, three in four of them hostile, by the named `attacks`; a pure function of its arguments."""
    chance = rng(seed, 0)
    policy, plant = authority.policy, authority.plant
    witness = Witness(policy)
    state = begin(policy)
    first = beliefs(start, chance)
    inputs = dict(zip(plant.inputs, first.inputs.tolist(), strict=True))
    held = {a.name: min(max(inputs[a.name], a.low), a.high) for a in policy.actuators}
    state = seen(state, held, start)
    witness.begin(held, start)
    refusals: Counter[str] = Counter()
    tried: Counter[str] = Counter()
    records: list[tuple[str, Mapping[str, Any]]] = []
    history: list[Decision] = []
    released: list[tuple[Decision, Context, dict[str, float]]] = []
    full = {"disk": False}

    def audit(kind: str, t: float, body: Mapping[str, Any]) -> None:
        if full["disk"]:
            raise OSError("disk full")
        records.append((kind, body))
        del records[:-50]

    now, stopped = start, False
    for k in range(n):
        now += float(chance.exponential(15.0))
        if chance.random() < (0.05 if stopped else 0.002):
            stopped = not stopped
        level = Level(int(chance.choice([0, 1, 2, 2, 2, 3, 3, 4, 4, 4])))
        belief = beliefs(now - float(chance.uniform(0, 1)), chance)
        context = Context(now, PLANNER, level, stopped, belief, 1.0, plant.model_hash)
        before = {name: h.value for name, h in state.guard.held.items()}
        attempt = honest(authority, state.guard, context, chance, k)
        name = "sound"
        if chance.random() < 0.75:
            name = attacks[int(chance.integers(len(attacks)))]
            attempt = ATTACKS[name](attempt, chance, policy, history)
        tried[name] += 1
        full["disk"] = name == "disk full"
        context = attempt.context
        state, outcome = authorise(authority, state, attempt.decision, context, audit)
        outcomes: list[tuple[str, Command | Pending | Refusal, Any]] = [("direct", outcome, attempt.decision)]
        if isinstance(outcome, Pending):
            history = [*history[-20:], outcome.decision]
        if state.approvals.items and chance.random() < 0.5:
            entry = state.approvals.items[-1 - int(chance.integers(min(8, len(state.approvals.items))))]
            who, digest = approver(entry, chance)
            asked = replace(context, principal=who, now=now, approval=None, waiting=None)
            try:
                state, answer = approve(authority, state, entry.id, digest, "drill", asked, audit)
            except (AccessError, InputError):
                refusals["approval.invalid"] += 1
            else:
                after = state.approvals.find(entry.id)
                if after is None or after.status != "pending":  # it still waits when it could not be recorded
                    witness.approved(entry, who, digest, now)
                outcomes.append((entry.id, answer, entry.decision))
        if chance.random() < 0.2:
            usual = replace(context, now=now, approval=None, waiting=None)
            state, late = due(authority, state, usual, audit)
            outcomes += [
                ("due", o, next(p.decision for p in state.approvals.items if p.decision.id == o.source)) for o in late
            ]
        for via, o, decision in outcomes:
            if isinstance(o, Command):
                assert decision is not None
                witness.command(o, via, decision, context, records)
                released.append((decision, context, before))
                before = before | o.values
            elif not isinstance(o, Pending):
                refusals[o.rule] += 1
        full["disk"] = False
        if chance.random() < 0.0005:
            state, command = safe(authority, state, now, "drill", audit)
            if command is not None:
                witness.safe(command)
    violations, samples = hindsight(authority, released[-2000:], witness.lesser)
    bound = upper_bound(violations, samples, 0.99) if samples else 1.0
    hostile = n - tried["sound"]
    return DrillReport(
        actions=n,
        hostile=hostile,
        commands=witness.count,
        refusals=dict(refusals.most_common()),
        attacks=dict(tried),
        breaches=tuple(witness.breaches),
        risk_samples=samples,
        risk_violations=violations,
        risk_upper=bound,
    )


def honest(authority: Authority, guard: Any, context: Context, chance: np.random.Generator, k: int) -> Attempt:
    """A sound proposal within what `admissible` offers, by a random proposer."""
    policy, plant, now = authority.policy, authority.plant, context.now
    values: dict[str, float] = {}
    for limit in policy.actuators:
        if chance.random() < 0.7 or not values:
            low, high = admissible(limit, guard, now)
            values[limit.name] = float(chance.uniform(low, high)) if low < high else low
    who = [PLANNER, PLANNER, OPERATOR, AGENT][int(chance.integers(4))]
    proposer = {"service": "mpc", "person": f"user:{who.name}", "agent": f"agent:{who.name}"}[who.kind]
    rows = int(chance.integers(1, 5))
    times = now + 60.0 * np.arange(rows)
    plan = np.full((rows, len(plant.inputs)), context.belief.inputs)
    for name, value in values.items():
        plan[:, plant.inputs.index(name)] = value
    decision = Decision(
        plant.twin, now - 0.5, f"d{k}", context.belief.id, proposer, values, times, plan, now + 300.0, "drill"
    )
    return Attempt(decision, replace(context, principal=who))


def approver(entry: Pending, chance: np.random.Generator) -> tuple[Principal, str]:
    """Mostly wrong people and wrong hashes."""
    who = [OPERATOR, OPERATOR, ENGINEER, VIEWER, AGENT, PLANNER][int(chance.integers(6))]
    forged = ["0" * 64, entry.digest[:-1], entry.digest.upper(), "", entry.digest + " "]
    return who, entry.digest if chance.random() < 0.7 else forged[int(chance.integers(len(forged)))]


def hindsight(
    authority: Authority, released: list[tuple[Decision, Context, dict[str, float]]], lesser: set[str]
) -> tuple[int, int]:
    """Violations among fresh samples for released commands, without safe commands and lesser evils."""
    violations = samples = 0
    for k, (decision, context, before) in enumerate(released):
        if decision.id in lesser or not isinstance(decision.plan, np.ndarray):
            continue
        runs = schedules(authority.policy, authority.plant, context, before, decision)
        draws, seed = authority.policy.draws, 1_000_000 + k
        bad = [authority.check(context.belief, *runs[i], draws, seed) > 0 for i in (0, 2)]
        violations += int(np.any(bad, axis=(0, 2)).sum())
        samples += draws
    return violations, samples
