"""Sums, products and extremes over axes."""

from collections.abc import Callable
from typing import Any

import numpy as np

from pollux.model.native.arrays.loops import Here, lay, nest, places, read
from pollux.model.native.arrays.memory import address, load, mask, store
from pollux.model.native.arrays.memory import take as room
from pollux.model.native.arrays.pen import Index, Pen
from pollux.model.native.arrays.view import View
from pollux.model.native.scalars import Lanes
from pollux.model.native.tape import UnsupportedError

STARTS: dict[str, Callable[[np.dtype], Any]] = {
    "add": lambda d: d.type(0),
    "mul": lambda d: d.type(1),
    "max": lambda d: -np.inf if d.kind == "f" else False if d.kind == "b" else np.iinfo(d).min,
    "min": lambda d: np.inf if d.kind == "f" else True if d.kind == "b" else np.iinfo(d).max,
    "and": lambda d: True if d.kind == "b" else np.iinfo(d).max if d.kind == "u" else -1,
    "or": lambda d: d.type(0),
}
"""What an operation leaves as it is."""
TILE = 6
"""Vectors that are summed side by side, so that an addition need not wait for the one before."""


def reduce(pen: Pen, name: str, x: View, axes: tuple[int, ...]) -> View:
    """`name` ("add", "mul", "max", ...) over `axes` of x."""
    kept = tuple(a for a in range(len(x.shape)) if a not in axes)
    unit = next((a for a in range(len(x.shape)) if x.strides[a] == 1 and x.shape[a] > 1), None)
    if x.size == 0:
        raise UnsupportedError(f"`reduce_{name}` of nothing")
    if unit in axes:
        return _along(pen, name, x, kept, axes, unit)
    return _across(pen, name, x, kept, axes, unit)


def _across(pen: Pen, name: str, x: View, kept: tuple[int, ...], axes: tuple[int, ...], unit: int | None) -> View:
    """The fastest axis is kept: vectors along it."""
    slow = [a for a in kept if a != unit]
    order = [kept.index(a) for a in (*slow, *([] if unit is None else [unit]))]
    out = room(pen, x.dtype, [x.shape[a] for a in kept], order)
    w = pen.many.lanes

    def piece(lanes: Lanes, masked: str | None, at: tuple[Index, ...], inner: Index, count: int) -> None:
        kind = lanes.type(x.dtype)
        sums = [pen.slot(kind) for _ in range(count)]
        for s in sums:
            pen.line(f"store {kind} {lanes.const(STARTS[name](x.dtype), x.dtype)}, ptr {s}")

        def turn(place: tuple[Index, ...]) -> None:
            for k, s in enumerate(sums):
                here = (*at, pen.add(inner, k * w), *place)
                strides = [*(x.strides[a] for a in slow), 1, *(x.strides[a] for a in axes)]
                value = load(pen, x.dtype, address(pen, x, here, strides), lanes, masked)
                old = pen.put(f"load {kind}, ptr {s}")
                pen.line(f"store {kind} {pen.op(lanes, name, x.dtype, old, value)}, ptr {s}")

        places(pen, [x.shape[a] for a in axes], turn)
        for k, s in enumerate(sums):
            here = (*at, pen.add(inner, k * w))
            strides = [*(out.strides[kept.index(a)] for a in slow), 1]
            value = pen.put(f"load {kind}, ptr {s}")
            store(pen, x.dtype, value, address(pen, out, here, strides), lanes, masked)

    def row(at: tuple[Index, ...]) -> None:
        n = 1 if unit is None else x.shape[unit]
        if n == 1:
            piece(pen.one, None, at, 0, 1)
            return
        whole = n // w
        tiles, left = divmod(whole, TILE)
        if tiles:
            with pen.loop(tiles * TILE * w, TILE * w) as i:
                piece(pen.many, None, at, i, TILE)
        if left:
            piece(pen.many, None, at, tiles * TILE * w, left)
        if n % w:
            piece(pen.many, mask(w, n % w), at, whole * w, 1)

    places(pen, [x.shape[a] for a in slow], row)
    return out


def _along(pen: Pen, name: str, x: View, kept: tuple[int, ...], axes: tuple[int, ...], unit: int | None) -> View:
    """The fastest axis is summed: vectors along it, then their lanes."""
    out = room(pen, x.dtype, [x.shape[a] for a in kept])
    start = STARTS[name](x.dtype)
    inner = [*(a for a in axes if a != unit), unit]
    layout = lay([x.shape[a] for a in inner], ([x.strides[a] for a in inner],), range(len(inner)))
    kind, wide = pen.one.type(x.dtype), pen.many.type(x.dtype)

    def row(at: tuple[Index, ...]) -> None:
        many, one = pen.slot(wide), pen.slot(kind)
        pen.line(f"store {wide} {pen.many.const(start, x.dtype)}, ptr {many}")
        pen.line(f"store {kind} {pen.one.const(start, x.dtype)}, ptr {one}")
        base = pen.add(*(pen.times(i, x.strides[a]) for i, a in zip(at, kept, strict=True)))
        moved = View(
            pen.put(f"getelementptr {pen.stored(x.dtype)}, ptr {x.pointer}, i64 {base}"), x.dtype, (), (), x.offset
        )

        def write(here: Here) -> None:
            value = read(pen, moved, layout.strides[0], here)
            if here.mask is not None:
                bits = f"<{here.lanes.lanes} x i1> {here.mask}"
                value = pen.put(f"select {bits}, {wide} {value}, {wide} {here.lanes.const(start, x.dtype)}")
            slot, form = (one, kind) if here.lanes.lanes == 1 else (many, wide)
            old = pen.put(f"load {form}, ptr {slot}")
            pen.line(f"store {form} {pen.op(here.lanes, name, x.dtype, old, value)}, ptr {slot}")

        nest(pen, layout, write, lambda at: None)
        total = pen.op(pen.one, name, x.dtype, pen.put(f"load {kind}, ptr {one}"), _lanes(pen, name, x.dtype, many))
        store(pen, x.dtype, total, address(pen, out, at, out.strides), pen.one)

    places(pen, [x.shape[a] for a in kept], row)
    return out


def _lanes(pen: Pen, name: str, dtype: np.dtype, slot: str) -> str:
    """All lanes of the vector in a slot as one number: halves upon each other."""
    n, kind = pen.many.lanes, pen.one.type(dtype)
    value = pen.put(f"load {pen.many.type(dtype)}, ptr {slot}")
    while n > 1:
        n //= 2
        halves = [
            pen.put(
                f"shufflevector <{2 * n} x {kind}> {value}, <{2 * n} x {kind}> poison, "
                f"<{n} x i32> <{', '.join(f'i32 {k + side * n}' for k in range(n))}>"
            )
            for side in (0, 1)
        ]
        lanes = Lanes(n, pen.one.real)
        if n == 1:
            halves = [pen.put(f"extractelement <1 x {kind}> {h}, i64 0") for h in halves]
        value = pen.op(lanes, name, dtype, *halves)
        pen.declared.update(lanes.intrinsics.values())
    return value
