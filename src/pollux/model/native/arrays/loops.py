"""Nests of loops over arrays of one shape, with vectors along their fastest axis; how elements are read and written.

Axes that lie evenly in every array are run through as one. The fastest axis must have stride 1 (or 0: one element for
all) in every array; what is left over of it behind whole vectors is done with a mask.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pollux.model.native.arrays.pen import Index, Pen
from pollux.model.native.arrays.view import View, row_major
from pollux.model.native.scalars import Lanes
from pollux.model.native.text import zero


@dataclass(frozen=True)
class Lay:
    """Axes from the slowest to the fastest: their lengths, and their strides in each array."""

    counts: tuple[int, ...]
    strides: tuple[tuple[int, ...], ...]
    """For each array, one for each axis."""


@dataclass(frozen=True, eq=False)
class Here:
    """Where a piece of a loop stands: its lanes, a mask for what is left over, the counters of the axes."""

    lanes: Lanes
    mask: str | None
    at: tuple[Index, ...]


def order_of(views: Sequence[View]) -> tuple[int, ...]:
    """Axes from the slowest to the fastest as most elements among `views` lie."""
    if not views:
        return ()
    n = len(views[0].shape)
    full = [v for v in views if all(s or c == 1 for s, c in zip(v.strides, v.shape, strict=True))]
    votes: dict[tuple[int, ...], int] = {}
    for v in full:
        order = tuple(sorted(range(n), key=lambda a, v=v: (-abs(v.strides[a]), a)))
        votes[order] = votes.get(order, 0) + 1
    return max(votes, key=lambda o: votes[o]) if votes else tuple(range(n))


def lay(shape: Sequence[int], strides: Sequence[Sequence[int]], order: Sequence[int]) -> Lay:
    """Axes of length one dropped, and those merged that lie evenly in every array."""
    counts: list[int] = []
    merged: list[list[int]] = [[] for _ in strides]
    for axis in order:
        n = shape[axis]
        if n == 1:
            continue
        if counts and all(m[-1] == s[axis] * n for m, s in zip(merged, strides, strict=True)):
            counts[-1] *= n
            for m, s in zip(merged, strides, strict=True):
                m[-1] = s[axis]
            continue
        counts.append(n)
        for m, s in zip(merged, strides, strict=True):
            m.append(s[axis])
    return Lay(tuple(counts), tuple(map(tuple, merged)))


def vectors(layout: Lay) -> bool:
    """Whether the fastest axis can be run through in vectors."""
    return not layout.counts or all(s[-1] in (0, 1) for s in layout.strides)


def nest(pen: Pen, layout: Lay, write: Callable[[Here], None], outer: Callable[[tuple[Index, ...]], None]) -> None:
    """Loops over a layout. `outer` is called for each place of the slower axes, `write` for each piece of lanes."""

    if 0 in layout.counts:
        return

    def down(axis: int, at: tuple[Index, ...]) -> None:
        if axis < len(layout.counts) - 1:
            with pen.loop(layout.counts[axis]) as i:
                down(axis + 1, (*at, i))
            return
        outer(at)
        if not layout.counts:
            write(Here(pen.one, None, ()))
            return
        n, w = layout.counts[-1], pen.many.lanes
        if n == 1 or not vectors(layout):
            with pen.loop(n) as i:
                write(Here(pen.one, None, (*at, i)))
            return
        if n >= w:
            with pen.loop(n - n % w, w) as i:
                write(Here(pen.many, None, (*at, i)))
        if n % w:
            write(Here(pen.many, mask(w, n % w), (*at, n - n % w)))

    down(0, ())


def places(pen: Pen, counts: Sequence[int], turn: Callable[[tuple[Index, ...]], None]) -> None:
    """Loops over all places of some axes; `turn` is called with their counters."""

    def down(at: tuple[Index, ...]) -> None:
        if len(at) == len(counts):
            turn(at)
            return
        with pen.loop(counts[len(at)]) as i:
            down((*at, i))

    down(())


def mask(lanes: int, count: int) -> str:
    """The first `count` lanes."""
    return f"<{', '.join(f'i1 {int(k < count)}' for k in range(lanes))}>"


def address(pen: Pen, view: View, at: Sequence[Index], strides: Sequence[int]) -> str:
    """Pointer to the element at counters `at` of a view."""
    place = pen.add(view.offset, *(pen.times(i, s) for i, s in zip(at, strides, strict=True)))
    return pen.put(f"getelementptr {pen.stored(view.dtype)}, ptr {view.pointer}, i64 {place}")


def load(pen: Pen, dtype: np.dtype, pointer: str, lanes: Lanes, mask: str | None = None) -> str:
    """Elements one after the other; what a mask leaves out is zero."""
    n, kind, size = lanes.lanes, pen.stored(dtype), pen.bytes(dtype)
    if n == 1:
        value = pen.put(f"load {kind}, ptr {pointer}, align {size}")
    elif mask is None:
        value = pen.put(f"load <{n} x {kind}>, ptr {pointer}, align {size}")
    else:
        name = f"llvm.masked.load.v{n}{_mark(kind)}.p0"
        pen.declared.add(f"declare <{n} x {kind}> @{name}(ptr, <{n} x i1>, <{n} x {kind}>)")
        blank = f"<{n} x {kind}> {zero(kind, n)}"
        value = pen.put(f"call <{n} x {kind}> @{name}(ptr align {size} {pointer}, <{n} x i1> {mask}, {blank})")
    return _truth(pen, value, n) if dtype.kind == "b" else value


def load_one(pen: Pen, dtype: np.dtype, pointer: str, lanes: Lanes) -> str:
    """One element in all lanes."""
    value = pen.splat(lanes, pen.stored(dtype), load_raw(pen, dtype, pointer))
    return _truth(pen, value, lanes.lanes) if dtype.kind == "b" else value


def load_raw(pen: Pen, dtype: np.dtype, pointer: str) -> str:
    """One element as it is stored."""
    return pen.put(f"load {pen.stored(dtype)}, ptr {pointer}, align {pen.bytes(dtype)}")


def store(pen: Pen, dtype: np.dtype, value: str, pointer: str, lanes: Lanes, mask: str | None = None) -> None:
    """Elements one after the other, those of the mask."""
    n, kind, size = lanes.lanes, pen.stored(dtype), pen.bytes(dtype)
    if dtype.kind == "b":
        wide = "i8" if n == 1 else f"<{n} x i8>"
        value = pen.put(f"zext {lanes.type(bool)} {value} to {wide}")
    whole = kind if n == 1 else f"<{n} x {kind}>"
    if mask is None:
        pen.line(f"store {whole} {value}, ptr {pointer}, align {size}")
        return
    name = f"llvm.masked.store.v{n}{_mark(kind)}.p0"
    pen.declared.add(f"declare void @{name}({whole}, ptr, <{n} x i1>)")
    pen.line(f"call void @{name}({whole} {value}, ptr align {size} {pointer}, <{n} x i1> {mask})")


def take(pen: Pen, dtype: np.dtype, shape: Sequence[int], order: Sequence[int] | None = None) -> View:
    """A new array in the workspace, its axes in memory in `order`."""
    room = pen.pool.take(max(1, int(np.prod(shape, dtype=int))) * pen.bytes(dtype))
    pointer = pen.put(f"getelementptr i8, ptr %work, i64 {room.start}")
    return View(pointer, dtype, tuple(shape), row_major(shape, order), 0, room)


def copy(pen: Pen, source: View, target: View) -> None:
    """The elements of `source` into `target`, which has its shape."""
    layout = lay(source.shape, (source.strides, target.strides), order_of([target]))

    def write(here: Here) -> None:
        value = read(pen, source, layout.strides[0], here)
        store(pen, target.dtype, value, address(pen, target, here.at, layout.strides[1]), here.lanes, here.mask)

    nest(pen, layout, write, lambda at: None)


def read(pen: Pen, view: View, strides: Sequence[int], here: Here) -> str:
    """The elements of a view at a place of a nest."""
    pointer = address(pen, view, here.at, strides)
    if strides and strides[-1] == 0 and here.lanes.lanes > 1:
        return load_one(pen, view.dtype, pointer, here.lanes)
    return load(pen, view.dtype, pointer, here.lanes, here.mask)


def packed(pen: Pen, view: View, order: Sequence[int] | None = None) -> View:
    """A compact copy, its axes in memory in `order`."""
    made = take(pen, view.dtype, view.shape, order)
    copy(pen, view, made)
    return made


def _truth(pen: Pen, value: str, n: int) -> str:
    kind = "i8" if n == 1 else f"<{n} x i8>"
    return pen.put(f"icmp ne {kind} {value}, {zero('i8', n)}")


def _mark(kind: str) -> str:
    return {"double": "f64", "float": "f32"}.get(kind, kind)
