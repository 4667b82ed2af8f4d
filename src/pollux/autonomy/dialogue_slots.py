"""What a question is about: signals by their names and labels, time spans, values. Nothing is learned or guessed."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache
from math import log
from typing import Any, Literal

Kind = Literal["state", "input", "sensor", "parameter", "margin"]
PARTS = re.compile(r"[a-z]+|\d+")
SPOKEN = {
    "a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9,
    "ten": 10, "twelve": 12, "twenty": 20, "half": 0.5, "few": 3, "couple": 2,
}  # fmt: skip
UNITS = {
    "s": 1 / 3600,
    "sec": 1 / 3600,
    "min": 1 / 60,
    "h": 1.0,
    "hour": 1.0,
    "day": 24.0,
    "week": 168.0,
    "month": 720.0,
}
SPAN = re.compile(
    r"\b(?:(\d+(?:\.\d+)?)\s*|(" + "|".join(SPOKEN) + r")\s+(?:an?\s+|of\s+)*)?"
    r"(seconds?|secs?|minutes?|mins?|hours?|hrs?|h|days?|weeks?|months?)\b"
)
NAMED = {
    "overnight": 12.0, "tonight": 12.0, "tomorrow": 24.0, "today": 24.0, "yesterday": 48.0, "last night": 24.0,
    "this morning": 12.0, "shift": 8.0, "midnight": 12.0,
}  # fmt: skip
VALUE = re.compile(r"(-?\d+(?:\.\d+)?)\s*(%|percent|per cent)?")
STOP = frozenset(
    [
        "the",
        "of",
        "in",
        "to",
        "a",
        "an",
        "and",
        "all",
        "over",
        "by",
        "or",
        "is",
        "at",
        "on",
        "off",
        "that",
        "each",
        "own",
        "no",
        "any",
        "it",
        "its",
        "with",
        "from",
        "for",
        "per",
        "into",
        "not",
        "be",
        "which",
        "limit",
        "day",
        "time",
        "value",
    ]
)


@dataclass(frozen=True)
class Named:
    """One thing of the twin that can be asked about."""

    name: str
    label: str
    unit: str
    kind: Kind
    low: float | None = None
    high: float | None = None

    @property
    def parts(self) -> frozenset[str]:
        """Words and numbers of name and label (its first four), in singular."""
        return said_by(self.name) | said_by(" ".join(self.label.split()[:4]))


@lru_cache(maxsize=10_000)
def said_by(text: str) -> frozenset[str]:
    """Words and numbers of a text that tell something."""
    found = {stem(p) for p in PARTS.findall(text.lower())}
    return frozenset(p for p in found if p not in STOP and (len(p) > 1 or p.isdigit()))


@dataclass(frozen=True)
class Slots:
    """What was found in a question; `hours` and `values` are None or empty when nothing was said."""

    signals: tuple[Named, ...]
    hours: float | None
    values: Mapping[str, float]
    masked: str


def names_of(describe: Mapping[str, Any]) -> tuple[Named, ...]:
    """Everything nameable in the answer of the capability `describe`."""
    groups: tuple[tuple[str, Kind], ...] = (
        ("sensors", "sensor"), ("states", "state"), ("inputs", "input"), ("parameters", "parameter"),
        ("margins", "margin"),
    )  # fmt: skip
    found = []
    for key, kind in groups:
        for row in describe.get(key, ()):
            label = str(row.get("label") or row["name"])
            found.append(
                Named(str(row["name"]), label, str(row.get("unit") or ""), kind, row.get("low"), row.get("high"))
            )
    return tuple(found)


def stem(word: str) -> str:
    """A word without its plural s."""
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


@lru_cache(maxsize=100_000)
def alike(a: str, b: str) -> bool:
    """The same word, or one with a slip of the pen."""
    if a == b:
        return True
    if a[:1] != b[:1] or a.isdigit() or b.isdigit() or min(len(a), len(b)) < 5 or abs(len(a) - len(b)) > 2:
        return False
    return SequenceMatcher(None, a, b).ratio() >= 0.85


def slots(question: str, names: tuple[Named, ...]) -> Slots:
    """Read a question."""
    text = question.lower().replace("’", "'")
    hours, spared = span(text)
    words = [stem(w) for w in PARTS.findall(spared)]
    scores = {n: score(n, words, names) for n in names}
    best = max(scores.values(), default=0.0)
    signals = tuple(n for n, s in scores.items() if best > 0.0 and s >= best - 1e-9)
    inputs = tuple(n for n in names if n.kind == "input")
    return Slots(signals, hours, values(spared, inputs), mask(text, names))


@lru_cache(maxsize=10_000)
def weight(part: str, names: tuple[Named, ...]) -> float:
    """How much a word tells: log of the share of names that it is not in."""
    count = sum(part in n.parts for n in names)
    return log((1 + len(names)) / (1 + count)) + 0.1 if count else 0.0


def score(named: Named, words: list[str], names: tuple[Named, ...]) -> float:
    """How well a name or its label fits the words: weight of the parts said, less a little for those that were not."""
    best = 0.0
    for parts in (said_by(named.name), said_by(" ".join(named.label.split()[:4])), named.parts):
        said = {p for p in parts if any(alike(p, w) for w in words)}
        if said:
            gain = sum(weight(p, names) for p in said)
            best = max(best, gain - 0.15 * sum(weight(p, names) for p in parts - said), 0.01)
    return best


def span(text: str) -> tuple[float | None, str]:
    """(hours, text without the time span)."""
    match = SPAN.search(text)
    if match:
        number = float(match.group(1)) if match.group(1) else float(SPOKEN.get(match.group(2) or "one", 1))
        unit = stem(match.group(3))
        per = UNITS.get(unit, UNITS.get(unit[:3], UNITS.get(unit[:1], 1.0)))
        return number * per, text[: match.start()] + " " + text[match.end() :]
    for word, hours in NAMED.items():
        if word in text:
            return hours, text.replace(word, " ")
    return None, text


def values(text: str, inputs: tuple[Named, ...]) -> dict[str, float]:
    """The input that was named, and the value that was said for it: a number, per cent of its range, open, off ..."""
    words = [stem(w) for w in PARTS.findall(text)]
    scores = {n: score(n, words, inputs) for n in inputs}
    best = max(scores.values(), default=0.0)
    if best <= 0.0:
        return {}
    chosen = [n for n, s in scores.items() if s >= best - 1e-9]
    if len(chosen) != 1:
        return {}
    named = chosen[0]
    rest = text
    for piece in (named.label.lower(), named.name.lower(), *sorted(named.parts, key=len, reverse=True)):
        rest = rest.replace(piece, " ", 1)
    low, high = named.low, named.high
    match = VALUE.search(rest)
    if match:
        number = float(match.group(1))
        if match.group(2) and low is not None and high is not None:
            number = low + (high - low) * number / 100.0
        return {named.name: number}
    for word, share in (
        ("half", 0.5), ("off", 0.0), ("clos", 0.0), ("shut", 0.0), ("stop", 0.0), ("trip", 0.0), ("fail", 0.0),
        ("minimum", 0.0), ("full", 1.0), ("maximum", 1.0), ("open", 1.0), ("start", 1.0), ("on", 1.0), ("run", 1.0),
    ):  # fmt: skip
        if re.search(rf"\b{word}" if len(word) > 3 else rf"\b{word}\b", rest) and low is not None and high is not None:
            return {named.name: low + (high - low) * share}
    return {}


def mask(text: str, names: tuple[Named, ...]) -> str:
    """The question with names, time spans and numbers replaced by what they are, so that every twin asks alike."""
    text = SPAN.sub(lambda m: " <span> " if m.group(1) or m.group(2) else m.group(0), text)
    out: list[str] = []
    for word in re.findall(r"<\w+>|[a-z]+|\d+(?:\.\d+)?|%", text):
        what = word if word.startswith("<") else kind_of(stem(word), names)
        if what is None:
            out.append("<number>" if word[0].isdigit() else word)
        elif not out or out[-1] != what:
            out.append(what)
    return " ".join(out)


@lru_cache(maxsize=10_000)
def kind_of(word: str, names: tuple[Named, ...]) -> str | None:
    """What kind of thing a word belongs to: an input before a signal, a parameter, a limit; None for other words."""
    for kind in ("input", "sensor", "state", "parameter", "margin"):
        if any(n.kind == kind and any(alike(p, word) for p in n.parts) for n in names):
            return "<signal>" if kind in ("sensor", "state") else f"<{kind}>"
    return None
