"""How each JAX primitive reads on object arrays of scalars: index work, products, factorisations, control flow."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.extend import core as jex

from pollux.model import unroll_index as index_rules
from pollux.model import unroll_linalg as linalg
from pollux.model.unroll import LIMIT, Op, Ref, Scalars, Tape, UnsupportedError
from pollux.model.unroll_index import constant, each

Arrays = list[np.ndarray]

UNROLL = 2
"""A loop of at most this many turns becomes straight-line code; a longer one that carries all it needs stays a loop,
which also keeps XLA from fusing, and so repeating, work across its turns."""


def unroll(jaxpr: Any, limit: int = LIMIT) -> Tape:
    """The tape of a closed jaxpr. Raises `UnsupportedError` naming the primitive or the size that is not unrolled."""
    s = Scalars(limit)
    args = []
    for i, var in enumerate(jaxpr.jaxpr.invars):
        args.append(_inputs(s, i, var.aval))
    s.tape.outputs = run(s, jaxpr, args)
    return s.tape


def run(s: Scalars, closed: Any, args: Arrays) -> Arrays:
    """Interpret a closed jaxpr on object arrays."""
    jaxpr = closed.jaxpr
    env: dict[Any, np.ndarray] = {}

    def read(v: Any) -> np.ndarray:
        return constant(v.val, _dtype(v)) if isinstance(v, jex.Literal) else env[v]

    for v, value in zip(jaxpr.constvars, closed.consts, strict=True):
        env[v] = constant(value, _dtype(v))
    env.update(zip(jaxpr.invars, args, strict=True))
    for eqn in jaxpr.eqns:
        name = eqn.primitive.name
        values = [read(v) for v in eqn.invars]
        rule = _RULES.get(name, _elementwise)
        out = rule(s, eqn, *values)
        env.update(zip(eqn.outvars, out if isinstance(out, list) else [out], strict=True))
    return [read(v) for v in jaxpr.outvars]


def _dtype(v: Any) -> Any:
    return v.aval.dtype


def _inputs(s: Scalars, argument: int, aval: Any) -> np.ndarray:
    out = np.empty(aval.shape, dtype=object)
    for k, i in enumerate(np.ndindex(aval.shape)):
        out[i] = s.input(argument, k, aval.dtype)
    return out


def _elementwise(s: Scalars, eqn: Any, *args: np.ndarray) -> np.ndarray:
    name = eqn.primitive.name
    if name not in _ELEMENTWISE:
        raise UnsupportedError(f"primitive `{name}`")
    dtype = eqn.outvars[0].aval.dtype
    params = {"y": eqn.params["y"]} if name == "integer_pow" else {}
    return each(lambda *a: s.op(name, *a, dtype=dtype, **params), *args)


_PLAIN = (
    "add add_any sub mul div neg abs sign sqrt rsqrt cbrt max min exp exp2 log log1p expm1 sin cos tan asin acos atan "
    "atan2 sinh cosh tanh asinh acosh atanh logistic erf erfc erf_inv lgamma digamma floor ceil round pow integer_pow "
    "square rem is_finite eq ne lt le gt ge lt_to le_to and or xor not select_n convert_element_type nextafter "
    "copy copy_p stop_gradient reduce_precision"
)
_ELEMENTWISE = frozenset(_PLAIN.split())


def _clamp(s, eqn, low, x, high):
    dtype = eqn.outvars[0].aval.dtype
    return each(lambda a, b, c: s.op("min", s.op("max", b, a, dtype=dtype), c, dtype=dtype), low, x, high)


def _reduce(name: str, start: Callable[[np.dtype], Any]) -> Callable[..., np.ndarray]:
    def rule(s, eqn, x):
        axes, dtype = eqn.params["axes"], eqn.outvars[0].aval.dtype
        moved = np.moveaxis(x, axes, range(len(axes)))
        moved = moved.reshape(-1, *moved.shape[len(axes) :])
        out = np.full(moved.shape[1:], None, dtype=object)
        for i in np.ndindex(out.shape):
            acc = start(dtype)
            for k in range(moved.shape[0]):
                acc = moved[(k, *i)] if acc is None else s.op(name, acc, moved[(k, *i)], dtype=dtype)
            out[i] = acc
        return out

    return rule


def _cumulative(name: str) -> Callable[..., np.ndarray]:
    def rule(s, eqn, x):
        axis, reverse, dtype = eqn.params["axis"], eqn.params["reverse"], eqn.outvars[0].aval.dtype
        rows = np.moveaxis(x, axis, 0)[:: -1 if reverse else 1].copy()
        for k in range(1, len(rows)):
            rows[k, ...] = each(lambda a, b: s.op(name, a, b, dtype=dtype), rows[k - 1], rows[k])
        return np.moveaxis(rows[:: -1 if reverse else 1], 0, axis)

    return rule


def _call(param: str) -> Callable[..., Arrays]:
    def rule(s, eqn, *args):
        inner = eqn.params[param]
        return run(s, inner if hasattr(inner, "consts") else jex.ClosedJaxpr(inner, ()), list(args))

    return rule


def _high_level(s, eqn, *args):
    """An operation of JAX 0.12 that says itself what it is made of (`searchsorted`)."""
    prim = eqn.params["_prim"]
    kinds = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in prim.in_avals_flat]
    return run(s, jax.make_jaxpr(prim.expand)(*kinds), list(args))


def _one_minus_square(s, eqn, x):
    dtype = eqn.outvars[0].aval.dtype
    return each(lambda a: s.op("sub", dtype.type(1), s.op("mul", a, a, dtype=dtype), dtype=dtype), x)


def _linear_solve(s, eqn, *args):
    lengths = eqn.params["const_lengths"]
    skip = lengths.matvec + lengths.vecmat
    jaxprs = eqn.params["jaxprs"]
    rhs = args[skip + lengths.solve + lengths.transpose_solve :]
    return run(s, jaxprs.solve, [*args[skip : skip + lengths.solve], *rhs])


def _cond(s, eqn, index, *args):
    branches = eqn.params["branches"]
    i = index[()]
    if not isinstance(i, Ref):
        return run(s, branches[min(max(int(i), 0), len(branches) - 1)], list(args))
    results = [run(s, branch, list(args)) for branch in branches]
    out = results[0]
    for k in range(1, len(branches)):
        past = s.op("ge", i, i.dtype.type(k), dtype=bool)
        out = [each(lambda a, b, past=past: s.select(past, b, a), x, y) for x, y in zip(out, results[k], strict=True)]
    return out


def _platform(s, eqn):
    for i, names in enumerate(eqn.params["platforms"]):
        if names is None or "cpu" in names:
            return constant(i, np.int32)
    raise UnsupportedError("`platform_index` without the CPU")


def _scan_sizes(p) -> tuple[int, int]:
    """(constants, carried values) of a scan; from JAX 0.12 on they are the lengths of two parts of `ft_in`."""
    if "num_consts" in p:
        return p["num_consts"], p["num_carry"]
    consts, carry, _ = p["ft_in"].unpack()
    return len(consts), len(carry)


def _scan(s, eqn, *args):
    p = eqn.params
    (nc, nk), length = _scan_sizes(p), p["length"]
    consts, carry, xs = list(args[:nc]), list(args[nc : nc + nk]), args[nc + nk :]
    stacked = p["jaxpr"].jaxpr.outvars[nk:]
    if length > UNROLL and not xs and not stacked:
        return _loop(s, p["jaxpr"], consts, carry, length)
    pieces: list[Arrays] = []
    turns = reversed(range(length)) if p["reverse"] else range(length)
    for k in turns:
        out = run(s, p["jaxpr"], consts + carry + [x[k] for x in xs])
        carry = out[:nk]
        pieces.append(out[nk:])
    if p["reverse"]:
        pieces.reverse()
    return carry + [
        np.stack(column) if pieces else np.empty((0, *v.aval.shape), dtype=object)
        for v, column in zip(stacked, zip(*pieces, strict=True) if pieces else [()] * len(stacked), strict=True)
    ]


def _loop(s, body, consts, carry, length):
    """A loop whose turns share one body: its own tape, with the carried values and the constants as inputs."""
    inner = Scalars(s.limit - len(s.tape))
    carried = []
    for i, value in enumerate(carry):
        flat = np.empty(value.size, dtype=object)
        for k in range(value.size):
            flat[k] = inner.input(0, sum(c.size for c in carry[:i]) + k, value.flat[k].dtype)
        carried.append(flat.reshape(value.shape))
    outer: list[Ref] = []

    def captured(e):
        if not isinstance(e, Ref):
            return e
        outer.append(e)
        return inner.input(1, len(outer) - 1, e.dtype)

    inner.tape.outputs = run(inner, body, [each(captured, c) for c in consts] + carried)
    first = tuple(e for c in carry for e in c.flat)
    loop = s.raw(
        Op("loop", (*first, *outer), np.dtype(object), (("body", inner.tape), ("count", length), ("carry", len(first))))
    )
    s.limit -= len(inner.tape)
    out, at = [], 0
    for value in carry:
        flat = np.empty(value.size, dtype=object)
        for k in range(value.size):
            dtype = value.flat[k].dtype
            flat[k] = s.raw(Op("item", (loop,), dtype, (("position", at),)))
            at += 1
        out.append(flat.reshape(value.shape))
    return out


_RULES: dict[str, Callable[..., Any]] = {
    "clamp": _clamp,
    "reduce_sum": _reduce("add", lambda d: d.type(0)),
    "reduce_prod": _reduce("mul", lambda d: d.type(1)),
    "reduce_max": _reduce("max", lambda d: None),
    "reduce_min": _reduce("min", lambda d: None),
    "reduce_and": _reduce("and", lambda d: None),
    "reduce_or": _reduce("or", lambda d: None),
    "cumsum": _cumulative("add"),
    "cumprod": _cumulative("mul"),
    "cummax": _cumulative("max"),
    "cummin": _cumulative("min"),
    "dot_general": linalg.dot,
    "cholesky": linalg.cholesky,
    "triangular_solve": linalg.triangular_solve,
    "lu": linalg.lu,
    "reshape": index_rules.reshape,
    "squeeze": lambda s, eqn, x: x.reshape(eqn.outvars[0].aval.shape),
    "expand_dims": lambda s, eqn, x: x.reshape(eqn.outvars[0].aval.shape),
    "transpose": lambda s, eqn, x: x.transpose(eqn.params["permutation"]),
    "broadcast_in_dim": index_rules.broadcast,
    "slice": index_rules.slice_,
    "split": index_rules.split,
    "concatenate": lambda s, eqn, *xs: np.concatenate(xs, axis=eqn.params["dimension"]),
    "stack": lambda s, eqn, *xs: np.stack(xs, axis=eqn.params["axis"]),
    "unstack": lambda s, eqn, x: list(np.moveaxis(x, eqn.params["axis"], 0)),
    "rev": lambda s, eqn, x: np.flip(x, eqn.params["dimensions"]),
    "pad": index_rules.pad,
    "iota": index_rules.iota,
    "gather": index_rules.gather,
    "scatter": index_rules.scatter,
    "scatter-add": index_rules.scatter_add,
    "dynamic_slice": index_rules.dynamic_slice,
    "dynamic_update_slice": index_rules.dynamic_update_slice,
    "jit": _call("jaxpr"),
    "pjit": _call("jaxpr"),
    "closed_call": _call("call_jaxpr"),
    "core_call": _call("call_jaxpr"),
    "remat2": _call("jaxpr"),
    "checkpoint": _call("jaxpr"),
    "custom_jvp_call": _call("call_jaxpr"),
    "custom_vjp_call": _call("call_jaxpr"),
    "custom_vjp_call_jaxpr": _call("fun_jaxpr"),
    "call_hi_primitive": _high_level,
    "one_minus_square": _one_minus_square,
    "custom_linear_solve": _linear_solve,
    "cond": _cond,
    "platform_index": _platform,
    "scan": _scan,
}
