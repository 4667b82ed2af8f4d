"""`gather` and `scatter`: slices read from, or written to, places that an array of whole numbers says."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from pollux.model.native.arrays.loops import combine, copy, packed, places
from pollux.model.native.arrays.memory import address, take
from pollux.model.native.arrays.moves import whole, within
from pollux.model.native.arrays.pen import Index, Pen
from pollux.model.native.arrays.view import View
from pollux.model.native.index import missing
from pollux.model.native.tape import UnsupportedError


def gather(pen: Pen, eqn: Any, x: View, index: View, known: np.ndarray | None) -> View:
    """`x[index]`: other strides where the places are known and lie evenly, else slices copied one by one."""
    if known is not None:
        found = _evenly(eqn, x, known)
        if found is not None:
            return found
    p, numbers = eqn.params, eqn.params["dimension_numbers"]
    sizes, out = p["slice_sizes"], take(pen, x.dtype, eqn.outvars[0].aval.shape)
    if numbers.operand_batching_dims:
        raise UnsupportedError("`gather` of a batch")
    if _drops(p["mode"]):
        blank = View(pen.table(np.asarray([missing(eqn)], x.dtype)), x.dtype, (), ())
        copy(pen, blank.spread(out.shape, ()), out)
    batch = [d for d in range(len(out.shape)) if d not in numbers.offset_dims]
    kept = [a for a in range(len(x.shape)) if a not in numbers.collapsed_slice_dims]

    def one(at: tuple[Index, ...], starts: Sequence[Index]) -> None:
        pointer = address(pen, x, starts, x.strides)
        source = View(pointer, x.dtype, tuple(sizes[a] for a in kept), tuple(x.strides[a] for a in kept))
        place = address(pen, out, at, [out.strides[d] for d in batch])
        copy(pen, source, View(place, x.dtype, source.shape, tuple(out.strides[d] for d in numbers.offset_dims)))

    _visit(pen, [out.shape[d] for d in batch], index, numbers.start_index_map, x.shape, sizes, p["mode"], one)
    return out


def scatter(pen: Pen, eqn: Any, x: View, index: View, update: View, name: str | None) -> View:
    """`x.at[index].set(update)`, or with the operation `name` ("add", "mul", "min", "max") instead."""
    numbers, mode = eqn.params["dimension_numbers"], eqn.params["mode"]
    if numbers.operand_batching_dims:
        raise UnsupportedError("`scatter` of a batch")
    out = packed(pen, x)
    if not update.size:
        return out
    windows = numbers.update_window_dims
    batch = [d for d in range(len(update.shape)) if d not in windows]
    kept = [a for a in range(len(x.shape)) if a not in numbers.inserted_window_dims]
    sizes = [1] * len(x.shape)
    for d, a in zip(windows, kept, strict=True):
        sizes[a] = update.shape[d]

    def one(at: tuple[Index, ...], starts: Sequence[Index]) -> None:
        pointer = address(pen, update, at, [update.strides[d] for d in batch])
        shape = tuple(update.shape[d] for d in windows)
        source = View(pointer, x.dtype, shape, tuple(update.strides[d] for d in windows))
        target = View(address(pen, out, starts, out.strides), x.dtype, shape, tuple(out.strides[a] for a in kept))
        if name is None:
            copy(pen, source, target)
        else:
            combine(pen, name, target, source, target)

    axes = numbers.scatter_dims_to_operand_dims
    _visit(pen, [update.shape[d] for d in batch], index, axes, x.shape, sizes, mode, one)
    return out


def _visit(
    pen: Pen,
    counts: Sequence[int],
    index: View,
    axes: Sequence[int],
    shape: Sequence[int],
    sizes: Sequence[int],
    mode: Any,
    one: Callable[[tuple[Index, ...], Sequence[Index]], None],
) -> None:
    """`one` for each place; a place out of range is left out where the mode says so, else moved inside."""

    def turn(at: tuple[Index, ...]) -> None:
        starts: list[Index] = [0] * len(shape)
        inside = "true"
        for k, axis in enumerate(axes):
            value, most = whole(pen, index, (*at, k)), shape[axis] - sizes[axis]
            starts[axis] = within(pen, value, most)
            same = pen.put(f"icmp eq i64 {value}, {starts[axis]}")
            inside = pen.put(f"and i1 {inside}, {same}")
        if not _drops(mode):
            one(at, starts)
            return
        with pen.when(inside):
            one(at, starts)

    places(pen, counts, turn)


def _drops(mode: Any) -> bool:
    return "FILL" in str(mode)


def _evenly(eqn: Any, x: View, index: np.ndarray) -> View | None:
    """A view of x, if there is one."""
    params = {**eqn.params, "fill_value": -1}
    with jax.ensure_compile_time_eval():
        numbers = jax.numpy.arange(x.size).reshape(x.shape)
        places = np.asarray(eqn.primitive.bind(numbers, jax.numpy.asarray(index), **params))
    if not places.size or (places < 0).any():
        return None
    offsets = np.zeros(places.shape, np.int64)
    for n, stride in zip(np.unravel_index(places, x.shape), x.strides, strict=True):
        offsets += n * stride
    first = int(offsets.flat[0])
    line = [int(np.take(offsets, 1, a).flat[0]) - first if n > 1 else 0 for a, n in enumerate(offsets.shape)]
    grid = sum((s * i for s, i in zip(line, np.indices(offsets.shape, sparse=True), strict=True)), first)
    if not np.array_equal(np.broadcast_to(grid, offsets.shape), offsets):
        return None
    return replace(x, shape=places.shape, strides=tuple(line), offset=x.offset + first)
