"""Solutions of triangular systems, several rows at a time: L X = R with vectors along the columns of X.

    X_i = (R_i - sum over k < i of L_ik X_k) / L_ii

What is upper, transposed, or written on the right is the same with strides turned round. Rows are divided by a
multiplication with 1 / L_ii, as BLAS does.
"""

from pollux.model.native.arrays.loops import packed, places
from pollux.model.native.arrays.memory import address, load, load_one, load_raw, mask, store
from pollux.model.native.arrays.pen import Index, Pen
from pollux.model.native.arrays.product import fma, matrix
from pollux.model.native.arrays.view import View

HIGH = 4
"""Rows that are solved together."""


def triangular_solve(pen: Pen, a: View, b: View, left: bool, lower: bool, transpose: bool, unit: bool) -> View:
    """x of a x = b, or of x a = b where not `left`; leading axes are batches."""
    lead, axes = b.shape[:-2], len(b.shape) - 2
    turned = (*range(axes), axes + 1, axes)
    down = lower
    if transpose != (not left):  # x a = b  <=>  a' x' = b'
        a, down = a.transposed(turned), not down
    X = packed(pen, b if left else b.transposed(turned))
    rows = X
    if not down:  # from the last row to the first
        a, rows = a.flipped([axes, axes + 1]), X.flipped([axes])

    places(pen, lead, lambda at: _solve(pen, matrix(pen, a, at), matrix(pen, rows, at), unit))
    return X if left else X.transposed(turned)


def _solve(pen: Pen, L: View, X: View, unit: bool) -> None:
    (n, m), w = X.shape, pen.many.lanes
    vectors = -(-m // w)
    wide = min(vectors, 5 if pen.registers == 32 else 2)
    for v in range(0, vectors, wide):
        count = min(wide, vectors - v)
        last = mask(w, m % w) if v + count == vectors and m % w else None
        whole = n - n % HIGH
        if whole:
            with pen.loop(whole, HIGH) as i:
                _rows(pen, L, X, (i, HIGH), (v * w, count, last), unit)
        if n % HIGH:
            _rows(pen, L, X, (whole, n % HIGH), (v * w, count, last), unit)


def _rows(pen: Pen, L: View, X: View, rows: tuple[Index, int], columns: tuple, unit: bool) -> None:
    (i, high), (j, count, last) = rows, columns
    d, w, kind = X.dtype, pen.many.lanes, pen.many.type(X.dtype)

    def masked(v: int) -> str | None:
        return last if v == count - 1 else None

    def vector(row: Index, v: int) -> str:
        return load(pen, d, address(pen, X, (row, j + v * w), X.strides), pen.many, masked(v))

    def factor(row: Index, column: Index) -> str:
        return address(pen, L, (row, column), L.strides)

    sums = [[pen.slot(kind) for _ in range(count)] for _ in range(high)]
    for r in range(high):
        for v in range(count):
            pen.line(f"store {kind} {vector(pen.add(i, r), v)}, ptr {sums[r][v]}")
    begun = pen.put(f"icmp ne i64 {i}, 0")
    with pen.when(begun), pen.loop(i) as k:
        minus = [pen.op(pen.many, "neg", d, vector(k, v)) for v in range(count)]
        for r in range(high):
            x = load_one(pen, d, factor(pen.add(i, r), k), pen.many)
            for v in range(count):
                old = pen.put(f"load {kind}, ptr {sums[r][v]}")
                pen.line(f"store {kind} {fma(pen, d, x, minus[v], old)}, ptr {sums[r][v]}")
    done = [[pen.put(f"load {kind}, ptr {s}") for s in row] for row in sums]
    for r in range(high):
        if not unit:
            pivot = load_raw(pen, d, factor(pen.add(i, r), pen.add(i, r)))
            inverse = pen.op(pen.one, "div", d, pen.one.const(1.0, d), pivot)
            inverse = pen.splat(pen.many, pen.one.kind(d), inverse)
            done[r] = [pen.op(pen.many, "mul", d, value, inverse) for value in done[r]]
        for v in range(count):
            store(pen, d, done[r][v], address(pen, X, (pen.add(i, r), j + v * w), X.strides), pen.many, masked(v))
        for s in range(r + 1, high):
            x = load_one(pen, d, factor(pen.add(i, s), pen.add(i, r)), pen.many)
            for v in range(count):
                minus = pen.op(pen.many, "neg", d, done[r][v])
                done[s][v] = fma(pen, d, x, minus, done[s][v])
