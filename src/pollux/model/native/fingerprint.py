"""What a jaxpr is, as a digest: equal for equal programs in every process, different where anything that counts is."""

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.extend import core as jex


def digest(jaxpr: Any, *more: str) -> str:
    """Hexadecimal SHA-256 of a closed jaxpr (its constants included) and of `more`."""
    out = hashlib.sha256()
    for text in more:
        out.update(text.encode() + b"\0")
    _closed(out, jaxpr)
    return out.hexdigest()


@lru_cache(maxsize=1)
def lowering() -> str:
    """Digest of this package: another version of it makes other code."""
    out = hashlib.sha256()
    for file in sorted(Path(__file__).parent.rglob("*.py")):
        out.update(file.read_bytes())
    return out.hexdigest()


def _closed(out: Any, closed: Any) -> None:
    for value in closed.consts:
        _array(out, value)
    _open(out, closed.jaxpr)


def _open(out: Any, jaxpr: Any) -> None:
    numbers: dict[Any, int] = {}

    def name(v: Any) -> None:
        if isinstance(v, jex.Literal):
            _array(out, v.val)
            out.update(str(v.aval).encode())
            return
        new = v not in numbers
        out.update(b"%d " % numbers.setdefault(v, len(numbers)))
        if new:
            out.update(str(v.aval).encode())

    for v in (*jaxpr.constvars, *jaxpr.invars):
        name(v)
    for eqn in jaxpr.eqns:
        out.update(eqn.primitive.name.encode() + b" ")
        for v in eqn.invars:
            name(v)
        for key in sorted(eqn.params):
            out.update(key.encode() + b"=")
            _param(out, eqn.params[key])
            out.update(b";")
        if "_prim" in eqn.params:  # an object that says itself what it is made of
            kinds = [jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in eqn.invars]
            _closed(out, jax.make_jaxpr(eqn.params["_prim"].expand)(*kinds))
        for v in eqn.outvars:
            name(v)
    for v in jaxpr.outvars:
        name(v)


def _param(out: Any, value: Any) -> None:
    if hasattr(value, "consts") and hasattr(value, "jaxpr"):
        _closed(out, value)
    elif hasattr(value, "eqns"):
        _open(out, value)
    elif isinstance(value, (tuple, list)):
        out.update(f"{type(value).__name__}{len(value)}(".encode())
        for item in value:
            _param(out, item)
            out.update(b",")
    elif isinstance(value, Mapping):
        _param(out, sorted(value.items(), key=lambda item: repr(item[0])))
    elif isinstance(value, (np.ndarray, np.generic)):
        _array(out, value)
    elif not callable(value) or isinstance(value, type):
        text = repr(value)
        if " at 0x" not in text:  # an object without a description of its own cannot change what is computed
            out.update(text.encode())


def _array(out: Any, value: Any) -> None:
    array = np.asarray(value)
    out.update(f"{array.dtype.str}{array.shape}".encode())
    out.update(array.tobytes())
