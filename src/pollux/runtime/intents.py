"""`decide`: what an intent leads to. One function a kind; none changes the twin, all may refuse.

The guard is asked here, and the audit record is durable before the outcome holds a command.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pollux.autonomy import authorise as desk_of
from pollux.autonomy import levels
from pollux.autonomy.authorise import Authority, AutonomyState
from pollux.autonomy.guard import judge
from pollux.autonomy.judgement import Context
from pollux.core.errors import AccessError, InputError
from pollux.core.signals import Command, Decision, Level, Refusal
from pollux.runtime import alarms, desk, folding, proposals
from pollux.runtime.events import Event, Intent, Outcome
from pollux.runtime.frames import alarm_json
from pollux.runtime.jsonable import jsonable
from pollux.runtime.outlooks import Plan, with_values
from pollux.runtime.records import encode
from pollux.runtime.state import LiveState, Told

if TYPE_CHECKING:
    from pollux.runtime.live import LiveTwin

Handler = Callable[["LiveTwin", Intent], Outcome]


def acknowledge(live: "LiveTwin", intent: Intent) -> Outcome:
    """Somebody has seen an alarm."""
    id, note = intent.params["id"], intent.params.get("note", "")
    book = alarms.acknowledge(live.state.alarms, id, intent.by.name, note)
    event = _event(live, intent, "alarm_acknowledged", {"id": id, "note": note})
    return Outcome((event,), (), alarm_json(book.find(id)))


def shelve(live: "LiveTwin", intent: Intent) -> Outcome:
    """An alarm is put out of sight for some minutes."""
    id, until = intent.params["id"], intent.at + 60.0 * intent.params["minutes"]
    book = alarms.shelve(live.state.alarms, id, until, intent.by.name)
    return Outcome((_event(live, intent, "alarm_shelved", {"id": id, "until": until}),), (), alarm_json(book.find(id)))


def propose(live: "LiveTwin", intent: Intent) -> Outcome:
    """A person or an agent wants some inputs held at some values."""
    authority, state, now = _authority(live), live.state, intent.at
    values, hours = dict(intent.params["values"]), intent.params.get("hours")
    expected: Mapping[str, float] = {}
    times, rows = live.outlook(state)
    if hours is not None:
        _within(hours, live.settings.horizon / 3600.0)
        kept = times <= state.belief.t + 3600.0 * hours
        times, rows = times[kept], rows[kept]
    rows = with_values(live.face, rows, values)
    if live.parts.forecaster is not None:
        acting, idle = live.foresee(values, hours=hours, state=state), live.foresee(state=state)
        expected = proposals.effects(live.face, acting, idle)
    decision = proposals.decision_of(
        live.face, state.belief, intent.by, id=f"{live.face.name}:d{state.count + 1}", now=now, values=values,
        times=times - state.belief.t + now, rows=rows,
        valid=min(live.settings.proposal_valid, authority.policy.max_expiry),
        reason=intent.params.get("reason", ""), expected=expected,
    )  # fmt: skip
    return _submit(live, intent, authority, decision)


def propose_decision(live: "LiveTwin", intent: Intent) -> Outcome:
    """The planner's decision. None means that it has nothing better; that it was asked is noted."""
    decision: Decision | None = intent.params["decision"]
    if decision is None:
        return Outcome((_event(live, intent, "planned", {}),), (), None)
    outcome = _submit(live, intent, _authority(live), decision)
    return replace(outcome, events=(*outcome.events, _event(live, intent, "planned", {"decision": decision.id})))


def approve(live: "LiveTwin", intent: Intent) -> Outcome:
    """A person approves exactly the action whose hash was seen; every check runs again."""
    authority, before = _authority(live), _autonomy(live)
    p = intent.params
    context = _context(live, authority, intent)
    _not_advice(live.state, p["id"])
    after, result = desk_of.approve(authority, before, p["id"], p["hash"], p.get("reason", ""), context, live.audit)
    commands = (result,) if isinstance(result, Command) else ()
    decision = proposals.decision_by_id(live.state, p["id"])
    return _outcome(live, intent, "approved", before, after, commands, decision, p["id"], result)


def reject(live: "LiveTwin", intent: Intent) -> Outcome:
    """A person stops an action that waits, also within its veto time; or takes an advice off the list."""
    state, p = live.state, intent.params
    advice = next((t for t in state.told if t.id == p["id"] and t.status == "pending"), None)
    if advice is not None:
        told = replace(advice, status="rejected", note=p.get("reason", ""))
        event = _event(live, intent, "rejected", {"told": encode(told), "id": p["id"]})
        return Outcome((event,), (), proposals.told_json(told))
    authority, before = _authority(live), _autonomy(live)
    context = _context(live, authority, intent)
    after, _ = desk_of.reject(authority, before, p["id"], p.get("reason", ""), context, live.audit)
    return _outcome(live, intent, "rejected", before, after, (), None, p["id"], None)


def close_vetoes(live: "LiveTwin", intent: Intent) -> Outcome:
    """Expire what waited too long; execute what nobody stopped within its veto time, every check anew."""
    authority, before = _authority(live), _autonomy(live)
    after, results = desk_of.due(authority, before, _context(live, authority, intent), live.audit)
    commands = tuple(r for r in results if isinstance(r, Command))
    decision = proposals.decision_by_id(live.state, commands[-1].source) if commands else None
    return _outcome(live, intent, "vetoes_closed", before, after, commands, decision, "", None)


def set_level(live: "LiveTwin", intent: Intent) -> Outcome:
    """A person sets the level of autonomy."""
    authority, before = _authority(live), _autonomy(live)
    p, now = intent.params, intent.at
    changed = levels.change(before.levels, authority.policy, p["level"], intent.by, p["reason"], now)
    live.audit("level", now, {"by": intent.by.name, "level": int(changed.granted), "reason": p["reason"]})
    after = replace(before, levels=changed)
    holds = desk.level(authority, replace(live.state, autonomy=after), now, live.unknown(live.state))
    outcome = _outcome(live, intent, "level_set", before, after, (), None, "", None)
    answer = {"granted": int(changed.granted), "level": int(holds), "expires": changed.expires}
    return replace(outcome, answer=answer)


def stop(live: "LiveTwin", intent: Intent) -> Outcome:
    """The safe command, after the latch was set (by the lane, which holds it)."""
    reason = intent.params.get("reason", "")
    if live.parts.authority is None:
        return Outcome((_event(live, intent, "stopped", {"reason": reason}),), (), {"stopped": True})
    authority, before = live.parts.authority, _autonomy(live)
    after, command = desk_of.safe(authority, before, intent.at, f"stop by {intent.by.name}: {reason}", live.audit)
    commands = (command,) if command else ()
    outcome = _outcome(live, intent, "stopped", before, after, commands, None, "", None)
    return replace(outcome, answer={"stopped": True, "safe": dict(command.values) if command else {}})


def stop_reset(live: "LiveTwin", intent: Intent) -> Outcome:
    """Notes that a person released the stop (the lane did)."""
    reason = intent.params["reason"]
    live.audit("stop reset", intent.at, {"by": intent.by.name, "reason": reason})
    return Outcome((_event(live, intent, "stop_reset", {"reason": reason}),), (), {"stopped": False})


def foreseen(live: "LiveTwin", intent: Intent) -> Outcome:
    """A forecast was made: which limits it sees violated."""
    forecast = intent.params["forecast"]
    data = {"source": forecast.id, "crossings": jsonable([vars(c) for c in forecast.crossings])}
    return Outcome((_event(live, intent, "foreseen", data),))


def answered(live: "LiveTwin", intent: Intent) -> Outcome:
    """An actuator said what became of a command."""
    data = {"command": intent.params["command"], "status": intent.params["status"]}
    return Outcome((_event(live, intent, "command_answered", data),))


def report(live: "LiveTwin", intent: Intent) -> Outcome:
    """Another part of the system found something wrong (disk full, broker gone ...)."""
    finding, t = intent.params["finding"], live.state.belief.t
    book = alarms.report(live.state.alarms, finding, t)
    event = _event(live, intent, "reported", {"finding": jsonable(vars(finding))})
    return Outcome((event, *alarms.events(book, live.face.name, t)))


def withdraw(live: "LiveTwin", intent: Intent) -> Outcome:
    """What was reported is over."""
    data = {"cause": str(intent.params["cause"]), "subject": intent.params["subject"]}
    return Outcome((_event(live, intent, "withdrawn", data),))


def fault(live: "LiveTwin", intent: Intent) -> Outcome:
    """Notes that somebody told the demo plant to have a fault."""
    return Outcome((_event(live, intent, "fault_injected", jsonable(intent.params)),), (), jsonable(intent.params))


def refold(live: "LiveTwin", intent: Intent) -> Outcome:
    """A re-run in order fused what had come late; its result takes the place of the estimate."""
    told = {k: v for k, v in intent.params.items() if k != "estimate"}
    live.audit("refold", intent.at, {"by": intent.by.name, "from": live.state.belief.id, **told})
    return Outcome((_event(live, intent, folding.REFOLDED, dict(intent.params)),))


HANDLERS: Mapping[str, Handler] = {
    "acknowledge": acknowledge, "shelve": shelve, "propose": propose, "propose_decision": propose_decision,
    "approve": approve, "reject": reject, "close_vetoes": close_vetoes, "level": set_level, "stop": stop,
    "reset_stop": stop_reset, "foreseen": foreseen, "answered": answered, "report": report, "withdraw": withdraw,
    "fault": fault, "refold": refold,
}  # fmt: skip


def _submit(live: "LiveTwin", intent: Intent, authority: Authority, decision: Decision) -> Outcome:
    before, context = _autonomy(live), _context(live, authority, intent)
    if context.level == Level.ADVISE and not context.stopped:
        return _advise(live, intent, authority, before, decision)
    after, result = desk_of.authorise(authority, before, decision, context, live.audit)
    if isinstance(result, Command | Refusal):
        executed = isinstance(result, Command)
        told = Told(
            id=f"{live.face.name}:t{live.state.count + 1}", decision=decision, by=intent.by.name,
            status="executed" if executed else "refused", rule="" if executed else result.rule,
            note="" if executed else result.reason, digest="",
        )  # fmt: skip
        commands = (result,) if isinstance(result, Command) else ()
        return _outcome(live, intent, "proposed", before, after, commands, decision, told.id, result, told)
    return _outcome(live, intent, "proposed", before, after, (), None, result.id, None)


def _advise(
    live: "LiveTwin", intent: Intent, authority: Authority, before: AutonomyState, decision: Decision
) -> Outcome:
    """At level 1 a proposal is judged as if it could be approved, and then only shown."""
    verdict = judge(
        authority.policy, authority.plant, before.guard, decision,
        _context(live, authority, intent, at=Level.APPROVE), authority.check,
    )  # fmt: skip
    refused = verdict.mode == "refused"
    told = Told(
        id=f"{live.face.name}:t{live.state.count + 1}", decision=verdict.decision or decision, by=intent.by.name,
        status="refused" if refused else "pending", rule=verdict.rule if refused else "identity.advise",
        note=verdict.reason if refused else "advice: raise the level to 2 to let people approve actions",
        digest=verdict.digest, risks={side: dict(r.limits) for side, r in verdict.risks.items()},
    )  # fmt: skip
    return _outcome(live, intent, "proposed", before, before, (), None, told.id, None, told)


def _outcome(
    live: "LiveTwin",
    intent: Intent,
    kind: str,
    before: AutonomyState,
    after: AutonomyState,
    commands: tuple[Command, ...],
    decision: Decision | None,
    id: str,
    result: Command | Refusal | Any,
    told: Told | None = None,
) -> Outcome:
    """Events and answer of a step of the desk; a decision whose command goes out becomes the running plan."""
    data: dict[str, Any] = {
        "count": live.state.count + 1,
        "id": id,
        "change": desk.change(before, after, encode),
        "commands": [c.id for c in commands],
    }
    if told is not None:
        data["told"] = encode(told)
    if commands and decision is not None:
        data["plan"] = encode(Plan(decision.times, decision.plan))
    if isinstance(result, Refusal):
        data |= {"rule": result.rule, "reason": result.reason}
    event = _event(live, intent, kind, data)
    answer = None
    if id:
        answer = proposals.find(folding.apply(live.state, event, live.parts.authority), id)
    return Outcome((event,), commands, answer)


def _context(live: "LiveTwin", authority: Authority, intent: Intent, at: Level | None = None) -> Context:
    state = live.state
    return desk.context(
        authority, state, intent.by, intent.at, stopped=intent.stopped, unknown=live.unknown(state),
        outlook=live.outlook(state), at=at,
    )  # fmt: skip


def _event(live: "LiveTwin", intent: Intent, kind: str, data: dict[str, Any]) -> Event:
    count = live.state.count + 1
    return Event(live.face.name, intent.at, f"{live.face.name}:e{count}", kind, intent.by.name, {"count": count} | data)


def _authority(live: "LiveTwin") -> Authority:
    if live.parts.authority is None:
        raise AccessError(f"Twin {live.face.name!r} only observes: it has no policy; write one in the wiring file")
    return live.parts.authority


def _autonomy(live: "LiveTwin") -> AutonomyState:
    state = live.state.autonomy
    if state is None:
        raise AccessError(f"Twin {live.face.name!r} only observes: it has no policy; write one in the wiring file")
    return state


def _not_advice(state: LiveState, id: str) -> None:
    if any(t.id == id and t.status == "pending" for t in state.told):
        raise AccessError(f"{id!r} is advice: level 1 advises only; raise the level to 2 and let it be proposed again")


def _within(hours: float, longest: float) -> None:
    if not 0 < hours <= longest:
        raise InputError(f"`hours` lies between 0 and {longest:g}, received {hours!r}")
