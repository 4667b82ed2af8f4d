"""Who belongs to a fleet: names and parameters, from a count or from a table that the wiring names."""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from pollux.core.errors import WiringError
from pollux.runtime.tables import NAME, closest


@dataclass(frozen=True)
class Member:
    """One twin of a fleet: its name, and the parameters in which it differs from the definition."""

    name: str
    parameters: Mapping[str, float]


def counted(fleet: str, count: int) -> tuple[Member, ...]:
    """`fleet-0` to `fleet-{count-1}`, all as the definition says."""
    width = len(str(max(count - 1, 0)))
    return tuple(Member(f"{fleet}-{i:0{width}d}", {}) for i in range(count))


def listed(file: Path, where: str) -> tuple[Member, ...]:
    """From a CSV file with the column `name` and a column for each parameter that differs; an empty cell: as defined.

    Raises `WiringError` with the line of the file.
    """
    try:
        with file.open(encoding="utf-8", newline="") as text:
            table = csv.DictReader(text)
            if "name" not in (table.fieldnames or ()):
                raise WiringError(f"{where}: `members`: {file} needs a first line with the column `name`. Add it.")
            found = tuple(_member(row, f"{where}: {file}:{table.line_num}") for row in table)
    except (OSError, UnicodeDecodeError) as error:
        raise WiringError(f"{where}: `members` must name a readable CSV file: {file}: {error}.") from error
    seen: set[str] = set()
    for member in found:
        if member.name in seen:
            raise WiringError(f"{where}: {file}: members have different names, two are {member.name!r}. Rename one.")
        seen.add(member.name)
    return found


def _member(row: dict[str, str | None], where: str) -> Member:
    name = row.pop("name") or ""
    if not NAME.fullmatch(name):
        raise WiringError(f"{where}: a name has letters, digits, `_`, `.`, `-` (at most 64): got {name!r}. Rename it.")
    parameters: dict[str, float] = {}
    for key, text in row.items():
        if not text:
            continue
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise WiringError(f"{where}: `{key}` must be a finite number: got {text!r}. Correct it.")
        parameters[str(key)] = value
    return Member(name, parameters)


def table(members: Sequence[Member], names: Sequence[str], p0: np.ndarray, where: str) -> Float[np.ndarray, "k N"]:
    """The parameters of all members as columns; `names` and `p0` are the definition's. Raises `WiringError`."""
    index = {name: i for i, name in enumerate(names)}
    values = np.repeat(np.asarray(p0, np.float64)[:, None], len(members), axis=1)
    for slot, member in enumerate(members):
        for key, value in member.parameters.items():
            if key not in index:
                raise WiringError(
                    f"{where}: member {member.name!r}: the definition has no parameter {key!r} that a member may set. "
                    f"{closest(key, names)}"
                )
            values[index[key], slot] = value
    return values
