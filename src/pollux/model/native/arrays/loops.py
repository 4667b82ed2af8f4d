"""Nests of loops over arrays of one shape, with vectors along their fastest axis.

Axes that lie evenly in every array are run through as one. The fastest axis must have stride 1 (or 0: one element for
all) in every array; what is left over of it behind whole vectors is done with a mask.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pollux.model.native.arrays.memory import address, load, load_one, mask, store, take
from pollux.model.native.arrays.pen import Index, Pen
from pollux.model.native.arrays.view import View
from pollux.model.native.scalars import Lanes


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


def even(pen: Pen, view: View, order: Sequence[int]) -> View:
    """A view whose fastest axis has stride 1 or 0."""
    fastest = next((a for a in reversed(order) if view.shape[a] > 1), None)
    return view if fastest is None or view.strides[fastest] in (0, 1) else packed(pen, view, order)


def combine(pen: Pen, name: str, a: View, b: View, out: View) -> None:
    """`name` of the elements of a and b into `out`, which may be one of them."""
    order = order_of([out])
    a, b = even(pen, a, order), even(pen, b, order)
    layout = lay(out.shape, (a.strides, b.strides, out.strides), order)

    def write(here: Here) -> None:
        x, y = read(pen, a, layout.strides[0], here), read(pen, b, layout.strides[1], here)
        value = pen.op(here.lanes, name, out.dtype, x, y)
        store(pen, out.dtype, value, address(pen, out, here.at, layout.strides[2]), here.lanes, here.mask)

    nest(pen, layout, write, lambda at: None)
