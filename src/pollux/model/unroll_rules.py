"""How each JAX primitive reads on object arrays of scalars: index work, products, factorisations, control flow."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.extend import core as jex

from pollux.model.unroll import LIMIT, Op, Ref, Scalars, Tape, UnsupportedError

Arrays = list[np.ndarray]

UNROLL = 2
"""A loop of at most this many turns becomes straight-line code; a longer one that carries all it needs stays a loop,
which also keeps XLA from fusing, and so repeating, work across its turns."""

CHOICES = 64
"""An index that differs between twins becomes at most this many selections."""


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
        return constant(v.val, v.aval.dtype) if isinstance(v, jex.Literal) else env[v]

    for v, value in zip(jaxpr.constvars, closed.consts, strict=True):
        env[v] = constant(value, v.aval.dtype)
    env.update(zip(jaxpr.invars, args, strict=True))
    for eqn in jaxpr.eqns:
        name = eqn.primitive.name
        values = [read(v) for v in eqn.invars]
        rule = _RULES.get(name, _elementwise)
        out = rule(s, eqn, *values)
        env.update(zip(eqn.outvars, out if isinstance(out, list) else [out], strict=True))
    return [read(v) for v in jaxpr.outvars]


def constant(value: Any, dtype: Any) -> np.ndarray:
    """An array of constants."""
    source = np.asarray(value, dtype=dtype)
    out = np.empty(source.shape, dtype=object)
    for i in np.ndindex(source.shape):
        out[i] = source[i]
    return out


def _inputs(s: Scalars, argument: int, aval: Any) -> np.ndarray:
    out = np.empty(aval.shape, dtype=object)
    for k, i in enumerate(np.ndindex(aval.shape)):
        out[i] = s.input(argument, k, aval.dtype)
    return out


def _map(fn: Callable[..., Any], *arrays: np.ndarray) -> np.ndarray:
    arrays = tuple(np.broadcast_arrays(*arrays))
    out = np.empty(arrays[0].shape, dtype=object)
    for i in np.ndindex(out.shape):
        out[i] = fn(*(a[i] for a in arrays))
    return out


def _elementwise(s: Scalars, eqn: Any, *args: np.ndarray) -> np.ndarray:
    name = eqn.primitive.name
    if name not in _ELEMENTWISE:
        raise UnsupportedError(f"primitive `{name}`")
    dtype = eqn.outvars[0].aval.dtype
    params = {"y": eqn.params["y"]} if name == "integer_pow" else {}
    return _map(lambda *a: s.op(name, *a, dtype=dtype, **params), *args)


_ELEMENTWISE = frozenset(
    "add add_any sub mul div neg abs sign sqrt rsqrt cbrt max min exp exp2 log log1p expm1 sin cos tan asin acos atan "
    "atan2 sinh cosh tanh asinh acosh atanh logistic erf erfc erf_inv lgamma digamma floor ceil round pow integer_pow "
    "square rem is_finite eq ne lt le gt ge lt_to le_to and or xor not select_n convert_element_type nextafter "
    "copy copy_p stop_gradient reduce_precision".split()
)


def _clamp(s, eqn, low, x, high):
    dtype = eqn.outvars[0].aval.dtype
    return _map(
        lambda a, b, c: s.op("min", s.op("max", b, a, dtype=dtype), c, dtype=dtype), low, x, high
    )


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
            rows[k] = _map(lambda a, b: s.op(name, a, b, dtype=dtype), rows[k - 1], rows[k])
        return np.moveaxis(rows[:: -1 if reverse else 1], 0, axis)

    return rule


def _dot(s, eqn, a, b):
    (ca, cb), (ba, bb) = eqn.params["dimension_numbers"]
    dtype = eqn.outvars[0].aval.dtype
    fa = [i for i in range(a.ndim) if i not in (*ca, *ba)]
    fb = [i for i in range(b.ndim) if i not in (*cb, *bb)]
    batch = [a.shape[i] for i in ba]
    k = int(np.prod([a.shape[i] for i in ca], dtype=int))
    rows, cols = [a.shape[i] for i in fa], [b.shape[i] for i in fb]
    A = a.transpose(*ba, *fa, *ca).reshape(int(np.prod(batch, dtype=int)), -1, k)
    B = b.transpose(*bb, *fb, *cb).reshape(int(np.prod(batch, dtype=int)), -1, k)
    out = np.empty((A.shape[0], A.shape[1], B.shape[1]), dtype=object)
    for n, i, j in np.ndindex(out.shape):
        out[n, i, j] = s.total([s.mul(x, y) for x, y in zip(A[n, i], B[n, j], strict=True)], dtype)
    return out.reshape([*batch, *rows, *cols])


def _batched(fn: Callable[..., np.ndarray], *arrays: np.ndarray) -> np.ndarray:
    """Apply a matrix function over the leading axes."""
    lead = arrays[0].shape[:-2]
    out = None
    for i in np.ndindex(lead):
        piece = fn(*(a[i] for a in arrays))
        if out is None:
            out = np.empty((*lead, *piece.shape), dtype=object)
        out[i] = piece
    if out is None:
        raise UnsupportedError("an empty batch of matrices")
    return out


def _cholesky(s, eqn, a):
    """Row by row (Cholesky-Banachiewicz); a matrix that is not positive definite gives NaN."""

    def factor(m):
        n = len(m)
        zero = eqn.outvars[0].aval.dtype.type(0)
        L = np.full((n, n), zero, dtype=object)
        for i in range(n):
            for j in range(i + 1):
                rest = m[i, j]
                for k in range(j):
                    rest = s.sub(rest, s.mul(L[i, k], L[j, k]))
                L[i, j] = s.sqrt(rest) if i == j else s.div(rest, L[j, j])
        return L

    return _batched(factor, a)


def _triangular_solve(s, eqn, a, b):
    left, lower, transpose, unit = (
        eqn.params[k] for k in ("left_side", "lower", "transpose_a", "unit_diagonal")
    )

    def solve(m, rhs):
        down = lower
        if transpose:
            m, down = m.T, not down
        if not left:  # x m = rhs  <=>  m' x' = rhs'
            m, down, rhs = m.T, not down, rhs.T
        n = len(m)
        x = np.empty(rhs.shape, dtype=object)
        done: list[int] = []
        for i in range(n) if down else reversed(range(n)):
            for c in range(rhs.shape[1]):
                rest = rhs[i, c]
                for k in done:
                    rest = s.sub(rest, s.mul(m[i, k], x[k, c]))
                x[i, c] = rest if unit else s.div(rest, m[i, i])
            done.append(i)
        return x if left else x.T

    return _batched(solve, a, b)


def _lu(s, eqn, a):
    """Elimination with partial pivoting; the choice of the pivot is a selection, so each twin has its own."""
    if a.ndim != 2 or a.shape[0] != a.shape[1] or len(a) > 6:
        raise UnsupportedError(f"`lu` of shape {a.shape}")
    m, n = a.copy(), len(a)
    pivots = np.empty(n, dtype=object)
    order = np.array([np.int32(i) for i in range(n)] + [None], dtype=object)[:-1]
    for k in range(n):
        best, at = s.op("abs", m[k, k], dtype=m[k, k].dtype), np.int32(k)
        for i in range(k + 1, n):
            size = s.op("abs", m[i, k], dtype=m[i, k].dtype)
            larger = s.op("gt", size, best, dtype=bool)
            best, at = s.select(larger, size, best), s.select(larger, np.int32(i), at)
        pivots[k] = at
        for i in range(k + 1, n):
            here = s.op("eq", at, np.int32(i), dtype=bool)
            for row in (*m.T, order):
                row[k], row[i] = s.select(here, row[i], row[k]), s.select(here, row[k], row[i])
        for i in range(k + 1, n):
            m[i, k] = s.div(m[i, k], m[k, k])
            for j in range(k + 1, n):
                m[i, j] = s.sub(m[i, j], s.mul(m[i, k], m[k, j]))
    return [m, pivots, order]


def _reshape(s, eqn, x, *_):
    return x.reshape(eqn.params["new_sizes"])


def _broadcast(s, eqn, x, *_):
    shape, dims = eqn.params["shape"], eqn.params["broadcast_dimensions"]
    full = [1] * len(shape)
    for d, size in zip(dims, x.shape, strict=True):
        full[d] = size
    return np.broadcast_to(x.reshape(full), shape)


def _slice(s, eqn, x):
    strides = eqn.params["strides"] or (1,) * x.ndim
    return x[
        tuple(
            slice(a, b, c)
            for a, b, c in zip(eqn.params["start_indices"], eqn.params["limit_indices"], strides, strict=True)
        )
    ]


def _split(s, eqn, x):
    return np.split(x, np.cumsum(eqn.params["sizes"])[:-1], axis=eqn.params["axis"])


def _iota(s, eqn):
    shape, axis = eqn.params["shape"], eqn.params["dimension"]
    line = np.arange(shape[axis]).reshape([-1 if i == axis else 1 for i in range(len(shape))])
    return constant(np.broadcast_to(line, shape), eqn.outvars[0].aval.dtype)


def _known(index: np.ndarray) -> np.ndarray:
    if any(isinstance(e, Ref) for e in index.flat):
        raise UnsupportedError("an index that differs between twins")
    return np.array(index.tolist(), dtype=np.int64).reshape(index.shape)


def _dynamic_slice(s, eqn, x, *starts):
    sizes = eqn.params["slice_sizes"]
    for axis, (start, size) in enumerate(zip(starts, sizes, strict=True)):
        i, last = start[()], x.shape[axis] - size
        if not isinstance(i, Ref):
            x = np.take(x, range(min(max(int(i), 0), last), min(max(int(i), 0), last) + size), axis=axis)
            continue
        if last + 1 > CHOICES:
            raise UnsupportedError(f"a choice among {last + 1} positions")
        out = np.take(x, range(size), axis=axis)
        for k in range(1, last + 1):
            past = s.op("ge", i, i.dtype.type(k), dtype=bool)
            piece = np.take(x, range(k, k + size), axis=axis)
            out = _map(lambda a, b, past=past: s.select(past, b, a), out, piece)
        x = out
    return x


def _dynamic_update_slice(s, eqn, x, update, *starts):
    out = x.copy()
    where = []
    for start, size, whole in zip(starts, update.shape, x.shape, strict=True):
        i = min(max(int(_known(start)), 0), whole - size)
        where.append(slice(i, i + size))
    out[tuple(where)] = update
    return out


def _positions(eqn, *args):
    """Run an index primitive on element numbers, so that its result says which element goes where."""
    with jax.ensure_compile_time_eval():
        return np.asarray(eqn.primitive.bind(*args, **eqn.params))


def _gather(s, eqn, x, index):
    with jax.ensure_compile_time_eval():
        params = {**eqn.params, "fill_value": -1}
        numbers = np.arange(x.size).reshape(x.shape)
        at = np.asarray(eqn.primitive.bind(numbers, _known(index).astype(np.int32), **params))
    flat, missing = x.ravel(), eqn.outvars[0].aval.dtype.type(np.nan)
    return _map(lambda k: missing if k < 0 else flat[k], at)


def _scatter(s, eqn, x, index, update):
    numbers = np.arange(x.size + update.size)
    at = _positions(
        eqn,
        numbers[: x.size].reshape(x.shape),
        _known(index).astype(np.int32),
        numbers[x.size :].reshape(update.shape),
    )
    flat = np.concatenate([x.ravel(), update.ravel()])
    return _map(lambda k: flat[k], at)


def _scatter_add(s, eqn, x, index, update):
    where = _known(index).astype(np.int32)
    dtype = eqn.outvars[0].aval.dtype
    out = x
    for k, value in enumerate(update.ravel()):
        one = np.zeros(update.size, dtype)
        one[k] = 1
        hit = _positions(eqn, np.zeros(x.shape, dtype), where, one.reshape(update.shape))
        out = _map(lambda a, h, value=value: s.add(a, value) if h else a, out, hit)
    return out


def _pad(s, eqn, x, fill):
    config = eqn.params["padding_config"]
    shape = [lo + hi + size + max(size - 1, 0) * mid for (lo, hi, mid), size in zip(config, x.shape, strict=True)]
    out = np.full(shape, fill[()], dtype=object)
    for i in np.ndindex(x.shape):
        to = tuple(lo + k * (mid + 1) for (lo, _, mid), k in zip(config, i, strict=True))
        if all(0 <= a < b for a, b in zip(to, shape, strict=True)):
            out[to] = x[i]
    return out


def _call(param: str) -> Callable[..., Arrays]:
    def rule(s, eqn, *args):
        inner = eqn.params[param]
        return run(s, inner if hasattr(inner, "consts") else jex.ClosedJaxpr(inner, ()), list(args))

    return rule


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
        out = [_map(lambda a, b, past=past: s.select(past, b, a), x, y) for x, y in zip(out, results[k], strict=True)]
    return out


def _platform(s, eqn):
    for i, names in enumerate(eqn.params["platforms"]):
        if names is None or "cpu" in names:
            return constant(i, np.int32)
    raise UnsupportedError("`platform_index` without the CPU")


def _scan(s, eqn, *args):
    p = eqn.params
    nc, nk, length = p["num_consts"], p["num_carry"], p["length"]
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

    inner.tape.outputs = run(inner, body, [_map(captured, c) for c in consts] + carried)
    first = tuple(e for c in carry for e in c.flat)
    loop = s.raw(
        Op("loop", (*first, *outer), np.dtype(object), (("body", inner.tape), ("count", length), ("carry", len(first))))
    )
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
    "dot_general": _dot,
    "cholesky": _cholesky,
    "triangular_solve": _triangular_solve,
    "lu": _lu,
    "reshape": _reshape,
    "squeeze": lambda s, eqn, x: x.reshape(eqn.outvars[0].aval.shape),
    "expand_dims": lambda s, eqn, x: x.reshape(eqn.outvars[0].aval.shape),
    "transpose": lambda s, eqn, x: x.transpose(eqn.params["permutation"]),
    "broadcast_in_dim": _broadcast,
    "slice": _slice,
    "split": _split,
    "concatenate": lambda s, eqn, *xs: np.concatenate(xs, axis=eqn.params["dimension"]),
    "rev": lambda s, eqn, x: np.flip(x, eqn.params["dimensions"]),
    "pad": _pad,
    "iota": _iota,
    "gather": _gather,
    "scatter": _scatter,
    "scatter-add": _scatter_add,
    "dynamic_slice": _dynamic_slice,
    "dynamic_update_slice": _dynamic_update_slice,
    "jit": _call("jaxpr"),
    "pjit": _call("jaxpr"),
    "closed_call": _call("call_jaxpr"),
    "core_call": _call("call_jaxpr"),
    "remat2": _call("jaxpr"),
    "checkpoint": _call("jaxpr"),
    "custom_jvp_call": _call("call_jaxpr"),
    "custom_vjp_call": _call("call_jaxpr"),
    "custom_vjp_call_jaxpr": _call("fun_jaxpr"),
    "custom_linear_solve": _linear_solve,
    "cond": _cond,
    "platform_index": _platform,
    "scan": _scan,
}
