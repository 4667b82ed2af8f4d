"""State to bytes and back, bit for bit and without pickle: a JSON header and the raw bytes of floats and arrays.

    magic "PXC1" | uint32 length of the header | header (JSON) | buffer | 16 bytes seal over all before

Only types that were named can come back: dataclasses and enums by the list given, and None, bool, int, float, str,
bytes, tuple, list, dict and NumPy arrays of the numerical kinds. Floats keep every bit, also of a NaN.
"""

import json
import struct
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

import numpy as np

from pollux.core.errors import CorruptionError, StoreError
from pollux.runtime.store.seal import seal

MAGIC = b"PXC1"
KINDS = "fiub"
"""NumPy kinds that may be stored: float, signed, unsigned, bool."""


class Codec:
    """Knows the types that may be stored. Immutable."""

    def __init__(self, types: Iterable[type] = ()):
        self._types: dict[str, type] = {}
        for cls in types:
            if not (is_dataclass(cls) or issubclass(cls, Enum)):
                raise StoreError(f"A stored type is a dataclass or an enum: got {cls!r}. Store plain values instead.")
            if self._types.setdefault(cls.__name__, cls) is not cls:
                raise StoreError(f"Stored types have different names: two are {cls.__name__!r}. Rename one.")

    @classmethod
    def of(cls, *examples: Any, types: Iterable[type] = ()) -> "Codec":
        """A codec for every type that occurs in values of this process, and `types` besides."""
        found: dict[type, None] = dict.fromkeys(types)
        for example in examples:
            _collect(example, found)
        return cls(found)

    def encode(self, value: Any) -> bytes:
        """The bytes of a value. Raises `StoreError` for a type that is not known."""
        buffer = bytearray()
        header = json.dumps(self._write(value, buffer), separators=(",", ":")).encode()
        body = MAGIC + struct.pack("<I", len(header)) + header + bytes(buffer)
        return body + seal(body)

    def decode(self, data: bytes) -> Any:
        """The value. Raises `CorruptionError` for damaged bytes, `StoreError` for types of another version."""
        body = data[:-16]
        if body[:4] != MAGIC or data[-16:] != seal(body):
            raise CorruptionError("A stored state must match its checksum: it does not. Start from an older snapshot.")
        (length,) = struct.unpack_from("<I", body, 4)
        header = json.loads(body[8 : 8 + length])
        return self._read(header, memoryview(body)[8 + length :])

    def _write(self, value: Any, buffer: bytearray) -> Any:
        if isinstance(value, Enum):
            return {"e": [self._name(type(value)), value.name]}
        if value is None or isinstance(value, bool | str):
            return value
        if isinstance(value, np.ndarray | np.generic):
            return self._write_array(value, buffer)
        match value:
            case int():
                return value
            case float():
                buffer += struct.pack("<d", value)
                return {"f": len(buffer) - 8}
            case bytes():
                buffer += value
                return {"b": [len(buffer) - len(value), len(value)]}
            case dict():
                return {"d": [[self._write(k, buffer), self._write(v, buffer)] for k, v in value.items()]}
        if type(value) in (tuple, list):
            return {"t" if isinstance(value, tuple) else "l": [self._write(v, buffer) for v in list(value)]}
        if is_dataclass(value) and not isinstance(value, type):
            members = {f.name: self._write(getattr(value, f.name), buffer) for f in fields(value) if f.init}
            return {"c": [self._name(type(value)), members]}
        raise StoreError(
            f"A state holds numbers, texts, arrays and dataclasses: got {type(value)!r}. Convert it first."
        )

    def _write_array(self, value: "np.ndarray | np.generic", buffer: bytearray) -> Any:
        array = np.asarray(value)
        if array.dtype.kind not in KINDS:
            raise StoreError(f"A stored array is numerical: got dtype {array.dtype}. Convert it first.")
        little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        buffer += little.tobytes()
        return {"a": [little.dtype.str, list(array.shape), len(buffer) - little.nbytes, isinstance(value, np.generic)]}

    def _read(self, node: Any, buffer: memoryview) -> Any:
        if not isinstance(node, dict):
            return node
        ((kind, body),) = node.items()
        match kind:
            case "f":
                return struct.unpack_from("<d", buffer, body)[0]
            case "b":
                return bytes(buffer[body[0] : body[0] + body[1]])
            case "t":
                return tuple(self._read(v, buffer) for v in body)
            case "l":
                return [self._read(v, buffer) for v in body]
            case "d":
                return {self._read(k, buffer): self._read(v, buffer) for k, v in body}
            case "e":
                return self._member(*body)
            case "c":
                return self._instance(body[0], {k: self._read(v, buffer) for k, v in body[1].items()})
            case _:
                dtype, shape, offset, scalar = body
                n = int(np.prod(shape, dtype=np.int64))
                array = np.frombuffer(buffer, dtype, n, offset).astype(np.dtype(dtype).newbyteorder("=")).reshape(shape)
                return array[()] if scalar else array

    def _name(self, cls: type) -> str:
        if self._types.get(cls.__name__) is not cls:
            raise StoreError(f"Only named types are stored: {cls!r} is not. Add it to the codec's `types`.")
        return cls.__name__

    def _known(self, name: str) -> type:
        if name not in self._types:
            raise StoreError(
                f"Only named types are read: {name!r} is not. The state is of another version: rebuild it."
            )
        return self._types[name]

    def _member(self, name: str, member: str) -> Any:
        cls = self._known(name)
        try:
            return cls[member]  # pyright: ignore[reportIndexIssue]
        except KeyError as error:
            raise StoreError(
                f"A stored choice must exist: {name}.{member} does not. It is of another version: rebuild the state."
            ) from error

    def _instance(self, name: str, members: dict[str, Any]) -> Any:
        try:
            return self._known(name)(**members)
        except TypeError as error:
            raise StoreError(
                f"A stored {name} must have today's fields: {error}. It is of another version: rebuild the state."
            ) from error


def _collect(value: Any, found: dict[type, None]) -> None:
    if isinstance(value, Enum):
        found[type(value)] = None
    elif is_dataclass(value) and not isinstance(value, type):
        found[type(value)] = None
        for f in fields(value):
            _collect(getattr(value, f.name), found)
    elif isinstance(value, dict):
        for pair in value.items():
            _collect(pair, found)
    elif isinstance(value, tuple | list):
        for member in value:
            _collect(member, found)
