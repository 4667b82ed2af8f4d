"""Proposals: how what a person or an agent wants becomes a `Decision`, and how one is shown to people."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from pollux.autonomy.approve import Pending
from pollux.autonomy.policy import Principal
from pollux.core.errors import InputError
from pollux.core.signals import Belief, Decision, Forecast
from pollux.runtime.face import TwinFace
from pollux.runtime.jsonable import number
from pollux.runtime.state import LiveState, Told


def proposer(who: Principal) -> str:
    """Name of a proposer: `user:ann`, `agent:ops`; a service proposes as itself."""
    prefix = {"person": "user:", "agent": "agent:", "service": ""}[who.kind]
    return prefix + who.name


def decision_of(
    face: TwinFace,
    belief: Belief,
    who: Principal,
    *,
    id: str,
    now: float,
    values: Mapping[str, float],
    times: np.ndarray,
    rows: np.ndarray,
    valid: float,
    reason: str,
    expected: Mapping[str, float],
) -> Decision:
    """A decision to hold `values` over `times`, the other inputs following `rows` (k, u).

    Raises `InputError` when nothing is to be changed.
    """
    if not values:
        names = [s.name for s in face.inputs]
        raise InputError(f"A proposal sets at least one input, received none; `{face.name}` has {names}")
    return Decision(
        twin=face.name,
        t=now,
        id=id,
        source=belief.id,
        proposer=proposer(who),
        values=dict(values),
        times=np.asarray(times, np.float64),
        plan=np.asarray(rows, np.float64),
        expires=now + valid,
        reason=reason,
        expected=dict(expected),
    )


def effects(face: TwinFace, acting: Forecast, not_acting: Forecast) -> dict[str, float]:
    """Figures of acting and, prefixed `without_`, of not acting: the lowest 5 % quantile of every margin."""
    figures: dict[str, float] = {}
    for i, margin in enumerate(face.margins):
        label = f"lowest {margin.label}" + (f" [{margin.unit}]" if margin.unit else "")
        for prefix, forecast in (("", acting), ("without_", not_acting)):
            worst = float(np.min(forecast.margins[0, :, i]))
            if np.isfinite(worst):
                figures[prefix + label] = worst
    return figures


def listed(state: LiveState) -> list[dict[str, Any]]:
    """All proposals as JSON, those that wait first, then the newest."""
    waiting = [pending_json(p) for p in state.autonomy.approvals.items] if state.autonomy else []
    rows = waiting + [told_json(p) for p in state.told]
    return sorted(rows, key=lambda r: (r["status"] != "pending", -r["t"]))


def find(state: LiveState, id: str) -> dict[str, Any]:
    """One proposal as JSON. Raises `InputError` when there is none of this id."""
    for row in listed(state):
        if row["id"] == id:
            return row
    raise InputError(f"No proposal has the id {id!r}; `proposals` lists them")


def decision_by_id(state: LiveState, id: str) -> Decision | None:
    """The decision behind a proposal or a decision id."""
    items: Iterable[Pending | Told] = [*(state.autonomy.approvals.items if state.autonomy else ()), *state.told]
    return next((p.decision for p in items if id in (p.id, p.decision.id)), None)


def pending_json(p: Pending) -> dict[str, Any]:
    """`Proposal` of the contract, from an action among the approvals."""
    risks = {side: dict(r.limits) for side, r in p.risks.items()}
    row = _row(p.id, p.decision, p.status, p.rule, p.note, p.by, p.digest, risks)
    return row | {"expires": p.expires, "auto_at": p.auto_at}


def told_json(p: Told) -> dict[str, Any]:
    """`Proposal` of the contract, from a proposal that does not wait."""
    return _row(p.id, p.decision, p.status, p.rule, p.note, "", p.digest, p.risks) | {"auto_at": None}


def _row(
    id: str,
    d: Decision,
    status: str,
    rule: str,
    note: str,
    by: str,
    digest: str,
    risks: Mapping[str, Mapping[str, float]],
) -> dict[str, Any]:
    acting, idle = risks.get("acting", {}), risks.get("not_acting", {})
    return {
        "id": id,
        "twin": d.twin,
        "t": d.t,
        "proposer": d.proposer,
        "reason": d.reason,
        "values": dict(d.values),
        "expires": d.expires,
        "status": status,
        "rule": rule or None,
        "note": note or None,
        "by": by or None,
        "expected": _expected(d.expected),
        "risk": [
            {"limit": name, "acting": number(share), "not_acting": number(idle.get(name, float("nan")))}
            for name, share in acting.items()
        ],
        "hash": digest,
    }


def _expected(figures: Mapping[str, float]) -> list[dict[str, Any]]:
    rows = []
    for key, value in figures.items():
        if key.startswith("without_"):
            continue
        label, _, unit = key.partition(" [")
        rows.append(
            {
                "label": label.replace("_", " "),
                "unit": unit.rstrip("]"),
                "acting": number(value),
                "not_acting": number(figures.get(f"without_{key}", float("nan"))),
            }
        )
    return rows
