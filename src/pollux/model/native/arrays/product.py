"""Products of matrices: tiles of the result in registers, one row of B and one number of each row of A at a time.

    C[i, j] = sum over k of A[i, k] B[k, j],      k from first to last, fused multiply-adds

B must lie row by row (or A column by column, then C' = B' A' is computed); what does not is copied once. Rows of B are
read as vectors, elements of A are repeated in all lanes, so A may lie in any way.

Source: Goto and van de Geijn (2008), Anatomy of high-performance matrix multiplication, ACM TOMS 34 (the innermost
kernel alone: what is multiplied here fits into the cache).
"""

import numpy as np

from pollux.model.native.arrays.loops import combine, packed, places
from pollux.model.native.arrays.memory import address, load, load_one, mask, store, take
from pollux.model.native.arrays.moves import reshape
from pollux.model.native.arrays.pen import Index, Pen
from pollux.model.native.arrays.reduce import reduce
from pollux.model.native.arrays.view import View
from pollux.model.native.tape import UnsupportedError

WIDE = 5
"""Most vectors in a row of a tile."""


def product(pen: Pen, a: View, b: View, dimensions: tuple, dtype: np.dtype) -> View:
    """`dot_general`."""
    (ca, cb), (ba, bb) = dimensions
    if dtype.kind != "f" or a.dtype != dtype or b.dtype != dtype:
        raise UnsupportedError(f"a product of {a.dtype} and {b.dtype} as {dtype}")
    fa = [i for i in range(len(a.shape)) if i not in (*ca, *ba)]
    fb = [i for i in range(len(b.shape)) if i not in (*cb, *bb)]
    lead = [a.shape[i] for i in ba]
    A, a_rows = _matrix(pen, a, ba, fa, ca)
    B, b_rows = _matrix(pen, b, bb, fb, cb)
    if 0 in (A.shape[-1], A.size, B.size):
        raise UnsupportedError("a product of nothing")
    B = B.transposed([*range(len(lead)), len(lead) + 1, len(lead)])  # (batch, k, n)
    n = len(lead)
    m, w = A.shape[n], B.shape[n + 1]
    flip = w == 1 < m or (w > 1 and B.strides[-1] != 1 and A.strides[n] == 1)
    if flip:  # C' = B' A'
        A, B = (x.transposed([*range(n), n + 1, n]) for x in (B, A))
        m, w = w, m
    lined = A.strides[-1] == 1 and B.strides[-2] == 1 != B.strides[-1]  # both along the sum
    if w == 1 or (m == 1 and lined):
        C = _dots(pen, A, B, lead)
    else:
        if B.strides[-1] != 1:
            B = packed(pen, B)
        C = take(pen, dtype, (*lead, m, w))
        places(pen, lead, lambda at: multiply(pen, *(matrix(pen, v, at) for v in (A, B, C))))
    if flip:
        C = C.transposed([*range(n), n + 1, n])
    return reshape(pen, C, (*lead, *a_rows, *b_rows))


def multiply(pen: Pen, A: View, B: View, C: View) -> None:
    """C = A B for matrices, rows of B and of C contiguous."""
    (m, inner), n, w = A.shape, B.shape[1], pen.many.lanes
    vectors = -(-n // w)
    wide = min(vectors, WIDE if pen.registers == 32 else 3)
    high = min(m, max(1, (pen.registers - 2 - wide) // wide))
    for v in range(0, vectors, wide):
        count = min(wide, vectors - v)
        last = mask(w, n % w) if v + count == vectors and n % w else None
        whole = m - m % high
        with pen.loop(whole, high) as i:
            _tile(pen, A, B, C, (i, high), (v * w, count, last), inner)
        if m % high:
            _tile(pen, A, B, C, (whole, m % high), (v * w, count, last), inner)


def _tile(pen: Pen, A: View, B: View, C: View, rows: tuple[Index, int], columns: tuple, inner: int) -> None:
    (i, high), (j, count, last) = rows, columns
    kind, w = pen.many.type(A.dtype), pen.many.lanes
    sums = [[pen.slot(kind) for _ in range(count)] for _ in range(high)]
    for s in (s for row in sums for s in row):
        pen.line(f"store {kind} {pen.many.const(0.0, A.dtype)}, ptr {s}")
    with pen.loop(inner) as k:
        row = [
            load(pen, B.dtype, address(pen, B, (k, j + v * w), B.strides), pen.many, last if v == count - 1 else None)
            for v in range(count)
        ]
        for r in range(high):
            x = load_one(pen, A.dtype, address(pen, A, (pen.add(i, r), k), A.strides), pen.many)
            for v in range(count):
                old = pen.put(f"load {kind}, ptr {sums[r][v]}")
                pen.line(f"store {kind} {fma(pen, A.dtype, x, row[v], old)}, ptr {sums[r][v]}")
    for r in range(high):
        for v in range(count):
            value = pen.put(f"load {kind}, ptr {sums[r][v]}")
            pointer = address(pen, C, (pen.add(i, r), j + v * w), C.strides)
            store(pen, C.dtype, value, pointer, pen.many, last if v == count - 1 else None)


def fma(pen: Pen, dtype: np.dtype, a: str, b: str, c: str) -> str:
    """a b + c of vectors."""
    return pen.op(pen.many, "fma", dtype, a, b, c)


def _dots(pen: Pen, A: View, B: View, lead: list[int]) -> View:
    """C where a row of A and a column of B lie the same way: products, then a sum."""
    n = len(lead)
    shape = (*lead, A.shape[n], B.shape[-1], A.shape[-1])
    rows = A.spread(shape, (*range(n), n, n + 2))
    columns = B.transposed([*range(n), n + 1, n]).spread(shape, (*range(n), n + 1, n + 2))
    both = take(pen, A.dtype, shape)
    combine(pen, "mul", rows, columns, both)
    return reduce(pen, "add", both, (n + 2,))


def _matrix(pen: Pen, x: View, batch: tuple, free: list[int], summed: tuple) -> tuple[View, list[int]]:
    """(x as (batch..., rows, summed), shape of its rows)."""
    x = x.transposed([*batch, *free, *summed])
    lead = list(x.shape[: len(batch)])
    rows = list(x.shape[len(batch) : len(batch) + len(free)])
    shape = (*lead, int(np.prod(rows, dtype=int)), int(np.prod(x.shape[len(batch) + len(free) :], dtype=int)))
    return reshape(pen, x, shape), rows


def matrix(pen: Pen, view: View, at: tuple[Index, ...]) -> View:
    """The matrix of a batch at a place of its leading axes."""
    if not at:
        return view
    pointer = address(pen, view, at, view.strides[: len(at)])
    return View(pointer, view.dtype, view.shape[len(at) :], view.strides[len(at) :])
