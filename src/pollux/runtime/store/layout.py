"""Packed binary form of journal blocks and channel chunks: little-endian structures of arrays, no pickle.

block:  t float64[n] | value float64[n] | tag uint32[n]
        in the order of acceptance, 20 bytes a reading
chunk:  k, m uint32 | tag uint32[k] | rows of it uint32[k] | t float64[m] | value float64[n]
        sorted by (tag, t). m = n: 16 bytes a reading. Tags that all have the same times keep them once, m = n / k: then
        8 bytes a reading, as for the ticks of a fleet
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


def pack_chunk(rows: Rows) -> bytes:
    """Readings, sorted by (tag, t), as the bytes of a chunk."""
    starts = runs_of(rows.tag)
    counts = np.diff(np.r_[starts, len(rows)])
    k, t = len(starts), rows.t
    m = len(t) // k
    if (
        k > 1
        and np.all(counts == m)
        and np.array_equal(t.view("i8").reshape(k, m)[1:], t.view("i8").reshape(k, m)[:-1])
    ):
        t = t[:m]
    head = np.array([k, len(t)], "<u4")
    parts = (head, rows.tag[starts].astype("<u4"), counts.astype("<u4"))
    return b"".join([p.tobytes() for p in parts] + [_bytes(t, "<f8"), _bytes(rows.value, "<f8")])


def unpack_chunk(data: bytes, n: int) -> Rows:
    """The inverse of `pack_chunk`."""
    tags, counts, t, value = _columns(data, n)
    return Rows(t if len(t) == n else np.tile(t, len(tags)), np.repeat(tags, counts), value)


def find_in_chunk(data: bytes, n: int, tag: int) -> tuple[np.ndarray, np.ndarray]:
    """(t, value) of one tag, sorted by time; empty where the chunk has none of it."""
    tags, counts, t, value = _columns(data, n)
    at = int(tags.searchsorted(np.uint32(tag)))
    if at == len(tags) or tags[at] != tag:
        return np.empty(0), np.empty(0)
    low = int(counts[:at].sum())
    high = low + int(counts[at])
    return t[low:high] if len(t) == n else t, value[low:high]


def _columns(data: bytes, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(tags, rows of each, times, values): views of a chunk."""
    k, m = np.frombuffer(data, "<u4", 2).tolist()
    _check_length(data, 8 + 8 * (k + m + n))
    at = 8 + 8 * k
    return (
        np.frombuffer(data, "<u4", k, 8),
        np.frombuffer(data, "<u4", k, 8 + 4 * k),
        np.frombuffer(data, "<f8", m, at),
        np.frombuffer(data, "<f8", n, at + 8 * m),
    )


def runs_of(*keys: np.ndarray) -> np.ndarray:
    """Where a new run of equal keys begins; 0 is the first."""
    changed = np.zeros(len(keys[0]), bool)
    changed[:1] = True
    for key in keys:
        changed[1:] |= key[1:] != key[:-1]
    return np.flatnonzero(changed)


def take(rows: Rows, at: "np.ndarray | slice") -> Rows:
    """The rows at these places."""
    return Rows(rows.t[at], rows.tag[at], rows.value[at])


def sort_by_tag(rows: Rows) -> Rows:
    """By tag; rows of one tag stay in their order."""
    if np.all(rows.tag[1:] >= rows.tag[:-1]):
        return rows
    return take(rows, np.argsort(rows.tag, kind="stable"))


def sort_by_tag_and_time(rows: Rows) -> Rows:
    """By (tag, t), each instant of a tag once: of equal times the first to come."""
    rows = sort_by_tag(rows)
    same = rows.tag[1:] == rows.tag[:-1]
    if np.any(same & (rows.t[1:] < rows.t[:-1])):
        rows = take(rows, np.lexsort((rows.t, rows.tag)))
        same = rows.tag[1:] == rows.tag[:-1]
    again = same & (rows.t[1:] == rows.t[:-1])
    return take(rows, np.r_[True, ~again]) if again.any() else rows


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
