"""`apply`: an event that happened becomes a change of the state. Bookkeeping only: no kernel, no judgement."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from pollux.autonomy.authorise import Authority
from pollux.core.errors import InputError
from pollux.core.signals import Cause, Crossing, Finding
from pollux.runtime import alarms, desk
from pollux.runtime.events import Event
from pollux.runtime.records import decode
from pollux.runtime.state import EXPLAINED, TOLD, LiveState, Told

REFOLDED = "refolded"
"""A re-run took the place of the estimate; the twin's fold adopts it (`Fold._adopt`), because it holds its codec."""

Fold = Callable[[LiveState, Event], LiveState]


def apply(state: LiveState, event: Event, authority: Authority | None) -> LiveState:
    """The state after an event. Raises `InputError` for a kind that this version does not know."""
    fold = FOLDS.get(event.kind)
    if fold is None:
        raise InputError(f"The journal holds an event {event.kind!r} that this version does not know")
    state = fold(state, event)
    used = int(event.data.get("count", 0))
    return replace(state, count=max(state.count, used))


def _acknowledged(state: LiveState, event: Event) -> LiveState:
    book = alarms.acknowledge(state.alarms, event.data["id"], event.by, event.data["note"])
    return replace(state, alarms=book)


def _shelved(state: LiveState, event: Event) -> LiveState:
    return replace(state, alarms=alarms.shelve(state.alarms, event.data["id"], event.data["until"], event.by))


def _foreseen(state: LiveState, event: Event) -> LiveState:
    crossings = tuple(Crossing(**{k: _float(v) for k, v in c.items()}) for c in event.data["crossings"])
    return replace(state, crossings=crossings, crossings_from=event.data["source"], forecast_t=event.t)


def _planned(state: LiveState, event: Event) -> LiveState:
    return replace(state, plan_t=event.t)


def _autonomy(state: LiveState, event: Event) -> LiveState:
    """What the desk decided: the change of the autonomy's state, a proposal to list, a plan and commands that run."""
    data = event.data
    if state.autonomy is not None and data.get("change") is not None:
        state = replace(state, autonomy=desk.merge(state.autonomy, decode(data["change"])))
    if data.get("told") is not None:
        told: Told = decode(data["told"])
        state = replace(state, told=(*(t for t in state.told if t.id != told.id), told)[-TOLD:])
    if data.get("plan") is not None:
        state = replace(state, plan=decode(data["plan"]))
    for command in data.get("commands", ()):
        state = replace(state, waiting={**state.waiting, command: event.t})
    return state


def _answered(state: LiveState, event: Event) -> LiveState:
    waiting = {k: v for k, v in state.waiting.items() if k != event.data["command"]}
    return replace(state, waiting=waiting)


def _reported(state: LiveState, event: Event) -> LiveState:
    data: dict[str, Any] = dict(event.data["finding"])
    data["cause"] = Cause(data["cause"])
    finding = Finding(**data)
    rest = tuple(f for f in state.reported if (f.cause, f.subject) != (finding.cause, finding.subject))
    book = alarms.report(state.alarms, finding, state.belief.t)
    raised = {id: state.belief for what, id in book.changes if what != "returned"}
    kept = dict([*state.raised.items(), *raised.items()][-EXPLAINED:])
    return replace(state, reported=(*rest, finding)[-100:], alarms=book, raised=kept)


def _withdrawn(state: LiveState, event: Event) -> LiveState:
    key = (event.data["cause"], event.data["subject"])
    return replace(state, reported=tuple(f for f in state.reported if (str(f.cause), f.subject) != key))


def _noted(state: LiveState, event: Event) -> LiveState:
    return state


def _float(value: Any) -> Any:
    return np.nan if value is None else value


FOLDS: dict[str, Fold] = {
    "alarm_acknowledged": _acknowledged,
    "alarm_shelved": _shelved,
    "foreseen": _foreseen,
    "planned": _planned,
    "proposed": _autonomy,
    "approved": _autonomy,
    "rejected": _autonomy,
    "vetoes_closed": _autonomy,
    "level_set": _autonomy,
    "stopped": _autonomy,
    "stop_reset": _noted,
    "command_answered": _answered,
    "reported": _reported,
    "withdrawn": _withdrawn,
    "fault_injected": _noted,
    REFOLDED: _noted,
}
