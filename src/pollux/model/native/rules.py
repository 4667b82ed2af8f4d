"""How each JAX primitive reads on object arrays of scalars: index work, products, factorisations, control flow."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.extend import core as jex

from pollux.model.native import control, functions, linalg
from pollux.model.native import index as index_rules
from pollux.model.native.builder import LIMIT, Builder, arguments
from pollux.model.native.calls import INSIDE, inside, platform
from pollux.model.native.index import constant, each
from pollux.model.native.layout import in_place, place_outputs
from pollux.model.native.size import estimate
from pollux.model.native.tape import Tape, UnsupportedError, Value
from pollux.model.native.text import machine_type

Arrays = list[np.ndarray]


def lower(jaxpr: Any, limit: int = LIMIT) -> Tape:
    """The tape of a closed jaxpr. Raises `UnsupportedError` naming the primitive or the size that is not lowered."""
    rough = estimate(jaxpr.jaxpr)
    if rough > FAR * limit:
        raise UnsupportedError(f"about {rough} scalar operations, and at most {limit} are lowered")
    b = Builder(limit)
    cells = arguments(b, [(v.aval.shape, v.aval.dtype) for v in jaxpr.jaxpr.invars])
    tape = b.tape
    tape.outputs = run(b, jaxpr, cells)
    place_outputs(tape)
    for number, out in enumerate(tape.outputs):
        flat = np.empty(out.size, dtype=object)
        for k, e in enumerate(out.flat):
            flat[k] = e if in_place(e, number, k) else b.ref(e)
        tape.outputs[number] = flat.reshape(out.shape)
    return tape


FAR = 4
"""An estimate this many times above the limit does not come below it by folding and sharing."""


def run(b: Builder, closed: Any, args: Arrays) -> Arrays:
    """Interpret a closed jaxpr on object arrays."""
    jaxpr = closed.jaxpr
    env: dict[Any, np.ndarray] = {}

    def read(v: Any) -> np.ndarray:
        return constant(v.val, _dtype(v)) if isinstance(v, jex.Literal) else env[v]

    for v, value in zip(jaxpr.constvars, closed.consts, strict=True):
        env[v] = constant(value, v.aval.dtype)
    env.update(zip(jaxpr.invars, args, strict=True))
    for eqn in jaxpr.eqns:
        for v in eqn.outvars:
            machine_type(v.aval.dtype, f"primitive `{eqn.primitive.name}` with ")
        out = RULES.get(eqn.primitive.name, elementwise)(b, eqn, *map(read, eqn.invars))
        env.update(zip(eqn.outvars, out if isinstance(out, list) else [out], strict=True))
    return [read(v) for v in jaxpr.outvars]


def _dtype(v: Any) -> Any:
    return v.aval.dtype


MACHINE = frozenset(
    [
        "add",
        "sub",
        "mul",
        "div",
        "rem",
        "neg",
        "abs",
        "sqrt",
        "max",
        "min",
        "floor",
        "ceil",
        "round",
        "roundeven",
        "eq",
        "ne",
        "lt",
        "le",
        "gt",
        "ge",
        "and",
        "or",
        "xor",
        "not",
        "select_n",
        "convert_element_type",
        "bitcast_convert_type",
        "shift_left",
        "shift_right_logical",
        "shift_right_arithmetic",
    ]
)
"""What every printer knows, besides the elementary functions."""


def elementwise(b: Builder, eqn: Any, *args: np.ndarray) -> np.ndarray:
    """A primitive that has no rule of its own: one operation for each element."""
    name = eqn.primitive.name
    if name not in MACHINE and name not in functions.NAMES:
        raise UnsupportedError(f"primitive `{name}`")
    dtype = eqn.outvars[0].aval.dtype
    return each(lambda *a: b.op(name, *a, dtype=dtype), *args)


def _each(fn: Callable[..., Any]) -> Callable[..., np.ndarray]:
    """A rule from a function (builder, dtype of the result, *scalars)."""

    def rule(b, eqn, *args):
        dtype = np.dtype(eqn.outvars[0].aval.dtype)
        return each(lambda *a: fn(b, dtype, *a), *args)

    return rule


def _named(name: str) -> Callable[..., np.ndarray]:
    return _each(lambda b, dtype, *a: b.op(name, *a, dtype=dtype))


def _sign(b, dtype, x):
    one, zero = dtype.type(1), dtype.type(0)
    if dtype.kind == "u":
        return b.select(b.op("gt", x, zero, dtype=bool), one, zero)
    below = b.select(b.op("lt", x, zero, dtype=bool), -one, x)  # NaN and both zeros stay as they are
    return b.select(b.op("gt", x, zero, dtype=bool), one, below)


def _select(b: Builder, dtype: Any, which: Any, first: Any, *others: Any) -> Any:
    if not others:
        return first
    if len(others) == 1:
        condition = which if which.dtype.kind == "b" else b.op("ne", which, which.dtype.type(0), dtype=bool)
        return b.select(condition, others[0], first)
    out = first
    for k, case in enumerate(others, 1):
        out = b.select(b.op("ge", which, which.dtype.type(k), dtype=bool), case, out)
    return out


def _convert(b, dtype, x):
    if dtype.kind == "b" and x.dtype.kind != "b":
        return b.op("ne", x, x.dtype.type(0), dtype=bool)
    return b.op("convert_element_type", x, dtype=dtype)


def _bitcast(b, eqn, x):
    dtype = np.dtype(eqn.outvars[0].aval.dtype)
    if dtype.itemsize != np.dtype(eqn.invars[0].aval.dtype).itemsize:
        raise UnsupportedError("a bit cast between different widths")
    return each(lambda a: b.op("bitcast_convert_type", a, dtype=dtype), x)


def _power(b, dtype, x, y):
    """Small whole powers become products, a power of one half a square root."""
    if isinstance(y, Value):
        if y.dtype != dtype:
            y = b.op("convert_element_type", y, dtype=dtype)
        return b.op("pow", x, y, dtype=dtype)
    if y == 0.5:  # unlike the square root, inf at -inf and +0 at -0
        lowest = b.op("eq", x, dtype.type(-np.inf), dtype=bool)
        return b.select(lowest, dtype.type(np.inf), b.op("abs", b.sqrt(x), dtype=dtype))
    if not np.isfinite(y) or y != int(y) or abs(y) > 64:
        return b.op("pow", x, dtype.type(y), dtype=dtype)
    out, n, square = dtype.type(1), abs(int(y)), x
    while n:
        if n & 1:
            out = b.mul(out, square)
        n >>= 1
        square = b.mul(square, square) if n else square
    return b.div(dtype.type(1), out) if y < 0 else out


def _integer_pow(b, eqn, x):
    dtype, y = np.dtype(eqn.outvars[0].aval.dtype), eqn.params["y"]
    return each(lambda a: _power(b, dtype, a, np.float64(y)), x)


def _round(b, eqn, x):
    away = eqn.params["rounding_method"] == jax.lax.RoundingMethod.AWAY_FROM_ZERO
    dtype = eqn.outvars[0].aval.dtype
    return each(lambda a: b.op("round" if away else "roundeven", a, dtype=dtype), x)


def _is_finite(b, dtype, x):
    return b.op("lt", b.op("abs", x, dtype=x.dtype), x.dtype.type(np.inf), dtype=bool)


def _clamp(b, eqn, low, x, high):
    dtype = eqn.outvars[0].aval.dtype
    return each(lambda a, v, c: b.op("min", b.op("max", v, a, dtype=dtype), c, dtype=dtype), low, x, high)


def _reduce(name: str, start: Callable[[np.dtype], Any]) -> Callable[..., np.ndarray]:
    def rule(b, eqn, x):
        axes, dtype = eqn.params["axes"], np.dtype(eqn.outvars[0].aval.dtype)
        moved = np.moveaxis(x, axes, range(len(axes)))
        moved = moved.reshape(int(np.prod(moved.shape[: len(axes)], dtype=int)), *moved.shape[len(axes) :])
        out = np.full(moved.shape[1:], None, dtype=object)
        for i in np.ndindex(out.shape):
            acc = start(dtype)
            for k in range(moved.shape[0]):
                acc = moved[(k, *i)] if acc is None else b.op(name, acc, moved[(k, *i)], dtype=dtype)
            if acc is None:
                raise UnsupportedError(f"`reduce_{name}` of nothing")
            out[i] = acc
        return out

    return rule


def _arg(name: str) -> Callable[..., np.ndarray]:
    """`argmax` (name "gt") and `argmin` ("lt"): the first best; the first NaN, if there is one."""

    def rule(b, eqn, x):
        (axis,), dtype = eqn.params["axes"], np.dtype(eqn.outvars[0].aval.dtype)
        rows = np.moveaxis(x, axis, 0)
        out = np.empty(rows.shape[1:], dtype=object)
        for i in np.ndindex(out.shape):
            best, at = rows[(0, *i)], dtype.type(0)
            for k in range(1, len(rows)):
                e = rows[(k, *i)]
                better = b.op(name, e, best, dtype=bool)
                lost = b.op("and", b.op("ne", e, e, dtype=bool), b.op("eq", best, best, dtype=bool), dtype=bool)
                better = b.op("or", better, lost, dtype=bool)
                best, at = b.select(better, e, best), b.select(better, dtype.type(k), at)
            out[i] = at
        return out

    return rule


def _cumulative(name: str) -> Callable[..., np.ndarray]:
    def rule(b, eqn, x):
        axis, reverse, dtype = eqn.params["axis"], eqn.params["reverse"], eqn.outvars[0].aval.dtype
        rows = np.moveaxis(x, axis, 0)[:: -1 if reverse else 1].copy()
        for k in range(1, len(rows)):
            rows[k, ...] = each(lambda a, c: b.op(name, a, c, dtype=dtype), rows[k - 1], rows[k])
        return np.moveaxis(rows[:: -1 if reverse else 1], 0, axis)

    return rule


def _inside(b, eqn, *args):
    return run(b, *inside(eqn, args))


def _empty(b, eqn):
    aval = eqn.outvars[0].aval
    return constant(np.zeros(aval.shape), aval.dtype)


def _rows(x: np.ndarray, axis: int) -> list[np.ndarray]:
    moved = np.moveaxis(x, axis, 0)
    return [moved[k, ...] for k in range(len(moved))]  # arrays, those of one axis too


def _same(b, eqn, *args):
    return list(args)


def _with_run(rule: Callable[..., Arrays]) -> Callable[..., Arrays]:
    return lambda b, eqn, *args: rule(run, b, eqn, *args)


RULES: dict[str, Callable[..., Any]] = {
    "add_any": _named("add"),
    "sign": _each(_sign),
    "square": _each(lambda b, dtype, x: b.mul(x, x)),
    "one_minus_square": _each(lambda b, dtype, x: b.sub(dtype.type(1), b.mul(x, x))),
    "rsqrt": _each(lambda b, dtype, x: b.div(dtype.type(1), b.sqrt(x))),
    "pow": _each(_power),
    "integer_pow": _integer_pow,
    "round": _round,
    "is_finite": _each(_is_finite),
    "lt_to": _named("lt"),
    "le_to": _named("le"),
    "select_n": _each(_select),
    "convert_element_type": _each(_convert),
    "bitcast_convert_type": _bitcast,
    "empty": _empty,
    "empty2": _empty,
    "copy": _same,
    "copy_p": _same,
    "stop_gradient": _same,
    "optimization_barrier": _same,
    "clamp": _clamp,
    "reduce_sum": _reduce("add", lambda d: d.type(0)),
    "reduce_prod": _reduce("mul", lambda d: d.type(1)),
    "reduce_max": _reduce("max", lambda d: None),
    "reduce_min": _reduce("min", lambda d: None),
    "reduce_and": _reduce("and", lambda d: np.bool_(True) if d.kind == "b" else None),
    "reduce_or": _reduce("or", lambda d: np.bool_(False) if d.kind == "b" else None),
    "argmax": _arg("gt"),
    "argmin": _arg("lt"),
    "cumsum": _cumulative("add"),
    "cumprod": _cumulative("mul"),
    "cummax": _cumulative("max"),
    "cummin": _cumulative("min"),
    "dot_general": linalg.dot,
    "cholesky": linalg.cholesky,
    "triangular_solve": linalg.triangular_solve,
    "lu": linalg.lu,
    "reshape": index_rules.reshape,
    "squeeze": lambda b, eqn, x: x.reshape(eqn.outvars[0].aval.shape),
    "expand_dims": lambda b, eqn, x: x.reshape(eqn.outvars[0].aval.shape),
    "transpose": lambda b, eqn, x: x.transpose(eqn.params["permutation"]),
    "broadcast_in_dim": index_rules.broadcast,
    "slice": index_rules.slice_,
    "split": index_rules.split,
    "concatenate": lambda b, eqn, *xs: np.concatenate(xs, axis=eqn.params["dimension"]),
    "stack": lambda b, eqn, *xs: np.stack(xs, axis=eqn.params["axis"]),
    "unstack": lambda b, eqn, x: _rows(x, eqn.params["axis"]),
    "rev": lambda b, eqn, x: np.flip(x, eqn.params["dimensions"]),
    "pad": index_rules.pad,
    "iota": index_rules.iota,
    "gather": index_rules.gather,
    "scatter": index_rules.scatter,
    "scatter-add": index_rules.scatter_add,
    "dynamic_slice": index_rules.dynamic_slice,
    "dynamic_update_slice": index_rules.dynamic_update_slice,
    **dict.fromkeys(INSIDE, _inside),
    "platform_index": lambda b, eqn: constant(platform(eqn), np.int32),
    "scan": _with_run(control.scan),
    "while": _with_run(control.while_),
    "cond": _with_run(control.cond),
}
