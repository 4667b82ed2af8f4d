"""From a decision to a command, a pending action or a refusal: the guard, the approvals, the level, the record.

Every function takes the autonomy's state and returns the next one; nothing is written but through `audit`, which is
called *before* a command is returned and must return only when the record is durable. When it fails there is no
command. The one exception is the safe command, which leaves even when it cannot be recorded.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from pollux.autonomy.approve import Approvals, Pending, close, expire, submit
from pollux.autonomy.approve import approve as grant
from pollux.autonomy.approve import reject as turn_down
from pollux.autonomy.guard import judge
from pollux.autonomy.guard_limits import GuardState, commit, follow
from pollux.autonomy.judgement import Context, Plant, TwinCheck, Verdict
from pollux.autonomy.levels import LevelState
from pollux.autonomy.levels import start as start_level
from pollux.autonomy.policy import Policy
from pollux.core.errors import InputError, PolluxError
from pollux.core.signals import Command, Decision, Refusal

Audit = Callable[[str, float, Mapping[str, Any]], object]
"""(kind, time, body): returns when the record is durable, raises when it is not."""
Outcome = Command | Pending | Refusal


@dataclass(frozen=True)
class Authority:
    """What is fixed for one twin: built once, held by the runtime."""

    policy: Policy
    plant: Plant
    check: TwinCheck = field(repr=False)


@dataclass(frozen=True)
class AutonomyState:
    """What is remembered for one twin; part of the fold, kept in snapshots."""

    guard: GuardState
    approvals: Approvals
    levels: LevelState
    refusals: int = 0


def begin(policy: Policy) -> AutonomyState:
    """The state before anything happened. Actuators stay unusable until `follow` has seen their set-points."""
    return AutonomyState(GuardState(), Approvals(), start_level(policy))


def seen(state: AutonomyState, measured: Mapping[str, float], now: float) -> AutonomyState:
    """Take measured set-points as what is held: at first start, and when a person moved an actuator by hand."""
    return replace(state, guard=follow(state.guard, measured, now))


def authorise(
    authority: Authority, state: AutonomyState, decision: Decision, context: Context, audit: Audit
) -> tuple[AutonomyState, Outcome]:
    """Judge a new decision: a command (L4 in its domain), a pending action (L2, L3) or a refusal."""
    verdict = judge(authority.policy, authority.plant, state.guard, decision, context, authority.check)
    if verdict.mode == "refused":
        return refuse(authority, state, decision, context, verdict.rule, verdict.reason, audit, verdict)
    assert verdict.decision is not None
    if verdict.mode == "automatic":
        return release(authority, state, verdict, context, audit, None)
    auto_at = context.now + authority.policy.veto if verdict.mode == "veto" else None
    try:
        approvals, entry = submit(
            state.approvals, verdict.decision, verdict.digest, context.principal, context.now,
            auto_at=auto_at, risks=verdict.risks,
        )  # fmt: skip
        audit("pending", context.now, told(verdict, context) | {"id": entry.id, "auto_at": auto_at})
    except InputError as full:
        return refuse(authority, state, decision, context, "approval.full", str(full), audit, verdict)
    except Exception as error:
        return unrecorded(authority, state, decision, context, error)
    return replace(state, approvals=approvals), entry


def approve(
    authority: Authority, state: AutonomyState, id: str, digest: str, reason: str, context: Context, audit: Audit
) -> tuple[AutonomyState, Command | Refusal]:
    """A person (`context.principal`) approves a pending action; every check runs again on the present belief.

    Raises `AccessError` or `InputError` when the approval itself is not valid; the action then still waits.
    """
    two = authority.policy.two_person
    approvals, word = grant(state.approvals, id, digest, context.principal, reason, context.now, two_person=two)
    entry = approvals.find(id)
    assert entry is not None
    body = {"id": id, "digest": digest, "by": context.principal.name, "reason": reason}
    try:
        audit("approval", context.now, body)
    except Exception as error:
        return unrecorded(authority, state, entry.decision, context, error)
    state = replace(state, approvals=approvals)
    return execute(authority, state, entry, replace(context, principal=entry.principal, approval=word), audit)


def reject(
    authority: Authority, state: AutonomyState, id: str, reason: str, context: Context, audit: Audit
) -> tuple[AutonomyState, Pending]:
    """A person stops a pending action, also within its veto time. Raises like `approve`."""
    approvals, entry = turn_down(state.approvals, id, context.principal, reason, context.now)
    audit("rejection", context.now, {"id": id, "by": context.principal.name, "reason": reason})
    return replace(state, approvals=approvals), entry


def due(
    authority: Authority, state: AutonomyState, context: Context, audit: Audit
) -> tuple[AutonomyState, tuple[Command | Refusal, ...]]:
    """Once a tick: close what has expired, and execute what waited out its veto time, every check anew."""
    state = replace(state, approvals=expire(state.approvals, context.now))
    outcomes: list[Command | Refusal] = []
    for entry in state.approvals.open:
        if entry.auto_at is None or context.now < entry.auto_at:
            continue
        waited = replace(context, principal=entry.principal, waiting=(entry.digest, entry.t), approval=None)
        state, outcome = execute(authority, state, entry, waited, audit)
        outcomes.append(outcome)
    return state, tuple(outcomes)


def execute(
    authority: Authority, state: AutonomyState, entry: Pending, context: Context, audit: Audit
) -> tuple[AutonomyState, Command | Refusal]:
    """Judge a pending action again and let it go, or close it. A lowered level closes it too."""
    verdict = judge(authority.policy, authority.plant, state.guard, entry.decision, context, authority.check)
    if verdict.mode != "automatic":
        rule, reason = verdict.rule or "approval.missing", verdict.reason or "the level now asks for an approval"
        state, outcome = refuse(authority, state, entry.decision, context, rule, reason, audit, verdict)
        return replace(state, approvals=close(state.approvals, entry.id, "refused", outcome.rule)), outcome
    state, outcome = release(authority, state, verdict, context, audit, entry)
    status, rule = ("executed", "") if isinstance(outcome, Command) else ("refused", outcome.rule)
    return replace(state, approvals=close(state.approvals, entry.id, status, rule)), outcome


def release(
    authority: Authority,
    state: AutonomyState,
    verdict: Verdict,
    context: Context,
    audit: Audit,
    entry: Pending | None,
) -> tuple[AutonomyState, Command | Refusal]:
    """Check 8: the record is durable, then the command exists."""
    decision = verdict.decision
    assert decision is not None
    now = context.now
    guard = commit(authority.policy, state.guard, decision.values, now, decision.t)
    command = Command(
        twin=decision.twin,
        t=now,
        id=f"{decision.twin}:c{guard.sequence}",
        source=decision.id,
        values=dict(decision.values),
        sequence=guard.sequence,
        expires=min(now + authority.policy.command_expiry, decision.expires),
    )
    word = context.approval
    body = told(verdict, context) | {
        "command": command.id, "sequence": command.sequence, "expires": command.expires,
        "pending": entry.id if entry else None, "approved_by": word.by.name if word else None,
    }  # fmt: skip
    try:
        audit("command", now, body)
    except Exception as error:
        return unrecorded(authority, state, decision, context, error)
    return replace(state, guard=guard), command


def safe(
    authority: Authority, state: AutonomyState, now: float, reason: str, audit: Audit
) -> tuple[AutonomyState, Command | None]:
    """The safe command: at a stop, a lost plant or a failed plan. Always allowed, sent even when it cannot be recorded.

    None when the policy declares no safe value. Budgets are charged; slew, dwell and budgets do not hold it back.
    """
    values = {a.name: a.safe for a in authority.policy.actuators if a.safe is not None}
    if not values:
        return state, None
    now = max(now, state.guard.t)
    guard = commit(authority.policy, state.guard, values, now, now)
    twin = authority.plant.twin
    command = Command(
        twin, now, f"{twin}:c{guard.sequence}", "safe", values, guard.sequence, now + authority.policy.command_expiry
    )
    with suppress(Exception):  # the plant comes first; the caller's sink raises its own alarm
        audit("safe", now, {"reason": reason, "values": values, "command": command.id, "sequence": command.sequence})
    return replace(state, guard=guard), command


def redo(authority: Authority, state: AutonomyState, command: Command) -> AutonomyState:
    """Charge a command that was issued after the last snapshot (found in the journal) to limits and sequence."""
    if command.sequence <= state.guard.sequence:
        return state
    guard = commit(authority.policy, state.guard, command.values, command.t, command.t)
    return replace(state, guard=replace(guard, sequence=command.sequence))


def refuse(
    authority: Authority,
    state: AutonomyState,
    decision: object,
    context: Context,
    rule: str,
    reason: str,
    audit: Audit,
    verdict: Verdict | None = None,
) -> tuple[AutonomyState, Refusal]:
    """A refusal with the first rule that failed; it stands whether or not it can be recorded."""
    source = getattr(decision, "id", "")
    source = source[:200] if type(source) is str else ""
    twin, count = authority.plant.twin, state.refusals + 1
    refusal = Refusal(twin, context.now, f"{twin}:r{count}", source, rule, reason)
    body = told(verdict, context) if verdict else {}
    with suppress(Exception):  # nothing leaves anyway; the caller's sink raises its own alarm
        audit("refusal", context.now, body | {"id": refusal.id, "source": source, "rule": rule, "reason": reason})
    return replace(state, refusals=count), refusal


def unrecorded(
    authority: Authority, state: AutonomyState, decision: Decision, context: Context, error: Exception
) -> tuple[AutonomyState, Refusal]:
    """The refusal by check 8."""
    why = str(error) if isinstance(error, PolluxError) else type(error).__name__
    twin, count = authority.plant.twin, state.refusals + 1
    refusal = Refusal(twin, context.now, f"{twin}:r{count}", decision.id, "audit.durable", f"not recorded: {why}")
    return replace(state, refusals=count), refusal


def told(verdict: Verdict, context: Context) -> dict[str, Any]:
    """What the audit record says about a judgement; plain values."""
    d = verdict.decision
    about: dict[str, Any] = {
        "mode": verdict.mode, "passed": list(verdict.passed), "level": context.level, "belief": context.belief.id,
        "by": getattr(context.principal, "name", None), "kind": getattr(context.principal, "kind", None),
        "risks": {k: {"n": r.samples, "violations": r.violations, "upper": r.upper} for k, r in verdict.risks.items()},
    }  # fmt: skip
    if d is not None:
        about |= {
            "decision": d.id, "source": d.source, "proposer": d.proposer, "values": dict(d.values), "t": d.t,
            "valid_until": d.expires, "why": d.reason, "digest": verdict.digest,
        }  # fmt: skip
    return about
