"""Checksums over whole records, so that no field of a stored record can change unnoticed.

BLAKE2b with 128 bits: a flipped bit passes with probability 2^-128; about 1 GB/s on one core, against 20 MB/s that a
million readings a second need.
"""

import struct
from hashlib import blake2b

from pollux.core.errors import CorruptionError

Field = int | float | str | bytes | None


def seal(*fields: Field) -> bytes:
    """16 bytes that depend on every bit, the type and the order of `fields`."""
    digest = blake2b(digest_size=16)
    for field in fields:
        match field:
            case None:
                digest.update(b"0")
            case int():
                digest.update(b"i%d;" % field)
            case float():
                digest.update(b"f" + struct.pack("<d", field))
            case str():
                raw = field.encode("utf-8", "surrogatepass")
                digest.update(b"s%d;" % len(raw))
                digest.update(raw)
            case _:
                digest.update(b"b%d;" % len(field))
                digest.update(field)
    return digest.digest()


def check_seal(where: str, stored: bytes, *fields: Field) -> None:
    """Raises `CorruptionError` when `stored` is not the seal of `fields`."""
    if stored != seal(*fields):
        raise CorruptionError(
            f"A stored record must match its checksum: {where} does not: it was damaged on the disk and is not used. "
            "Restore the store from a copy."
        )
