"""The live twin and its lane: the two folds, alarms, proposals under the guard, restart to the same bits."""

import asyncio
import json

import numpy as np
import pytest
from live_tank import T0, Memory, Trail, feed, make_host, make_live, readings

from pollux.autonomy.policy import Principal
from pollux.core.errors import AccessError, InputError, StoreError
from pollux.core.signals import Cause, Finding, Level
from pollux.core.time import ManualClock
from pollux.runtime.events import Intent
from pollux.runtime.lane import PLANNER, SYSTEM
from pollux.runtime.records import codec

ANN = Principal("ann", "engineer", "person")
BOT = Principal("bot", "operator", "agent")


@pytest.fixture
def host(kit, tmp_path):
    return make_host(kit, tmp_path)


def act(lane, kind, who, **params):
    return asyncio.run(lane.act(Intent(kind, who, params)))


def test_step_is_the_mirror_and_frames_are_json(kit):
    live = make_live(kit, ManualClock(T0), Trail())
    with pytest.raises(InputError, match="not seen a reading"):
        live.frame()
    belief = kit.mirror.start(T0)
    for k in range(5):
        result = live.step(readings(k))
        belief = kit.mirror.update(belief, readings(k))
        np.testing.assert_array_equal(result.belief.mean, belief.mean)
        np.testing.assert_array_equal(result.belief.cov, belief.cov)
    frame = json.loads(json.dumps(live.frame(), allow_nan=False))
    assert frame["t"] == T0 + 40
    assert frame["status"] == "good"
    assert frame["level"] == 2
    assert set(frame["sensors"]) == {"level", "temp"}
    assert set(frame["states"]) == {"h", "T", "k"}
    assert frame["sensors"]["level"]["value"] == readings(4).values[0]
    assert frame["margins"]["dry"] == pytest.approx(belief.mean[0] - 0.2)


def test_a_missing_reading_keeps_the_last_value_on_show_and_nan_in_the_record(kit):
    live = make_live(kit, ManualClock(T0), Trail())
    feed(live, 3)
    live.step(readings(3, level=np.nan))
    frame = live.frame()
    assert frame["sensors"]["level"]["health"] == "missing"
    assert frame["sensors"]["level"]["value"] == readings(2).values[0]
    assert np.isnan(live.ring.rows()[-1][1])


def test_a_sensor_fault_becomes_one_alarm_excludes_the_sensor_and_clears(kit):
    live = make_live(kit, ManualClock(T0), Trail())
    feed(live, 12)
    raised = [e for k in range(12, 20) for e in live.step(readings(k, level=1.4)).events if e.kind == "alarm_raised"]
    assert len(raised) == 1
    assert raised[0].derived
    (alarm,) = live.state.alarms.open()
    assert (alarm.cause, alarm.subject, alarm.priority) == (Cause.SENSOR, "level", 2)
    assert live.frame()["sensors"]["level"]["health"] == "suspect"
    assert live.state.belief.mean[0] < 1.1
    assert live.card()["status"] == "watch"
    feed(live, 10, start=20)
    assert not live.state.alarms.open()
    assert live.state.alarms.find(alarm.id).state == "cleared"


def test_a_restored_twin_goes_on_with_the_same_bits(kit):
    clock = ManualClock(T0)
    live = make_live(kit, clock, Trail())
    feed(live, 20, level=1.2)
    data = codec(Memory()).encode(live.snapshot())
    other = make_live(kit, clock, Trail())
    other.restore(codec(Memory()).decode(data))
    for k in range(20, 40):
        a, b = live.step(readings(k)), other.step(readings(k))
        assert a.belief.mean.tobytes() == b.belief.mean.tobytes()
        assert a.belief.cov.tobytes() == b.belief.cov.tobytes()
    assert codec(Memory()).encode(live.snapshot()) == codec(Memory()).encode(other.snapshot())


def test_the_journalled_events_rebuild_what_people_did(host, kit):
    host, journal, *_ = host
    lane = host.lane
    feed(lane.live)
    row = act(lane, "propose", ANN, values={"q_in": 0.012}, hours=1.0, reason="r")
    act(lane, "approve", ANN, id=row["id"], hash=row["hash"], reason="ok")
    act(lane, "propose", ANN, values={"q_in": 9.0}, hours=1.0, reason="too much")
    replay = make_live(kit, ManualClock(T0), Trail())
    feed(replay)
    for event in journal.events:
        replay.apply(json_round_trip(event))
    assert codec(Memory()).encode(replay.snapshot()) == codec(Memory()).encode(lane.live.snapshot())


def json_round_trip(event):
    from dataclasses import replace

    return replace(event, data=json.loads(json.dumps(event.data, allow_nan=False)))


def test_a_proposal_waits_is_approved_once_and_only_then_sent(host):
    host, _journal, pump, _, trail = host
    lane = host.lane
    feed(lane.live)
    row = act(lane, "propose", ANN, values={"q_in": 0.012}, hours=1.0, reason="more inflow")
    assert row["status"] == "pending"
    assert not pump.sent
    assert {r["limit"] for r in row["risk"]} >= {"dry", "hot"}
    assert row["expected"]
    with pytest.raises(InputError, match="another action"):
        act(lane, "approve", ANN, id=row["id"], hash="0" * 64, reason="x")
    done = act(lane, "approve", ANN, id=row["id"], hash=row["hash"], reason="fine")
    assert done["status"] == "executed"
    assert [c.values for c in pump.sent] == [{"q_in": 0.012}]
    with pytest.raises(InputError, match="cannot be used again"):
        act(lane, "approve", ANN, id=row["id"], hash=row["hash"], reason="again")
    assert len(pump.sent) == 1
    assert [r["kind"] for r in trail.records] == ["pending", "approval", "command"]
    assert lane.live.state.plan is not None
    assert list(lane.live.state.waiting) == [pump.sent[0].id]
    asyncio.run(lane.answered(pump.sent[0].id, "done"))
    assert not lane.live.state.waiting


def test_an_agent_may_propose_and_never_approve(host):
    host, _, pump, *_ = host
    feed(host.lane.live)
    row = act(host.lane, "propose", BOT, values={"q_in": 0.012}, hours=1.0, reason="r")
    assert row["proposer"] == "agent:bot"
    assert row["status"] == "pending"
    with pytest.raises(AccessError, match="Only a person"):
        act(host.lane, "approve", BOT, id=row["id"], hash=row["hash"], reason="let me")
    assert not pump.sent


def test_a_proposal_outside_the_limits_is_refused_with_its_rule(host):
    host, _, pump, *_ = host
    feed(host.lane.live)
    row = act(host.lane, "propose", ANN, values={"q_in": 0.2}, hours=1.0, reason="r")
    assert (row["status"], row["rule"]) == ("refused", "limits.range")
    with pytest.raises(InputError, match="no input"):
        act(host.lane, "propose", ANN, values={"nonsense": 1.0}, hours=1.0, reason="r")
    assert not pump.sent


def test_level_one_shows_advice_that_nobody_can_approve(kit, tmp_path):
    host, _, pump, *_ = make_host(kit, tmp_path, Level.ADVISE)
    feed(host.lane.live)
    row = act(host.lane, "propose", ANN, values={"q_in": 0.012}, hours=1.0, reason="r")
    assert (row["status"], row["rule"]) == ("pending", "identity.advise")
    assert row["risk"]
    with pytest.raises(AccessError, match="raise the level to 2"):
        act(host.lane, "approve", ANN, id=row["id"], hash=row["hash"], reason="x")
    assert act(host.lane, "reject", ANN, id=row["id"], reason="no")["status"] == "rejected"
    assert not pump.sent


def test_the_stop_latches_sends_the_safe_command_and_only_a_person_resets_it(host):
    host, _, pump, *_ = host
    lane = host.lane
    feed(lane.live)
    assert act(lane, "stop", BOT, reason="smoke") == {"stopped": True, "safe": {"q_in": 0.01, "heat": 0.0}}
    assert pump.sent[-1].source == "safe"
    assert lane.live.frame()["stopped"] is True
    row = act(lane, "propose", ANN, values={"q_in": 0.012}, hours=1.0, reason="r")
    assert (row["status"], row["rule"]) == ("refused", "identity.stopped")
    with pytest.raises(AccessError):
        act(lane, "reset_stop", BOT, reason="please")
    act(lane, "reset_stop", ANN, reason="checked")
    assert lane.live.frame()["stopped"] is False


def test_nothing_happens_when_the_journal_cannot_be_written(host):
    host, journal, pump, *_ = host
    lane = host.lane
    feed(lane.live)
    row = act(lane, "propose", ANN, values={"q_in": 0.012}, hours=1.0, reason="r")
    journal.broken = StoreError("disk full")
    with pytest.raises(StoreError):
        act(lane, "approve", ANN, id=row["id"], hash=row["hash"], reason="x")
    assert not pump.sent
    assert lane.live.state.autonomy.approvals.find(row["id"]).status == "pending"


def test_looking_ahead_forecasts_and_plans_when_due(host):
    host, journal, *_ = host
    lane = host.lane
    feed(lane.live)
    assert lane.live.due() == ("forecast",)
    asyncio.run(lane.look_ahead())
    assert lane.live.forecast is not None
    assert lane.live.due() == ()
    assert [e.kind for e in journal.events] == ["foreseen"]
    row = asyncio.run(lane.ask_planner())
    assert row["proposer"] == "mpc"
    assert row["status"] == "pending"
    assert row["expected"] == [{"label": "energy", "unit": "kWh", "acting": 1.0, "not_acting": 2.0}]


def test_a_veto_that_ran_out_is_executed_and_a_stopped_one_is_not(kit, tmp_path):
    from dataclasses import replace

    host, _, pump, *_ = make_host(kit, tmp_path, Level.SUPERVISED)
    lane = host.lane
    authority = lane.live.parts.authority
    actuators = tuple(replace(a, envelope=(a.low, a.high)) for a in authority.policy.actuators)
    lane.live.attach(authority=replace(authority, policy=replace(authority.policy, actuators=actuators, veto=60.0)))
    feed(lane.live)
    row = asyncio.run(lane.ask_planner())
    assert row["status"] == "pending"
    assert row["auto_at"] == lane.live.t + 60.0
    assert "veto" not in lane.live.due()
    feed(lane.live, 6, start=12)
    assert "veto" in lane.live.due()
    asyncio.run(lane.look_ahead())
    assert [c.values for c in pump.sent] == [{"q_in": 0.012}]


def test_reported_findings_are_alarms_until_withdrawn(host):
    host, *_ = host
    lane = host.lane
    feed(lane.live)
    finding = Finding("tank", T0, "f1", "", Cause.SYSTEM, "store", "The disk is full", 1, {"free": 0.0})
    asyncio.run(lane.report(finding))
    feed(lane.live, 1, start=12)
    (alarm,) = lane.live.state.alarms.open()
    assert alarm.summary == "The disk is full"
    assert lane.live.card()["status"] == "act"
    asyncio.run(lane.withdraw("system", "store"))
    feed(lane.live, 5, start=13)
    assert not lane.live.state.alarms.open()


def test_a_command_without_an_answer_is_unknown_and_an_alarm(host):
    host, *_ = host
    lane = host.lane
    feed(lane.live)
    row = act(lane, "propose", ANN, values={"q_in": 0.012}, hours=1.0, reason="r")
    act(lane, "approve", ANN, id=row["id"], hash=row["hash"], reason="x")
    feed(lane.live, 14, start=12, inputs=(0.012, 0.0))
    assert any("was not answered" in a.summary for a in lane.live.state.alarms.open())


def test_service_identities_are_not_people():
    assert PLANNER.kind == SYSTEM.kind == "service"


def test_a_stop_works_with_the_store_down(host):
    host, journal, pump, *_ = host
    feed(host.lane.live)
    journal.broken = StoreError("disk full")
    assert act(host.lane, "stop", ANN, reason="smoke")["stopped"] is True
    assert pump.sent[-1].source == "safe"


def test_a_stop_file_that_somebody_touched_brings_the_safe_command_once(host, tmp_path):
    host, _, pump, *_ = host
    lane = host.lane
    (tmp_path / "STOP").touch()

    async def steps():
        for k in range(5):
            await lane.step(readings(k))

    asyncio.run(steps())
    assert [c.source for c in pump.sent] == ["safe"]
    assert lane.live.frame()["stopped"] is True


def test_a_reading_that_cannot_be_used_is_an_alarm_and_leaves_the_belief(kit):
    live = make_live(kit, ManualClock(T0), Trail())
    feed(live, 5)
    before = live.state.belief
    result = live.step(readings(2))  # older than the belief: the mirror refuses it
    assert result.belief is live.state.belief is before
    (finding,) = result.findings
    assert (finding.subject, finding.priority) == ("estimation", 1)
    live.parts.detector.update = None  # a bug: calling it raises TypeError
    live.step(readings(6))
    assert "TypeError" in live.state.alarms.open()[0].summary
    assert live.state.belief is before
    del live.parts.detector.update
    feed(live, 6, start=7)
    assert live.state.belief.t == T0 + 120
    assert not live.state.alarms.open()


def test_alarms_proposals_and_beliefs_are_explained_from_what_was_kept(host):
    from pollux.runtime.explain import explain

    host, *_ = host
    lane = host.lane
    live = lane.live
    feed(live, 12)
    feed(live, 6, start=12, level=1.4)
    (alarm,) = live.state.alarms.open()
    at = live.state.raised[alarm.id]
    assert at.t == alarm.t
    said = explain(live, alarm.id)
    assert alarm.summary in said["text"]
    assert [c["kind"] for c in said["chain"]][:2] == ["alarm", "finding"]
    assert {at.id, at.source} <= {c["id"] for c in said["chain"]}
    assert any(f["value"] == pytest.approx(alarm.evidence["innovation"]) for f in said["facts"])
    row = act(lane, "propose", ANN, values={"q_in": 0.012}, hours=1.0, reason="the tank is low")
    said = explain(live, row["id"])
    assert "the tank is low" in said["text"].lower()
    assert [c["kind"] for c in said["chain"]] == ["proposal", "decision", "belief"]
    now = live.state.belief
    assert now.source in {c["id"] for c in explain(live, now.id)["chain"]}
    with pytest.raises(InputError, match="'nothing'"):
        explain(live, "nothing")


def test_a_duty_that_is_measured_as_a_switch_is_not_taken_for_a_hand_and_a_hand_is(host):
    host, *_ = host
    live = host.lane.live
    feed(live)
    row = act(host.lane, "propose", ANN, values={"q_in": 0.012}, hours=1.0, reason="r")
    act(host.lane, "approve", ANN, id=row["id"], hash=row["hash"], reason="x")
    for k in range(12, 400):  # longer than `hold`: the valve is measured as open and shut in turn
        live.step(readings(k, inputs=((0.012, 0.0) if k // 10 % 2 else (0.0, 0.0))))
    assert live.state.autonomy.guard.held["q_in"].value == 0.012
    for k in range(400, 400 + 100):  # and then somebody sets it by hand, and it stays
        live.step(readings(k, inputs=(0.02, 0.0)))
    assert live.state.autonomy.guard.held["q_in"].value == 0.02
