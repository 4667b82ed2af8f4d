"""A `Policy` from a TOML table: every mistake is named with its place, what was found and what is possible.

[policy]
level = 2                      # 0 observe, 1 advise, 2 approve, 3 supervised, 4 automatic
ceiling = 3
max_age = 60.0                 # every field of `Policy` by its name
[policy.actuators.pump]
range = [0.0, 1.0]
safe = 0.0
dwell = 300.0                  # every field of `Actuator` by its name
[policy.domain]
level = [0.5, 3.5]
[policy.caps]
mpc = 4
[[policy.interlocks]]
name = "no dry run"
when = "tank_level < 0.3"      # terms `name < number`, joined by `and`; never evaluated as code
require = "pump <= 0"
"""

from collections.abc import Collection, Mapping
from dataclasses import fields
from difflib import get_close_matches
from math import inf, isfinite
from typing import Any, cast

from pollux.autonomy.policy import OPERATORS, Actuator, Interlock, Operator, Policy, Term
from pollux.core.errors import WiringError
from pollux.core.signals import Level

NUMBERS = ("safe", "slew", "step", "dwell", "travel", "moves", "resolution")


def parse_policy(
    table: Mapping[str, Any],
    *,
    inputs: Mapping[str, str],
    names: Collection[str] = (),
    sensors: Collection[str] = (),
    where: str = "policy",
) -> Policy:
    """The policy of one twin.

    `inputs` maps the twin's inputs to their units; `names` are the recorded names that domain and interlocks may use
    besides the inputs, `sensors` those that may be required. Raises `WiringError`.
    """
    whole = {"samples", "seed"}
    flags = {"less_risk", "two_person"}
    levels = {"level", "ceiling"}
    plain = {f.name for f in fields(Policy)} - {"actuators", "caps", "domain", "interlocks", "required", "consistency"}
    special = {"actuators", "caps", "domain", "interlocks", "required", "consistency"}
    keys(table, plain | special, where)
    known = {*inputs, *(f"input.{n}" for n in inputs), *names}
    given: dict[str, Any] = {}
    for key in plain & set(table):
        place, value = f"{where}.{key}", table[key]
        if key in levels:
            given[key] = level(value, place)
        elif key in flags:
            if type(value) is not bool:
                raise WiringError(f"{place}: true or false, got {value!r}")
            given[key] = value
        elif key in whole:
            if type(value) is not int or value < 0:
                raise WiringError(f"{place}: a whole number >= 0, got {value!r}")
            given[key] = value
        else:
            given[key] = number(value, place)
    actuators = subtable(table, "actuators", where)
    given["actuators"] = tuple(
        actuator(name, entry, inputs, f"{where}.actuators.{name}") for name, entry in actuators.items()
    )
    if "caps" in table:
        caps = subtable(table, "caps", where)
        given["caps"] = tuple((name, level(value, f"{where}.caps.{name}")) for name, value in caps.items())
    domain = subtable(table, "domain", where)
    for name in domain:
        one_of(name, known, f"{where}.domain", "recorded name")
    given["domain"] = tuple((n, *pair(value, f"{where}.domain.{n}")) for n, value in domain.items())
    locks = table.get("interlocks", [])
    if not isinstance(locks, list):
        raise WiringError(f"{where}.interlocks: a list of tables `[[{where}.interlocks]]`, got {locks!r}")
    given["interlocks"] = tuple(interlock(t, known, f"{where}.interlocks[{k}]") for k, t in enumerate(locks))
    required = table.get("required", [])
    if not isinstance(required, list):
        raise WiringError(f"{where}.required: a list of sensors, got {required!r}")
    for name in required:
        one_of(name, set(sensors), f"{where}.required", "sensor")
    given["required"] = tuple(required)
    if "consistency" in table:
        given["consistency"] = pair(table["consistency"], f"{where}.consistency")
    if "level" in given and "ceiling" not in given:
        given["ceiling"] = max(given["level"], Level.APPROVE)
    try:
        return Policy(**given)
    except WiringError as error:
        raise WiringError(f"{where}: {error}") from None


def actuator(name: str, table: Any, inputs: Mapping[str, str], where: str) -> Actuator:
    """The limits of one actuator."""
    one_of(name, set(inputs), where.rpartition(".")[0], "input of the twin")
    if not isinstance(table, Mapping):
        raise WiringError(f"{where}: a table, got {table!r}")
    keys(table, {*NUMBERS, "range", "envelope", "unit"}, where)
    if "range" not in table:
        raise WiringError(f"{where}: `range = [low, high]` is missing; without it nothing may be moved")
    unit = table.get("unit", inputs[name])
    if unit != inputs[name]:
        raise WiringError(f"{where}.unit: limits are in the twin's unit {inputs[name]!r}, got {unit!r}; convert them")
    low, high = pair(table["range"], f"{where}.range")
    numbers = {key: number(table[key], f"{where}.{key}") for key in NUMBERS if key in table}
    envelope = pair(table["envelope"], f"{where}.envelope") if "envelope" in table else None
    try:
        return Actuator(name, inputs[name], low, high, envelope=envelope, **cast(Any, numbers))
    except WiringError as error:
        raise WiringError(f"{where}: {error}") from None


def interlock(table: Any, known: set[str], where: str) -> Interlock:
    """One interlock; `when` may be left out (always)."""
    if not isinstance(table, Mapping):
        raise WiringError(f"{where}: a table with `name`, `when` and `require`, got {table!r}")
    keys(table, {"name", "when", "require"}, where)
    name = table.get("name")
    if not isinstance(name, str) or not name:
        raise WiringError(f"{where}.name: a text that the operator will read, got {name!r}")
    when = terms(table["when"], known, f"{where}.when") if "when" in table else ()
    if "require" not in table:
        raise WiringError(f'{where}: `require` is missing, for example `require = "pump <= 0"`')
    return Interlock(name, when, terms(table["require"], known, f"{where}.require"))


def terms(text: Any, known: set[str], where: str) -> tuple[Term, ...]:
    """Terms from `name < number and name >= number`."""
    if not isinstance(text, str):
        raise WiringError(f'{where}: a text like "level < 0.3 and pump > 0", got {text!r}')
    found = []
    for part in text.split(" and "):
        words = part.split()
        if len(words) != 3 or words[1] not in OPERATORS:
            raise WiringError(f"{where}: `name operator number` with one of {' '.join(OPERATORS)}, got {part!r}")
        one_of(words[0], known, where, "recorded name")
        try:
            value = float(words[2])
        except ValueError:
            value = inf
        if not isfinite(value):
            raise WiringError(f"{where}: a finite number after {words[1]!r}, got {words[2]!r}")
        found.append(Term(words[0], cast(Operator, words[1]), value))
    return tuple(found)


def keys(table: Mapping[str, Any], allowed: Collection[str], where: str) -> None:
    """Refuse a key that means nothing; say which one was probably meant."""
    for key in table:
        one_of(key, allowed, where, "setting")


def one_of(name: Any, allowed: Collection[str], where: str, what: str) -> None:
    """Raise unless `name` is among the allowed ones."""
    if name not in allowed:
        near = get_close_matches(str(name), list(allowed), n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"possible: {', '.join(sorted(allowed)) or 'none'}"
        raise WiringError(f"{where}: there is no {what} {name!r}; {hint}")


def subtable(table: Mapping[str, Any], key: str, where: str) -> Mapping[str, Any]:
    """A nested table, empty when it is not there."""
    found = table.get(key, {})
    if not isinstance(found, Mapping):
        raise WiringError(f"{where}.{key}: a table, got {found!r}")
    return found


def number(value: Any, where: str) -> float:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise WiringError(f"{where}: a finite number, got {value!r}")
    return float(value)


def pair(value: Any, where: str) -> tuple[float, float]:
    """`[low, high]`."""
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise WiringError(f"{where}: `[low, high]`, got {value!r}")
    return number(value[0], where), number(value[1], where)


def level(value: Any, where: str) -> Level:
    """A level by its number."""
    if type(value) is not int or value not in set(Level):
        raise WiringError(f"{where}: a level from 0 (observe) to 4 (automatic), got {value!r}")
    return Level(value)
