"""Actions that wait for people, as a pure value: submit, approve, reject, expire. An approval is used once.

Each function takes the store and returns the next one. Time, the caller and the hash that was seen are arguments. An
approval holds for exactly one action: its hash covers values, plan, belief and expiry (`digest`), and the guard
compares it again at the moment of execution.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hmac import compare_digest
from typing import Literal

from pollux.autonomy.bounds import Risk
from pollux.autonomy.judgement import Approval
from pollux.autonomy.policy import Principal
from pollux.core.errors import AccessError, InputError
from pollux.core.signals import Decision

Status = Literal["pending", "approved", "rejected", "expired", "executed", "refused"]
OPEN = 32
"""Most actions that wait at once; a flood of proposals is refused, not queued."""
OWN = 8
"""Most of them by one proposer, so that none can shut out the others."""
CLOSED = 100
"""Closed actions that are remembered for display."""
VALID = 60.0
"""Seconds for which an approval can be executed."""


@dataclass(frozen=True)
class Pending:
    """An action that passed the guard and waits: for an approval, or for the end of its veto time (`auto_at`)."""

    id: str
    twin: str
    t: float
    decision: Decision
    digest: str
    principal: Principal
    """Who proposed it, as authenticated."""
    expires: float
    auto_at: float | None = None
    risks: Mapping[str, Risk] = field(default_factory=dict)
    status: Status = "pending"
    by: str = ""
    note: str = ""
    rule: str = ""


@dataclass(frozen=True)
class Approvals:
    """All actions of one twin that wait, and the last that did."""

    count: int = 0
    items: tuple[Pending, ...] = ()

    def find(self, id: str) -> Pending | None:
        """The action with exactly this id."""
        return next((p for p in self.items if p.id == id), None)

    @property
    def open(self) -> tuple[Pending, ...]:
        """The actions that still wait."""
        return tuple(p for p in self.items if p.status == "pending")


def submit(
    store: Approvals,
    decision: Decision,
    digest: str,
    principal: Principal,
    now: float,
    *,
    auto_at: float | None = None,
    risks: Mapping[str, Risk] | None = None,
) -> tuple[Approvals, Pending]:
    """Let a decision wait. The same action that waits already is not entered twice; a newer plan of the same service
    for the same actuators takes the place of the older, while people and agents may have `OWN` alternatives waiting.

    Raises `InputError` when too many wait.
    """
    store = expire(store, now)
    id = f"{decision.twin}:p{store.count + 1}"
    for waiting in store.open:
        if waiting.digest == digest:
            return store, waiting
        same = waiting.decision.proposer == decision.proposer
        if same and principal.kind == "service" and waiting.decision.values.keys() <= decision.values.keys():
            store = close(store, waiting.id, "expired", f"superseded by {id}")
    if len(store.open) >= OPEN:
        raise InputError(f"At most {OPEN} actions wait for an approval, {len(store.open)} do; approve or reject some")
    own = sum(p.decision.proposer == decision.proposer for p in store.open)
    if own >= OWN:
        raise InputError(
            f"At most {OWN} actions of one proposer wait, {own} of {decision.proposer!r} do; wait for people"
        )
    entry = Pending(
        id=id,
        twin=decision.twin,
        t=now,
        decision=decision,
        digest=digest,
        principal=principal,
        expires=decision.expires,
        auto_at=auto_at,
        risks=dict(risks or {}),
    )
    return Approvals(store.count + 1, trimmed((*store.items, entry))), entry


def approve(
    store: Approvals, id: str, digest: str, who: Principal, reason: str, now: float, *, two_person: bool = False
) -> tuple[Approvals, Approval]:
    """A person approves exactly the action that they saw.

    Raises `AccessError` when `who` is not a person with role operator, or is the proposer where two are asked for;
    `InputError` when nothing of this id waits, it has expired, or the hash is another.
    """
    person(who, "approve")
    store = expire(store, now)
    entry = waiting(store, id, "approve")
    if not compare_digest(entry.digest.encode(), str(digest).encode()):
        raise InputError(f"The hash belongs to another action than {id!r}; look at the proposal again and approve that")
    if two_person and entry.decision.proposer == f"user:{who.name}":
        raise AccessError(f"{who.name!r} proposed this action and may not approve it; a second person must")
    store = put(store, replace(entry, status="approved", by=who.name, note=reason[:1000]))
    return store, Approval(entry.digest, who, now, min(now + VALID, entry.expires))


def reject(store: Approvals, id: str, who: Principal, reason: str, now: float) -> tuple[Approvals, Pending]:
    """A person stops an action that waits. Raises like `approve`."""
    person(who, "reject")
    entry = waiting(expire(store, now), id, "reject")
    entry = replace(entry, status="rejected", by=who.name, note=reason[:1000])
    return put(expire(store, now), entry), entry


def close(store: Approvals, id: str, status: Status, rule: str = "") -> Approvals:
    """Record what became of an action."""
    entry = store.find(id)
    return store if entry is None else put(store, replace(entry, status=status, rule=rule))


def expire(store: Approvals, now: float) -> Approvals:
    """Close what waited for too long."""
    if not any(p.status == "pending" and now >= p.expires for p in store.items):
        return store
    items = (replace(p, status="expired") if p.status == "pending" and now >= p.expires else p for p in store.items)
    return replace(store, items=trimmed(tuple(items)))


def person(who: Principal, verb: str) -> None:
    """Raise `AccessError` unless a person with role operator is asking."""
    if who.kind != "person":
        raise AccessError(f"Only a person may {verb} an action, {who.name!r} is {named(who.kind)}; ask an operator")
    if not who.may("operator"):
        raise AccessError(f"Role operator is needed to {verb} an action, {who.name!r} is {named(who.role)}; ask one")


def named(word: str) -> str:
    """The word with its article."""
    return f"{'an' if word[:1] in 'aeio' else 'a'} {word}"


def waiting(store: Approvals, id: str, verb: str) -> Pending:
    """The action, or `InputError` when it does not wait."""
    entry = store.find(id)
    if entry is None:
        raise InputError(f"There is no action {str(id)[:80]!r} to {verb}; list the proposals")
    if entry.status != "pending":
        raise InputError(f"Action {id!r} is {entry.status} and cannot be used again; propose a new one")
    return entry


def put(store: Approvals, entry: Pending) -> Approvals:
    """Replace one entry."""
    return replace(store, items=trimmed(tuple(entry if p.id == entry.id else p for p in store.items)))


def trimmed(items: tuple[Pending, ...]) -> tuple[Pending, ...]:
    """All that wait and the last `CLOSED` others, in order."""
    closed = [p.id for p in items if p.status != "pending"]
    gone = set(closed[:-CLOSED])
    return tuple(p for p in items if p.id not in gone)
