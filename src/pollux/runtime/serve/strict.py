"""Strict JSON at the border: no NaN, no duplicate key, bounded size and depth. Refusals say what and where."""

import json
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from pollux.runtime.serve.problems import Problem

BODY = 64 * 1024
"""Largest body of a command, bytes."""
PUSH = 256 * 1024
"""Largest body of pushed readings, bytes."""
DEPTH = 16
"""Deepest nesting of objects and lists."""


class Params(BaseModel):
    """Base of the parameters of a capability: exact types, finite numbers, no unknown field."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, frozen=True)


M = TypeVar("M", bound=BaseModel)


def parse(raw: bytes) -> Any:
    """The value of a JSON text. Raises `Problem` 400 or 413."""
    try:
        value = json.loads(raw.decode("utf-8"), parse_constant=_constant, object_pairs_hook=_unique)
    except UnicodeDecodeError:
        raise Problem(400, "json.utf8", "The body is not UTF-8", "Send JSON as UTF-8") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise Problem(
            400, "json.syntax", f"The body is not JSON: {error.msg} at {where}", "Send one JSON object"
        ) from None
    except RecursionError:
        raise _deep() from None
    except ValueError as error:
        raise Problem(400, "json.number", f"The body holds a number that cannot be read: {error}", "") from None
    _bounded(value, DEPTH)
    return value


def model(kind: type[M], value: Any) -> M:
    """Check a parsed value. Raises `Problem` 422 that names the first field which is wrong."""
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        raise _invalid(kind, error) from None


def model_of_strings(kind: type[M], pairs: list[tuple[str, str]]) -> M:
    """Check the parameters of a query string. Raises `Problem` 422."""
    values: dict[str, str] = {}
    for key, value in pairs:
        if key in values:
            raise Problem(422, "params.twice", f"Parameter {key!r} is given twice", "Give it once")
        values[key] = value
    try:
        return kind.model_validate_strings(values)
    except ValidationError as error:
        raise _invalid(kind, error) from None


def _invalid(kind: type[BaseModel], error: ValidationError) -> Problem:
    first = error.errors(include_url=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "the body"
    received = repr(first["input"])
    if len(received) > 80:
        received = received[:77] + "..."
    fields = ", ".join(kind.model_fields) or "no parameters"
    return Problem(422, "params", f"{where}: {first['msg']}, received {received}", f"It takes: {fields}")


def _constant(name: str) -> NoReturn:
    raise Problem(400, "json.finite", f"{name} is not JSON and not a value", "Leave the value out, or send null")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [k for k, _ in pairs]
        twice = next(k for k in names if names.count(k) > 1)
        raise Problem(400, "json.twice", f"The key {twice[:80]!r} is given twice in one object", "Give it once")
    return found


def _bounded(value: Any, room: int) -> None:
    if isinstance(value, dict | list):
        if room == 0:
            raise _deep()
        for child in value.values() if isinstance(value, dict) else value:
            _bounded(child, room - 1)


def _deep() -> Problem:
    return Problem(400, "json.depth", f"The body is nested deeper than {DEPTH} levels", "Send a flat object")
