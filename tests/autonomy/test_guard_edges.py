"""The edges of every rule, on both sides: written from the mutants of the guard that the other tests let live."""

from dataclasses import replace

import numpy as np
import pytest

from pollux.autonomy import guard
from pollux.autonomy.bounds import upper_bound
from pollux.autonomy.guard_facts import better, counted, holds, recorded
from pollux.autonomy.guard_limits import GuardState, follow
from pollux.autonomy.judgement import Plant
from pollux.autonomy.policy import Actuator, Interlock, Policy, Term
from pollux.core.signals import Health, Level

ACCEPTED = {
    "valid as long as allowed": lambda w: (w.decision(expires=w.now + 86400.0), w.context(), w.policy),
    "belief as old as allowed": lambda w: (w.decision(), w.context(belief=w.belief(t=w.now - 30.0)), w.policy),
    "least consistency": lambda w: (w.decision(), w.context(consistency=0.1), w.policy),
    "most consistency": lambda w: (w.decision(), w.context(consistency=3.0), w.policy),
    "certain belief": lambda w: (w.decision(), w.context(belief=w.belief(sd=0.0)), w.policy),
    "longest reason": lambda w: (w.decision(reason="x" * guard.LONGEST), w.context(), w.policy),
    "100 figures": lambda w: (w.decision(expected={f"f{k}": 1.0 for k in range(100)}), w.context(), w.policy),
    "long figure name": lambda w: (w.decision(expected={"f" * 200: 1.0}), w.context(), w.policy),
    "plan from a second before": lambda w: (
        w.decision(times=w.now - 1.0 + 60.0 * np.arange(4)), w.context(), w.policy,
    ),
    "required and good": lambda w: (w.decision(), w.context(), replace(w.policy, required=("level",))),
    "silent but young": lambda w: (
        w.decision(), w.context(belief=w.belief(health=(Health.MISSING,), age=np.array([30.0]))), w.policy,
    ),
    "just heard": lambda w: (
        w.decision(), w.context(belief=w.belief(health=(Health.MISSING,), age=np.array([0.0]))), w.policy,
    ),
    "lowest value": lambda w: (w.decision({"v": 0.0}), w.context(), w.policy),
    "highest value": lambda w: (w.decision({"v": 100.0}), w.context(), w.policy),
}  # fmt: skip

REFUSED = {
    "valid too long": ("belief.expired", lambda w: (w.decision(expires=w.now + 86400.1), w.context(), w.policy)),
    "belief too old": ("belief.age", lambda w: (w.decision(), w.context(belief=w.belief(t=w.now - 30.1)), w.policy)),
    "cov of another size": (
        "belief.shape", lambda w: (w.decision(), w.context(belief=w.belief(cov=np.eye(2))), w.policy),
    ),
    "reason too long": ("schema.reason", lambda w: (w.decision(reason="x" * 10_001), w.context(), w.policy)),
    "101 figures": (
        "schema.expected",
        lambda w: (w.decision(expected={f"f{k}": 1.0 for k in range(101)}), w.context(), w.policy),
    ),
    "figures a list": ("schema.expected", lambda w: (w.decision(expected=[]), w.context(), w.policy)),
    "figure name too long": (
        "schema.expected",
        lambda w: (w.decision(expected={"f" * 201: 1.0}), w.context(), w.policy),
    ),
    "plan from long before": (
        "schema.times", lambda w: (w.decision(times=w.now - 1.1 + 60.0 * np.arange(4)), w.context(), w.policy),
    ),
    "times that stand": (
        "schema.times",
        lambda w: (w.decision(times=w.now + np.array([0.0, 60.0, 60.0, 120.0])), w.context(), w.policy),
    ),
    "plan too long": ("schema.plan", lambda w: (w.decision(rows=guard.LONGEST + 1, step=0.01), w.context(), w.policy)),
    "required and bad": (
        "belief.required",
        lambda w: (
            w.decision(), w.context(belief=w.belief(health=(Health.GATED,))),
            replace(w.policy, required=("level",), min_good=0.0),
        ),
    ),
    "silent too long": (
        "belief.quality",
        lambda w: (w.decision(), w.context(belief=w.belief(health=(Health.MISSING,), age=np.array([30.1]))), w.policy),
    ),
    "age unknown": (
        "belief.quality",
        lambda w: (
            w.decision(), w.context(belief=w.belief(health=(Health.MISSING,), age=np.array([np.nan]))), w.policy,
        ),
    ),
    "more health than sensors": (
        "belief.error", lambda w: (w.decision(), w.context(belief=w.belief(health=(Health.GOOD,) * 2)), w.policy),
    ),
    "huge": ("schema.finite", lambda w: (w.decision({"v": 1e300}), w.context(), w.policy)),
    "rounds out of its range": (
        "limits.range",
        lambda w: (
            w.decision({"v": 100.3}), w.context(),
            replace(w.policy, actuators=(w.policy.actuators[0], Actuator("v", "%", 0.0, 100.3, resolution=0.5))),
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ACCEPTED)
def test_still_accepted(world, name):
    d, c, policy = ACCEPTED[name](world)
    verdict = world.verdict(d, c, policy=policy)
    assert (verdict.mode, verdict.rule) == ("approval", "")


@pytest.mark.parametrize("name", REFUSED)
def test_already_refused(world, name):
    rule, make = REFUSED[name]
    d, c, policy = make(world)
    assert world.verdict(d, c, policy=policy).rule == rule


def test_a_plan_may_touch_its_range(world):
    d = world.decision({"v": 50.0}, rows=2)
    d.plan[:, 2] = [50.0, 0.0]
    assert world.verdict(d).rule == ""
    d.plan[1, 2] = 100.0
    assert world.verdict(d).rule == ""
    for bad in (-1e-9, 100.0000001):
        d.plan[1, 2] = bad
        assert world.verdict(d).rule == "limits.range"


def test_a_share_of_good_sensors_is_enough(world):
    """Two sensors: at `min_good` = 0.5 one of them suffices, at 0.6 it does not."""
    plant = Plant("tank", ("h",), ("q", "demand", "v"), ("level", "spare"), ("dry", "full"), "model-1")
    two = world.belief(
        health=(Health.GOOD, Health.STALE), age=np.zeros(2), predicted=np.ones(2), innovation=np.zeros(2)
    )

    def mode(share):
        policy = replace(world.policy, min_good=share)
        args = (world.guard_state(), world.decision(), world.context(belief=two), world.check)
        return guard.judge(policy, plant, *args).rule

    assert mode(0.5) == ""
    assert mode(0.6) == "belief.quality"


@pytest.mark.parametrize(
    ("values", "mode"),
    [
        ({"q": 0.02, "v": 60.0}, "veto"),
        ({"q": 0.02, "v": 80.5}, "approval"),
        ({"q": 0.03, "v": 40.0}, "veto"),
        ({"q": 0.02, "v": 39.5}, "approval"),
    ],
)
def test_every_value_must_be_in_its_envelope(world, values, mode):
    valve = replace(world.policy.actuators[1], envelope=(40.0, 80.0))
    policy = replace(world.policy, actuators=(world.policy.actuators[0], valve))
    c = world.context(level=Level.SUPERVISED, belief=world.belief(h=0.6))
    state = follow(GuardState(), {"q": 0.02, "v": 50.0}, world.now - 3600.0)
    assert world.verdict(world.decision(values, step=150.0), c, state, policy).mode == mode


@pytest.mark.parametrize(
    ("domain", "mode"),
    [
        ((("h", 1.0, 1.9),), "automatic"),
        ((("h", 0.3, 1.0),), "automatic"),
        ((("h", 1.0001, 1.9),), "veto"),
        ((("h", 0.3, 0.9999),), "veto"),
        ((("h", 0.3, 1.9), ("demand", 0.5, 1.0)), "veto"),
        ((("h", 0.3, 1.9), ("sensor.level", 0.5, 1.5)), "automatic"),
    ],
)
def test_every_name_must_be_in_the_domain(world, domain, mode):
    c = world.context(level=Level.AUTOMATIC)
    assert world.verdict(world.decision(), c, policy=replace(world.policy, domain=domain)).mode == mode


def test_an_agent_behind_a_service_is_an_agent(world):
    forged = replace(world.policy)
    object.__setattr__(forged, "caps", (("agent", Level.AUTOMATIC),))
    c = world.context(level=Level.AUTOMATIC)
    assert world.verdict(world.decision(proposer="agent:helper"), c, policy=forged).mode == "approval"


@pytest.mark.parametrize(
    ("when", "require", "refused"),
    [
        ((), (Term("q", ">", 0.01), Term("v", ">", 60.0)), True),
        ((), (Term("q", ">", 0.01), Term("v", ">", 40.0)), False),
        ((Term("h", ">", 0.5), Term("v", ">", 60.0)), (Term("q", "<", 0.01),), False),
        ((Term("h", ">", 0.5), Term("v", ">", 40.0)), (Term("q", "<", 0.01),), True),
        ((Term("h", ">", 0.5), Term("nothing", ">", 40.0)), (Term("q", "<", 0.01),), True),
    ],
)
def test_all_terms_of_an_interlock_count(world, when, require, refused):
    policy = replace(world.policy, interlocks=(Interlock("x", when, require),))
    assert (world.verdict(policy=policy).rule == "interlocks.x") == refused


@pytest.mark.parametrize(
    ("op", "below", "equal", "above"),
    [
        ("<", True, False, False), ("<=", True, True, False), (">", False, False, True), (">=", False, True, True),
        ("==", False, True, False), ("!=", True, False, True),
    ],
)  # fmt: skip
def test_terms(op, below, equal, above):
    for value, truth in ((1.0, below), (2.0, equal), (3.0, above)):
        assert holds(Term("a", op, 2.0), {"a": value}) is truth
    assert holds(Term("a", op, 2.0), {"a": float("nan")}) is None
    assert holds(Term("a", op, 2.0), {}) is None


def test_recorded_values_have_their_names(world):
    b = world.belief(h=1.25, predicted=np.array([1.5]), innovation=np.array([-0.125]))
    facts = recorded(world.plant, b)
    assert (facts["state.h"], facts["h"], facts["sensor.level"], facts["level"]) == (1.25, 1.25, 1.375, 1.375)
    assert (facts["input.v"], facts["v"]) == (50.0, 50.0)
    same = replace(world.plant, sensors=("h",))
    assert recorded(same, b)["h"] == 1.25


def test_eps_is_met_when_it_is_just_met(world):
    """One violation among 700 samples is let through at exactly the eps that it proves."""

    def check(belief, edges, plan, samples, seed):
        short = np.zeros((samples, 3))
        short[5, 1] = 0.1
        return short

    edge = upper_bound(1, 700, 0.99)
    for eps, rule in ((edge, ""), (np.nextafter(edge, 0), "twin.risk")):
        policy = replace(world.policy, eps=float(eps), samples=700)
        args = (world.guard_state(), world.decision(), world.context(), check)
        assert guard.judge(policy, world.plant, *args).rule == rule


def test_a_plan_row_of_this_very_moment_does_not_replace_the_action(world):
    d = world.decision({"q": 0.02}, t=world.now - 60.0, rows=2, step=60.0)
    d.plan[1, 0] = 0.05
    runs = guard.schedules(world.policy, world.plant, world.context(), {"q": 0.01, "v": 50.0}, d)
    assert [row[0] for row in runs[0][1]] == [0.02, 0.0]
    assert runs[0][0][-1] == world.now + 1800.0
    long = world.decision({"q": 0.02}, rows=2, step=1000.0)
    runs = guard.schedules(world.policy, world.plant, world.context(), {"q": 0.01, "v": 50.0}, long)
    assert (runs[0][0][-1], runs[2][0][-1]) == (world.now + 2900.0, world.now + 1800.0)


def test_both_risks_are_of_their_own_schedules(world):
    """Idle for as long as the plan, the tank runs dry; idle for `hold` alone it does not; acting it never does."""
    draining = np.array([0.01, 0.02, 50.0])
    policy = replace(world.policy, hold=60.0, recover=1.0)
    c = world.context(belief=world.belief(h=0.5, inputs=draining))
    risks = world.verdict(world.decision({"q": 0.02}, rows=2, step=450.0), c, policy=policy).risks
    assert (risks["acting"].violations, risks["not_acting"].violations) == (0, 459)
    assert risks["not_acting"].limits == {"model": 0.0, "dry": 1.0, "full": 0.0}


def test_the_lesser_evil_must_be_shown():
    """Against not acting, sample by sample: at most eps worse, at least half better."""
    idle = np.tile([0.0, 1.0], (459, 1))
    good = np.tile([0.0, 0.5], (459, 1))
    assert better([good], [idle], 0.01, 0.99)
    one_worse = good.copy()
    one_worse[0, 1] = 1.5
    assert not better([one_worse], [idle], 0.01, 0.99)
    assert better([one_worse], [idle], 0.02, 0.99)
    half = idle.copy()
    half[:229, 1] = 0.5
    assert not better([half], [idle], 0.01, 0.99)
    half[229, 1] = 0.5
    assert better([half], [idle], 0.01, 0.99)
    traded = good.copy()
    traded[:, 0] = 0.1
    assert not better([traded], [idle], 0.01, 0.99)
    unknown = good.copy()
    unknown[:, 0] = np.nan
    assert not better([unknown], [idle], 0.01, 0.99)
    assert counted([unknown], ("a",), 0.99).violations == 459
    assert counted([0 * idle, np.eye(459, 2)], ("a",), 0.99).limits == {"model": 1 / 459, "a": 1 / 459}


def test_only_declared_actuators_of_the_twin(world):
    ghost = Policy((Actuator("ghost", "1", 0.0, 1.0),), level=Level.APPROVE)
    d = world.decision({"q": 0.02})
    object.__setattr__(d, "values", {"ghost": 0.5})
    assert world.verdict(d, policy=ghost).rule == "schema.actuator"
