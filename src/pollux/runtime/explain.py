"""Why an alarm, a proposal or a command: from recorded numbers, with the chain of ids back to the readings."""

from typing import Any

from pollux.core.errors import InputError
from pollux.core.signals import Belief
from pollux.runtime.alarms import Alarm
from pollux.runtime.face import TwinFace
from pollux.runtime.findings import span
from pollux.runtime.jsonable import number
from pollux.runtime.live import LiveTwin
from pollux.runtime.proposals import listed


def explain(live: LiveTwin, id: str) -> dict[str, Any]:
    """Text, facts and chain. Raises `InputError` when nothing of this id is known."""
    state = live.state
    alarm = next((a for a in state.alarms.alarms if a.id == id), None)
    if alarm is not None:
        return _alarm(live, alarm)
    for row in listed(state):
        if row["id"] == id:
            return _proposal(live, row)
    raise InputError(f"Nothing with the id {id!r} is known; `alarms` and `proposals` list what can be explained")


def _alarm(live: LiveTwin, alarm: Alarm) -> dict[str, Any]:
    face, b = live.face, live.state.belief
    facts = [_fact(k.replace("_", " "), v) for k, v in alarm.evidence.items()] + _sensor_facts(face, b, alarm.subject)
    held = "holds" if alarm.open else "has cleared"
    ago = span(max(b.t - alarm.t, 0.0))
    text = f"{alarm.summary}. It is a {alarm.cause} about {alarm.subject}, raised {ago} ago; it {held}."
    chain = [
        {"id": alarm.id, "kind": "alarm", "t": alarm.t},
        {"id": alarm.source, "kind": "finding", "t": alarm.t},
        {"id": b.id, "kind": "belief now", "t": b.t},
        {"id": b.source, "kind": "readings now", "t": b.t},
    ]
    return {"id": alarm.id, "text": text, "facts": facts, "chain": [c for c in chain if c["id"]]}


def _proposal(live: LiveTwin, row: dict[str, Any]) -> dict[str, Any]:
    units = {s.name: s.unit for s in live.face.inputs}
    labels = {s.name: s.label for s in live.face.inputs}
    sets = ", ".join(f"{labels.get(n, n)} to {v:.4g} {units.get(n, '')}".strip() for n, v in row["values"].items())
    text = f"{row['proposer']} proposes to set {sets}. {row['reason']}".strip()
    if row["rule"]:
        text += f" The guard's rule {row['rule']} applies: {row['note'] or 'see the audit record'}."
    facts = []
    for e in row["expected"]:
        facts += [_fact(f"{e['label']}, acting", e["acting"], e["unit"])]
        facts += [_fact(f"{e['label']}, not acting", e["not_acting"], e["unit"])]
    for r in row["risk"]:
        facts += [_fact(f"P({r['limit']} violated), acting", r["acting"])]
        facts += [_fact(f"P({r['limit']} violated), not acting", r["not_acting"])]
    decision = next((d for d in _decisions(live) if d[0] == row["id"]), None)
    chain = [{"id": row["id"], "kind": "proposal", "t": row["t"]}]
    if decision is not None:
        chain += [
            {"id": decision[1], "kind": "decision", "t": row["t"]},
            {"id": decision[2], "kind": "belief", "t": row["t"]},
        ]
    return {"id": row["id"], "text": text, "facts": facts, "chain": chain}


def _decisions(live: LiveTwin) -> list[tuple[str, str, str]]:
    state = live.state
    items = [*(state.autonomy.approvals.items if state.autonomy else ()), *state.told]
    return [(p.id, p.decision.id, p.decision.source) for p in items]


def _sensor_facts(face: TwinFace, b: Belief, subject: str) -> list[dict[str, Any]]:
    for i, s in enumerate(face.sensors):
        if s.name == subject:
            sd = b.innovation_var[i] ** 0.5 if b.innovation_var[i] >= 0 else float("nan")
            return [
                _fact("measured minus expected, now", b.innovation[i], s.unit),
                _fact("its standard deviation", sd, s.unit),
                _fact("expected, now", b.predicted[i], s.unit),
            ]
    return []


def _fact(label: str, value: float | None, unit: str = "") -> dict[str, Any]:
    return {"label": label, "value": None if value is None else number(value), "unit": unit}
