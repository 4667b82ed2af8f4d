"""Fingerprints of results: equal exactly when every bit is."""

from dataclasses import fields, is_dataclass
from enum import Enum
from hashlib import sha256
from struct import pack
from typing import Any

import numpy as np


def digest_of(value: Any) -> str:
    """SHA-256 over a record of arrays, numbers and texts, each part with its kind and length in front."""
    digest = sha256()
    for part in _parts(value):
        digest.update(pack(">q", len(part)) + part)
    return digest.hexdigest()


def _parts(value: Any) -> "list[bytes]":
    if isinstance(value, np.ndarray):
        return [str(value.dtype).encode(), str(value.shape).encode(), np.ascontiguousarray(value).tobytes()]
    if is_dataclass(value) and not isinstance(value, type):
        return [type(value).__name__.encode(), *(p for f in fields(value) for p in _parts(getattr(value, f.name)))]
    if isinstance(value, Enum | str):
        return [b"s", str(value).encode()]
    if isinstance(value, float):
        return [b"f", pack(">d", value)]
    if isinstance(value, list | tuple):
        return [b"l%d" % len(value), *(p for v in value for p in _parts(v))]
    return [repr(value).encode()]
