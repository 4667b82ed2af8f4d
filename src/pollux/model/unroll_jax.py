"""Runs an unrolled program on JAX arrays of shape (fleet,): the first reader of a `Tape`."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from pollux.model.unroll import Ref, Tape, UnsupportedError
from pollux.model.unroll_rules import unroll


def fleet_tape(fn: Callable[..., Any], args: tuple[Any, ...], fleet: tuple[bool, ...]) -> Tape | None:
    """The tape of a per-twin function for fleet arguments (axis last), or None where it is not unrolled."""
    one = [
        jax.ShapeDtypeStruct(np.shape(a)[:-1] if f else np.shape(a), jnp.result_type(a))
        for a, f in zip(args, fleet, strict=True)
    ]
    try:
        return unroll(jax.make_jaxpr(fn)(*one))
    except UnsupportedError:
        return None


def play(tape: Tape, args: tuple[Any, ...], fleet: tuple[bool, ...], size: int) -> tuple[Array, ...]:
    """Outputs of the program for the whole fleet, axis last."""
    rows = [jnp.reshape(a, (-1, size)) if f else jnp.reshape(a, (-1, 1)) for a, f in zip(args, fleet, strict=True)]
    read = _replay(tape, lambda argument, element: jnp.broadcast_to(rows[argument][element], (size,)), size)
    outputs = []
    for out in tape.outputs:
        if out.size == 0:
            outputs.append(jnp.zeros((*out.shape, size)))
            continue
        outputs.append(jnp.stack([read(e) for e in out.flat]).reshape(*out.shape, size))
    return tuple(outputs)


def _replay(tape: Tape, source: Callable[[int, int], Any], size: int) -> Callable[[Any], Array]:
    """Compute the live operations; returns the reader of a value."""
    values: list[Any] = [None] * len(tape)

    def read(arg: Any) -> Any:
        return values[arg.index] if isinstance(arg, Ref) else jnp.full((size,), arg, arg.dtype)

    live = tape.used()
    for i, op in enumerate(tape.ops):
        if not live[i]:
            continue
        params = dict(op.params)
        if op.name == "input":
            values[i] = source(params["argument"], params["element"])
        elif op.name == "loop":
            values[i] = _loop(params, [read(a) for a in op.args], size)
        elif op.name == "item":
            values[i] = values[op.args[0].index][params["position"]]
        else:
            values[i] = _bind(op.name, [read(a) for a in op.args], op.dtype, params)
    return read


def _loop(params: dict[str, Any], args: list[Any], size: int) -> tuple[Any, ...]:
    body: Tape = params["body"]
    n = params["carry"]
    captured = args[n:]

    def turn(_, carry):
        read = _replay(body, lambda argument, k: captured[k] if argument else carry[k], size)
        return tuple(read(e) for out in body.outputs for e in out.flat)

    return lax.fori_loop(0, params["count"], turn, tuple(args[:n]))


def _bind(name: str, args: list[Any], dtype: Any, params: dict[str, Any]) -> Any:
    if name == "convert_element_type":
        return lax.convert_element_type(args[0], dtype)
    if name == "integer_pow":
        return lax.integer_pow(args[0], params["y"])
    if name == "round":
        return lax.round(args[0], lax.RoundingMethod.TO_NEAREST_EVEN)
    fn = getattr(jnp if name in ("sign", "lt_to", "le_to") else lax, _NAMES.get(name, name))
    return fn(*args)


_NAMES = {
    "and": "bitwise_and",
    "or": "bitwise_or",
    "xor": "bitwise_xor",
    "not": "bitwise_not",
    "lt_to": "less",
    "le_to": "less_equal",
    "max": "max",
    "min": "min",
}
"""Where the function of `jax.lax` has another name than its primitive."""
