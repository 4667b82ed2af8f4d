"""Every rule of the guard: refused by exactly that rule, and let through when that rule is taken out."""

from dataclasses import replace

import numpy as np
import pytest

from pollux.autonomy import guard
from pollux.autonomy.guard_limits import GuardState, commit
from pollux.autonomy.judgement import Approval
from pollux.autonomy.policy import Actuator, Interlock, Principal, Term
from pollux.core.signals import Health, Level


class LyingFloat(float):
    """Compares as if it were inside every range."""

    def __le__(self, other):
        return True

    __ge__ = __lt__ = __gt__ = __le__


def no_first_row(d):
    plan = d.plan.copy()
    plan[0, 0] = 0.01
    return replace(d, plan=plan)


SCHEMA = {
    "nan": (lambda w: w.decision({"q": float("nan")}), "finite"),
    "inf": (lambda w: w.decision({"q": float("inf")}), "finite"),
    "huge": (lambda w: w.decision({"q": 1e308}), "finite"),
    "huge int": (lambda w: w.decision({"q": 10**400}), "finite"),
    "string": (lambda w: w.decision({"q": "0.02"}), "number"),
    "bool": (lambda w: w.decision({"q": True}), "number"),
    "none": (lambda w: w.decision({"q": None}), "number"),
    "subclass": (lambda w: w.decision({"q": LyingFloat(0.9)}), "number"),
    "unknown": (lambda w: w.decision({"pump": 0.02}), "actuator"),
    "look-alike": (lambda w: w.decision({"ｑ": 0.02}), "actuator"),
    "not actuated": (lambda w: w.decision({"demand": 0.02}), "actuator"),
    "no values": (lambda w: w.decision({}), "values"),
    "values a list": (lambda w: replace(w.decision(), values=[("q", 0.02)]), "values"),
    "another twin": (lambda w: w.decision(twin="other"), "twin"),
    "empty id": (lambda w: w.decision(id=""), "id"),
    "reason not text": (lambda w: w.decision(reason=3), "reason"),
    "huge reason": (lambda w: w.decision(reason="x" * 100_000), "reason"),
    "t nan": (lambda w: replace(w.decision(), t=float("nan")), "finite"),
    "expires inf": (lambda w: w.decision(expires=float("inf")), "finite"),
    "plan nan": (lambda w: w.decision(plan=np.full((4, 3), np.nan)), "finite"),
    "plan float32": (lambda w: w.decision(plan=np.zeros((4, 3), np.float32)), "array"),
    "plan list": (lambda w: w.decision(plan=[[0.02, 0.01, 50.0]]), "array"),
    "plan shape": (lambda w: w.decision(plan=np.zeros((4, 2))), "plan"),
    "plan empty": (lambda w: w.decision(rows=0), "plan"),
    "times back": (lambda w: w.decision(times=w.now + np.array([0.0, 2.0, 1.0, 3.0])), "times"),
    "times past": (lambda w: w.decision(times=np.arange(4.0)), "times"),
    "plan differs from action": (lambda w: no_first_row(w.decision()), "first"),
    "expected not numbers": (lambda w: w.decision(expected={"cost": "ignore all limits"}), "number"),
    "expected not named": (lambda w: w.decision(expected={1: 2.0}), "expected"),
    "not a decision": (lambda w: {"values": {"q": 0.02}}, "type"),
}


@pytest.mark.parametrize("name", SCHEMA)
def test_schema_refuses(world, name):
    make, rule = SCHEMA[name]
    verdict = world.verdict(make(world))
    assert (verdict.mode, verdict.rule, verdict.decision) == ("refused", f"schema.{rule}", None)
    assert world.check.calls == 0


def test_units_that_the_proposer_declares_must_be_the_actuators(world):
    assert world.verdict(c=world.context(units={"q": "m^3/s"})).mode == "approval"
    assert world.verdict(c=world.context(units={"q": "L/s"})).rule == "schema.unit"
    assert world.verdict(c=world.context(units={})).rule == "schema.unit"


def rules(w):
    """name -> (decision, context, state, policy, rule); everything but the rule's cause is in order."""
    d, c, s, p = w.decision, w.context, w.guard_state, w.policy
    bad = w.belief
    later = commit(p, s(), {"q": 0.012}, w.now, w.now + 1.0)
    busy = s(t=w.now - 3600.0)
    for k in range(21):
        busy = commit(p, busy, {"q": 0.01 + 0.001 * (k % 2)}, w.now - 3000.0 + 100.0 * k, w.now - 3000.0 + k)
    worn = replace(s(), spent={"q": ((int(w.now // 3600), 0.195, 3),)})
    dry = replace(p, interlocks=(Interlock("dry", (Term("h", "<", 1.2),), (Term("q", "<=", 0.015),)),))
    blind = replace(p, interlocks=(Interlock("blind", (Term("nothing", "<", 1.2),), (Term("q", "<=", 0.015),)),))
    other = Approval("0" * 64, w.alice, w.now, w.now + 60.0)
    return {
        "who": (d(), c(principal="root"), s(), p, "identity.principal"),
        "kind": (d(), c(principal=Principal("x", "admin", "root")), s(), p, "identity.principal"),
        "agent as mpc": (d(), c(principal=w.agent), s(), p, "identity.proposer"),
        "person as mpc": (d(), c(principal=w.alice), s(), p, "identity.proposer"),
        "person as other": (d(proposer="user:bob"), c(principal=w.alice), s(), p, "identity.proposer"),
        "service as person": (d(proposer="user:bob"), c(), s(), p, "identity.proposer"),
        "viewer": (d(proposer="user:eve"), c(principal=w.eve), s(), p, "identity.role"),
        "odd role": (d(proposer="user:x"), c(principal=Principal("x", "root", "person")), s(), p, "identity.role"),
        "unknown proposer": (d(proposer="oracle"), c(), s(), p, "identity.unknown"),
        "stopped": (d(), c(stopped=True), s(), p, "identity.stopped"),
        "stop unknown": (d(), c(stopped=None), s(), p, "identity.stopped"),
        "observe": (d(), c(level=Level.OBSERVE), s(), p, "identity.observe"),
        "advise": (d(), c(level=Level.ADVISE), s(), p, "identity.advise"),
        "level unknown": (d(), c(level=9), s(), p, "identity.error"),
        "clock back": (d(t=w.now - 10, times=w.now + np.arange(4.0)), c(now=w.now - 5), s(t=w.now), p, "belief.clock"),
        "now nan": (d(), c(now=float("nan")), s(), p, "belief.finite"),
        "future": (d(t=w.now + 1), c(), s(), p, "belief.future"),
        "expired": (d(expires=w.now), c(), s(), p, "belief.expired"),
        "valid for ever": (d(expires=w.now + 1e9), c(), s(), p, "belief.expired"),
        "superseded": (d(), c(), later, p, "belief.superseded"),
        "other twin's belief": (d(), c(belief=bad(twin="b")), s(), p, "belief.model"),
        "other model": (d(), c(model_hash="model-2"), s(), p, "belief.model"),
        "old belief": (d(), c(belief=bad(t=w.now - 31)), s(), p, "belief.age"),
        "future belief": (d(), c(belief=bad(t=w.now + 1)), s(), p, "belief.age"),
        "belief shape": (d(), c(belief=bad(mean=np.ones(2))), s(), p, "belief.shape"),
        "belief nan": (d(), c(belief=bad(mean=np.array([np.nan]))), s(), p, "belief.finite"),
        "cov inf": (d(), c(belief=bad(cov=np.array([[np.inf]]))), s(), p, "belief.finite"),
        "negative variance": (d(), c(belief=bad(cov=np.array([[-1.0]]))), s(), p, "belief.covariance"),
        "sensor gated": (d(), c(belief=bad(health=(Health.GATED,))), s(), p, "belief.quality"),
        "sensor required": (d(), c(), s(), replace(p, required=("flow",)), "belief.required"),
        "inconsistent": (d(), c(consistency=3.5), s(), p, "belief.consistency"),
        "overconfident": (d(), c(consistency=0.01), s(), p, "belief.consistency"),
        "consistency unknown": (d(), c(consistency=float("nan")), s(), p, "belief.consistency"),
        "above": (d({"q": 0.051}), c(), s(q=0.045), p, "limits.range"),
        "below": (d({"q": -0.001}), c(), s(q=0.0), p, "limits.range"),
        "rounds out": (d({"v": 100.26}), c(), s(v=100.0), p, "limits.range"),
        "plan leaves": (d(plan=np.array([[0.02, 0, 0], [0.06, 0, 0]]), rows=2), c(), s(), p, "limits.range"),
        "never seen": (d(), c(), GuardState(), p, "limits.held"),
        "slew": (d({"q": 0.014}), c(), s(t=w.now - 3), p, "limits.slew"),
        "step": (d({"q": 0.031}), c(), s(), p, "limits.step"),
        "dwell": (d({"q": 0.011}), c(), s(t=w.now - 59), p, "limits.dwell"),
        "moves": (d({"q": 0.02}), c(), busy, p, "limits.moves"),
        "travel": (d({"q": 0.02}), c(), worn, p, "limits.travel"),
        "interlock": (d(), c(), s(), dry, "interlocks.dry"),
        "interlock unknown": (d(), c(), s(), blind, "interlocks.blind"),
        "overflow": (d(), c(belief=bad(h=1.6)), s(), p, "twin.risk"),
        "disturbance unknown": (d(), c(belief=bad(inputs=np.array([0, np.nan, 0]))), s(), p, "twin.inputs"),
        "approval of another": (d(), c(approval=other), s(), p, "approval.digest"),
    }  # fmt: skip


NAMES = [
    "who", "kind", "agent as mpc", "person as mpc", "person as other", "service as person", "viewer", "odd role",
    "unknown proposer", "stopped", "stop unknown", "observe", "advise", "level unknown", "clock back", "now nan",
    "future", "expired", "valid for ever", "superseded", "other twin's belief", "other model", "old belief",
    "future belief", "belief shape", "belief nan", "cov inf", "negative variance", "sensor gated", "sensor required",
    "inconsistent", "overconfident", "consistency unknown", "above", "below", "rounds out", "plan leaves",
    "never seen", "slew", "step", "dwell", "moves", "travel", "interlock", "interlock unknown", "overflow",
    "disturbance unknown", "approval of another",
]  # fmt: skip


def test_every_case_is_listed(world):
    assert list(rules(world)) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_refused_by_exactly_its_rule(world, name):
    d, c, s, p, rule = rules(world)[name]
    verdict = world.verdict(d, c, s, p)
    assert (verdict.mode, verdict.rule) == ("refused", rule)
    order = [check for check, _ in guard.CHECKS]
    assert list(verdict.passed) == order[: order.index(rule.split(".")[0])]


@pytest.mark.parametrize("name", NAMES)
def test_let_through_when_the_rule_is_taken_out(world, monkeypatch, name):
    """Mutation: with one rule answering yes, the same case passes that point, so the rule and only it refused."""
    d, c, s, p, rule = rules(world)[name]
    group, word = rule.split(".", 1)
    if (
        word == "error"
        or name == "overflow"
        or (group == "limits" and word in ("held", "slew", "step", "dwell", "moves", "travel"))
    ):
        kept = tuple(check for check in guard.CHECKS if check[0] != group)
        monkeypatch.setattr(guard, "CHECKS", kept)
    real = guard.need
    monkeypatch.setattr(guard, "need", lambda ok, r, why: real(ok or r == word, r, why))
    assert world.verdict(d, c, s, p).rule != rule


def test_a_good_action_waits_for_a_person_and_reports_both_risks(world):
    verdict = world.verdict()
    assert (verdict.mode, verdict.rule) == ("approval", "")
    assert verdict.passed == ("schema", "identity", "belief", "limits", "interlocks", "twin", "approval")
    assert verdict.risks["acting"].samples == 459
    assert verdict.risks["acting"].upper <= 0.01
    assert set(verdict.risks["acting"].limits) == {"model", "dry", "full"}
    assert verdict.risks["not_acting"].violations == 0


@pytest.mark.parametrize(
    ("level", "proposer", "who", "value", "mode"),
    [
        (Level.APPROVE, "mpc", "planner", 0.02, "approval"),
        (Level.SUPERVISED, "mpc", "planner", 0.02, "veto"),
        (Level.AUTOMATIC, "mpc", "planner", 0.02, "automatic"),
        (Level.AUTOMATIC, "agent:helper", "agent", 0.02, "approval"),
        (Level.AUTOMATIC, "user:alice", "alice", 0.02, "approval"),
    ],
)
def test_level_and_cap_decide_how(world, level, proposer, who, value, mode):
    c = world.context(level=level, principal=getattr(world, who))
    assert world.verdict(world.decision({"q": value}, proposer=proposer), c).mode == mode


def test_an_agent_is_capped_even_if_the_policy_object_is_forged(world):
    """The wiring refuses caps.agent > 2; the guard does not rely on it."""
    forged = replace(world.policy)
    object.__setattr__(forged, "caps", (("agent", Level.AUTOMATIC), ("mpc", Level.AUTOMATIC)))
    c = world.context(level=Level.AUTOMATIC, principal=world.agent)
    assert world.verdict(world.decision(proposer="agent:helper"), c, policy=forged).mode == "approval"


def test_outside_envelope_and_domain_a_person_is_asked(world):
    low = world.belief(h=0.5)
    c = world.context(level=Level.SUPERVISED, belief=low)
    assert world.verdict(world.decision({"q": 0.03}, step=150.0), c, world.guard_state(q=0.02)).mode == "veto"
    assert world.verdict(world.decision({"q": 0.031}, step=150.0), c, world.guard_state(q=0.02)).mode == "approval"
    wide = replace(world.policy, domain=(("h", 1.2, 1.9),))
    c = world.context(level=Level.AUTOMATIC)
    assert world.verdict(world.decision(), c, policy=wide).mode == "veto"
    assert world.verdict(world.decision(), c, policy=replace(world.policy, domain=())).mode == "veto"
    unknown = replace(world.policy, domain=(("nothing", 0.0, 1.0),))
    assert world.verdict(world.decision(), c, policy=unknown).mode == "veto"


def test_two_actuators_that_move_at_once_do_not_slip_past_an_interlock(world):
    """Each is still open when it is judged, and both would be shut afterwards."""
    either = (
        Interlock("not both", (Term("q", "<", 0.005),), (Term("v", ">=", 10.0),)),
        Interlock("not both, the other way round", (Term("v", "<", 10.0),), (Term("q", ">=", 0.005),)),
    )
    policy = replace(world.policy, interlocks=either)
    assert world.verdict(world.decision({"q": 0.001, "v": 0.0}), policy=policy).rule == "interlocks.not both"
    assert world.verdict(world.decision({"v": 0.0}), policy=policy).mode == "approval"
    full = world.context(belief=world.belief(h=1.6))
    assert world.verdict(world.decision({"q": 0.001}), full, policy=policy).mode == "approval"
    shut = world.context(belief=world.belief(inputs=np.array([0.001, 0.01, 50.0])))
    assert world.verdict(world.decision({"v": 0.0}), shut, policy=policy).rule == "interlocks.not both"


def test_the_safe_command_needs_no_belief(world):
    policy = replace(world.policy, actuators=(world.policy.actuators[0],), interlocks=(
        Interlock("never", (), (Term("q", ">", 0.01),)),
    ))  # fmt: skip
    c = world.context(belief=world.belief(t=0.0, health=(Health.STALE,)), consistency=float("nan"))
    fast = world.guard_state(t=world.now - 1.0)
    verdict = world.verdict(world.decision({"q": 0.0}), c, fast, policy)
    assert verdict.mode == "approval"
    assert world.check.calls == 0
    assert world.verdict(world.decision({"q": 0.001}), c, fast, policy).rule == "belief.age"


def test_a_lesser_evil_may_be_approved_but_never_runs_by_itself(world):
    """The tank is draining: more inflow too late still violates `dry` in most samples, less than doing nothing."""
    draining = world.belief(h=0.3, inputs=np.array([0.01, 0.03, 50.0]))
    c = world.context(level=Level.AUTOMATIC, belief=draining)
    wide = replace(world.policy, domain=(("h", 0.0, 2.0),), hold=120.0, recover=60.0)
    d = world.decision({"q": 0.03}, rows=1)
    verdict = world.verdict(d, c, policy=wide)
    assert verdict.risks["acting"].upper > 0.01
    assert verdict.risks["acting"].violations <= verdict.risks["not_acting"].violations
    assert verdict.mode == "approval"
    strict = replace(wide, less_risk=False)
    assert world.verdict(d, c, policy=strict).rule == "twin.risk"
    worse = world.decision({"q": 0.0}, rows=1)
    wide_no_safe = replace(wide, actuators=(replace(wide.actuators[0], safe=0.01), wide.actuators[1]))
    assert world.verdict(worse, c, policy=wide_no_safe).rule == "twin.risk"


def test_a_kind_plan_does_not_hide_a_dangerous_action(world):
    """The plan goes back at once; the action alone, if nothing follows it, would overflow the tank."""
    d = world.decision({"q": 0.02}, rows=2, step=1.0)
    d.plan[1, 0] = 0.0
    c = world.context(belief=world.belief(h=1.5))
    assert world.verdict(d, c).rule == "twin.risk"
    assert world.verdict(d, c, policy=replace(world.policy, hold=1.0)).mode == "approval"


def test_the_proposers_word_on_disturbances_is_not_taken(world):
    """A plan column that is not an actuator (demand) is replaced by what the twin believes."""
    d = world.decision({"q": 0.02})
    d.plan[:, 1] = 0.02
    c = world.context(belief=world.belief(h=1.6))
    assert world.verdict(d, c).rule == "twin.risk"
    outlook = (np.array([world.now - 10.0]), np.array([[0.01, 0.02, 50.0]]))
    assert world.verdict(d, replace(c, outlook=outlook)).mode == "approval"


def test_what_is_simulated(world):
    """Action, plan, outlook and safe command, row by row."""
    now = world.now
    d = world.decision({"q": 0.02}, t=now - 10.0, rows=3, step=300.0)
    d.plan[1:, 0] = [0.03, 0.01]
    outlook = (np.array([now - 20.0, now + 200.0]), np.array([[np.nan, 0.015, 40.0], [0.005, 0.02, np.nan]]))
    b = world.belief(t=now - 20.0, inputs=np.array([0.012, np.nan, 50.0]))
    c = world.context(belief=b, outlook=outlook)
    held = {"q": 0.011, "v": 50.0}
    plan, idle, alone, idle_alone = guard.schedules(world.policy, world.plant, c, held, d)
    t = np.array([-20, 0, 200, 290, 590, 900, 1800]) + now
    np.testing.assert_allclose(plan[0], t, rtol=0, atol=1e-6)
    np.testing.assert_allclose(
        plan[1],
        [[0.011, 0.015, 40], [0.02, 0.015, 40], [0.02, 0.02, 50], [0.03, 0.02, 50], [0.01, 0.02, 50], [0, 0.02, 50]],
    )
    np.testing.assert_allclose(idle[0], np.array([-20, 200, 900, 1800]) + now, rtol=0, atol=1e-6)
    np.testing.assert_allclose(idle[1], [[0.011, 0.015, 40], [0.005, 0.02, 50], [0, 0.02, 50]])
    np.testing.assert_allclose(alone[0], np.array([-20, 0, 200, 900, 1800]) + now, rtol=0, atol=1e-6)
    np.testing.assert_allclose(alone[1][:, 0], [0.011, 0.02, 0.02, 0.0])
    np.testing.assert_allclose(idle_alone[1][:, 0], [0.011, 0.005, 0.0])
    bare = guard.schedules(world.policy, world.plant, world.context(), held, world.decision(rows=1))
    np.testing.assert_allclose(bare[1][1], [[0.011, 0.01, 50.0], [0.0, 0.01, 50.0]])


def test_sending_again_does_not_draw_again(world):
    seeds = []

    def check(belief, edges, plan, samples, seed):
        seeds.append(seed)
        return np.zeros((samples, 3))

    for value in (0.02, 0.019):
        guard.judge(
            world.policy, world.plant, world.guard_state(), world.decision({"q": value}), world.context(), check
        )
    assert len(set(seeds)) == 1
    other = world.context(belief=world.belief(id="tank/belief/2"))
    guard.judge(world.policy, world.plant, world.guard_state(), world.decision(), other, check)
    assert len(set(seeds)) == 2


@pytest.mark.parametrize("answer", [None, 0, np.zeros(3), np.zeros((459, 2)), "fine"])
def test_a_twin_check_that_gives_no_proper_answer_is_a_no(world, answer):
    verdict = guard.judge(
        world.policy, world.plant, world.guard_state(), world.decision(), world.context(), lambda *a: answer
    )
    assert verdict.mode == "refused"
    assert verdict.rule.startswith("twin.")


@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_a_sample_that_is_not_finite_is_a_violation(world, poison):
    def check(belief, edges, plan, samples, seed):
        out = np.zeros((samples, 3))
        out[7, 0] = poison
        return out

    verdict = guard.judge(world.policy, world.plant, world.guard_state(), world.decision(), world.context(), check)
    assert verdict.rule == "twin.risk"
    assert verdict.risks["acting"].violations == 1


def test_an_exception_in_a_check_is_a_no(world):
    def check(*a):
        raise RuntimeError("kernel died")

    verdict = guard.judge(world.policy, world.plant, world.guard_state(), world.decision(), world.context(), check)
    assert verdict.rule == "twin.error"


def test_the_guard_judges_a_copy(world):
    d = world.decision()
    verdict = world.verdict(d)
    d.values["q"] = 5.0
    d.plan[:] = 5.0
    assert verdict.decision.values == {"q": 0.02}
    assert verdict.decision.plan.max() == 50.0


def test_approval_holds_for_this_action_this_person_this_time(world):
    digest = world.verdict().digest
    good = Approval(digest, world.alice, world.now, world.now + 60.0)
    assert world.verdict(c=world.context(approval=good)).mode == "automatic"
    cases = {
        "approval.digest": replace(good, digest=digest[:-1] + ("0" if digest[-1] != "0" else "1")),
        "approval.expired": replace(good, expires=world.now),
        "approval.person": replace(good, by=world.eve),
    }
    for rule, word in cases.items():
        assert world.verdict(c=world.context(approval=word)).rule == rule
    assert world.verdict(c=world.context(approval=replace(good, by=world.agent))).rule == "approval.person"
    assert world.verdict(c=world.context(approval=replace(good, at=world.now + 1))).rule == "approval.expired"
    two = replace(world.policy, two_person=True)
    own = world.decision(proposer="user:alice")
    c = world.context(principal=world.alice)
    word = Approval(world.verdict(own, c).digest, world.alice, world.now, world.now + 60.0)
    assert world.verdict(own, replace(c, approval=word), policy=two).rule == "approval.two_person"
    assert world.verdict(own, replace(c, approval=replace(word, by=world.bob)), policy=two).mode == "automatic"


def test_veto_time_must_pass_for_this_action(world):
    c = world.context(level=Level.SUPERVISED)
    digest = world.verdict(c=c).digest
    assert world.verdict(c=replace(c, waiting=(digest, world.now - 119.0))).mode == "veto"
    assert world.verdict(c=replace(c, waiting=(digest, world.now - 120.0))).mode == "automatic"
    assert world.verdict(c=replace(c, waiting=("f" * 64, world.now - 120.0))).rule == "approval.digest"
    lowered = replace(c, level=Level.APPROVE, waiting=(digest, world.now - 120.0))
    assert world.verdict(c=lowered).mode == "approval"


@pytest.mark.parametrize(
    "change",
    [
        {"values": {"q": 0.021}}, {"source": "tank/belief/2"}, {"expires": 1.8e9 + 601.0}, {"proposer": "agent:helper"},
        {"id": "tank/d/2"}, {"values": {"q": 0.02, "v": 50.0}}, {"t": 1.8e9 - 1.0},
    ],
)  # fmt: skip
def test_the_digest_covers_every_part(world, change):
    assert guard.digest(replace(world.decision(), **change)) != guard.digest(world.decision())


def test_the_digest_covers_the_plan(world):
    d = world.decision()
    for array in (d.plan, d.times):
        before = guard.digest(d)
        array.flat[-1] = np.nextafter(array.flat[-1], np.inf)
        assert guard.digest(d) != before


def test_minus_zero_is_zero(world):
    verdict = world.verdict(world.decision({"q": -0.0}))
    assert str(verdict.decision.values["q"]) == "0.0"
    assert Actuator("a", "1", 0.0, 1.0).low == 0.0


def test_the_guard_stays_small():
    """TRUST: under 500 lines. Counted without documentation, blank lines and comments."""
    import ast
    from pathlib import Path

    total = 0
    for path in Path(guard.__file__).parent.glob("guard*.py"):
        tree = ast.parse(path.read_text())
        docs = {
            line
            for node in ast.walk(tree)
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
            for line in range(node.lineno, node.end_lineno + 1)
        }
        lines = path.read_text().splitlines()
        total += sum(
            1 for k, line in enumerate(lines, 1) if k not in docs and line.strip() and not line.strip().startswith("#")
        )
    assert total < 500
