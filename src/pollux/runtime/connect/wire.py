"""The wire format: JSON payloads of MQTT topics and HTTP bodies to `Message` values, strictly.

    topic pollux/<site>/<tag>   {"t": 1732400000.0, "v": 1.25, "unit": "m"}      unit may be left out
    topic pollux/<site>         {"t": 1732400000.0, "values": {"LT101": 1.25, "TT101": null}}
    HTTP body                   {"readings": [{"site": "plant", "tag": "LT101", "t": ..., "v": ..., "unit": ...}, ...]}
    a fleet, packed             {"t": ..., "first": 0, "values": {"level": [1.25, null, ...], "flow": [...]}}

A list holds one value for each member of the fleet, from position `first` on; `"members": [name, ...]` names them
instead.
`null` says "no value" and becomes NaN. `NaN` and `Infinity` are not JSON and are refused. What is refused raises
`MessageError` with one of `REASONS`.
"""

import json
import math
from typing import Any, Literal, NamedTuple, NoReturn

import numpy as np
from jaxtyping import Float

from pollux.core.errors import MessageError

MAX_BYTES = 65_536
MAX_DEPTH = 8
MAX_VALUES = 4096
"""Tags in one packed message."""

REASONS = (
    "oversized", "malformed", "nested", "topic", "nonfinite", "time", "unknown_tag", "unit", "range", "authority",
    "future", "late", "duplicate", "sequence",
)  # fmt: skip
"""Every word that a refusal may carry."""


class Message(NamedTuple):
    """One value as it came: nothing is checked against the wiring yet."""

    source: str
    """Who sent it: the connector's name, or the name of the HTTP caller."""
    site: str
    tag: str
    t: float
    value: float
    unit: str | None = None
    via: str = ""
    """The connector, where `source` is a caller."""


class Columns(NamedTuple):
    """Readings of many members of a fleet at one time: a column for each tag, NaN where a member has none."""

    source: str
    site: str
    """The fleet's."""
    t: float
    members: "tuple[str, ...] | int"
    """Their names, or the position of the first in the fleet's order."""
    tags: tuple[str, ...]
    values: Float[np.ndarray, "tags members"]
    """In the unit of the wiring."""
    via: str = ""


Delivered = Message | Columns
"""What connectors deliver."""


def parse_mqtt(source: str, topic: str, payload: bytes, prefix: str = "pollux") -> tuple[Delivered, ...]:
    """The messages of one MQTT packet. Raises `MessageError`."""
    parts = topic.split("/")
    if parts[0] != prefix or len(parts) not in (2, 3) or not all(parts):
        refuse("topic", f"topics read `{prefix}/<site>/<tag>`", topic, "Publish there.")
    body = read_json(payload)
    if len(parts) == 3:
        return (_one(source, parts[1], parts[2], body),)
    return _packed(source, parts[1], body)


def parse_body(
    source: str, payload: bytes, site: str | None = None, via: str = ""
) -> "tuple[tuple[Delivered, ...], list[MessageError]]":
    """The messages of one HTTP body, and an error for each reading that is refused.

    `site` is used where a reading names none. Raises `MessageError` when the body itself is wrong.
    """
    body = read_json(payload, limit=1024 * 1024)
    readings = body.get("readings")
    if not isinstance(readings, list):
        refuse("malformed", 'a body reads {"readings": [...]}', body, "Put the readings into that list.")
    messages: list[Delivered] = []
    errors: list[MessageError] = []
    for reading in readings:
        try:
            if not isinstance(reading, dict):
                refuse("malformed", "a reading is an object", reading, 'Write {"tag": ..., "t": ..., "v": ...}.')
            where = _name("site", reading.get("site", site))
            if "values" in reading:
                messages += _packed(source, where, reading, via)
            else:
                messages.append(_one(source, where, _name("tag", reading.get("tag")), reading, via))
        except MessageError as error:
            errors.append(error)
    return tuple(messages), errors


def read_json(payload: bytes, limit: int = MAX_BYTES) -> dict[str, Any]:
    """A strict JSON object: UTF-8, at most `limit` bytes, no NaN, no repeated key, at most `MAX_DEPTH` deep."""
    if len(payload) > limit:
        refuse("oversized", f"a message has at most {limit} bytes", f"{len(payload)} bytes", "Split it.")
    try:
        body = _DECODER.decode(payload.decode("utf-8"))
    except RecursionError:
        refuse("nested", f"a message is at most {MAX_DEPTH} levels deep", payload[:40], "Flatten it.")
    except (ValueError, UnicodeDecodeError) as error:
        refuse("malformed", "a message is JSON", payload[:80], f"Correct it ({error}).")
    if not isinstance(body, dict):
        refuse("malformed", "a message is a JSON object", body, 'Write {"t": ..., "v": ...}.')
    if payload.count(b"{") + payload.count(b"[") > MAX_DEPTH and _depth(body) > MAX_DEPTH:
        refuse("nested", f"a message is at most {MAX_DEPTH} levels deep", payload[:40], "Flatten it.")
    return body


def refuse(reason: str, rule: str, value: Any, way_out: str) -> NoReturn:
    """Raise `MessageError` with the rule, the value (shortened) and the way out."""
    text = repr(value)
    raise MessageError(
        f"Message refused: {rule}: got {text if len(text) <= 120 else text[:117] + '...'}. {way_out}", reason
    )


def number(key: Literal["t", "v"], value: Any) -> float:
    """A finite float; `null` becomes NaN for a value and is refused for a time."""
    if value is None and key == "v":
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float):
        refuse("malformed", f"`{key}` is a number", value, "Send it without quotes; `null` means no value.")
    try:
        result = float(value)
    except OverflowError:
        result = math.inf
    if not math.isfinite(result):
        refuse("nonfinite", f"`{key}` is a finite number", value, "Send `null` when there is no value.")
    if key == "t" and abs(result) > 1e11:
        refuse("time", "`t` is in seconds since 1970", value, "Divide by 1000 if these are milliseconds.")
    return result


def _one(source: str, site: str, tag: str, body: dict[str, Any], via: str = "") -> Message:
    for key in ("t", "v"):
        if key not in body:
            refuse("malformed", f"the key `{key}` is required", body, 'Write {"t": ..., "v": ...}.')
    unit = body.get("unit")
    if unit is not None and (not isinstance(unit, str) or len(unit) > 64):
        refuse("unit", "`unit` is a short text", unit, 'Write e.g. "unit": "m^3/s".')
    return Message(source, site, tag, number("t", body["t"]), number("v", body["v"]), unit, via)


def _packed(source: str, site: str, body: dict[str, Any], via: str = "") -> tuple[Delivered, ...]:
    values = body.get("values")
    if not isinstance(values, dict) or "t" not in body:
        refuse("malformed", "a packed message has `t` and `values`", body, 'Write {"t": ..., "values": {"tag": ...}}.')
    if len(values) > MAX_VALUES:
        refuse("oversized", f"a packed message has at most {MAX_VALUES} values", len(values), "Split it.")
    t = number("t", body["t"])
    if any(isinstance(v, list) for v in values.values()):
        return (_columns(source, site, t, body, values, via),)
    return tuple(Message(source, site, _name("tag", tag), t, number("v", v), None, via) for tag, v in values.items())


def _columns(source: str, site: str, t: float, body: dict[str, Any], values: dict[str, Any], via: str) -> Columns:
    lengths = {len(v) if isinstance(v, list) else -1 for v in values.values()}
    if len(lengths) != 1 or 0 in lengths:
        refuse("malformed", "all columns have the same length", lengths, "Write `null` where a member has no value.")
    for tag, column in values.items():
        _name("tag", tag)
        strange = set(map(type, column)) - {float, int, type(None)}
        if strange:
            refuse("malformed", f"column {tag!r} holds numbers", strange, "Send numbers, and `null` for no value.")
    members, n = body.get("members", body.get("first", 0)), next(iter(lengths))
    if isinstance(members, list):
        if len(members) != n:
            refuse("malformed", f"`members` names all {n} members of the columns", len(members), "Name each once.")
        members = tuple(_name("members", m) for m in members)
    elif type(members) is not int or members < 0:
        refuse("malformed", "`first` is a position from 0 on", members, "Leave it out to begin with the first member.")
    try:
        table = np.array(list(values.values()), dtype=np.float64)
    except OverflowError:
        table = np.full((1, 1), np.inf)
    if np.isinf(table).any():
        refuse("nonfinite", "a value is a finite number", "infinity", "Send `null` when there is no value.")
    return Columns(source, site, t, members, tuple(values), table, via)


def _name(key: str, value: Any) -> str:
    if not isinstance(value, str) or not value or len(value) > 128:
        refuse("malformed", f"`{key}` is a name", value, f'Write "{key}": "...".')
    return value


def _constant(name: str) -> NoReturn:
    refuse("nonfinite", "JSON knows no NaN or Infinity", name, "Send `null` when there is no value.")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        refuse("malformed", "a key occurs once", [key for key, _ in pairs][:10], "Remove the repetition.")
    return result


def _depth(value: Any, level: int = 0) -> int:
    """Levels of objects and arrays; stops counting just above the limit."""
    if level > MAX_DEPTH or not isinstance(value, dict | list):
        return level
    inner = value.values() if isinstance(value, dict) else value
    return max((_depth(v, level + 1) for v in inner), default=level + 1)


_DECODER = json.JSONDecoder(parse_constant=_constant, object_pairs_hook=_object)
"""Made once: it takes longer to make than a message to read."""
