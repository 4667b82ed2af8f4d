"""Registers in the wiring: `LT101 = { address = 40, table = "input", type = "float32", scale = 0.1 }`."""

import math
from collections.abc import Mapping
from typing import Any

from pollux.core.errors import WiringError
from pollux.runtime.connect.modbus_codec import FORMATS, Area, Point
from pollux.runtime.tables import closest

KEYS = ("address", "table", "type", "words", "scale", "offset", "missing")


def read_points(where: str, table: Mapping[str, Any]) -> dict[str, Point]:
    """Name -> point. Raises `WiringError` that names the entry, the key, the value and a way out."""
    return {name: _point(f"{where}: `{name}`", entry) for name, entry in table.items()}


def _point(where: str, entry: Any) -> Point:
    if not isinstance(entry, Mapping):
        raise WiringError(f"{where} is a table: got {entry!r}. Write {{ address = 40 }}.")
    for key in entry:
        if key not in KEYS:
            raise WiringError(f"{where}: `{key}` is not a known key. {closest(key, KEYS)}")
    area = _one_of(where, entry, "table", "holding", [str(a) for a in Area])
    bits = area in (Area.COIL, Area.DISCRETE)
    kind = "bool" if bits else _one_of(where, entry, "type", "uint16", list(FORMATS))
    if bits and entry.get("type", "bool") != "bool":
        raise WiringError(f"{where}: a {area} is a `bool`: got {entry['type']!r}. Leave `type` out.")
    address = entry.get("address")
    point = Point(
        Area(area),
        address if isinstance(address, int) and not isinstance(address, bool) else -1,
        kind,
        _one_of(where, entry, "words", "big", ["big", "little"]) == "little",
        _number(where, entry, "scale", 1.0),
        _number(where, entry, "offset", 0.0),
        _number(where, entry, "missing", None),
    )
    if not 0 <= point.address <= 65_536 - point.size:
        raise WiringError(
            f"{where}: `address` is a whole number from 0 to 65535, as on the wire: got {address!r}. "
            "Of the old numbers subtract 40001 (holding) or 30001 (input)."
        )
    if point.scale == 0:
        raise WiringError(f"{where}: `scale` is not zero. Correct it.")
    return point


def _one_of(where: str, entry: Mapping[str, Any], key: str, default: str, known: list[str]) -> str:
    value = entry.get(key, default)
    if value not in known:
        raise WiringError(
            f"{where}: `{key}` is one of {', '.join(map(repr, known))}: got {value!r}. {closest(str(value), known)}"
        )
    return value


def _number(where: str, entry: Mapping[str, Any], key: str, default: Any) -> Any:
    value = entry.get(key, default)
    if value is default:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise WiringError(f"{where}: `{key}` is a finite number: got {value!r}. Correct it.")
    return float(value)
