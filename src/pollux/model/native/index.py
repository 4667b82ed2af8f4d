"""Reshaping, slicing and indexing of object arrays of scalars: all of it is bookkeeping, none of it an operation."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from pollux.model.native.tape import UnsupportedError, Value

CHOICES = 64
"""An index that differs between twins becomes at most this many selections."""


def constant(value: Any, dtype: Any) -> np.ndarray:
    """An array of constants."""
    source = np.asarray(value, dtype=dtype)
    out = np.empty(source.shape, dtype=object)
    for i in np.ndindex(source.shape):
        out[i] = source[i]
    return out


def filled(shape: tuple[int, ...] | list[int], value: Any) -> np.ndarray:
    """An array of one element throughout (`np.full` would turn a NumPy scalar into a plain number)."""
    out = np.empty(shape, dtype=object)
    for i in np.ndindex(out.shape):
        out[i] = value
    return out


def each(fn: Callable[..., Any], *arrays: np.ndarray) -> np.ndarray:
    """Apply a function of scalars element by element, with broadcasting."""
    arrays = tuple(np.broadcast_arrays(*arrays))
    out = np.empty(arrays[0].shape, dtype=object)
    for i in np.ndindex(out.shape):
        out[i] = fn(*(a[i] for a in arrays))
    return out


def reshape(s, eqn, x, *_):
    """The same elements in another shape."""
    return x.reshape(eqn.params["new_sizes"])


def broadcast(s, eqn, x, *_):
    """`broadcast_in_dim`."""
    shape, dims = eqn.params["shape"], eqn.params["broadcast_dimensions"]
    full = [1] * len(shape)
    for d, size in zip(dims, x.shape, strict=True):
        full[d] = size
    return np.broadcast_to(x.reshape(full), shape)


def slice_(s, eqn, x):
    """A strided slice."""
    strides = eqn.params["strides"] or (1,) * x.ndim
    return x[
        tuple(
            slice(a, b, c)
            for a, b, c in zip(eqn.params["start_indices"], eqn.params["limit_indices"], strides, strict=True)
        )
    ]


def split(s, eqn, x):
    """Pieces along one axis."""
    return np.split(x, np.cumsum(eqn.params["sizes"])[:-1], axis=eqn.params["axis"])


def iota(s, eqn):
    """Counting numbers along one axis."""
    shape, axis = eqn.params["shape"], eqn.params["dimension"]
    line = np.arange(shape[axis]).reshape([-1 if i == axis else 1 for i in range(len(shape))])
    return constant(np.broadcast_to(line, shape), eqn.outvars[0].aval.dtype)


def known(index: np.ndarray) -> np.ndarray:
    """An index array whose elements are all constants; `UnsupportedError` where one differs between twins."""
    if any(isinstance(e, Value) for e in index.flat):
        raise UnsupportedError("an index that differs between twins")
    least, most = np.iinfo(np.int32).min, np.iinfo(np.int32).max  # beyond these it is out of range, and must not wrap
    return np.array([min(max(int(e), least), most) for e in index.flat], dtype=np.int64).reshape(index.shape)


def dynamic_slice(s, eqn, x, *starts):
    """A slice from a start that may differ between twins."""
    sizes = eqn.params["slice_sizes"]
    for axis, (start, size) in enumerate(zip(starts, sizes, strict=True)):
        i, last = start[()], x.shape[axis] - size
        if not isinstance(i, Value):
            x = np.take(x, range(min(max(int(i), 0), last), min(max(int(i), 0), last) + size), axis=axis)
            continue
        if last + 1 > CHOICES:
            raise UnsupportedError(f"a choice among {last + 1} positions")
        x = _chosen(s, i, [np.take(x, range(k, k + size), axis=axis) for k in range(last + 1)])
    return x


def dynamic_update_slice(s, eqn, x, update, *starts):
    """`x` with a block replaced; a start that differs between twins becomes a choice among all places."""
    lasts = [whole - size for size, whole in zip(update.shape, x.shape, strict=True)]
    moving = [a for a, start in enumerate(starts) if isinstance(start[()], Value) and lasts[a] > 0]
    if len(moving) > 1 or any(lasts[a] >= CHOICES for a in moving):
        raise UnsupportedError("a block replaced at a place that differs between twins")

    def at(place: dict[int, int]) -> np.ndarray:
        out, where = x.copy(), []
        for a, (start, size, last) in enumerate(zip(starts, update.shape, lasts, strict=True)):
            i = place.get(a, 0 if last == 0 else None)
            i = min(max(int(known(start)), 0), last) if i is None else i
            where.append(slice(i, i + size))
        out[tuple(where)] = update
        return out

    if not moving:
        return at({})
    (axis,) = moving
    return _chosen(s, starts[axis][()], [at({axis: k}) for k in range(lasts[axis] + 1)])


def _chosen(s, index, cases: list[np.ndarray]) -> np.ndarray:
    """Case `index`, the nearest where it is out of range."""
    if not isinstance(index, Value):
        return cases[min(max(int(index), 0), len(cases) - 1)]
    out = cases[0]
    for k in range(1, len(cases)):
        past = s.op("ge", index, index.dtype.type(k), dtype=bool)
        out = each(lambda a, b, past=past: a if a is b else s.select(past, b, a), out, cases[k])
    return out


def _positions(eqn, *args):
    """Run an index primitive on element numbers, so that its result says which element goes where."""
    params = {**eqn.params, "fill_value": -1} if "fill_value" in eqn.params else eqn.params
    with jax.ensure_compile_time_eval():
        return np.asarray(eqn.primitive.bind(*args, **params))


def gather(s, eqn, x, index):
    """`x[index]`, a choice where the index differs between twins."""
    if any(isinstance(e, Value) for e in index.flat):
        return _choose(s, eqn, x, index)
    at = _positions(eqn, np.arange(x.size).reshape(x.shape), known(index).astype(np.int32))
    flat, blank = x.ravel(), missing(eqn)
    return each(lambda k: blank if k < 0 else flat[k], at)


def _choose(s, eqn, x, index):
    """An index that differs between twins: each element of the result is chosen among what every place would give."""
    numbers = eqn.params["dimension_numbers"]
    if len(numbers.start_index_map) != 1:
        raise UnsupportedError("two indices that differ between twins")
    axis = numbers.start_index_map[0]
    places = x.shape[axis] - eqn.params["slice_sizes"][axis] + 1
    if places > CHOICES:
        raise UnsupportedError(f"a choice among {places} positions")
    flat, elements = x.ravel(), np.arange(x.size).reshape(x.shape)
    numbered = [_positions(eqn, elements, np.full(index.shape, k, np.int32)) for k in range(places)]
    cases = [each(lambda p: flat[p], at) for at in numbered]
    shape = eqn.outvars[0].aval.shape
    batch = [d for d in range(len(shape)) if d not in numbers.offset_dims]
    fill = "FILL" in str(eqn.params["mode"])
    out = np.empty(shape, dtype=object)
    for at in np.ndindex(shape):
        i = index[(*(at[d] for d in batch), 0)]
        pick = _chosen(s, i, [np.array([case[at]], dtype=object) for case in cases])[0]
        out[at] = _filled(s, eqn, i, places, pick) if fill else pick
    return out


def _filled(s, eqn, index, n: int, pick: Any) -> Any:
    """`pick` where the index is in range, else NaN (the largest or least number where there is none)."""
    d = index.dtype.type
    low, high = s.op("ge", index, d(0), dtype=bool), s.op("lt", index, d(n), dtype=bool)
    inside = s.op("and", low, high, dtype=bool)

    return s.select(inside, pick, missing(eqn))


def missing(eqn) -> Any:
    """What JAX puts where an index is out of range."""
    dtype, given = np.dtype(eqn.outvars[0].aval.dtype), eqn.params["fill_value"]
    if given is not None:
        return np.asarray(given).astype(dtype)[()]
    kind = dtype.kind
    value = (
        np.nan if kind == "f" else True if kind == "b" else np.iinfo(dtype).min if kind == "i" else np.iinfo(dtype).max
    )
    return np.asarray(value).astype(dtype)[()]


def scatter(s, eqn, x, index, update):
    """`x.at[index].set(update)`; one index may differ between twins."""
    flat_update = update.ravel()

    def put(where: np.ndarray) -> np.ndarray:
        numbers = np.arange(x.size + update.size)
        old, new = numbers[: x.size].reshape(x.shape), numbers[x.size :].reshape(update.shape)
        at = _positions(eqn, old, where, new)
        flat = np.concatenate([x.ravel(), flat_update])
        return each(lambda k: flat[k], at)

    return _somewhere(s, eqn, x, index, put)


def scatter_add(s, eqn, x, index, update):
    """`x.at[index].add(update)`; one index may differ between twins."""
    dtype = eqn.outvars[0].aval.dtype

    def put(where: np.ndarray) -> np.ndarray:
        out = x
        for k, value in enumerate(update.ravel()):
            one = np.zeros(update.size, dtype)
            one[k] = 1
            hit = _positions(eqn, np.zeros(x.shape, dtype), where, one.reshape(update.shape))
            out = each(lambda a, h, value=value: s.add(a, value) if h else a, out, hit)
        return out

    return _somewhere(s, eqn, x, index, put)


def _somewhere(s, eqn, x, index, put: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    moving = [i for i in np.ndindex(index.shape) if isinstance(index[i], Value)]
    if not moving:
        return put(known(index).astype(np.int32))
    axis = eqn.params["dimension_numbers"].scatter_dims_to_operand_dims[moving[0][-1]]
    if len(moving) > 1 or x.shape[axis] > CHOICES:
        raise UnsupportedError("an index that differs between twins")
    cases = []
    for k in range(x.shape[axis]):
        at = index.copy()
        at[moving[0]] = np.int32(k)
        cases.append(put(known(at).astype(np.int32)))
    i = index[moving[0]]
    chosen = _chosen(s, i, cases)
    if "CLIP" in str(eqn.params["mode"]):
        return chosen
    d = i.dtype.type
    low, high = s.op("ge", i, d(0), dtype=bool), s.op("lt", i, d(x.shape[axis]), dtype=bool)
    inside = s.op("and", low, high, dtype=bool)  # an update out of range is dropped
    return each(lambda a, b: a if a is b else s.select(inside, b, a), x, chosen)


def pad(s, eqn, x, fill):
    """`x` with a border (or, where negative, without)."""
    config = eqn.params["padding_config"]
    shape = [lo + hi + size + max(size - 1, 0) * mid for (lo, hi, mid), size in zip(config, x.shape, strict=True)]
    out = filled(shape, fill[()])
    for i in np.ndindex(x.shape):
        to = tuple(lo + k * (mid + 1) for (lo, _, mid), k in zip(config, i, strict=True))
        if all(0 <= a < b for a, b in zip(to, shape, strict=True)):
            out[to] = x[i]
    return out
