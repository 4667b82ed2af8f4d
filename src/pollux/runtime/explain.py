"""Why an alarm, a proposal, or what is believed now: from recorded numbers, with the chain of ids back to the readings.

The sentences and figures are `intervene.explain`'s; here it is given the values that were kept, and its chain is
continued to what people see.
"""

from typing import Any

from pollux.core.errors import InputError
from pollux.core.signals import Belief, Cause, Crossing, Decision, Finding
from pollux.runtime.alarms import Alarm
from pollux.runtime.findings import span
from pollux.runtime.jsonable import jsonable, number
from pollux.runtime.live import LiveTwin
from pollux.runtime.proposals import decision_by_id, listed


def explain(live: LiveTwin, id: str) -> dict[str, Any]:
    """Text, facts and chain of an alarm, a proposal or the present belief. Slow at first use; a worker thread's work.

    Raises `InputError` when nothing of this id is known.
    """
    state = live.state
    if id == state.belief.id:
        return _told(live, state.belief, state.belief)
    alarm = next((a for a in state.alarms.alarms if a.id == id), None)
    if alarm is not None:
        return _alarm(live, alarm)
    for row in listed(state):
        if row["id"] == id:
            return _proposal(live, row)
    raise InputError(f"Nothing with the id {id!r} is known; `alarms` and `proposals` list what can be explained")


def _alarm(live: LiveTwin, alarm: Alarm) -> dict[str, Any]:
    state = live.state
    belief = state.raised.get(alarm.id)
    found = _told(live, _subject(live, alarm), belief)
    ago = span(max(state.belief.t - alarm.t, 0.0))
    held = "still holds" if alarm.open else "has cleared"
    head = {"id": alarm.id, "kind": "alarm", "t": alarm.t}
    return {
        "id": alarm.id,
        "text": f"{found['text']} The alarm was raised {ago} ago and {held}.",
        "facts": found["facts"],
        "chain": _once([head, *found["chain"]]),
    }


def _subject(live: LiveTwin, alarm: Alarm) -> Finding | Crossing:
    if alarm.cause == str(Cause.LIMIT) and live.forecast is not None:
        crossing = next((c for c in live.forecast.crossings if c.margin == alarm.subject), None)
        if crossing is not None:
            return crossing
    return Finding(
        live.face.name, alarm.t, alarm.source, "", Cause(alarm.cause), alarm.subject, alarm.summary, alarm.priority,
        dict(alarm.evidence),
    )  # fmt: skip


def _proposal(live: LiveTwin, row: dict[str, Any]) -> dict[str, Any]:
    decision = decision_by_id(live.state, row["id"])
    assert decision is not None
    found = _told(live, decision, None)
    labels = {s.name: (s.label, "" if s.unit == "1" else f" {s.unit}") for s in live.face.inputs}
    sets = ", ".join(f"{labels[n][0]} to {v:.4g}{labels[n][1]}" for n, v in row["values"].items() if n in labels)
    text = f"{row['proposer']} proposes to set {sets}. {found['text']}".strip()
    if row["rule"]:
        text += f" The guard's rule {row['rule']} applies: {row['note'] or 'see the audit record'}."
    risks = [
        {"label": f"P({r['limit']} violated), {side}", "value": r[key], "unit": ""}
        for r in row["risk"]
        for side, key in (("acting", "acting"), ("not acting", "not_acting"))
    ]
    head = [
        {"id": row["id"], "kind": "proposal", "t": row["t"]},
        {"id": decision.id, "kind": "decision", "t": decision.t},
        {"id": decision.source, "kind": "belief", "t": decision.t},
    ]
    return {"id": row["id"], "text": text, "facts": found["facts"] + risks, "chain": _once([*head, *found["chain"]])}


def _told(live: LiveTwin, subject: Any, belief: Belief | None) -> dict[str, Any]:
    """What `intervene.explain` says; where the mirror is not one of Pollux's own, the bare record."""
    mirror: Any = live.parts.mirror
    space = getattr(mirror, "space", None)
    if space is not None:
        from pollux.intervene.explain import explain as told

        forecast = live.forecast if isinstance(subject, Crossing | Finding) else None
        found = told(subject, space, belief=belief, forecast=forecast, params=mirror.params, R=mirror.R).plain()
        return jsonable(found)
    return _bare(subject)


def _bare(subject: Finding | Crossing | Decision | Belief) -> dict[str, Any]:
    figures: dict[str, float] = {}
    text = ""
    if isinstance(subject, Finding):
        figures, text = subject.evidence, f"{subject.summary}. It is a {subject.cause}."
    elif isinstance(subject, Decision):
        figures, text = subject.expected, subject.reason
    elif isinstance(subject, Crossing):
        figures, text = {"probability": subject.probability}, f"{subject.margin} is likely to be violated."
    facts = [{"label": k.replace("_", " "), "value": number(v), "unit": ""} for k, v in figures.items()]
    return {"id": "", "text": text, "facts": facts, "chain": []}


def _once(chain: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each id once, in order."""
    return list({link["id"]: link for link in reversed(chain) if link["id"]}.values())[::-1]
