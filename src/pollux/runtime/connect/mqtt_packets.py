"""MQTT 3.1.1 and 5 on the wire, as far as a client with QoS 0 and 1 needs it: pure functions over bytes.

Written for reading many packets at once (one call for all that a socket delivered) and for acknowledging them in one
write. Sources: OASIS MQTT Version 3.1.1 (2014) and MQTT Version 5.0 (2019); section numbers are those of version 5.0.
"""

import struct
from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import NamedTuple


class ProtocolError(ValueError):
    """The other side does not speak MQTT, or not as agreed."""


class Version(IntEnum):
    """Protocol level of CONNECT (section 3.1.2.2)."""

    V311 = 4
    V5 = 5


class Kind(IntEnum):
    """Control packet types (section 2.1.2)."""

    CONNECT = 1
    CONNACK = 2
    PUBLISH = 3
    PUBACK = 4
    SUBSCRIBE = 8
    SUBACK = 9
    PINGREQ = 12
    PINGRESP = 13
    DISCONNECT = 14


SESSION_EXPIRY, RECEIVE_MAXIMUM, PACKET_SIZE, REASON_STRING = 0x11, 0x21, 0x27, 0x1F

FIXED = {
    0x01: 1, 0x02: 4, 0x11: 4, 0x13: 2, 0x17: 1, 0x18: 4, 0x19: 1, 0x21: 2, 0x22: 2, 0x23: 2, 0x24: 1, 0x25: 1,
    0x27: 4, 0x28: 1, 0x29: 1, 0x2A: 1,
}  # fmt: skip
"""Properties that are whole numbers and their bytes (section 2.2.2.2)."""

TEXTS = frozenset({0x03, 0x08, 0x09, 0x12, 0x15, 0x16, 0x1A, 0x1C, 0x1F})
"""Properties with a length of two bytes in front."""


class Will(NamedTuple):
    """What the broker publishes when the connection is lost."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False


class Publication(NamedTuple):
    """One PUBLISH that was received; `mid` is 0 with QoS 0."""

    topic: str
    payload: bytes
    qos: int
    mid: int


class Answer(NamedTuple):
    """CONNACK: `code` 0 means yes."""

    code: int
    session: bool
    reason: str
    receive_maximum: int


def cut(data: "bytes | bytearray", limit: int) -> "tuple[list[tuple[int, bytes]], int]":
    """All whole packets in `data` as (first byte, body), and how many bytes they took (section 2.1.4).

    Raises `ProtocolError` for a packet above `limit` bytes or a length that never ends.
    """
    found: list[tuple[int, bytes]] = []
    at, size = 0, len(data)
    while size - at >= 2:
        length, place = data[at + 1], at + 2
        if length & 0x80:
            length, shift = length & 0x7F, 7
            while True:
                if place >= size:
                    return found, at
                byte = data[place]
                place += 1
                length |= (byte & 0x7F) << shift
                if not byte & 0x80:
                    break
                shift += 7
                if shift > 21:
                    raise ProtocolError("the length of a packet takes at most four bytes")
        if length > limit:
            raise ProtocolError(f"a packet has at most {limit} bytes, not {length}")
        end = place + length
        if end > size:
            break
        found.append((data[at], bytes(data[place:end])))
        at = end
    return found, at


def read_publish(first: int, body: bytes, version: Version) -> Publication:
    """A PUBLISH (section 3.3). Raises `ProtocolError`."""
    try:
        end = 2 + (body[0] << 8 | body[1])
        topic = body[2:end].decode("utf-8")
        qos, mid = first >> 1 & 3, 0
        if qos:
            mid = body[end] << 8 | body[end + 1]
            end += 2
        if version is Version.V5:
            length, end = number_at(body, end)
            end += length
    except (IndexError, UnicodeDecodeError) as error:
        raise ProtocolError(f"a PUBLISH cannot be read ({error})") from None
    if qos > 1 or end > len(body):
        raise ProtocolError(f"a PUBLISH of QoS {qos} was not asked for" if qos > 1 else "a PUBLISH ends too early")
    return Publication(topic, body[end:], qos, mid)


def read_connack(body: bytes, version: Version) -> Answer:
    """A CONNACK (section 3.2). Raises `ProtocolError`."""
    if len(body) < 2:
        raise ProtocolError("a CONNACK ends too early")
    numbers: dict[int, int] = {}
    texts: dict[int, str] = {}
    if version is Version.V5 and len(body) > 2:
        numbers, texts = properties(body, 2)
    return Answer(body[1], bool(body[0] & 1), texts.get(REASON_STRING, ""), numbers.get(RECEIVE_MAXIMUM, 65_535))


def read_suback(body: bytes, version: Version) -> tuple[int, list[int]]:
    """(packet id, reason code of each filter) of a SUBACK (section 3.9); codes from 0x80 are refusals."""
    if len(body) < 3:
        raise ProtocolError("a SUBACK ends too early")
    start = 2
    if version is Version.V5:
        length, start = number_at(body, 2)
        start += length
    return body[0] << 8 | body[1], list(body[start:])


def read_puback(body: bytes) -> tuple[int, int]:
    """(packet id, reason code) of a PUBACK (section 3.4); codes from 0x80 are refusals."""
    if len(body) < 2:
        raise ProtocolError("a PUBACK ends too early")
    return body[0] << 8 | body[1], body[2] if len(body) > 2 else 0


def connect(
    client_id: str,
    version: Version,
    *,
    clean: bool,
    keepalive: int,
    user: str | None = None,
    password: str | None = None,
    will: Will | None = None,
    session_expiry: int = 0,
    receive_maximum: int = 0,
    packet_size: int = 0,
) -> bytes:
    """A CONNECT (section 3.1). The last three are sent with version 5 only, where they are not zero."""
    flags = clean << 1
    payload = text(client_id)
    if will is not None:
        flags |= 0x04 | will.qos << 3 | will.retain << 5
        payload += (b"\x00" if version is Version.V5 else b"") + text(will.topic) + blob(will.payload)
    if user is not None:
        flags |= 0x80
        payload += text(user)
        if password is not None:
            flags |= 0x40
            payload += text(password)
    head = text("MQTT") + bytes((version, flags)) + struct.pack(">H", keepalive)
    if version is Version.V5:
        options = b"".join(
            struct.pack(">BI" if FIXED[key] == 4 else ">BH", key, value)
            for key, value in (
                (SESSION_EXPIRY, session_expiry), (RECEIVE_MAXIMUM, receive_maximum), (PACKET_SIZE, packet_size),
            ) if value
        )  # fmt: skip
        head += varint(len(options)) + options
    return packet(Kind.CONNECT << 4, head + payload)


def subscribe(mid: int, filters: Sequence[str], version: Version, qos: int = 1) -> bytes:
    """A SUBSCRIBE for all filters (section 3.8)."""
    body = struct.pack(">H", mid) + (b"\x00" if version is Version.V5 else b"")
    return packet(Kind.SUBSCRIBE << 4 | 2, body + b"".join(text(f) + bytes((qos,)) for f in filters))


def publish(topic: str, payload: bytes, version: Version, *, mid: int = 0, retain: bool = False) -> bytes:
    """A PUBLISH with QoS 1, or with QoS 0 when `mid` is 0 (section 3.3)."""
    body = text(topic) + (struct.pack(">H", mid) if mid else b"") + (b"\x00" if version is Version.V5 else b"")
    return packet(Kind.PUBLISH << 4 | (2 if mid else 0) | retain, body + payload)


def pubacks(mids: Iterable[int]) -> bytes:
    """PUBACKs in one text: success needs no reason code (section 3.4.2.1), so both versions are the same."""
    return b"".join([b"\x40\x02" + mid.to_bytes(2, "big") for mid in mids])


PINGREQ = bytes((Kind.PINGREQ << 4, 0))
DISCONNECT = bytes((Kind.DISCONNECT << 4, 0))


def packet(first: int, body: bytes) -> bytes:
    """Fixed header and body."""
    return bytes((first,)) + varint(len(body)) + body


def varint(value: int) -> bytes:
    """A variable byte integer (section 1.5.5)."""
    out = bytearray()
    while True:
        value, byte = value >> 7, value & 0x7F
        out.append(byte | (0x80 if value else 0))
        if not value:
            return bytes(out)


def number_at(body: bytes, at: int) -> tuple[int, int]:
    """The variable byte integer at a place, and the place after it. Raises `ProtocolError`."""
    value = 0
    for i in range(4):
        if at + i >= len(body):
            break
        value |= (body[at + i] & 0x7F) << 7 * i
        if not body[at + i] & 0x80:
            return value, at + i + 1
    raise ProtocolError("a variable byte integer does not end")


def properties(body: bytes, at: int) -> tuple[dict[int, int], dict[int, str]]:
    """Properties at a place: whole numbers, and texts (section 2.2.2). Raises `ProtocolError`."""
    length, at = number_at(body, at)
    end = at + length
    if end > len(body):
        raise ProtocolError("properties end too early")
    numbers: dict[int, int] = {}
    texts: dict[int, str] = {}
    while at < end:
        key, at = body[at], at + 1
        if key in FIXED:
            numbers[key] = int.from_bytes(body[at : at + FIXED[key]], "big")
            at += FIXED[key]
        elif key in TEXTS:
            size = int.from_bytes(body[at : at + 2], "big")
            texts[key] = body[at + 2 : at + 2 + size].decode("utf-8", "replace")
            at += 2 + size
        elif key == 0x26:  # user property: a pair of texts, passed over
            for _ in range(2):
                at += 2 + int.from_bytes(body[at : at + 2], "big")
        elif key == 0x0B:
            _, at = number_at(body, at)
        else:
            raise ProtocolError(f"property {key:#x} is not known")
    return numbers, texts


def text(value: str) -> bytes:
    """A UTF-8 string (section 1.5.4)."""
    return blob(value.encode("utf-8"))


def blob(value: bytes) -> bytes:
    """Binary data with its length (section 1.5.6)."""
    if len(value) > 65_535:
        raise ProtocolError(f"a text has at most 65535 bytes, not {len(value)}")
    return struct.pack(">H", len(value)) + value
