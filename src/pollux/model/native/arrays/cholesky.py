"""Cholesky's factor of a matrix, panel by panel: U = L' row by row, so that vectors run along its rows.

With panels of W rows (the lanes of a vector), rows of C that are still to come as columns of vectors v = p, p + 1, ...

    T_v = C_pv - sum over q < p of U_qp' U_qv,     U_pp' U_pp = T_p,     U_pv = U_pp^-T T_v

The block on the diagonal is factored in registers. A pivot that is not positive makes the whole factor NaN, as in JAX.

Source: Golub and Van Loan (2013), Matrix Computations, sec. 4.2.6 (block Cholesky, in the left-looking order).
"""

from pollux.model.native.arrays.loops import copy, places
from pollux.model.native.arrays.memory import address, load, load_one, store, take
from pollux.model.native.arrays.pen import Index, Pen
from pollux.model.native.arrays.product import fma, matrix
from pollux.model.native.arrays.view import View


def cholesky(pen: Pen, x: View) -> View:
    """L of x (..., n, n), whose lower triangle is read; zeros above the diagonal."""
    lead, n, w = x.shape[:-2], x.shape[-1], pen.many.lanes
    panels = -(-n // w)
    U = take(pen, x.dtype, (*lead, panels * w, panels * w))
    axes = len(lead)
    turned = (*range(axes), axes + 1, axes)
    inside = U.sliced([0] * (axes + 2), (*lead, n, n), [1] * (axes + 2))
    copy(pen, x.transposed(turned), inside)

    places(pen, lead, lambda at: _factor(pen, matrix(pen, U, at), n))
    return inside.transposed(turned)


def _factor(pen: Pen, U: View, n: int) -> None:
    """The upper factor in place of the upper triangle of a matrix whose sides are whole vectors."""
    w, d = pen.many.lanes, U.dtype
    panels, kind, number = U.shape[0] // w, pen.many.type(U.dtype), pen.one.type(U.dtype)
    for r in range(n, U.shape[0]):  # behind the matrix: ones on the diagonal
        for v in range(panels):
            unit = [float(v * w + k == r) for k in range(w)]
            cells = ", ".join(f"{number} {pen.one.const(u, d)}" for u in unit)
            store(pen, d, f"<{cells}>", address(pen, U, (r, v * w), U.strides), pen.many)
    for r in range(n):
        for c in range(n, U.shape[0]):
            store(pen, d, pen.one.const(0.0, d), address(pen, U, (r, c), U.strides), pen.one)
    sound = pen.slot("i1")
    pen.line(f"store i1 true, ptr {sound}")
    for p in range(panels):
        for v in range(p):
            for r in range(w):
                store(pen, d, pen.many.const(0.0, d), address(pen, U, (p * w + r, v * w), U.strides), pen.many)
        rows = _less(pen, U, p, p * w)
        inverse = []
        for r in range(w):
            pivot = pen.put(f"extractelement {kind} {rows[r]}, i64 {r}")
            good = pen.op(pen.one, "gt", d, pivot, pen.one.const(0.0, d), result=bool)
            old = pen.put(f"load i1, ptr {sound}")
            pen.line(f"store i1 {pen.put(f'and i1 {old}, {good}')}, ptr {sound}")
            root = pen.op(pen.one, "sqrt", d, pivot)
            inverse.append(pen.splat(pen.many, number, pen.op(pen.one, "div", d, pen.one.const(1.0, d), root)))
            scaled = pen.op(pen.many, "mul", d, rows[r], inverse[r])
            rows[r] = pen.put(f"insertelement {kind} {scaled}, {number} {root}, i64 {r}")
            minus = pen.op(pen.many, "neg", d, rows[r])
            for s in range(r + 1, w):
                rows[s] = fma(pen, d, _lane(pen, kind, number, minus, s), rows[r], rows[s])
        for r in range(w):
            keep = ", ".join(f"i1 {int(k >= r)}" for k in range(w))
            kept = pen.put(f"select <{w} x i1> <{keep}>, {kind} {rows[r]}, {kind} {pen.many.const(0.0, d)}")
            store(pen, d, kept, address(pen, U, (p * w + r, p * w), U.strides), pen.many)
        if p + 1 < panels:
            with pen.loop(panels * w, w, (p + 1) * w) as column:
                _solve(pen, U, p, column, inverse)
    lost = pen.put(f"xor i1 {pen.put(f'load i1, ptr {sound}')}, true")
    with pen.when(lost), pen.loop(n) as i, pen.loop(panels * w, w) as j:
        store(pen, d, pen.many.const(float("nan"), d), address(pen, U, (i, j), U.strides), pen.many)


def _solve(pen: Pen, U: View, p: int, column: Index, inverse: list[str]) -> None:
    """Rows of panel p in one column of vectors behind its diagonal."""
    w, d = pen.many.lanes, U.dtype
    rows = _less(pen, U, p, column)
    for r in range(w):
        rows[r] = pen.op(pen.many, "mul", d, rows[r], inverse[r])
        minus = pen.op(pen.many, "neg", d, rows[r])
        for s in range(r + 1, w):
            factor = load_one(pen, d, address(pen, U, (p * w + r, p * w + s), U.strides), pen.many)
            rows[s] = fma(pen, d, factor, minus, rows[s])
        store(pen, d, rows[r], address(pen, U, (p * w + r, column), U.strides), pen.many)


def _less(pen: Pen, U: View, p: int, column: Index) -> list[str]:
    """T_v of the module docstring: W vectors, less what the panels above account for."""
    w, d = pen.many.lanes, U.dtype
    kind = pen.many.type(d)
    sums = [pen.slot(kind) for _ in range(w)]
    for r, s in enumerate(sums):
        pen.line(f"store {kind} {load(pen, d, address(pen, U, (p * w + r, column), U.strides), pen.many)}, ptr {s}")
    if p:
        with pen.loop(p * w) as k:
            row = load(pen, d, address(pen, U, (k, column), U.strides), pen.many)
            minus = pen.op(pen.many, "neg", d, row)
            for r, s in enumerate(sums):
                factor = load_one(pen, d, address(pen, U, (k, p * w + r), U.strides), pen.many)
                old = pen.put(f"load {kind}, ptr {s}")
                pen.line(f"store {kind} {fma(pen, d, factor, minus, old)}, ptr {s}")
    return [pen.put(f"load {kind}, ptr {s}") for s in sums]


def _lane(pen: Pen, kind: str, number: str, value: str, lane: int) -> str:
    one = pen.put(f"extractelement {kind} {value}, i64 {lane}")
    return pen.splat(pen.many, number, one)
