"""What one live twin looks like at one time, as JSON: the frame of the live page and the row of the fleet page."""

from typing import Any

import numpy as np

from pollux.autonomy.authorise import Authority
from pollux.core.signals import Health
from pollux.runtime import desk, proposals
from pollux.runtime.alarms import Alarm
from pollux.runtime.face import TwinFace
from pollux.runtime.jsonable import jsonable, number
from pollux.runtime.rings import Z95
from pollux.runtime.state import LiveState

ALARMS = 50
"""Alarms in a frame; `alarms` gives all."""
PROPOSALS = 12
"""Proposals in a frame; `proposals` gives all."""


def frame(
    face: TwinFace,
    authority: Authority | None,
    state: LiveState,
    *,
    now: float,
    wall: float,
    data_age: float,
    stale: bool,
    stopped: bool,
    unknown: bool,
    margins: np.ndarray | None,
) -> dict[str, Any]:
    """`Frame` of the contract."""
    b = state.belief
    sd = np.sqrt(np.maximum(np.diag(b.cov), 0.0))
    return {
        "type": "frame",
        "twin": face.name,
        "t": b.t,
        "wall": wall,
        "status": status(state, stale),
        "level": int(desk.level(authority, state, now, unknown)),
        "stopped": stopped,
        "stale": stale,
        "data_age": data_age,
        "sensors": sensors(face, state),
        "states": {
            s.name: {
                "mean": number(b.mean[i]),
                "low": number(b.mean[i] - Z95 * sd[i]),
                "high": number(b.mean[i] + Z95 * sd[i]),
            }
            for i, s in enumerate(face.estimated)
        },
        "inputs": {s.name: {"value": number(b.inputs[i])} for i, s in enumerate(face.inputs)},
        "margins": {} if margins is None else {m.name: number(margins[i]) for i, m in enumerate(face.margins)},
        "nis": number(b.nis),
        "nis_dof": b.nis_dof,
        "alarms": [alarm_json(a) for a in state.alarms.open()[:ALARMS]],
        "proposals": proposals.listed(state)[:PROPOSALS],
    }


def sensors(face: TwinFace, state: LiveState) -> dict[str, dict[str, Any]]:
    """Every sensor: its last value, what the model expected with a 95 % band, health and age."""
    b = state.belief
    spread = Z95 * np.sqrt(np.maximum(b.innovation_var, 0.0))
    return {
        s.name: {
            "value": number(state.seen[i]),
            "predicted": number(b.predicted[i]),
            "low": number(b.predicted[i] - spread[i]),
            "high": number(b.predicted[i] + spread[i]),
            "health": str(b.health[i]),
            "age": number(b.age[i]),
        }
        for i, s in enumerate(face.sensors)
    }


def card(
    face: TwinFace,
    authority: Authority | None,
    state: LiveState,
    *,
    now: float,
    data_age: float,
    stale: bool,
    unknown: bool,
) -> dict[str, Any]:
    """One row of `GET /api/v1/twins`."""
    b = state.belief
    good = sum(h is Health.GOOD for h in b.health)
    shown = [{"label": s.label, "value": number(b.mean[i]), "unit": s.unit} for i, s in enumerate(face.states[:3])]
    return {
        "name": face.name,
        "title": face.title,
        "kind": face.kind,
        "status": status(state, stale),
        "health": good / len(b.health) if b.health else 1.0,
        "t": b.t,
        "data_age": data_age,
        "alarms": sum(a.loud for a in state.alarms.open()),
        "level": int(desk.level(authority, state, now, unknown)),
        "figures": shown,
    }


def status(state: LiveState, stale: bool) -> str:
    """`act` while an alarm of priority 1 is loud, `watch` while any is or data are stale, else `good`."""
    loud = [a.priority for a in state.alarms.open() if a.loud]
    if loud and min(loud) <= 1:
        return "act"
    return "watch" if loud or stale else "good"


def alarm_json(alarm: Alarm) -> dict[str, Any]:
    """`Alarm` of the contract."""
    return {
        "id": alarm.id,
        "t": alarm.t,
        "cause": alarm.cause,
        "subject": alarm.subject,
        "summary": alarm.summary,
        "priority": alarm.priority,
        "evidence": jsonable(alarm.evidence),
        "state": alarm.state,
        "by": alarm.by or None,
        "note": alarm.note or None,
    }


def face_json(face: TwinFace) -> dict[str, Any]:
    """`describe` of the contract."""

    def rows(signals: Any) -> list[dict[str, Any]]:
        return [dict(vars(s)) for s in signals]

    return {
        "name": face.name,
        "title": face.title,
        "kind": face.kind,
        "doc": face.doc,
        "states": rows(face.states),
        "inputs": rows(face.inputs),
        "sensors": rows(face.sensors),
        "parameters": rows(face.parameters),
        "margins": rows(face.margins),
        "tracked": list(face.tracked),
        "schematic": face.schematic,
        "site": {"faults": jsonable([vars(f) for f in face.faults])} if face.faults else None,
    }
