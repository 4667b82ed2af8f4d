"""Modbus TCP in bytes: requests, answers, and registers as numbers. Pure functions.

    MBAP header: transaction (2), protocol 0 (2), bytes that follow (2), unit (1); then function code and data

Sources: MODBUS Application Protocol Specification V1.1b3 (2012), section 6; MODBUS Messaging on TCP/IP
Implementation Guide V1.0b (2006), section 3.1.3.
"""

import math
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

BLOCK, BITS = 125, 2000
"""Most registers, and most coils, of one read (sections 6.1 to 6.4)."""


class ModbusError(ConnectionError):
    """The device does not speak Modbus TCP, or not as asked: the connection is of no use any more."""


class ModbusRefusal(ValueError):
    """The device answered with an exception code."""


class Area(StrEnum):
    """The four tables of a device (section 4.3)."""

    COIL = "coil"
    DISCRETE = "discrete"
    INPUT = "input"
    HOLDING = "holding"


READ = {Area.COIL: 1, Area.DISCRETE: 2, Area.HOLDING: 3, Area.INPUT: 4}
WRITE_COIL, WRITE_REGISTERS = 5, 16

FORMATS = {
    "int16": "h", "uint16": "H", "int32": "i", "uint32": "I", "int64": "q", "uint64": "Q", "float32": "f",
    "float64": "d",
}  # fmt: skip
"""Types of a value in registers and their `struct` letters; `bool` is for coils and discrete inputs."""

REFUSALS = {
    1: "it does not know the function", 2: "it has no such address", 3: "it does not take that value",
    4: "it has failed", 5: "it is still at work", 6: "it is busy", 10: "its gateway has no path",
    11: "the device behind its gateway does not answer",
}  # fmt: skip
"""Exception codes (section 7)."""


@dataclass(frozen=True)
class Point:
    """One value in a device: value = scale * raw + offset."""

    area: Area
    address: int
    """From 0, as on the wire: 40001 of the old numbering is `holding` 0."""
    kind: str = "uint16"
    """One of `FORMATS`, or `bool`."""
    swapped: bool = False
    """The word of lower order comes first."""
    scale: float = 1.0
    offset: float = 0.0
    missing: float | None = None
    """The raw value that says "no value"."""

    @property
    def size(self) -> int:
        """Registers, or coils, that it takes."""
        return 1 if self.kind == "bool" else struct.calcsize(FORMATS[self.kind]) // 2

    def value(self, words: Sequence[int]) -> float:
        """The number in its registers; NaN where the device says that there is none. May be infinite."""
        raw = words[0] if self.kind == "bool" else _unpack(self.kind, words[::-1] if self.swapped else words)
        return math.nan if raw == self.missing else self.scale * raw + self.offset

    def words(self, value: float) -> tuple[int, ...]:
        """The registers that hold a number, rounded where they hold whole ones. Raises `ValueError` out of range."""
        raw = (value - self.offset) / self.scale
        if self.kind == "bool":
            return (1 if round(raw) else 0,)
        letter = FORMATS[self.kind]
        try:
            packed = struct.pack(f">{letter}", raw if letter in "fd" else round(raw))
        except (struct.error, OverflowError):
            raise ValueError(f"{value:g} does not fit into {self.kind} (raw {raw:g})") from None
        words = struct.unpack(f">{len(packed) // 2}H", packed)
        return words[::-1] if self.swapped else words


@dataclass(frozen=True)
class Block:
    """Neighbouring registers of one table that are read together."""

    area: Area
    address: int
    count: int


def blocks(points: Iterable[Point]) -> list[Block]:
    """The reads that cover all points: neighbours together, never across a gap (a device may have nothing there)."""
    found: list[Block] = []
    for point in sorted(points, key=lambda p: (p.area, p.address)):
        most = BITS if point.kind == "bool" else BLOCK
        last = found[-1] if found else None
        end = point.address + point.size
        if last is not None and last.area is point.area and point.address <= last.address + last.count:
            count = max(last.count, end - last.address)
            if count <= most:
                found[-1] = Block(last.area, last.address, count)
                continue
        found.append(Block(point.area, point.address, point.size))
    return found


def read_request(transaction: int, unit: int, block: Block) -> bytes:
    """Read a block (functions 1 to 4)."""
    return frame(transaction, unit, struct.pack(">BHH", READ[block.area], block.address, block.count))


def write_request(transaction: int, unit: int, point: Point, value: float) -> bytes:
    """Write one value (function 5 for a coil, 16 for registers). Raises `ValueError`."""
    words = point.words(value)
    if point.area is Area.COIL:
        return frame(transaction, unit, struct.pack(">BHH", WRITE_COIL, point.address, 0xFF00 if words[0] else 0))
    head = struct.pack(">BHHB", WRITE_REGISTERS, point.address, len(words), 2 * len(words))
    return frame(transaction, unit, head + struct.pack(f">{len(words)}H", *words))


def frame(transaction: int, unit: int, pdu: bytes) -> bytes:
    """MBAP header and data."""
    return struct.pack(">HHHB", transaction, 0, len(pdu) + 1, unit) + pdu


def header(data: bytes) -> tuple[int, int]:
    """(transaction, bytes that follow the first six). Raises `ModbusError`."""
    transaction, protocol, length = struct.unpack(">HHH", data)
    if protocol != 0 or not 3 <= length <= 254:
        raise ModbusError(f"the device does not speak Modbus TCP: its header is {data.hex()}")
    return transaction, length


def answer(request: bytes, body: bytes) -> bytes:
    """The data of an answer to a request, after the function code; `body` begins with the unit.

    Raises `ModbusRefusal` for an exception code, `ModbusError` for an answer to something else.
    """
    function = request[7]
    if len(body) < 3 or body[0] != request[6] or body[1] & 0x7F != function:
        raise ModbusError(f"the device answers something else: {body[:16].hex()} to {request[6:].hex()}")
    if body[1] & 0x80:
        raise ModbusRefusal(REFUSALS.get(body[2], f"exception code {body[2]}"))
    return body[2:]


def read_answer(block: Block, data: bytes) -> list[int]:
    """The registers, or the coils as 0 and 1, of a block. Raises `ModbusError`."""
    bits = block.area in (Area.COIL, Area.DISCRETE)
    wanted = (block.count + 7) // 8 if bits else 2 * block.count
    if data[0] != wanted or len(data) != wanted + 1:
        raise ModbusError(f"the device answers with {len(data) - 1} bytes where {wanted} were asked for")
    if bits:
        return [data[1 + i // 8] >> i % 8 & 1 for i in range(block.count)]
    return list(struct.unpack(f">{block.count}H", data[1:]))


def _unpack(kind: str, words: Sequence[int]) -> float:
    return struct.unpack(f">{FORMATS[kind]}", struct.pack(f">{len(words)}H", *words))[0]
