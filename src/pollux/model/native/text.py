"""Types, constants and addresses of LLVM's assembly language."""

import struct
from typing import Any

import numpy as np

from pollux.model.native.tape import UnsupportedError, Value

_TYPES = {"f8": "double", "f4": "float", "b1": "i1"}


def scalar(dtype: np.dtype, real: str) -> str:
    """LLVM's type of one number; `real` ("double" or "float") is what float64 becomes."""
    code = dtype.str[1:]
    if code == "f8":
        return real
    if code in _TYPES:
        return _TYPES[code]
    if code[0] in "iu":
        return f"i{8 * dtype.itemsize}"
    raise UnsupportedError(f"numbers of type {dtype}")


def machine_type(dtype: Any, what: str = "") -> np.dtype:
    """The NumPy dtype of numbers that have a machine type; `UnsupportedError` for others (complex numbers, keys)."""
    known = np.dtype(dtype) if isinstance(dtype, np.dtype) else None
    if known is None or known.kind not in "fiub" or (known.kind == "f" and known.itemsize not in (4, 8)):
        raise UnsupportedError(f"{what}numbers of type {dtype}")
    return known


def vector(kind: str, lanes: int) -> str:
    """Type of one value of every lane."""
    return kind if lanes == 1 else f"<{lanes} x {kind}>"


def number(value: np.generic, kind: str) -> str:
    """A constant of one lane; `kind` as from `scalar`."""
    if kind in ("double", "float"):
        x = float(np.float32(value)) if kind == "float" else float(value)
        return f"0x{struct.unpack('<Q', struct.pack('<d', x))[0]:016X}"
    if kind == "i1":
        return "true" if value else "false"
    return str(int(value))


def splat(value: np.generic, kind: str, lanes: int) -> str:
    """A constant of all lanes."""
    text = number(value, kind)
    return text if lanes == 1 else f"splat ({kind} {text})"


def zero(kind: str, lanes: int) -> str:
    """Zero of all lanes."""
    return splat(np.float64(0) if kind in ("double", "float") else np.int64(0), kind, lanes)


def is_float(value: Value | np.generic) -> bool:
    """Whether a value is a floating-point number."""
    return value.dtype.kind == "f"
