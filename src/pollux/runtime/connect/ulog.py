"""PX4 ULog files: the wanted fields of logged topics, in order of time.

    column in the wiring: "<topic>.<field>", or "<topic>#<n>.<field>" for another instance of the topic than 0
    field: "voltage_v", "control[2]", or "pose.x" inside a nested type

Source: PX4 Autopilot User Guide, "ULog File Format" (header, definitions, data section).
"""

import math
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from pollux.core.errors import InputError, MessageError
from pollux.runtime.connect.base import Unread
from pollux.runtime.connect.wire import Message, refuse
from pollux.runtime.tables import closest

MAGIC = b"ULog\x01\x12\x35"
NUMBERS = {
    "int8_t": "b", "uint8_t": "B", "int16_t": "h", "uint16_t": "H", "int32_t": "i", "uint32_t": "I", "int64_t": "q",
    "uint64_t": "Q", "float": "f", "double": "d", "bool": "?", "char": "c",
}  # fmt: skip

Formats = Mapping[str, list[tuple[str, int, str]]]
"""Type -> its fields: (type, length of the array or 0, name)."""


class Slot(NamedTuple):
    """A wanted field in the data of a message."""

    tag: str
    column: str
    offset: int
    code: struct.Struct


class Said(NamedTuple):
    """One value, or why there is none."""

    t: float
    message: "Message | None"
    unread: "Unread | None"


def read_ulog(path: Path, columns: Mapping[str, str], origin: float, source: str, site: str) -> Iterator[Said]:
    """The values of the columns, sorted by time; a time is `origin` + seconds since the controller's start.

    Raises `InputError` when the file is no ULog, ends within a message, or has no such column.
    """
    if not columns:
        raise InputError(f"A ULog holds hundreds of fields: {path} needs `columns`. Name those that are wanted.")
    found: list[Said] = []
    try:
        data = path.read_bytes()
        seen = _scan(path, data, columns, (origin, source, site), found)
    except (OSError, struct.error, UnicodeDecodeError, IndexError, KeyError, ValueError) as error:
        raise InputError(f"A record is a readable ULog file: {path}: {error}. Correct the path or the file.") from error
    for column in columns:
        if column not in seen:
            topics = {name for name in seen if name.split(".")[0] == column.split(".")[0]} or seen
            raise InputError(f"A record has the columns that the wiring names: {path} has no {column!r}. "
                             f"{closest(column, topics)}")  # fmt: skip
    yield from sorted(found, key=lambda said: said.t)


def _scan(
    path: Path, data: bytes, columns: Mapping[str, str], context: tuple[float, str, str], found: list[Said]
) -> set[str]:
    """Read all messages into `found`; returns every column that the file has."""
    if data[:7] != MAGIC or len(data) < 16:
        raise ValueError("it does not begin as a ULog does")
    formats: dict[str, list[tuple[str, int, str]]] = {}
    slots: dict[int, list[Slot]] = {}
    times: dict[int, int] = {}
    seen: set[str] = set()
    at, size = 16, len(data)
    while at + 3 <= size:
        length, kind = struct.unpack_from("<Hc", data, at)
        body, at = data[at + 3 : at + 3 + length], at + 3 + length
        if at > size:
            break  # the log ends where the power did
        if kind == b"F":
            name, _, fields = body.decode().partition(":")
            formats[name] = [_field(text) for text in fields.split(";") if text]
        elif kind == b"A":
            instance, number = struct.unpack_from("<BH", body)
            name = body[3:].decode()
            prefix = name if instance == 0 else f"{name}#{instance}"
            places = {f"{prefix}.{field}": (offset, code) for field, offset, code in _places(name, formats)}
            seen.update(places)
            times[number] = places[f"{prefix}.timestamp"][0]
            slots[number] = [
                Slot(tag, column, places[column][0], struct.Struct(f"<{places[column][1]}"))
                for column, tag in columns.items()
                if column in places
            ]
        elif kind == b"D":
            number = body[0] | body[1] << 8
            for slot in slots.get(number, ()):
                microseconds = struct.unpack_from("<Q", body, 2 + times[number])[0]
                t = context[0] + microseconds / 1e6
                found.append(_said(path, slot, body, t, context))
    return seen


def _said(path: Path, slot: Slot, body: bytes, t: float, context: tuple[float, str, str]) -> Said:
    _, source, site = context
    value = float(slot.code.unpack_from(body, 2 + slot.offset)[0])
    if math.isinf(value):
        try:
            refuse(
                "nonfinite", f"a value is finite, in {slot.column!r} of {path.name} at {t:g} s", value, "Correct it."
            )
        except MessageError as error:
            return Said(t, None, Unread(source, f"{path.name}:{slot.column}", repr(value).encode(), error))
    return Said(t, None if math.isnan(value) else Message(source, site, slot.tag, t, value), None)


def _field(text: str) -> tuple[str, int, str]:
    kind, _, name = text.partition(" ")
    if kind.endswith("]"):
        base, _, count = kind[:-1].partition("[")
        return base, int(count), name
    return kind, 0, name


def _places(kind: str, formats: Formats, start: int = 0, prefix: str = "") -> list[tuple[str, int, str]]:
    """(field, offset, `struct` letter) of every number in a type; types have no gaps but those that are named."""
    found: list[tuple[str, int, str]] = []
    offset = start
    for base, count, name in formats[kind]:
        for i in range(count or 1):
            full = f"{prefix}{name}[{i}]" if count else f"{prefix}{name}"
            if base in NUMBERS:
                if base != "char" and not name.startswith("_padding"):
                    found.append((full, offset, NUMBERS[base]))
                offset += struct.calcsize(NUMBERS[base])
            else:
                found += _places(base, formats, offset, f"{full}.")
                offset += _size(base, formats)
    return found


def _size(kind: str, formats: Formats) -> int:
    return sum(
        (count or 1) * (struct.calcsize(NUMBERS[base]) if base in NUMBERS else _size(base, formats))
        for base, count, _ in formats[kind]
    )
