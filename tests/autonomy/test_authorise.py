"""From decision to command: what comes out at each level, exactly once, recorded first, on the present belief."""

from dataclasses import replace

import pytest

from pollux.autonomy.approve import OPEN, Pending
from pollux.autonomy.authorise import approve, authorise, due, redo, reject, safe
from pollux.autonomy.policy import Principal
from pollux.core.errors import AccessError, InputError
from pollux.core.signals import Command, Level, Refusal


@pytest.fixture
def desk(world):
    """Submit one sound decision at level 2; returns (state, pending)."""
    state, entry = authorise(world.authority, world.state, world.decision(), world.context(), world.sink)
    assert isinstance(entry, Pending)
    return state, entry


def test_level_2_waits_then_goes_with_an_approval(world, desk):
    state, entry = desk
    assert world.sink.records[-1][0] == "pending"
    c = world.context(now=world.now + 20.0, principal=world.alice)
    state, command = approve(world.authority, state, entry.id, entry.digest, "sounds right", c, world.sink)
    assert isinstance(command, Command)
    assert (command.values, command.sequence, command.source) == ({"q": 0.02}, 1, "tank/d/1")
    assert command.expires == world.now + 80.0
    kinds = [kind for kind, _, _ in world.sink.records]
    assert kinds == ["pending", "approval", "command"]
    body = world.sink.records[-1][2]
    assert (body["approved_by"], body["command"], body["digest"]) == ("alice", command.id, entry.digest)
    assert state.approvals.find(entry.id).status == "executed"
    assert state.guard.held["q"].value == 0.02


def test_an_approval_is_not_used_twice_nor_for_another_action(world, desk):
    state, entry = desk
    state, other = authorise(
        world.authority,
        state,
        world.decision({"q": 0.019}, id="tank/d/2", proposer="user:bob"),
        world.context(principal=world.bob),
        world.sink,
    )
    c = world.context(now=world.now + 5.0, principal=world.alice)
    with pytest.raises(InputError, match="another action"):
        approve(world.authority, state, entry.id, other.digest, "", c, world.sink)
    after, command = approve(world.authority, state, entry.id, entry.digest, "", c, world.sink)
    assert isinstance(command, Command)
    with pytest.raises(InputError, match="executed"):
        approve(world.authority, after, entry.id, entry.digest, "", c, world.sink)
    late, outcome = approve(world.authority, after, other.id, other.digest, "", c, world.sink)
    assert isinstance(outcome, Refusal)
    assert outcome.rule == "belief.superseded"
    assert late.approvals.find(other.id).status == "refused"


@pytest.mark.parametrize("who", ["agent", "planner", "eve"])
def test_only_a_person_with_the_role_approves(world, desk, who):
    state, entry = desk
    c = world.context(principal=getattr(world, who))
    with pytest.raises(AccessError):
        approve(world.authority, state, entry.id, entry.digest, "", c, world.sink)
    with pytest.raises(AccessError):
        reject(world.authority, state, entry.id, "", c, world.sink)


def test_every_check_runs_again_on_the_present_belief(world, desk):
    state, entry = desk
    now = world.now + 10.0
    cases = {
        "twin.risk": {"belief": world.belief(t=now, h=1.7)},
        "belief.age": {"belief": world.belief(t=now - 60.0)},
        "identity.stopped": {"stopped": True},
        "identity.advise": {"level": Level.ADVISE},
    }
    for rule, change in cases.items():
        c = replace(world.context(now=now, principal=world.alice), **change)
        after, outcome = approve(world.authority, state, entry.id, entry.digest, "", c, world.sink)
        assert isinstance(outcome, Refusal)
        assert outcome.rule == rule
        assert after.approvals.find(entry.id).status == "refused"
        assert after.guard == state.guard


def test_expired_actions_cannot_be_approved(world, desk):
    state, entry = desk
    c = world.context(now=entry.expires, principal=world.alice)
    with pytest.raises(InputError, match="expired"):
        approve(world.authority, state, entry.id, entry.digest, "", c, world.sink)
    state, outcomes = due(world.authority, state, world.context(now=entry.expires), world.sink)
    assert (outcomes, state.approvals.find(entry.id).status) == ((), "expired")


def test_level_3_goes_after_the_veto_time_unless_somebody_objects(world):
    c = world.context(level=Level.SUPERVISED)
    state, entry = authorise(world.authority, world.state, world.decision(), c, world.sink)
    assert entry.auto_at == world.now + 120.0
    early = world.context(now=world.now + 119.0, level=Level.SUPERVISED)
    same, none = due(world.authority, state, early, world.sink)
    assert (same, none) == (state, ())
    late = world.context(now=world.now + 120.0, level=Level.SUPERVISED)
    after, (command,) = due(world.authority, state, late, world.sink)
    assert isinstance(command, Command)
    assert due(world.authority, after, late, world.sink)[1] == ()
    objected, _ = reject(world.authority, state, entry.id, "not now", replace(early, principal=world.alice), world.sink)
    assert due(world.authority, objected, late, world.sink)[1] == ()
    lowered = replace(late, level=Level.APPROVE)
    after, (refusal,) = due(world.authority, state, lowered, world.sink)
    assert (refusal.rule, after.approvals.find(entry.id).status) == ("approval.missing", "refused")


def test_level_4_goes_at_once_in_its_domain(world):
    c = world.context(level=Level.AUTOMATIC)
    _, command = authorise(world.authority, world.state, world.decision(), c, world.sink)
    assert isinstance(command, Command)
    assert [kind for kind, _, _ in world.sink.records] == ["command"]


def test_the_same_decision_never_makes_two_commands(world):
    c = world.context(level=Level.AUTOMATIC)
    state, first = authorise(world.authority, world.state, world.decision(), c, world.sink)
    _, second = authorise(world.authority, state, world.decision(), c, world.sink)
    assert isinstance(first, Command)
    assert (second.rule, second.source) == ("belief.superseded", "tank/d/1")


@pytest.mark.parametrize("level", [Level.APPROVE, Level.AUTOMATIC])
def test_nothing_leaves_that_cannot_be_recorded(world, level):
    world.sink.broken = True
    state, refusal = authorise(world.authority, world.state, world.decision(), world.context(level=level), world.sink)
    assert refusal.rule == "audit.durable"
    assert (state.guard, state.approvals) == (world.state.guard, world.state.approvals)


def test_an_approval_that_cannot_be_recorded_does_nothing_and_can_be_given_again(world, desk):
    state, entry = desk
    c = world.context(now=world.now + 5.0, principal=world.alice)
    world.sink.broken = True
    after, refusal = approve(world.authority, state, entry.id, entry.digest, "", c, world.sink)
    assert refusal.rule == "audit.durable"
    assert after.approvals.find(entry.id).status == "pending"
    world.sink.broken = False
    assert isinstance(approve(world.authority, after, entry.id, entry.digest, "", c, world.sink)[1], Command)


def test_the_record_is_there_before_the_command(world):
    """The sink sees no command object; the command exists only after the sink returned."""
    seen = []

    def sink(kind, t, body):
        seen.append((kind, body.get("command")))
        raise OSError("disk full")

    _, outcome = authorise(world.authority, world.state, world.decision(), world.context(level=Level.AUTOMATIC), sink)
    assert seen == [("command", "tank:c1")]
    assert isinstance(outcome, Refusal)


def test_the_safe_command_always_leaves(world):
    world.sink.broken = True
    state, command = safe(world.authority, world.state, world.now, "plant lost", world.sink)
    assert (command.values, command.sequence) == ({"q": 0.0}, 1)
    assert state.guard.held["q"].value == 0.0
    old = world.decision({"q": 0.001}, t=world.now - 1.0)
    _, refusal = authorise(world.authority, state, old, world.context(now=world.now + 1.0), world.sink)
    assert refusal.rule == "belief.superseded"
    no_safe = replace(world.policy, actuators=(world.policy.actuators[1],))
    assert safe(replace(world.authority, policy=no_safe), world.state, world.now, "", world.sink)[1] is None


def test_a_flood_of_proposals_is_refused_not_queued(world):
    state = world.state
    for k in range(OPEN):
        who = Principal(f"u{k}", "operator", "person")
        d = world.decision({"q": 0.02}, id=f"d{k}", proposer=f"user:u{k}")
        state, entry = authorise(world.authority, state, d, world.context(principal=who), world.sink)
        assert isinstance(entry, Pending)
    _, refusal = authorise(world.authority, state, world.decision(id="one more"), world.context(), world.sink)
    assert refusal.rule == "approval.full"


def test_commands_after_a_snapshot_are_charged_on_restart(world):
    c = world.context(level=Level.AUTOMATIC)
    state, command = authorise(world.authority, world.state, world.decision(), c, world.sink)
    again = redo(world.authority, world.state, command)
    assert again.guard.sequence == state.guard.sequence
    assert again.guard.spent == state.guard.spent
    assert again.guard.held["q"].value == 0.02
    assert redo(world.authority, again, command) is again


def test_refusals_are_counted_and_recorded(world):
    state, refusal = authorise(world.authority, world.state, world.decision({"q": 9.0}), world.context(), world.sink)
    assert (refusal.id, refusal.rule, state.refusals) == ("tank:r1", "limits.range", 1)
    kind, _, body = world.sink.records[-1]
    assert (kind, body["rule"], body["passed"]) == ("refusal", "limits.range", ["schema", "identity", "belief"])
    _, nonsense = authorise(world.authority, world.state, None, world.context(principal=None), world.sink)
    assert nonsense.rule == "schema.type"
