"""Answers to operators, one function an intent. Numbers enter a text only through `Turn.say`, from a capability."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pollux.autonomy.dialogue_slots import Named, Slots
from pollux.autonomy.quote import written

Ask = Callable[[str, Mapping[str, Any]], Awaitable[Any]]
"""(capability, parameters) -> its answer."""
LEVELS = ("observe only", "advise", "act after approval", "act unless stopped", "act by itself in its domain")
SHOWN = 5
"""Most rows in one answer."""


@dataclass
class Turn:
    """One question on its way to an answer: what was understood, looked up and noted."""

    slots: Slots
    names: tuple[Named, ...]
    call: Ask
    help: str
    used: list[dict[str, Any]] = field(default_factory=list)
    facts: list[dict[str, Any]] = field(default_factory=list)

    async def ask(self, capability: str, **params: Any) -> Any:
        """Call a capability and remember that it was."""
        result = await self.call(capability, params)
        self.used.append({"capability": capability, "params": params})
        return result

    def say(self, label: str, value: Any, unit: str = "") -> str:
        """Note a fact and return it as it is written."""
        if not isinstance(value, int | float):
            return "unknown"
        self.facts.append({"label": label, "value": float(value), "unit": unit})
        return f"{written(float(value))} {'' if unit == '1' else unit}".strip()

    def label(self, name: str) -> str:
        """What a signal is called."""
        return next((n.label for n in self.names if n.name == name), name.replace("_", " "))

    def unit(self, name: str, *kinds: str) -> str:
        """Unit of a signal."""
        return next((n.unit for n in self.names if n.name == name and (not kinds or n.kind in kinds)), "")

    def chosen(self, *kinds: str) -> list[Named]:
        """The signals that were meant, of these kinds, each name once."""
        seen: dict[str, Named] = {}
        for kind in kinds:
            for n in self.slots.signals:
                if n.kind == kind:
                    seen.setdefault(n.label, n)
        return list(seen.values())[:SHOWN]

    def which(self) -> str:
        """The question back, when no signal was recognised."""
        labels = list(dict.fromkeys(n.label for n in self.names if n.kind in ("sensor", "state")))[:12]
        return f"Which signal do you mean? I know {', '.join(labels)}."


async def value(turn: Turn) -> str:
    """The present value of signals."""
    chosen = turn.chosen("sensor", "state", "input", "margin", "parameter")
    if not chosen:
        return turn.which()
    frame = await turn.ask("observe")
    parts = []
    for n in chosen:
        if n.kind == "sensor" and n.name in frame["sensors"]:
            row = frame["sensors"][n.name]
            text = f"{n.label} is {turn.say(n.label, row['value'], n.unit)} (measured"
            if row["predicted"] is not None:
                text += f", expected {turn.say(f'{n.label}, expected', row['predicted'], n.unit)}"
            parts.append(text + ("" if row["health"] == "good" else f"; the sensor is {row['health']}") + ").")
        elif n.name in frame["states"]:
            row = frame["states"][n.name]
            low, high = (turn.say(f"{n.label}, {k} end", row[k], n.unit) for k in ("low", "high"))
            parts.append(
                f"{n.label} is estimated at {turn.say(n.label, row['mean'], n.unit)}, between {low} and {high}."
            )
        elif n.name in frame["inputs"]:
            parts.append(f"{n.label} is {turn.say(n.label, frame['inputs'][n.name]['value'], n.unit)}.")
        elif n.name in frame["margins"]:
            parts.append(f"The margin to {n.label} is {turn.say(n.label, frame['margins'][n.name], n.unit)}.")
    return " ".join(parts) or turn.which()


async def overview(turn: Turn) -> str:
    """How things are."""
    frame = await turn.ask("observe")
    good = sum(row["health"] == "good" for row in frame["sensors"].values())
    words = {"good": "All is well", "watch": "Something needs watching", "act": "You should act"}
    count = turn.say("active alarms", len(frame["alarms"]))
    waiting = [p for p in frame["proposals"] if p["status"] == "pending"]
    text = (
        f"{words.get(frame['status'], frame['status'])}. {turn.say('sensors in good health', good)} of "
        f"{turn.say('sensors', len(frame['sensors']))} sensors are good, active alarms: {count}, proposals that wait: "
        f"{turn.say('proposals that wait', len(waiting))}."
    )
    if frame["alarms"]:
        text += f" Most urgent: {named_numbers(turn, frame['alarms'][0])}"
    for name, row in list(frame["states"].items())[:3]:
        text += f" {turn.label(name)} {turn.say(turn.label(name), row['mean'], turn.unit(name, 'state'))}."
    return text + (" The stop is set." if frame["stopped"] else "") + (" The data are stale." if frame["stale"] else "")


async def expect(turn: Turn) -> str:
    """What is expected of signals."""
    chosen = turn.chosen("sensor", "state")
    if not chosen:
        return turn.which()
    out = await turn.ask("forecast", **hours_of(turn))
    parts = []
    for n in chosen:
        rows = out["sensors"].get(n.name) or out["states"].get(n.name)
        if not rows:
            continue
        low, mid, high = (rows[nearest(out["levels"], q)][-1] for q in (0.05, 0.5, 0.95))
        now = rows[nearest(out["levels"], 0.5)][0]
        parts.append(
            f"{n.label} is expected at {turn.say(f'{n.label}, then', mid, n.unit)} (between "
            f"{turn.say(f'{n.label}, low', low, n.unit)} and {turn.say(f'{n.label}, high', high, n.unit)}) after "
            f"{turn.say('hours ahead', (out['times'][-1] - out['t0']) / 3600, 'h')}; now it is "
            f"{turn.say(f'{n.label}, now', now, n.unit)}."
        )
    return " ".join(parts) or turn.which()


async def risk(turn: Turn) -> str:
    """Which limits may be violated."""
    out = await turn.ask("forecast", **hours_of(turn))
    return crossings(turn, out, f"Within {turn.say('hours ahead', (out['times'][-1] - out['t0']) / 3600, 'h')}: ")


async def past(turn: Turn) -> str:
    """What signals were."""
    chosen = turn.chosen("sensor", "state", "input")
    if not chosen:
        return turn.which()
    hours = turn.slots.hours or 24.0
    t = (await turn.ask("observe"))["t"]
    names = ",".join(dict.fromkeys(n.name for n in chosen))
    out = await turn.ask("history", signals=names, start=t - 3600 * hours, end=t, points=2000)
    parts = []
    for n in chosen:
        rows = out["signals"].get(n.name, {})
        known = [v for v in rows.get("measured") or rows.get("mean") or () if v is not None]
        if not known:
            parts.append(f"Nothing is recorded of {n.label} in that time.")
            continue
        parts.append(
            f"{n.label}: lowest {turn.say(f'{n.label}, lowest', min(known), n.unit)}, highest "
            f"{turn.say(f'{n.label}, highest', max(known), n.unit)}, mean "
            f"{turn.say(f'{n.label}, mean', sum(known) / len(known), n.unit)}; it went from "
            f"{turn.say(f'{n.label}, first', known[0], n.unit)} to {turn.say(f'{n.label}, last', known[-1], n.unit)}."
        )
    span = (out["t"][-1] - out["t"][0]) / 3600 if out["t"] else 0.0
    return f"Over {turn.say('recorded hours', span, 'h')}: " + " ".join(parts)


async def what_if(turn: Turn) -> str:
    """Acting against not acting."""
    if not turn.slots.values:
        inputs = [f"{n.label} [{n.unit}]" for n in turn.names if n.kind == "input"]
        return f"Which input, at which value? I can try {', '.join(inputs)}."
    out = await turn.ask("what_if", values=dict(turn.slots.values), **hours_of(turn))
    acting, idle = out["acting"], out["not_acting"]
    sets = [
        f"{turn.label(n)} at {turn.say(f'{turn.label(n)}, assumed', v, turn.unit(n, 'input'))}"
        for n, v in turn.slots.values.items()
    ]
    hours = turn.say("hours ahead", (acting["times"][-1] - acting["t0"]) / 3600, "h")
    text = f"With {' and '.join(sets)} for {hours}: "
    shown = [n.name for n in turn.chosen("sensor", "state")] or changed(acting, idle)
    for name in shown[:3]:
        rows, other = (x["sensors"].get(name) or x["states"].get(name) for x in (acting, idle))
        if rows and other:
            k, unit, label = nearest(acting["levels"], 0.5), turn.unit(name, "sensor", "state"), turn.label(name)
            text += (
                f"{label} ends at {turn.say(f'{label}, acting', rows[k][-1], unit)}, without at "
                f"{turn.say(f'{label}, not acting', other[k][-1], unit)}. "
            )
    return text + crossings(turn, acting, "Acting: ") + " " + crossings(turn, idle, "Not acting: ", "not acting")


async def diagnose(turn: Turn) -> str:
    """What is wrong."""
    out = await turn.ask("diagnose")
    if not out["findings"]:
        return "I find nothing wrong: no fault is active in the process, the sensors or the data."
    count = turn.say("findings", len(out["findings"]))
    return f"Findings: {count}. " + " ".join(named_numbers(turn, f) for f in out["findings"][:SHOWN])


async def sensor(turn: Turn) -> str:
    """How sensors are."""
    out = await turn.ask("diagnose")
    rows, chosen = out["sensors"], [n for n in turn.chosen("sensor") if n.name in out["sensors"]]
    if not chosen:
        bad = {k: r for k, r in rows.items() if r["health"] != "good"}
        if not bad:
            return f"All {turn.say('sensors', len(rows))} sensors are in good health."
        told = ", ".join(f"{turn.label(k)} is {r['health']}" for k, r in list(bad.items())[:SHOWN])
        count = turn.say("sensors not good", len(bad))
        return f"{count} of {turn.say('sensors', len(rows))} sensors are not good: {told}."
    parts = []
    for n in chosen:
        row = rows[n.name]
        text = f"{n.label} is {row['health']}; last used {turn.say(f'{n.label}, age', row['age'], 's')} ago"
        if row["nis"] is not None:
            squared = turn.say(f"{n.label}, squared deviation", row["nis"])
            text += f", its deviation is {squared} squared standard deviations"
        parts.append(text + ".")
    about = [f for f in out["findings"] if any(n.name == f["subject"] for n in chosen)]
    return " ".join(parts) + "".join(" " + named_numbers(turn, f) for f in about)


async def alarms(turn: Turn) -> str:
    """The alarm list."""
    rows = (await turn.ask("alarms"))["alarms"]
    if not rows:
        return "No alarm is active."
    return f"Active alarms: {turn.say('active alarms', len(rows))}. " + " ".join(
        f"Priority {turn.say('priority', a['priority'])}, {a['state']}: {named_numbers(turn, a)}" for a in rows[:SHOWN]
    )


async def why(turn: Turn) -> str:
    """The reason of the latest alarm, else of the latest proposal."""
    rows = (await turn.ask("alarms"))["alarms"]
    if not rows or "propos" in turn.slots.masked or "recommend" in turn.slots.masked or "suggest" in turn.slots.masked:
        rows = (await turn.ask("proposals"))["proposals"] or rows
    if not rows:
        return "There is no active alarm and no proposal that I could explain."
    out = await turn.ask("explain", id=rows[0]["id"])
    turn.facts += [f for f in out["facts"] if isinstance(f.get("value"), int | float)]
    note_numbers(turn, out["text"])
    told = [
        f"{f['label']}: {written(f['value'])} {f.get('unit') or ''}".strip() for f in turn.facts[:SHOWN] if f["label"]
    ]
    return out["text"] + (f" Evidence: {'; '.join(told)}." if told else "")


async def proposals(turn: Turn) -> str:
    """What waits for an approval."""
    rows = (await turn.ask("proposals"))["proposals"]
    waiting = [p for p in rows if p["status"] == "pending"]
    if not waiting:
        return "Nothing waits for an approval. Ask me to optimise, and the planner will look for something better."
    return f"{turn.say('proposals that wait', len(waiting))} wait: " + " ".join(proposal(turn, p) for p in waiting[:3])


async def optimise(turn: Turn) -> str:
    """Ask the planner."""
    found = await turn.ask("optimise")
    if not found:
        return "The planner finds nothing better than the present settings."
    return "The planner proposes: " + proposal(turn, found) + " It is in the list of proposals."


async def level(turn: Turn) -> str:
    """Who is in control."""
    frame = await turn.ask("observe")
    text = f"The level is {turn.say('level', frame['level'])}: {LEVELS[int(frame['level'])]}."
    return text + (" The stop is set; only a person resets it." if frame["stopped"] else " The stop is not set.")


async def record(turn: Turn) -> str:
    """What was done."""
    out = await turn.ask("audit", n=50)
    rows = [r for r in out["records"] if r["kind"] in ("command", "safe", "approval", "rejection", "level", "stop")]
    text = "The audit chain verifies. " if out["verified"] else "The audit chain does NOT verify. "
    if not rows:
        return text + "No command was sent in the records that I see."
    t, said = (await turn.ask("observe"))["t"], []
    for r in reversed(rows[-3:]):
        body = r["body"]
        sets = [
            f"{turn.label(n)} to {turn.say(turn.label(n), v, turn.unit(n, 'input'))}"
            for n, v in body.get("values", {}).items()
        ]
        by = body.get("approved_by") or body.get("by") or body.get("proposer") or "the guard"
        ago = turn.say("hours ago", (t - r["t"]) / 3600, "h")
        said.append(f"{r['kind']} {ago} ago by {by}" + (f": {', '.join(sets)}" if sets else ""))
    return text + "Latest first: " + "; ".join(said) + "."


async def parameters(turn: Turn) -> str:
    """What the twin has learned."""
    rows = (await turn.ask("recalibrate"))["estimates"]
    wanted = {n.name for n in turn.chosen("parameter")}
    shown = [r for r in rows if r["name"] in wanted] or rows
    if not shown:
        return "No parameter of this twin is tracked."
    return " ".join(
        f"{r['label']} is {turn.say(r['label'], r['mean'], r['unit'])}, between "
        f"{turn.say(r['label'] + ', low', r['low'], r['unit'])} and "
        f"{turn.say(r['label'] + ', high', r['high'], r['unit'])}."
        for r in shown[:SHOWN]
    )  # fmt: skip


async def act(turn: Turn) -> str:
    """Nothing is done from the chat: say what it would bring, and how to propose it."""
    if not turn.slots.values:
        return "I do not act from the chat. Propose an action with an input and a value; the guard judges it first."
    return "I do not act from the chat; here is what it would bring, and you can propose it. " + await what_if(turn)


async def helping(turn: Turn) -> str:
    """What can be asked."""
    return turn.help


ANSWERS: dict[str, Callable[[Turn], Awaitable[str]]] = {
    "value": value, "overview": overview, "expect": expect, "risk": risk, "past": past, "what_if": what_if,
    "diagnose": diagnose, "sensor": sensor, "alarms": alarms, "why": why, "proposals": proposals, "optimise": optimise,
    "level": level, "record": record, "parameters": parameters, "act": act, "help": helping,
}  # fmt: skip


def hours_of(turn: Turn) -> dict[str, float]:
    """The horizon that was asked for, if any."""
    return {} if turn.slots.hours is None else {"hours": turn.slots.hours}


def nearest(levels: list[float], q: float) -> int:
    """Index of the quantile level nearest to q."""
    return min(range(len(levels)), key=lambda i: abs(levels[i] - q))


def changed(acting: Mapping[str, Any], idle: Mapping[str, Any]) -> list[str]:
    """Signals in order of how far acting moves their median, in widths of their band."""
    k, low, high = (nearest(acting["levels"], q) for q in (0.5, 0.05, 0.95))
    moved: dict[str, float] = {}
    for group in ("sensors", "states"):
        for name, rows in acting[group].items():
            other = idle[group].get(name)
            ends = (rows[k][-1], rows[low][-1], rows[high][-1], other[k][-1] if other else None)
            if None not in ends:
                moved[name] = abs(ends[0] - ends[3]) / max(ends[2] - ends[1], 1e-9)
    return sorted(moved, key=lambda name: -moved[name])


def crossings(turn: Turn, out: Mapping[str, Any], begin: str, side: str = "") -> str:
    """Which margins may be crossed in a forecast."""
    likely = sorted((c for c in out["crossings"] if c["probability"] > 0), key=lambda c: -c["probability"])
    if not likely:
        return begin + "no limit is violated in any sample."
    parts, suffix = [], f", {side}" if side else ""
    for c in likely[:3]:
        name = turn.label(c["margin"])
        text = f"{name} is violated with probability {turn.say(f'P({name}){suffix}', c['probability'])}"
        if isinstance(c["t_median"], int | float) and c["t_median"] == c["t_median"]:
            text += f", typically after {turn.say(f'{name}{suffix}', (c['t_median'] - out['t0']) / 3600, 'h')}"
        parts.append(text)
    return begin + "; ".join(parts) + "."


def proposal(turn: Turn, p: Mapping[str, Any]) -> str:
    """One proposal in words."""
    sets = [f"{turn.label(n)} to {turn.say(turn.label(n), v, turn.unit(n, 'input'))}" for n, v in p["values"].items()]
    text = f"set {', '.join(sets)} ({p['proposer']})"
    for e in p["expected"][:2]:
        text += f"; {e['label']} {turn.say(e['label'] + ', acting', e['acting'], e['unit'])}"
        if e["not_acting"] is not None:
            text += f" instead of {turn.say(e['label'] + ', not acting', e['not_acting'], e['unit'])}"
    note_numbers(turn, p["reason"])
    return text + (f". {p['reason']}" if p["reason"] else "") + ("" if p["reason"].endswith(".") else ".")


def named_numbers(turn: Turn, alarm: Mapping[str, Any]) -> str:
    """The recorded summary of an alarm, its evidence noted as facts."""
    for name, number in alarm["evidence"].items():
        turn.say(name.replace("_", " "), number)
    note_numbers(turn, alarm["summary"])
    return alarm["summary"] + ("" if alarm["summary"].endswith(".") else ".")


def note_numbers(turn: Turn, text: str) -> None:
    """Recorded text may be quoted whole; its numbers are recorded with it."""
    import re

    for number in re.findall(r"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?", text):
        turn.facts.append({"label": "", "value": float(number), "unit": ""})
