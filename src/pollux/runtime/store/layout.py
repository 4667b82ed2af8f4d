"""Packed binary form of journal blocks and channel chunks: little-endian structures of arrays, no pickle.

block:  t float64[n] | value float64[n] | tag uint32[n]          20 bytes a reading, any number of tags
chunk:  t float64[n] | value float64[n]                          16 bytes a reading, one tag, sorted by time
"""

import numpy as np

from pollux.core.errors import CorruptionError
from pollux.runtime.store.base import Rows


def pack_block(rows: Rows) -> bytes:
    """Rows as the bytes of a block."""
    return b"".join((_bytes(rows.t, "<f8"), _bytes(rows.value, "<f8"), _bytes(rows.tag, "<u4")))


def unpack_block(data: bytes, n: int) -> Rows:
    """The inverse of `pack_block`; read-only views of `data`."""
    _check_length(data, 20 * n)
    return Rows(
        t=np.frombuffer(data, "<f8", n, 0),
        value=np.frombuffer(data, "<f8", n, 8 * n),
        tag=np.frombuffer(data, "<u4", n, 16 * n),
    )


def pack_chunk(t: np.ndarray, value: np.ndarray) -> bytes:
    """One channel's readings as the bytes of a chunk."""
    return _bytes(t, "<f8") + _bytes(value, "<f8")


def unpack_chunk(data: bytes, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The inverse of `pack_chunk`."""
    _check_length(data, 16 * n)
    return np.frombuffer(data, "<f8", n, 0), np.frombuffer(data, "<f8", n, 8 * n)


def join(parts: "list[Rows]") -> Rows:
    """Rows one after the other."""
    if len(parts) == 1:
        return parts[0]
    return Rows(
        t=np.concatenate([p.t for p in parts]) if parts else np.empty(0),
        tag=np.concatenate([p.tag for p in parts]) if parts else np.empty(0, np.uint32),
        value=np.concatenate([p.value for p in parts]) if parts else np.empty(0),
    )


def _bytes(array: np.ndarray, dtype: str) -> bytes:
    return np.ascontiguousarray(array, dtype).tobytes()


def _check_length(data: bytes, expected: int) -> None:
    if len(data) != expected:
        raise CorruptionError(
            f"A block of this many rows has {expected} bytes: found {len(data)}. Restore the store from a copy."
        )
