"""Reading a TOML file strictly: every key is known, typed and checked, and every error names file, line and key."""

import math
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

from pollux.core.errors import UnitError, WiringError
from pollux.core.units import convert

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
"""Names of projects, twins and connectors: they become topics, file names and URLs."""


def closest(name: str, known: Iterable[str]) -> str:
    """The way out for an unknown name: the closest known one, else the list of all."""
    names = sorted(set(known))
    guess = get_close_matches(name, names, n=1, cutoff=0.5)
    if guess:
        return f"Did you mean {guess[0]!r}?"
    return f"Known: {', '.join(map(repr, names[:20]))}." if names else "None is known."


@dataclass(frozen=True)
class Source:
    """A TOML file: its text finds the line of a key."""

    file: Path
    text: str

    def fail(self, path: tuple[str | int, ...], rule: str, value: Any, way_out: str) -> NoReturn:
        """Raise `WiringError` for the value at `path`."""
        line = find_line(self.text, path)
        where = f"{self.file}:{line}" if line else str(self.file)
        got = "" if value is ... else f": got {value!r}"
        raise WiringError(f"{where}: `{shown(path)}`: {rule}{got}. {way_out}")


def read_toml(file: Path) -> tuple[Source, dict[str, Any]]:
    """The file's tables. Raises `WiringError` when it is missing, unreadable or not TOML."""
    try:
        text = file.read_text("utf-8")
    except FileNotFoundError as error:
        raise WiringError(
            f"A project folder holds a `{file.name}`: {file} does not exist. Create it, or name another folder."
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise WiringError(
            f"The wiring file must be readable UTF-8 text: {file}: {error}. Correct the file or its permissions."
        ) from error
    try:
        return Source(file, text), tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise WiringError(f"The wiring file must be TOML: {file}: {error}. Correct that line.") from error


class Table:
    """One table, whose keys are taken one by one; `done` refuses what was not taken."""

    def __init__(self, source: Source, path: tuple[str | int, ...], values: Any):
        self.source, self.path = source, path
        if not isinstance(values, Mapping):
            source.fail(path, "must be a table", values, f"Write it as `[{shown(path)}]`.")
        self.values, self.taken = dict(values), set[str]()

    def fail(self, key: str, rule: str, value: Any, way_out: str) -> NoReturn:
        """Raise `WiringError` for one key of this table."""
        self.source.fail((*self.path, key), rule, value, way_out)

    def take(self, key: str, default: Any = ...) -> Any:
        """The raw value; without a default the key must be there."""
        self.taken.add(key)
        if key in self.values:
            return self.values[key]
        if default is ...:
            near = closest(key, set(self.values) - self.taken) if set(self.values) - self.taken else ""
            self.source.fail(self.path, f"the key `{key}` is required", ..., f"Add `{key} = ...`. {near}".strip())
        return default

    def text(
        self, key: str, default: Any = ..., *, pattern: "re.Pattern[str] | None" = None, one_of: Iterable[str] = ()
    ):
        """A text; it may have to match a pattern or be one of a list."""
        value = self.take(key, default)
        if value is default:
            return value
        if not isinstance(value, str) or not value:
            self.fail(key, "must be a text", value, 'Write it in quotes, e.g. "tank".')
        if pattern is not None and not pattern.fullmatch(value):
            self.fail(key, "must be a name of letters, digits, `_`, `.`, `-` (at most 64)", value, "Rename it.")
        options = tuple(one_of)
        if options and value not in options:
            self.fail(key, f"must be one of {', '.join(map(repr, options))}", value, closest(value, options))
        return value

    def seconds(self, key: str, default: Any = ..., *, low: float = 0.0, unit: str = "s") -> Any:
        """A duration: a number in `unit`, or a text with a unit of time such as "5 min"."""
        value = self.take(key, default)
        if value is default:
            return value
        if isinstance(value, str):
            number, _, given = value.strip().partition(" ")
            try:
                value = convert(float(number), given, unit)
            except (ValueError, UnitError):
                self.fail(key, "must be a number of seconds or e.g. '5 min'", value, "Correct it.")
        return self._number(key, value, low, math.inf)

    def number(self, key: str, default: Any = ..., *, low: float = -math.inf, high: float = math.inf) -> Any:
        """A finite number within bounds."""
        value = self.take(key, default)
        return value if value is default else self._number(key, value, low, high)

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts, empty when the key is missing."""
        value = self.take(key, [])
        if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
            self.fail(key, "must be a list of texts", value, 'Write e.g. ["k", "UA"].')
        return tuple(value)

    def free(self, key: str) -> Mapping[str, Any]:
        """A table whose keys somebody else checks."""
        return dict(Table(self.source, (*self.path, key), self.take(key, {})).values)

    def tables(self, key: str) -> "list[Table]":
        """An array of tables, empty when the key is missing."""
        value = self.take(key, [])
        if not isinstance(value, list):
            self.fail(key, "must be an array of tables", value, f"Write it as `[[{shown((*self.path, key))}]]`.")
        return [Table(self.source, (*self.path, key, i), v) for i, v in enumerate(value)]

    def done(self) -> None:
        """Refuse every key that nobody took."""
        for key in self.values:
            if key not in self.taken:
                self.fail(key, "is not a known key", ..., closest(key, self.taken))

    def _number(self, key: str, value: Any, low: float, high: float) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            self.fail(key, "must be a finite number", value, "Write it without quotes.")
        if not low <= value <= high:
            self.fail(key, f"must be between {low:g} and {high:g}", value, "Choose a value in that range.")
        return float(value)


def pem(table: Table, key: str) -> Path | None:
    """The PEM file beside the wiring that a key names; None where it names none. Raises `WiringError`."""
    name = table.text(key, None)
    if name is None:
        return None
    path = table.source.file.parent / name
    if not path.is_file():
        table.fail(key, "is a PEM file beside this one", name, "Correct the path.")
    return path


def shown(path: tuple[str | int, ...]) -> str:
    """`twin[0].tag[2].unit`."""
    return "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path).lstrip(".")


def find_line(text: str, path: tuple[str | int, ...]) -> int | None:
    """The line (from 1) of the key at `path`, or of the table that should hold it; None when it cannot be told."""
    best: int | None = None
    here: tuple[str | int, ...] = ()
    counts: dict[tuple[str | int, ...], int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        header = re.match(r"\s*(\[\[?)\s*([^\]]+?)\s*\]", line)
        if header:
            here = _enter([part.strip().strip("\"'") for part in header[2].split(".")], header[1] == "[[", counts)
            if path[: len(here)] == here:
                best = number
            continue
        key = re.match(r"\s*([A-Za-z0-9_.\"'-]+)\s*=", line)
        if key and (*here, key[1].strip("\"'")) == path[: len(here) + 1]:
            return number
    return best


def _enter(parts: list[str], array: bool, counts: dict[tuple[str | int, ...], int]) -> tuple[str | int, ...]:
    """The path that a table header opens; arrays of tables get the index of their newest element."""
    here: tuple[str | int, ...] = ()
    for i, part in enumerate(parts):
        here = (*here, part)
        if array and i == len(parts) - 1:
            counts[here] = counts.get(here, -1) + 1
            for key in [k for k in counts if k[: len(here)] == here and k != here]:
                if len(key) > len(here) and key[len(here)] == counts[here]:
                    del counts[key]
        if here in counts:
            here = (*here, counts[here])
    return here
