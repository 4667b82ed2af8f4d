"""Which numbers of a text are not covered by recorded ones. Whoever phrases an answer may quote, not invent.

A number is covered when some recorded value, rounded to as many decimals as were written, equals it; per cent covers
a share. Numbers inside known names ("Pressure 13") are names. Number words count as numbers, except "one", which is
mostly a pronoun.
"""

import re
from collections.abc import Iterable
from math import floor, isfinite, log10

WORDS = {
    "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10, "eleven": 11,
    "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16, "seventeen": 17, "eighteen": 18,
    "nineteen": 19, "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80,
    "ninety": 90, "hundred": 100, "thousand": 1000, "million": 10**6, "dozen": 12, "half": 0.5, "twice": 2, "double": 2,
}  # fmt: skip
PLAIN = r"(?<![\w.])[-+−]?\d[\d,]*(?:\.\d+)?(?:[eE][-+−]?\d+)?\s*(?:%|percent\b|per cent\b)?"
NUMBER = re.compile(rf"{PLAIN}|(?<!\w)\w*\d\w*|\b(?:{'|'.join(WORDS)})\b", re.IGNORECASE)
EXACT = re.compile(r"([-+−]?)(\d[\d,]*?)((?:\.\d+)?)((?:[eE][-+−]?\d+)?)\s*(%|percent|per cent)?")


def unfounded(text: str, recorded: Iterable[float], names: Iterable[str] = ()) -> list[str]:
    """The numbers of a text, as written, that no recorded value covers."""
    values = [float(v) for v in recorded if isfinite(v)]
    for name in sorted(set(names), key=len, reverse=True):
        if any(c.isdigit() for c in name) and any(c.isalpha() for c in name):
            text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", " ", text, flags=re.IGNORECASE)
    return [found.strip() for found in NUMBER.findall(text) if not covered(found.strip(), values)]


def covered(written: str, values: list[float]) -> bool:
    """Whether one written number is a recorded value to its own rounding."""
    if written.lower() in WORDS:
        return WORDS[written.lower()] in values
    match = EXACT.fullmatch(written)
    if match is None:
        return False  # digits inside a word that is no known name
    sign, whole, fraction, power, percent = match.groups()
    digits = whole.replace(",", "")
    number = float(f"{sign.replace('−', '-')}{digits}{fraction}{power.replace('−', '-')}")
    scale = 100.0 if percent else 1.0
    decimals = max(len(fraction) - 1, 0) - (int(power[1:].replace("−", "-")) if power else 0)
    half = 0.5 * 10.0**-decimals
    slack = half * 1e-6 + abs(number) * 1e-12
    candidates = values + [abs(v) for v in values] if not sign else values
    return any(abs(v * scale - number) <= half + slack for v in candidates)


def sentences(text: str) -> list[str]:
    """Sentences and lines of a text; a decimal point does not end one."""
    return [s for s in re.split(r"(?<=[.!?])\s+(?=[^\d\s])|\n+", text) if s.strip()]


def written(value: float, digits: int = 4) -> str:
    """A number as answers write it: so many significant digits, plain where that is readable."""
    if not isfinite(value):
        return "unknown"
    if value == 0:
        return "0"
    size = floor(log10(abs(value)))
    if -4 <= size < 7:
        text = f"{value:.{max(digits - 1 - size, 0)}f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    return f"{value:.{digits - 1}e}"
