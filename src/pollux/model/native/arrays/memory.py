"""How elements of arrays are read and written, one or a vector of them, and room for new arrays."""

from collections.abc import Sequence

import numpy as np

from pollux.model.native.arrays.pen import Index, Pen
from pollux.model.native.arrays.view import View, row_major
from pollux.model.native.scalars import Lanes
from pollux.model.native.text import zero


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
    return spread(pen, dtype, load_raw(pen, dtype, pointer), lanes)


def spread(pen: Pen, dtype: np.dtype, value: str, lanes: Lanes) -> str:
    """An element, as it is stored, in all lanes."""
    value = pen.splat(lanes, pen.stored(dtype), value)
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


def _truth(pen: Pen, value: str, n: int) -> str:
    kind = "i8" if n == 1 else f"<{n} x i8>"
    return pen.put(f"icmp ne {kind} {value}, {zero('i8', n)}")


def _mark(kind: str) -> str:
    return {"double": "f64", "float": "f32"}.get(kind, kind)
