"""What runs along one axis: cumulative sums, products and extremes, and the place of an extreme."""

import numpy as np

from pollux.model.native.arrays.loops import combine, order_of, packed, places
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
    with pen.loop(after.shape[axis]) as k:  # one after the other
        old, new = (_at(pen, x, axis, k) for x in (before, after))
        combine(pen, name, old, new, new)
    return out


def _at(pen: Pen, x: View, axis: int, k: Index) -> View:
    """Element k of an axis, which is gone."""
    pointer = address(pen, x, (k,), (x.strides[axis],))
    rest = [a for a in range(len(x.shape)) if a != axis]
    return View(pointer, x.dtype, tuple(x.shape[a] for a in rest), tuple(x.strides[a] for a in rest))


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
