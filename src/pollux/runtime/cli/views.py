"""Answers that are too wide for a terminal, as people read them; `--json` shows everything."""

from collections.abc import Callable, Mapping
from typing import Any

from pollux.runtime.cli.output import cell, instant

View = Callable[[Any], Any]


def seen(capability: str, answer: Any) -> Any:
    """The answer as it is shown."""
    if answer is None:
        return "Nothing: the planner knows of nothing better."
    view = VIEWS.get(capability)
    return answer if view is None else view(answer)


def twins(answer: Any) -> Any:
    """One line a twin; what it measures below."""
    rows = [
        {k: card[k] for k in ("name", "title", "status", "level", "alarms")} | {"time": instant(card["t"])}
        for card in answer["twins"]
    ]
    figures = [{"twin": card["name"], **f} for card in answer["twins"] for f in card["figures"]]
    shown = {} if len(rows) == answer["matched"] else {"shown": f"{len(rows)} of {answer['matched']} twins"}
    return shown | {"twins": rows, "figures": figures}


def observe(answer: Any) -> Any:
    """Sensors, estimates and limits; alarms and proposals by their first words."""
    kept = ("t", "status", "level", "stopped", "stale", "sensors", "states", "inputs")
    margins = {n: {"margin": v} for n, v in answer["margins"].items()}
    return (
        {k: answer[k] for k in kept}
        | {"limits": margins}
        | {
            "alarms": [_alarm(a) for a in answer["alarms"]],
            "proposals": [_proposal(p) for p in answer["proposals"]],
        }
    )


def history(answer: Any) -> Any:
    """One line a signal: its ends and extremes. `pollux export parquet` writes all of it."""
    rows = []
    for name, columns in answer["signals"].items():
        values = [v for v in columns.get("measured", columns["mean"]) if v is not None]
        ends = {"first": values[0], "last": values[-1], "lowest": min(values), "highest": max(values)} if values else {}
        rows.append({"signal": name, "values": len(values), **ends})
    t = answer["t"]
    span = {"from": instant(t[0]), "to": instant(t[-1])} if t else {"from": "-", "to": "-"}
    return span | {"history": rows}


def forecast(answer: Any) -> Any:
    """Now and at the end: median and the outer quantiles; then the limits at risk."""
    levels = answer["levels"]
    middle = min(range(len(levels)), key=lambda q: abs(levels[q] - 0.5))
    rows = []
    for group in ("sensors", "states", "margins"):
        for name, table in answer[group].items():
            if group == "states" and name in answer["sensors"]:
                continue
            rows.append(
                {
                    "signal": name, "kind": group.rstrip("s"), "now": table[middle][0], "end": table[middle][-1],
                    f"{levels[0]:.1%}": table[0][-1], f"{levels[-1]:.1%}": table[-1][-1],
                }
            )  # fmt: skip
    until = (answer["times"][-1] - answer["t0"]) / 3600.0
    head = {"from": instant(answer["t0"]), "hours": round(until, 3)}
    return head | {"forecast": rows, "limits": answer["crossings"]}


def what_if(answer: Any) -> Any:
    """The medians at the end, side by side, and the probabilities."""
    acting, idle = answer["acting"], answer["not_acting"]
    middle = min(range(len(acting["levels"])), key=lambda q: abs(acting["levels"][q] - 0.5))
    rows = [
        {"signal": name, "acting": table[middle][-1], "not acting": idle[group][name][middle][-1]}
        for group in ("sensors", "margins")
        for name, table in acting[group].items()
    ]
    risks = [
        {"limit": a["margin"], "P acting": a["probability"], "P not acting": b["probability"]}
        for a, b in zip(acting["crossings"], idle["crossings"], strict=True)
    ]
    return {"at the end": rows, "limits": risks}


def diagnose(answer: Any) -> Any:
    """Findings; whether the filter is consistent; one line a sensor; what was late or refused."""
    found, judged = answer["trust"]["nis"], answer["trust"]["coverage"]
    each = answer["trust"]["sensors"]
    sensors = {
        name: {"state": now["health"], "age": now["age"]}
        | {k: each[name][k] and round(each[name][k], 3) for k in ("health", "coverage", "refused")}
        for name, now in answer["sensors"].items()
    }
    return {
        "filter": found["verdict"],
        "NIS per reading": _between(found["ratio"], found["low"], found["high"]),
        "inside the 95 % band": _between(judged["share"], judged["low"], judged["high"]),
        "findings": [_alarm(a) for a in answer["findings"]],
        "sensors": sensors,
        "remarks": [f"{name}: {'; '.join(s['remarks'])}" for name, s in each.items() if s["remarks"]],
        "time": {k: instant(answer["time"].get(k)) for k in ("settled", "present")},
        "sources": answer["time"].get("sources", {}),
        "stored, not fused": answer["unfused"],
        "quarantine": answer["refused"],
    }


def _between(value: float | None, low: float, high: float | None) -> str:
    if value is None or high is None:
        return "too few readings"
    return f"{value:.3f}, expected {low:.3f} to {high:.3f}"


def recall(answer: Any) -> Any:
    """What was asked and what it rests on; estimates, alarms and the last decision."""
    rests = {"rows": answer["rows"], "received": instant(answer["received"])}
    told = {} if answer["decision"] is None else {"decision": [_proposal(answer["decision"])]}
    return (
        {"at": f"{instant(answer['at'])} UTC, by the {answer['by']}", "what": answer["meaning"]}
        | {"t": answer["t"], "belief": answer["belief"], "digest": answer["digest"][:16]}
        | rests
        | ({"note": answer["note"]} if answer["note"] else {})
        | {"estimates": answer["estimates"], "alarms": [_alarm(a) for a in answer["frame"]["alarms"]]}
        | told
    )


def alarms(answer: Any) -> Any:
    """One line an alarm."""
    return {"alarms": [_alarm(a) for a in answer["alarms"]], "suppressed": answer["suppressed"]}


def proposals(answer: Any) -> Any:
    """One line each; the commands that would approve what waits."""
    waiting = [f"pollux approve {p['id']} {p['hash']}" for p in answer["proposals"] if p["status"] == "pending"]
    return {"proposals": [_proposal(p) for p in answer["proposals"]], "to approve": waiting}


def proposal(answer: Any) -> Any:
    """One proposal in full, its tables below."""
    head = _proposal(answer) | {"hash": answer["hash"], "note": answer["note"], "expires": instant(answer["expires"])}
    return head | {"expected": answer["expected"], "risk": answer["risk"]}


def explain(answer: Any) -> Any:
    """The sentence, then the facts."""
    return {"why": answer["text"], "facts": answer["facts"], "chain": answer["chain"]}


def audit(answer: Any) -> Any:
    """One line a record."""
    rows = [
        {"n": r["n"], "t": instant(r["t"]), "kind": r["kind"], "by": r["body"].get("by"), "what": _what(r["body"])}
        for r in answer["records"]
    ]
    return {"records": rows, "verified": answer["verified"]}


def describe(answer: Any) -> Any:
    """Names, units and limits; the schematic is left out."""
    return {k: v for k, v in answer.items() if k not in ("schematic", "parameters")}


def _what(body: Mapping[str, Any]) -> str:
    for key in ("reason", "why", "rule", "values", "id"):
        if body.get(key):
            return f"{key} {cell(body[key])}"
    return ""


def _alarm(a: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": a["id"],
        "priority": a["priority"],
        "state": a["state"],
        "since": instant(a["t"]),
        "what": a["summary"],
    }


def _proposal(p: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": p["id"], "status": p["status"], "rule": p["rule"], "by": p["proposer"], "sets": cell(p["values"]),
        "why": p["reason"],
    }  # fmt: skip


VIEWS: Mapping[str, View] = {
    "twins": twins, "diagnose": diagnose, "observe": observe, "history": history, "forecast": forecast,
    "what_if": what_if, "alarms": alarms, "recall": recall,
    "proposals": proposals, "propose": proposal, "optimise": proposal, "approve": proposal, "reject": proposal,
    "explain": explain, "audit": audit, "describe": describe,
}  # fmt: skip
