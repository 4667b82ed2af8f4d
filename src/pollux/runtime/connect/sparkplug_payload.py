"""Sparkplug B payloads: the part of `sparkplug_b.proto` that carries single values, as bytes and back.

Protocol Buffers on the wire (varints, 32 and 64 bit numbers, length-delimited); what is not known is passed over, as
that format asks for. Source: Eclipse Sparkplug 3.0.0, section 6.4 (payload definition) and 6.4.16 (data types).
"""

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from pollux.runtime.connect.wire import refuse

MOST_METRICS = 10_000
"""Metrics in one payload."""


class DataType(IntEnum):
    """Types of a metric's value that are numbers or texts; others are passed over."""

    INT8 = 1
    INT16 = 2
    INT32 = 3
    INT64 = 4
    UINT8 = 5
    UINT16 = 6
    UINT32 = 7
    UINT64 = 8
    FLOAT = 9
    DOUBLE = 10
    BOOLEAN = 11
    STRING = 12
    DATETIME = 13
    TEXT = 14


BITS = {DataType.INT8: 8, DataType.INT16: 16, DataType.INT32: 32, DataType.INT64: 64}
"""Signed types: negative numbers travel as two's complement of an unsigned field."""

LONG = frozenset({DataType.INT64, DataType.UINT64, DataType.DATETIME})
NUMBERS = frozenset(DataType) - {DataType.STRING, DataType.TEXT}


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. Data messages may name it by `alias` alone; `datatype` may then be missing too."""

    name: str | None = None
    alias: int | None = None
    timestamp: int | None = None
    """Milliseconds since 1970."""
    datatype: int | None = None
    null: bool = False
    historical: bool = False
    value: "int | float | bool | str | bytes | None" = None
    """As on the wire: whole numbers are unsigned (`number` makes sense of them)."""

    def number(self, datatype: int | None) -> float | None:
        """The value as a number (NaN for null); None where it is none. `datatype` is the one that the birth gave."""
        if self.null:
            return math.nan
        kind, value = self.datatype or datatype, self.value
        if kind not in NUMBERS or value is None or isinstance(value, str | bytes):
            return None
        bits = BITS.get(DataType(kind))
        if bits is not None and isinstance(value, int):
            value %= 1 << bits
            value -= (value >> (bits - 1)) << bits
        return float(value)


@dataclass(frozen=True, slots=True)
class Payload:
    """One message: time in milliseconds since 1970, metrics, and a sequence number from 0 to 255."""

    timestamp: int | None = None
    metrics: tuple[Metric, ...] = ()
    seq: int | None = None


def decode(data: bytes) -> Payload:
    """A payload. Raises `MessageError` (`malformed`, `oversized`)."""
    timestamp: int | None = None
    seq: int | None = None
    metrics: list[Metric] = []
    try:
        for field, value in _fields(data):
            if field == 1 and isinstance(value, int):
                timestamp = value
            elif field == 2 and isinstance(value, bytes):
                if len(metrics) == MOST_METRICS:
                    refuse("oversized", f"a payload has at most {MOST_METRICS} metrics", "more", "Split it.")
                metrics.append(_metric(value))
            elif field == 3 and isinstance(value, int):
                seq = value
    except (IndexError, struct.error, UnicodeDecodeError, ValueError) as error:
        refuse("malformed", "a payload is Sparkplug B", data[:40], f"Correct the edge node ({error}).")
    return Payload(timestamp, tuple(metrics), seq)


def encode(payload: Payload) -> bytes:
    """The bytes of a payload; every metric with a value has a data type."""
    out = b""
    if payload.timestamp is not None:
        out += _tag(1, 0) + varint(payload.timestamp)
    for metric in payload.metrics:
        out += _block(2, _encoded(metric))
    if payload.seq is not None:
        out += _tag(3, 0) + varint(payload.seq)
    return out


def varint(value: int) -> bytes:
    """Base 128, the lowest seven bits first."""
    out = bytearray()
    while True:
        value, byte = value >> 7, value & 0x7F
        out.append(byte | (0x80 if value else 0))
        if not value:
            return bytes(out)


def _encoded(metric: Metric) -> bytes:
    out = b""
    if metric.name is not None:
        out += _block(1, metric.name.encode())
    for field, number in ((2, metric.alias), (3, metric.timestamp), (4, metric.datatype)):
        if number is not None:
            out += _tag(field, 0) + varint(number)
    if metric.historical:
        out += _tag(5, 0) + b"\x01"
    if metric.null:
        return out + _tag(7, 0) + b"\x01"
    value, kind = metric.value, metric.datatype
    if value is None or kind is None:
        return out
    if kind == DataType.FLOAT:
        return out + _tag(12, 5) + struct.pack("<f", value)
    if kind == DataType.DOUBLE:
        return out + _tag(13, 1) + struct.pack("<d", value)
    if kind == DataType.BOOLEAN:
        return out + _tag(14, 0) + varint(int(bool(value)))
    if isinstance(value, str):
        return out + _block(15, value.encode())
    whole = int(value) % (1 << (64 if kind in LONG else BITS.get(DataType(kind), 32)))
    return out + _tag(11 if kind in LONG else 10, 0) + varint(whole)


def _metric(data: bytes) -> Metric:
    name: str | None = None
    alias = timestamp = datatype = None
    null = historical = False
    value: int | float | bool | str | bytes | None = None
    for field, item in _fields(data):
        match field, item:
            case 1, bytes():
                name = item.decode("utf-8")
            case 2, int():
                alias = item
            case 3, int():
                timestamp = item
            case 4, int():
                datatype = item
            case 5, int():
                historical = bool(item)
            case 7, int():
                null = bool(item)
            case ((10 | 11), int()):
                value = item
            case 12, bytes() if len(item) == 4:
                value = struct.unpack("<f", item)[0]
            case 13, bytes() if len(item) == 8:
                value = struct.unpack("<d", item)[0]
            case 14, int():
                value = bool(item)
            case 15, bytes():
                value = item.decode("utf-8")
            case ((16 | 17 | 18 | 19), bytes()):
                value = item
    return Metric(name, alias, timestamp, datatype, null, historical, value)


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(field number, value): varints as numbers, all else as bytes. Raises `ValueError`, `IndexError`."""
    at, size = 0, len(data)
    while at < size:
        key, at = _varint(data, at)
        field, kind = key >> 3, key & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield field, value
            continue
        if kind == 2:
            length, at = _varint(data, at)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise ValueError(f"wire type {kind} is not known")
        if at + length > size:
            raise ValueError("it ends too early")
        yield field, data[at : at + length]
        at += length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number takes more than ten bytes")


def _tag(field: int, kind: int) -> bytes:
    return varint(field << 3 | kind)


def _block(field: int, data: bytes) -> bytes:
    return _tag(field, 2) + varint(len(data)) + data
