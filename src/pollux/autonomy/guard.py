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
from typing import Literal, Protocol

import numpy as np

from pollux.autonomy.guard_limits import GuardState, broken, settle
from pollux.autonomy.guard_risk import Risk
from pollux.autonomy.policy import Policy, Principal
from pollux.core.signals import Belief, Decision, Health, Level

Mode = Literal["refused", "approval", "veto", "automatic"]
LONGEST = 10_000
"""Most steps of a plan, and most characters of a reason."""


class TwinCheck(Protocol):
    """Count violations in posterior samples; built by `twin_check.build_twin_check`, opaque here."""

    def __call__(
        self, belief: Belief, edges: np.ndarray, plan: np.ndarray, samples: int, seed: int
    ) -> np.ndarray:
        """Violating samples among `samples`: first of any limit, then of each margin.

        `plan[k]` (u,) holds from `edges[k]` to `edges[k + 1]`, absolute seconds.
        """
        ...


@dataclass(frozen=True)
class Plant:
    """Names behind the vectors of one twin, and the version of its model."""

    twin: str
    tracked: tuple[str, ...]
    inputs: tuple[str, ...]
    sensors: tuple[str, ...]
    margins: tuple[str, ...]
    model_hash: str


@dataclass(frozen=True)
class Approval:
    """A person's word on exactly one action."""

    digest: str
    by: Principal
    at: float
    expires: float


@dataclass(frozen=True)
class Context:
    """What the caller knows at the moment of judgement."""

    now: float
    principal: Principal
    level: Level
    """Effective level (`levels.effective`)."""
    stopped: bool
    belief: Belief
    consistency: float
    """Running mean of NIS per degree of freedom (`levels.LevelState.consistency`); NaN is unknown."""
    model_hash: str
    """Version of the model that the belief was made with."""
    units: Mapping[str, str] | None = None
    """Units that the proposer declared; None: the twin's own."""
    outlook: tuple[np.ndarray, np.ndarray] | None = None
    """Expected inputs that are not actuated: times (k,) and values (k, u), each held until the next. None: as now."""
    approval: Approval | None = None
    waiting: tuple[str, float] | None = None
    """(digest, time) since when people could have stopped this action."""


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

    @property
    def safe(self) -> bool:
        """Whether this is the full safe command."""
        return self.decision.values == {a.name: a.safe for a in self.policy.actuators if a.safe is not None}


@dataclass(frozen=True)
class Verdict:
    """What the guard says. `passed` lists the checks before the first failure; `decision` is the clean copy."""

    mode: Mode
    rule: str
    reason: str
    passed: tuple[str, ...]
    decision: Decision | None
    risks: Mapping[str, Risk]
    digest: str


class Broken(Exception):
    """A check that failed: (rule, reason). Never leaves this module."""


def judge(
    policy: Policy, plant: Plant, state: GuardState, decision: Decision, context: Context, check: TwinCheck
) -> Verdict:
    """Run the checks in order. An exception inside a check, whatever its kind, is a refusal by that check."""
    case = Case(policy, plant, state, decision, context, check)
    passed: list[str] = []
    for name, test in CHECKS:
        try:
            case = test(case)
        except Broken as failure:
            return Verdict(
                "refused", f"{name}.{failure.args[0]}", failure.args[1], tuple(passed), None, case.risks, ""
            )
        except Exception as error:
            why = f"the check could not be made ({type(error).__name__}); unknown means no"
            return Verdict("refused", f"{name}.error", why, tuple(passed), None, case.risks, "")
        passed.append(name)
    return Verdict(case.mode, "", "", tuple(passed), case.decision, case.risks, case.digest)


def schema(case: Case) -> Case:
    """1. Exact types, finite numbers, known names and units; returns the case with a clean, rounded copy."""
    d, policy, plant = case.decision, case.policy, case.plant
    need(type(d) is Decision, "type", "a Decision is expected")
    for name in ("twin", "id", "source", "proposer", "reason"):
        text = getattr(d, name)
        need(
            type(text) is str and len(text) <= LONGEST and (text or name == "reason"),
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
            need(case.context.units.get(name) == limit.unit, "unit", f"{name} is in {limit.unit!r}")
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
        limit, column = policy.actuator(name), plan[:, plant.inputs.index(name)]
        assert limit is not None
        need(
            settle(column[0], limit.resolution) == value,
            "first",
            f"the plan of {name} does not start with the action",
        )
        need(
            bool(np.all((column >= limit.low) & (column <= limit.high))),
            "range",
            f"the plan of {name} leaves its range",
        )
    clean = replace(
        d, t=t, expires=expires, values=values, times=times, plan=plan, expected=figures(d.expected)
    )
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
    need(
        b.twin == d.twin and c.model_hash == case.plant.model_hash, "model", "the belief is of another model"
    )
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
    need(
        bool(np.all(np.isfinite(b.mean)) and np.all(np.isfinite(b.cov))), "finite", "the belief is not finite"
    )
    need(bool(np.all(np.diag(b.cov) >= 0)), "covariance", "the belief has a negative variance")
    health = dict(zip(case.plant.sensors, b.health, strict=True))
    good = sum(h is Health.GOOD for h in health.values())
    need(good >= policy.min_good * len(health), "quality", f"{good} of {len(health)} sensors are good")
    for name in policy.required:
        need(health.get(name) is Health.GOOD, "required", f"sensor {name!r} is required and not good")
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
        found = None if case.safe else broken(limit, case.state, value, case.context.now)
        if found:
            raise Broken(*found)
    return case


def interlocks(case: Case) -> Case:
    """5. Every interlock whose condition holds, or is unknown, finds its requirement met."""
    facts = recorded(case.plant, case.context.belief)
    after = facts | {n: h.value for n, h in case.state.held.items()} | case.decision.values
    for lock in case.policy.interlocks:
        armed = all(holds(term, facts) is not False for term in lock.when)
        met = all(holds(term, after) is True for term in lock.require)
        need(case.safe or not armed or met, lock.name, f"interlock {lock.name!r} forbids this now")
    return case


def twin(case: Case) -> Case:
    """6. P(any limit violated) <= eps, for the plan and for the action alone, each followed by the safe command."""
    if case.safe:
        return case
    planned, held, idle = schedules(case)
    acting = max((measure(case, planned), measure(case, held)), key=lambda r: r.violations)
    waiting = measure(case, idle)
    case = replace(case, risks={"acting": acting, "not_acting": waiting})
    if acting.upper <= case.policy.eps:
        return case
    why = (
        f"{acting.violations} of {acting.samples} samples violate a limit (not acting: {waiting.violations})"
    )
    if not (case.policy.less_risk and acting.upper < waiting.lower):
        raise Refused("risk", why, case)
    return replace(case, mode="approval")


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


CHECKS: tuple[tuple[str, Callable[[Case], Case]], ...] = (
    ("schema", schema), ("identity", identity), ("belief", belief), ("limits", limits),
    ("interlocks", interlocks), ("twin", twin), ("approval", approval),
)  # fmt: skip
"""The order of checks; a tuple, so that it cannot be changed at run time."""
