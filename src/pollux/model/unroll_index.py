"""Reshaping, slicing and indexing of object arrays of scalars: all of it is bookkeeping, none of it an operation."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from pollux.model.unroll import Ref, UnsupportedError

CHOICES = 64
"""An index that differs between twins becomes at most this many selections."""


def constant(value: Any, dtype: Any) -> np.ndarray:
    """An array of constants."""
    source = np.asarray(value, dtype=dtype)
    out = np.empty(source.shape, dtype=object)
    for i in np.ndindex(source.shape):
        out[i] = source[i]
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
    if any(isinstance(e, Ref) for e in index.flat):
        raise UnsupportedError("an index that differs between twins")
    return np.array(index.tolist(), dtype=np.int64).reshape(index.shape)


def dynamic_slice(s, eqn, x, *starts):
    """A slice from a start that may differ between twins."""
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
            out = each(lambda a, b, past=past: s.select(past, b, a), out, piece)
        x = out
    return x


def dynamic_update_slice(s, eqn, x, update, *starts):
    """`x` with a block replaced, at a constant place."""
    out = x.copy()
    where = []
    for start, size, whole in zip(starts, update.shape, x.shape, strict=True):
        i = min(max(int(known(start)), 0), whole - size)
        where.append(slice(i, i + size))
    out[tuple(where)] = update
    return out


def _positions(eqn, *args):
    """Run an index primitive on element numbers, so that its result says which element goes where."""
    with jax.ensure_compile_time_eval():
        return np.asarray(eqn.primitive.bind(*args, **eqn.params))


def gather(s, eqn, x, index):
    """`x[index]`, by rows where the index differs between twins."""
    if any(isinstance(e, Ref) for e in index.flat):
        return _choose(s, eqn, x, index)
    with jax.ensure_compile_time_eval():
        params = {**eqn.params, "fill_value": -1}
        numbers = np.arange(x.size).reshape(x.shape)
        at = np.asarray(eqn.primitive.bind(numbers, known(index).astype(np.int32), **params))
    flat, missing = x.ravel(), eqn.outvars[0].aval.dtype.type(np.nan)
    return each(lambda k: missing if k < 0 else flat[k], at)


def _choose(s, eqn, x, index):
    """Rows chosen by an index that differs between twins (`x[i]`): a selection among all of them."""
    numbers = eqn.params["dimension_numbers"]
    axis, *more = numbers.start_index_map
    lead = index.ndim - 1
    rows = np.moveaxis(x, axis, 0)
    plain = (
        not more
        and index.shape[-1] == 1
        and tuple(numbers.collapsed_slice_dims) == (axis,)
        and not numbers.operand_batching_dims
        and tuple(numbers.offset_dims) == tuple(range(lead, lead + rows.ndim - 1))
        and tuple(np.delete(eqn.params["slice_sizes"], axis)) == rows.shape[1:]
        and "FILL" not in str(eqn.params["mode"])
        and len(rows) <= CHOICES
    )
    if not plain:
        raise UnsupportedError("an index that differs between twins")
    out = np.empty((*index.shape[:-1], *rows.shape[1:]), dtype=object)
    for at in np.ndindex(index.shape[:-1]):
        i = index[(*at, 0)]
        pick = rows[0]
        for k in range(1, len(rows)):
            past = s.op("ge", i, i.dtype.type(k), dtype=bool)
            pick = each(lambda a, b, past=past: s.select(past, b, a), pick, rows[k])
        out[at] = pick if pick.shape else pick[()]
    return out


def scatter(s, eqn, x, index, update):
    """`x.at[index].set(update)` at constant places."""
    numbers = np.arange(x.size + update.size)
    at = _positions(
        eqn,
        numbers[: x.size].reshape(x.shape),
        known(index).astype(np.int32),
        numbers[x.size :].reshape(update.shape),
    )
    flat = np.concatenate([x.ravel(), update.ravel()])
    return each(lambda k: flat[k], at)


def scatter_add(s, eqn, x, index, update):
    """`x.at[index].add(update)` at constant places."""
    where = known(index).astype(np.int32)
    dtype = eqn.outvars[0].aval.dtype
    out = x
    for k, value in enumerate(update.ravel()):
        one = np.zeros(update.size, dtype)
        one[k] = 1
        hit = _positions(eqn, np.zeros(x.shape, dtype), where, one.reshape(update.shape))
        out = each(lambda a, h, value=value: s.add(a, value) if h else a, out, hit)
    return out


def pad(s, eqn, x, fill):
    """`x` with a border (or, where negative, without)."""
    config = eqn.params["padding_config"]
    shape = [lo + hi + size + max(size - 1, 0) * mid for (lo, hi, mid), size in zip(config, x.shape, strict=True)]
    out = np.full(shape, fill[()], dtype=object)
    for i in np.ndindex(x.shape):
        to = tuple(lo + k * (mid + 1) for (lo, _, mid), k in zip(config, i, strict=True))
        if all(0 <= a < b for a, b in zip(to, shape, strict=True)):
            out[to] = x[i]
    return out
