"""What runs along one axis: cumulative sums, products and extremes, and the place of an extreme."""

import numpy as np

from pollux.model.native.arrays.loops import Here, Lay, lay, nest, order_of, packed, places, read
from pollux.model.native.arrays.memory import address, load, store
from pollux.model.native.arrays.memory import take as room
from pollux.model.native.arrays.pen import Index, Pen
from pollux.model.native.arrays.view import View
from pollux.model.native.text import zero


def cumulative(pen: Pen, name: str, x: View, axis: int, reverse: bool) -> View:
    """`name` of everything up to here along one axis."""
    out = packed(pen, x, order_of([x]))
    source = out.flipped([axis]) if reverse else out
    before = source.sliced([0] * len(x.shape), [n - (a == axis) for a, n in enumerate(x.shape)], [1] * len(x.shape))
    after = source.sliced([int(a == axis) for a in range(len(x.shape))], x.shape, [1] * len(x.shape))
    if not after.size:
        return out
    slow = (axis, *(a for a in order_of([out]) if a != axis))
    layout = _apart(after, before, slow)

    def write(here: Here) -> None:
        old = read(pen, before, layout.strides[0], here)
        new = read(pen, after, layout.strides[1], here)
        value = pen.op(here.lanes, name, x.dtype, old, new)
        store(pen, x.dtype, value, address(pen, after, here.at, layout.strides[1]), here.lanes, here.mask)

    if layout.counts and layout.counts[-1] == after.shape[axis] and len(layout.counts) == 1:
        with pen.loop(after.shape[axis]) as i:  # one after the other
            write(Here(pen.one, None, (i,)))
    else:
        nest(pen, layout, write, lambda at: None)
    return out


def _apart(a: View, b: View, order: tuple[int, ...]) -> Lay:
    """The layout of two views whose slowest axis is not merged with the others."""
    inner = lay(a.shape, (b.strides, a.strides), order[1:])
    first = order[0]
    return Lay(
        (a.shape[first], *inner.counts), ((b.strides[first], *inner.strides[0]), (a.strides[first], *inner.strides[1]))
    )


def place_of(pen: Pen, name: str, x: View, axis: int, dtype: np.dtype) -> View:
    """`argmax` (name "gt") and `argmin` ("lt") along one axis: the first best; the first NaN, if there is one."""
    kept = tuple(a for a in range(len(x.shape)) if a != axis)
    out = room(pen, dtype, [x.shape[a] for a in kept])
    kind, number = pen.one.type(x.dtype), pen.one.type(dtype)

    def one(at: tuple[Index, ...]) -> None:
        best, where = pen.slot(kind), pen.slot(number)
        strides = [*(x.strides[a] for a in kept), x.strides[axis]]
        first = load(pen, x.dtype, address(pen, x, (*at, 0), strides), pen.one)
        pen.line(f"store {kind} {first}, ptr {best}")
        pen.line(f"store {number} {zero(number, 1)}, ptr {where}")
        if x.shape[axis] > 1:
            with pen.loop(x.shape[axis], start=1) as k:
                e = load(pen, x.dtype, address(pen, x, (*at, k), strides), pen.one)
                old = pen.put(f"load {kind}, ptr {best}")
                better = pen.op(pen.one, name, x.dtype, e, old, result=bool)
                if x.dtype.kind == "f":
                    nan, sound = (pen.op(pen.one, c, x.dtype, v, v, result=bool) for c, v in (("ne", e), ("eq", old)))
                    better = pen.put(f"or i1 {better}, {pen.put(f'and i1 {nan}, {sound}')}")
                with pen.when(better):
                    pen.line(f"store {kind} {e}, ptr {best}")
                    place = k if number == "i64" else pen.put(f"trunc i64 {k} to {number}")
                    pen.line(f"store {number} {place}, ptr {where}")
        found = pen.put(f"load {number}, ptr {where}")
        store(pen, dtype, found, address(pen, out, at, out.strides), pen.one)

    places(pen, [x.shape[a] for a in kept], one)
    return out
