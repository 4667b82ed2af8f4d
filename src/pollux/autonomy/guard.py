"""The guard: may this decision be done? Pure, no input or output, no agent code. Unknown means no.

Checks run in a fixed order and the first failure is recorded:

    1 schema      types, finite numbers, units, known actuators, a plan that starts with the action
    2 identity    who proposes, with which role, at which level, in which operating domain
    3 belief      age, order, data quality, consistency of the filter, model
    4 limits      range, slew, step, dwell and budgets after rounding to the actuator's grid
    5 interlocks  declared predicates on recorded values
    6 twin        posterior samples through the model: P(any limit violated) <= eps with confidence
    7 approval    a person's, bound to this action, or a veto time that has passed

Check 8, the audit record that is durable before the command leaves, is `authorise`'s. The full safe command needs no
healthy belief and no twin check: it passes 3 to 6 by declaration, except for its order in time.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from math import nan
from typing import cast

import numpy as np

from pollux.autonomy.bounds import Risk
from pollux.autonomy.digest import digest
from pollux.autonomy.guard_facts import better, counted, holds, recorded, schedules
from pollux.autonomy.guard_limits import GuardState, broken, settle
from pollux.autonomy.judgement import Context, Mode, Plant, TwinCheck, Verdict
from pollux.autonomy.policy import Policy, Principal
from pollux.core.signals import Decision, Health, Level

LONGEST = 10_000
"""Most steps of a plan, and most characters of a reason."""


@dataclass(frozen=True)
class Case:
    """A decision under judgement: a clean copy, so that nothing the proposer still holds can change it."""

    policy: Policy
    plant: Plant
    state: GuardState
    decision: Decision
    context: Context
    check: TwinCheck
    mode: Mode = "approval"
    risks: Mapping[str, Risk] = field(default_factory=dict)
    digest: str = ""
    failed: tuple[str, str] | None = None

    @property
    def safe(self) -> bool:
        """Whether this is the full safe command."""
        return self.decision.values == {a.name: a.safe for a in self.policy.actuators if a.safe is not None}


class Broken(Exception):
    """A check that failed: (rule, reason). Never leaves this module."""


def judge(
    policy: Policy, plant: Plant, state: GuardState, decision: Decision, context: Context, check: TwinCheck
) -> Verdict:
    """Run the checks in order. An exception inside a check, whatever its kind, is a refusal by that check."""
    case = Case(policy, plant, state, decision, context, check)
    passed: list[str] = []
    rule, reason, mode = "", "", "refused"
    for name, test in CHECKS:
        try:
            case = test(case)
            passed.append(name)
            if not case.failed:
                continue
            rule, reason = f"{name}.{case.failed[0]}", case.failed[1]
            passed.pop()
        except Broken as failure:
            rule, reason = f"{name}.{failure.args[0]}", str(failure.args[1])
        except Exception as error:
            rule, reason = f"{name}.error", f"could not be checked ({type(error).__name__}); unknown means no"
        break
    else:
        mode = case.mode
    return Verdict(mode, rule, reason, tuple(passed), case.decision if passed else None, case.risks, case.digest)


def schema(case: Case) -> Case:
    """1. Exact types, finite numbers, known names and units; returns the case with a clean, rounded copy."""
    d, policy, plant = case.decision, case.policy, case.plant
    need(type(d) is Decision, "type", "a Decision is expected")
    for name in ("twin", "id", "source", "proposer", "reason"):
        text = getattr(d, name)
        need(
            type(text) is str and len(text) <= LONGEST and (text != "" or name == "reason"),
            name,
            f"`{name}` must be a text",
        )
    need(d.twin == plant.twin, "twin", f"this guard is for {plant.twin!r}")
    t, expires = number(d.t, "t"), number(d.expires, "expires")
    need(
        type(d.values) is dict and 0 < len(d.values) <= len(policy.actuators),
        "values",
        "one value per actuator to move",
    )
    values: dict[str, float] = {}
    for name, value in d.values.items():
        limit = policy.actuator(name) if type(name) is str else None
        need(
            limit is not None and name in plant.inputs,
            "actuator",
            "an actuator that is not declared in the policy",
        )
        assert limit is not None
        values[name] = settle(number(value, name), limit.resolution)
        if case.context.units is not None:
            unit = case.context.units.get(name)
            need(type(unit) is str and unit == limit.unit, "unit", f"{name} is in {limit.unit!r}")
    times, plan = array(d.times, 1, "times"), array(d.plan, 2, "plan")
    need(
        0 < len(times) <= LONGEST and plan.shape == (len(times), len(plant.inputs)),
        "plan",
        "plan is (time, inputs)",
    )
    need(
        bool(np.all(np.diff(times) > 0)) and times[0] >= t - 1.0,
        "times",
        "plan times rise, from the decision on",
    )
    for name, value in values.items():
        limit, first = policy.actuator(name), plan[0, plant.inputs.index(name)]
        assert limit is not None
        need(
            settle(first, limit.resolution) == value,
            "first",
            f"the plan of {name} does not start with the action",
        )
    clean = replace(d, t=t, expires=expires, values=values, times=times, plan=plan, expected=figures(d.expected))
    return replace(case, decision=clean, digest=digest(clean))


def identity(case: Case) -> Case:
    """2. Who, with which role; then how: the least of level, cap of the proposer, envelope and operating domain."""
    d, who, policy = case.decision, case.context.principal, case.policy
    kind = d.proposer.split(":", 1)[0]
    need(
        type(who) is Principal and who.kind in ("person", "service", "agent"),
        "principal",
        "the caller is not known",
    )
    own = {
        "person": d.proposer == f"user:{who.name}",
        "agent": kind == "agent",
        "service": kind not in ("user",),
    }
    need(own[who.kind], "proposer", f"a {who.kind} may not propose as {d.proposer[:80]!r}")
    need(
        who.kind == "service" or who.may("operator"),
        "role",
        f"role {who.role!r} may not propose; operator may",
    )
    cap = dict(policy.caps).get(kind)
    need(cap is not None, "unknown", f"no cap is declared for proposers of kind {kind[:80]!r}")
    assert cap is not None
    if kind == "agent" or who.kind == "agent":
        cap = min(cap, Level.APPROVE)
    need(case.context.stopped is False, "stopped", "the stop is latched; only a person resets it")
    level = min(Level(case.context.level), cap)
    need(level > Level.OBSERVE, "observe", "level 0 observes only")
    need(
        level > Level.ADVISE,
        "advise",
        "level 1 advises only; raise the level to 2 to let people approve actions",
    )
    mode: Mode = "approval"
    if level == Level.AUTOMATIC and inside(case):
        mode = "automatic"
    elif level >= Level.SUPERVISED and enveloped(case):
        mode = "veto"
    return replace(case, mode=mode)


def belief(case: Case) -> Case:
    """3. The decision is in time and in order; the belief is fresh, finite, healthy, consistent and of this model."""
    d, c, b, policy = case.decision, case.context, case.context.belief, case.policy
    now = number(c.now, "now")
    need(now >= case.state.t, "clock", "the clock went back")
    need(d.t <= now, "future", f"decided {d.t - now:.6g} s in the future")
    need(now < d.expires <= d.t + policy.max_expiry, "expired", f"valid until {d.expires:.6g}, now {now:.6g}")
    for name in d.values:
        held = case.state.held.get(name)
        need(
            held is None or d.t > held.decided,
            "superseded",
            f"{name} was set by a later or the same decision",
        )
    if case.safe:
        return case
    need(b.twin == d.twin and c.model_hash == case.plant.model_hash, "model", "the belief is of another model")
    need(
        0 <= now - b.t <= policy.max_age,
        "age",
        f"the belief is {now - b.t:.6g} s old, {policy.max_age:.6g} allowed",
    )
    need(
        b.mean.shape == (len(case.plant.tracked),) and b.cov.shape == 2 * b.mean.shape,
        "shape",
        "sizes disagree",
    )
    need(bool(np.all(np.isfinite(b.mean)) and np.all(np.isfinite(b.cov))), "finite", "the belief is not finite")
    need(bool(np.all(np.diag(b.cov) >= 0)), "covariance", "the belief has a negative variance")
    states = zip(b.health, b.age, strict=True)
    # A sensor that is silent at this instant because of its rate is as good as its age.
    fine = [h is Health.GOOD or (h is Health.MISSING and 0 <= age <= policy.max_age) for h, age in states]
    good = dict(zip(case.plant.sensors, fine, strict=True))
    need(sum(fine) >= policy.min_good * len(fine), "quality", f"{sum(fine)} of {len(fine)} sensors are good")
    for name in policy.required:
        need(good.get(name) is True, "required", f"sensor {name!r} is required and not good")
    low, high = policy.consistency
    need(
        low <= c.consistency <= high,
        "consistency",
        f"NIS per degree of freedom is {c.consistency:.3g}, not in [{low}, {high}]",
    )
    return case


def limits(case: Case) -> Case:
    """4. Range, slew, step, dwell and budgets of every value, after rounding."""
    for name, value in case.decision.values.items():
        limit = case.policy.actuator(name)
        assert limit is not None
        need(
            limit.low <= value <= limit.high,
            "range",
            f"{name} = {value:.9g} {limit.unit}, not in [{limit.low}, {limit.high}]",
        )
        planned = case.decision.plan[:, case.plant.inputs.index(name)]
        need(
            bool(np.all((planned >= limit.low) & (planned <= limit.high))),
            "range",
            f"the plan of {name} leaves [{limit.low}, {limit.high}] {limit.unit}",
        )
        found = None if case.safe else broken(limit, case.state, value, case.context.now)
        if found:
            raise Broken(*found)
    return case


def interlocks(case: Case) -> Case:
    """5. Every interlock whose condition holds, or is unknown, finds its requirement met."""
    facts = recorded(case.plant, case.context.belief)
    after = facts | {n: h.value for n, h in case.state.held.items()} | case.decision.values
    for lock in case.policy.interlocks:
        # Before or after: two actuators that move at once must not slip between the two.
        armed = any(all(holds(term, when) is not False for term in lock.when) for when in (facts, after))
        met = all(holds(term, after) is True for term in lock.require)
        need(case.safe or not armed or met, lock.name, f"interlock {lock.name!r} forbids this now")
    return case


def twin(case: Case) -> Case:
    """6. P(any limit violated) <= eps, for the plan and for the action alone, each followed by the safe command."""
    if case.safe:
        return case
    policy, context = case.policy, case.context
    held = {name: h.value for name, h in case.state.held.items()}
    runs = schedules(policy, case.plant, context, held, case.decision)
    need(all(bool(np.isfinite(rows).all()) for _, rows in runs), "inputs", "an input of the asset is unknown")
    # One seed per belief: sending an action again, or a little changed, does not draw again.
    seed = int.from_bytes(sha256(f"{policy.seed}|{context.belief.id}".encode()).digest()[:4], "big")
    found = [case.check(context.belief, edges, rows, policy.draws, seed) for edges, rows in runs]
    shape = (policy.draws, 1 + len(case.plant.margins))
    need(all(type(f) is np.ndarray and f.shape == shape for f in found), "shape", "the twin check gave no answer")
    acting, waiting = [found[0], found[2]], [found[1], found[3]]
    risks = {
        "acting": counted(acting, case.plant.margins, policy.confidence),
        "not_acting": counted(waiting, case.plant.margins, policy.confidence),
    }
    case = replace(case, risks=risks)
    if risks["acting"].upper <= policy.eps:
        return case
    if policy.less_risk and better(acting, waiting, policy.eps, policy.confidence):
        return replace(case, mode="approval")
    counts = f"{risks['acting'].violations} of {policy.draws} samples (not acting: {risks['not_acting'].violations})"
    return replace(case, failed=("risk", f"a limit is violated in {counts}; P <= {policy.eps:g} is not shown"))


def approval(case: Case) -> Case:
    """7. A person's approval of exactly this action, or a veto time that has passed, makes a pending action go."""
    given, waiting, now = case.context.approval, case.context.waiting, case.context.now
    if given is not None:
        need(given.digest == case.digest, "digest", "the approval is for another action")
        need(given.at <= now < given.expires, "expired", "the approval has expired")
        need(
            given.by.kind == "person" and given.by.may("operator"),
            "person",
            "a person with role operator must approve",
        )
        own = f"user:{given.by.name}" == case.decision.proposer
        need(not (own and case.policy.two_person), "two_person", "somebody else must approve")
        return replace(case, mode="automatic")
    if waiting is not None and case.mode == "veto":
        need(waiting[0] == case.digest, "digest", "the veto time was for another action")
        if now - waiting[1] >= case.policy.veto:
            return replace(case, mode="automatic")
    return case


def need(holds_: bool, rule: str, reason: str) -> None:
    """Fail the running check unless the condition is true."""
    if not holds_:
        raise Broken(rule, reason)


def number(value: object, name: str) -> float:
    """A finite float from an exact number type; a subclass could lie about its comparisons."""
    need(type(value) in (float, int, np.float64), "number", f"{name[:80]!r} must be a number")
    need(abs(value) < 1e300, "finite", f"{name[:80]!r} must be finite")  # pyright: ignore[reportArgumentType]
    return float(value)  # pyright: ignore[reportArgumentType]


def array(value: object, ndim: int, name: str) -> np.ndarray:
    """A finite float64 copy of an array of exactly that type."""
    need(
        type(value) is np.ndarray and value.dtype == np.float64 and value.ndim == ndim,
        "array",
        f"{name}: float64 array",
    )
    copy = np.array(value, dtype=np.float64)
    need(bool(np.isfinite(copy).all()), "finite", f"{name} must be finite")
    return copy


def figures(expected: object) -> dict[str, float]:
    """The proposer's own figures, for people to read; nothing is judged by them."""
    need(type(expected) is dict and len(expected) <= 100, "expected", "`expected` holds at most 100 named numbers")
    clean: dict[str, float] = {}
    for name, value in cast(dict[object, object], expected).items():
        need(type(name) is str and len(name) <= 200, "expected", "`expected` has short text names")
        clean[str(name)] = number(value, str(name))
    return clean


def inside(case: Case) -> bool:
    """Whether an operating domain is declared and every recorded value is known and in it."""
    facts = recorded(case.plant, case.context.belief)
    domain = case.policy.domain
    return bool(domain) and all(low <= facts.get(name, nan) <= high for name, low, high in domain)


def enveloped(case: Case) -> bool:
    """Whether every value lies in the envelope of its actuator."""
    found = [(case.policy.actuator(name), value) for name, value in case.decision.values.items()]
    return all(a is not None and a.envelope is not None and a.envelope[0] <= v <= a.envelope[1] for a, v in found)


CHECKS: tuple[tuple[str, Callable[[Case], Case]], ...] = (
    ("schema", schema), ("identity", identity), ("belief", belief), ("limits", limits),
    ("interlocks", interlocks), ("twin", twin), ("approval", approval),
)  # fmt: skip
"""The order of checks; a tuple, so that it cannot be changed at run time."""
