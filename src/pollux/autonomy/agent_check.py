"""What a language model is shown, and the check of the numbers in what it says."""

import re
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from pollux.autonomy.dialogue_slots import Named
from pollux.autonomy.quote import sentences, unfounded

LONG = 8
"""A longer list of numbers is shown by first, last, lowest and highest."""
MOST = 6000
"""Characters of one text, 300; numbers of one result, this many."""
TIME = re.compile(r"(\d+(?:\.\d+)?)\s*-?\s*(?:h|hours?|hrs?|minutes?|mins?|days?)\b", re.IGNORECASE)


def compact(value: Any, depth: int = 7) -> Any:
    """A bounded copy of a result: short texts, long number lists by their ends and extremes."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | float):
        return value if isfinite(value) else None
    if isinstance(value, str):
        return value[:300]
    if depth == 0:
        return "..."
    if isinstance(value, Mapping):
        return {str(k)[:100]: compact(v, depth - 1) for k, v in list(value.items())[:100]}
    if isinstance(value, Sequence):
        numbers = [v for v in value if isinstance(v, int | float) and not isinstance(v, bool) and isfinite(v)]
        if len(value) > LONG and len(numbers) + sum(v is None for v in value) == len(value) and numbers:
            ends = {"first": numbers[0], "last": numbers[-1], "lowest": min(numbers), "highest": max(numbers)}
            return ends | {"count": len(value)}
        return [compact(v, depth - 1) for v in list(value)[:50]]
    return str(value)[:300]


def noted(shown: Any) -> list[float]:
    """Every number that was shown, the lengths of lists and the numbers inside recorded texts included."""
    found: list[float] = []
    if isinstance(shown, bool) or shown is None:
        return found
    if isinstance(shown, int | float):
        return [float(shown)]
    if isinstance(shown, str):
        return [float(n) for n in re.findall(r"-?\d+(?:\.\d+)?", shown)][:50]
    if isinstance(shown, Mapping):
        for v in shown.values():
            found += noted(v)
    elif isinstance(shown, list):
        found.append(float(len(shown)))
        for v in shown:
            found += noted(v)
    return found[:MOST]


def checked(
    text: str, recorded: Sequence[float], used: Sequence[Mapping[str, Any]], names: Sequence[Named]
) -> tuple[str, list[str]]:
    """(the text without sentences that state an unrecorded number, those sentences).

    Two kinds of numbers come from the model's own calls and may be repeated: a time span that it asked for, and a
    value that it asked about, in a sentence that names its input.
    """
    known = [word for n in names for word in (n.name, n.label, n.unit)]
    kept, out = [], []
    for sentence in sentences(text[:8000]):
        allowed = [*recorded, *own_numbers(sentence, used, names)]
        bare = sentence
        for span in TIME.finditer(sentence):
            if float(span.group(1)) in asked_hours(used):
                bare = bare.replace(span.group(0), " ", 1)
        wrong = unfounded(bare, allowed, known)
        if wrong:
            out.append(sentence)
            kept.append(f"[taken out: {', '.join(repr(w) for w in wrong[:3])} was not recorded]")
        else:
            kept.append(sentence)
    return " ".join(kept), out


def asked_hours(used: Sequence[Mapping[str, Any]]) -> set[float]:
    """Time spans that the model asked for, in hours and in minutes."""
    hours = {float(u["params"]["hours"]) for u in used if isinstance(u["params"].get("hours"), int | float)}
    return hours | {60 * h for h in hours}


def own_numbers(sentence: str, used: Sequence[Mapping[str, Any]], names: Sequence[Named]) -> list[float]:
    """Values that the model asked about, of inputs that the sentence names."""
    labels = {n.name: n.label for n in names}
    found: list[float] = []
    for u in used:
        values = u["params"].get("values")
        for name, value in values.items() if isinstance(values, Mapping) else ():
            text, label = sentence.lower(), labels.get(name) or str(name)
            said = str(name).lower() in text or label.lower() in text
            if said and isinstance(value, int | float):
                found.append(float(value))
    return found
