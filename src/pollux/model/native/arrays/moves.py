"""Where elements go: other shapes, pieces side by side, borders, and blocks whose place is known only at run time."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pollux.model.native.arrays.loops import copy, order_of, packed
from pollux.model.native.arrays.memory import address, load_raw, take
from pollux.model.native.arrays.pen import Index, Pen
from pollux.model.native.arrays.view import View, row_major


def reshape(pen: Pen, x: View, shape: tuple[int, ...]) -> View:
    """The same elements in another shape, copied where strides cannot say it."""
    found = x.reshaped(shape)
    return replace(packed(pen, x), shape=shape, strides=row_major(shape)) if found is None else found


def concatenate(pen: Pen, pieces: Sequence[View], axis: int) -> View:
    """Arrays one behind the other along an axis."""
    shape = list(pieces[0].shape)
    shape[axis] = sum(p.shape[axis] for p in pieces)
    out = take(pen, pieces[0].dtype, shape, order_of(pieces))
    at = 0
    for piece in pieces:
        if piece.size:
            copy(pen, piece, part(out, axis, at, piece.shape[axis]))
        at += piece.shape[axis]
    return out


def pad(pen: Pen, x: View, fill: View, config: Sequence[tuple[int, int, int]]) -> View:
    """`x` with a border (or, where negative, without)."""
    low, high, inner = zip(*config, strict=True)
    shape = [a + b + n + max(n - 1, 0) * c for a, b, c, n in zip(low, high, inner, x.shape, strict=True)]
    out = take(pen, x.dtype, shape)
    copy(pen, fill.spread(tuple(shape), ()), out)
    source, target = x, out
    for axis, (a, c, n) in enumerate(zip(low, inner, x.shape, strict=True)):
        step = c + 1
        first = max(0, -(a // step)) if a < 0 else 0
        last = min(n, (shape[axis] - 1 - a) // step + 1)
        if last <= first:
            return out
        source = part(source, axis, first, last - first)
        start = a + first * step
        limits = [start + (last - first - 1) * step + 1 if k == axis else m for k, m in enumerate(target.shape)]
        starts = [start if k == axis else 0 for k in range(len(shape))]
        target = target.sliced(starts, limits, [step if k == axis else 1 for k in range(len(shape))])
    copy(pen, source, target)
    return out


def block(pen: Pen, x: View, starts: Sequence[View | np.ndarray], sizes: Sequence[int]) -> View:
    """`dynamic_slice`: a block of x, moved inside where it would not fit."""
    offset: list[Index] = []
    for start, size, n, stride in zip(starts, sizes, x.shape, x.strides, strict=True):
        offset.append(pen.times(clamped(pen, start, n - size), stride))
    pointer = pen.put(f"getelementptr {pen.stored(x.dtype)}, ptr {x.pointer}, i64 {pen.add(*offset)}")
    return replace(x, pointer=pointer, shape=tuple(sizes), whole=x.memory)


def replaced(pen: Pen, x: View, update: View, starts: Sequence[View | np.ndarray]) -> View:
    """`dynamic_update_slice`: x with a block replaced."""
    out = packed(pen, x)
    if update.size:
        copy(pen, update, block(pen, out, starts, update.shape))
    return out


def clamped(pen: Pen, index: View | np.ndarray, most: int) -> Index:
    """A whole number, moved into 0 to `most`."""
    if isinstance(index, np.ndarray):
        return min(max(int(index), 0), most)
    return within(pen, whole(pen, index), most)


def whole(pen: Pen, x: View, at: Sequence[Index] = ()) -> str:
    """An element of an array of whole numbers, with 64 bits."""
    value = load_raw(pen, x.dtype, address(pen, x, at, x.strides))
    return pen.op(pen.one, "convert_element_type", x.dtype, value, result=np.int64)


def within(pen: Pen, value: str, most: int) -> str:
    """A whole number of 64 bits, moved into 0 to `most`."""
    low = pen.op(pen.one, "max", np.int64, value, "0")
    return pen.op(pen.one, "min", np.int64, low, str(most))


def part(x: View, axis: int, start: int, count: int) -> View:
    """`count` elements of an axis from `start` on."""
    limits = [start + count if a == axis else n for a, n in enumerate(x.shape)]
    return x.sliced([start if a == axis else 0 for a in range(len(x.shape))], limits, [1] * len(x.shape))
