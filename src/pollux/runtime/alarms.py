"""The alarm list of one twin: findings that are active become alarms that people acknowledge, shelve and see cleared.

One alarm per (cause, subject), however often it is found; it comes back to `active` when it gets worse, and clears
after it has been absent for `clear_after` seconds (so that chatter is one alarm, not a hundred). More than `open_limit`
open alarms become one flood alarm and a count: memory and attention stay bounded. After ANSI/ISA-18.2-2016.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import inf
from typing import Literal

from pollux.autonomy.audit import plain
from pollux.core.errors import InputError
from pollux.core.signals import Cause, Finding
from pollux.runtime.events import Event

State = Literal["active", "acknowledged", "shelved", "cleared"]
FLOOD = "flood"


@dataclass(frozen=True)
class Alarm:
    """One alarm. `t` is when it was raised, `seen` when it was last found, `until` the end of shelving."""

    id: str
    t: float
    cause: str
    subject: str
    summary: str
    priority: int
    evidence: Mapping[str, float]
    state: State = "active"
    seen: float = -inf
    until: float = -inf
    by: str = ""
    note: str = ""
    source: str = ""
    """Id of the finding that raised it."""

    @property
    def open(self) -> bool:
        """Whether it still holds."""
        return self.state != "cleared"

    @property
    def loud(self) -> bool:
        """Whether it asks for attention: open and not shelved."""
        return self.state in ("active", "acknowledged")


@dataclass(frozen=True)
class AlarmBook:
    """All alarms of one twin, newest last. A value: every operation gives a new book."""

    alarms: tuple[Alarm, ...] = ()
    made: int = 0
    suppressed: int = 0
    """Findings that were not listed because too many alarms are open."""
    clear_after: float = 60.0
    open_limit: int = 100
    keep: int = 200
    """Cleared alarms that stay listed."""
    changes: tuple[tuple[str, str], ...] = field(default=(), compare=False)
    """(what, alarm id) of the last `follow` or `report`: raised, escalated, cleared, returned."""

    def find(self, id: str) -> Alarm:
        """The alarm with this id; `InputError` when there is none."""
        for alarm in self.alarms:
            if alarm.id == id:
                return alarm
        raise InputError(f"No alarm has the id {id!r}; `alarms` lists them")

    def open(self) -> tuple[Alarm, ...]:
        """What holds now, most urgent first."""
        return tuple(sorted((a for a in self.alarms if a.open), key=lambda a: (a.priority, a.t, a.id)))


def follow(book: AlarmBook, findings: Iterable[Finding], t: float) -> AlarmBook:
    """The book after one step, given every anomaly that is active at time `t`."""
    active = {(str(f.cause), f.subject): f for f in findings}
    known = {(a.cause, a.subject) for a in book.alarms if a.open}
    changes: list[tuple[str, str]] = []
    alarms: list[Alarm] = []
    for alarm in book.alarms:
        new, what = _next(alarm, active.get((alarm.cause, alarm.subject)), t, book.clear_after)
        alarms.append(new)
        changes += [(what, alarm.id)] if what else []
    made, suppressed = book.made, 0
    room = book.open_limit - sum(a.open and a.cause != str(Cause.SYSTEM) for a in alarms)
    for key, finding in active.items():
        if key in known:
            continue
        if room <= 0:
            suppressed += 1
            continue
        made, room = made + 1, room - 1
        alarms.append(_raised(f"a{made}", finding, t))
        changes.append(("raised", f"a{made}"))
    alarms, made, flooded = _flood(alarms, made, suppressed, book.open_limit, t)
    changes += flooded
    return replace(book, alarms=_bounded(alarms, book.keep), made=made, suppressed=suppressed, changes=tuple(changes))


def report(book: AlarmBook, finding: Finding, t: float) -> AlarmBook:
    """The book with a finding that does not wait for the next step: raised, or brought up to date where it is open."""
    for alarm in book.alarms:
        if alarm.open and (alarm.cause, alarm.subject) == (str(finding.cause), finding.subject):
            new, what = _next(alarm, finding, t, book.clear_after)
            return replace(_put(book, new), changes=((what, alarm.id),) if what else ())
    id = f"a{book.made + 1}"
    listed = (*book.alarms, _raised(id, finding, t))
    return replace(book, alarms=listed, made=book.made + 1, changes=(("raised", id),))


def events(book: AlarmBook, twin: str, t: float) -> list[Event]:
    """What changed last, for the journal."""
    return [
        Event(twin, t, f"{id}/{what}", f"alarm_{what}", "", plain(vars(book.find(id))), derived=True)
        for what, id in book.changes
        if any(a.id == id for a in book.alarms)
    ]


def acknowledge(book: AlarmBook, id: str, by: str, note: str) -> AlarmBook:
    """Somebody has seen it."""
    alarm = book.find(id)
    if not alarm.open:
        raise InputError(f"Alarm {id!r} has cleared; only an open alarm is acknowledged")
    return _put(book, replace(alarm, state="acknowledged", by=by, note=note, until=-inf))


def shelve(book: AlarmBook, id: str, until: float, by: str) -> AlarmBook:
    """Out of sight until `until`; it returns by itself if it still holds then."""
    alarm = book.find(id)
    if not alarm.open:
        raise InputError(f"Alarm {id!r} has cleared; only an open alarm is shelved")
    return _put(book, replace(alarm, state="shelved", by=by, until=until))


def _put(book: AlarmBook, alarm: Alarm) -> AlarmBook:
    return replace(book, alarms=tuple(alarm if a.id == alarm.id else a for a in book.alarms))


def _raised(id: str, f: Finding, t: float) -> Alarm:
    return Alarm(id, t, str(f.cause), f.subject, f.summary, f.priority, dict(f.evidence), seen=t, source=f.id)


def _next(alarm: Alarm, finding: Finding | None, t: float, clear_after: float) -> tuple[Alarm, str]:
    if not alarm.open or (alarm.cause == str(Cause.SYSTEM) and alarm.subject == FLOOD):
        return alarm, ""
    if finding is None:
        if t - alarm.seen >= clear_after:
            return replace(alarm, state="cleared"), "cleared"
        return alarm, ""
    new = replace(alarm, seen=t, summary=finding.summary, evidence=dict(finding.evidence))
    if finding.priority < alarm.priority:
        return replace(new, priority=finding.priority, state="active", until=-inf), "escalated"
    if alarm.state == "shelved" and t >= alarm.until:
        return replace(new, state="active", until=-inf), "returned"
    return new, ""


def _flood(
    alarms: list[Alarm], made: int, suppressed: int, limit: int, t: float
) -> tuple[list[Alarm], int, list[tuple[str, str]]]:
    """Keep the one flood alarm in step with whether anything is suppressed."""
    at = next((i for i, a in enumerate(alarms) if a.open and a.subject == FLOOD), None)
    if suppressed == 0:
        if at is None:
            return alarms, made, []
        alarms[at] = replace(alarms[at], state="cleared")
        return alarms, made, [("cleared", alarms[at].id)]
    summary = f"{suppressed} more anomalies are active than the {limit} alarms that are listed"
    if at is None:
        made += 1
        found = Alarm(f"a{made}", t, str(Cause.SYSTEM), FLOOD, summary, 1, {"suppressed": float(suppressed)}, seen=t)
        return [*alarms, found], made, [("raised", found.id)]
    alarms[at] = replace(alarms[at], summary=summary, seen=t, evidence={"suppressed": float(suppressed)})
    return alarms, made, []


def _bounded(alarms: list[Alarm], keep: int) -> tuple[Alarm, ...]:
    """All that are open, and the last `keep` that have cleared."""
    surplus = sum(not a.open for a in alarms) - keep
    kept: list[Alarm] = []
    for alarm in alarms:
        if not alarm.open and surplus > 0:
            surplus -= 1
        else:
            kept.append(alarm)
    return tuple(kept)
