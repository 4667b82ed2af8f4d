"""Matrix products and factorisations of object arrays, as scalar operations."""

from collections.abc import Callable

import numpy as np

from pollux.model.native.index import each, filled
from pollux.model.native.tape import UnsupportedError, Value


def dot(s, eqn, a, b):
    """`dot_general`: sums of products from left to right."""
    (ca, cb), (ba, bb) = eqn.params["dimension_numbers"]
    dtype = eqn.outvars[0].aval.dtype
    fa = [i for i in range(a.ndim) if i not in (*ca, *ba)]
    fb = [i for i in range(b.ndim) if i not in (*cb, *bb)]
    batch = [a.shape[i] for i in ba]
    k = int(np.prod([a.shape[i] for i in ca], dtype=int))
    rows, cols = [a.shape[i] for i in fa], [b.shape[i] for i in fb]
    lead, m, w = (int(np.prod(part, dtype=int)) for part in (batch, rows, cols))  # any of them may be nothing
    A = a.transpose(*ba, *fa, *ca).reshape(lead, m, k)
    B = b.transpose(*bb, *fb, *cb).reshape(lead, w, k)
    if dtype.kind == "b":
        raise UnsupportedError("a product of truth values")
    if a.size and b.size and k:  # the sum may be wider than what is multiplied
        A, B = (each(lambda e: s.op("convert_element_type", e, dtype=dtype), x) for x in (A, B))
    out = np.empty((lead, m, w), dtype=object)
    for n, i, j in np.ndindex(out.shape):
        out[n, i, j] = s.total([s.mul(x, y) for x, y in zip(A[n, i], B[n, j], strict=True)], dtype)
    return out.reshape([*batch, *rows, *cols])


def _batched(fn: Callable[..., np.ndarray], *arrays: np.ndarray) -> np.ndarray:
    """Apply a matrix function over the leading axes."""
    lead = arrays[0].shape[:-2]
    out = None
    for i in np.ndindex(lead):
        piece = fn(*(a[i] for a in arrays))
        if out is None:
            out = np.empty((*lead, *piece.shape), dtype=object)
        out[i] = piece
    if out is None:
        raise UnsupportedError("an empty batch of matrices")
    return out


def cholesky(s, eqn, a):
    """Row by row (Cholesky-Banachiewicz); a matrix that is not positive definite gives NaN throughout."""

    def factor(m):
        n = len(m)
        real = eqn.outvars[0].aval.dtype.type
        L = filled((n, n), real(0))
        definite = np.bool_(True)
        for i in range(n):
            rest = m[i, 0]
            for j in range(i + 1):
                rest = m[i, j]
                for k in range(j):
                    rest = s.sub(rest, s.mul(L[i, k], L[j, k]))
                L[i, j] = s.sqrt(rest) if i == j else s.div(rest, L[j, j])
            definite = s.op("and", definite, s.op("gt", rest, real(0), dtype=bool), dtype=bool)
        return each(lambda e: s.select(definite, e, real(np.nan)) if isinstance(e, Value) else e, L)

    return _batched(factor, a)


def triangular_solve(s, eqn, a, b):
    """Forward or backward substitution."""
    left, lower, transpose, unit = (eqn.params[k] for k in ("left_side", "lower", "transpose_a", "unit_diagonal"))

    def solve(m, rhs):
        down = lower
        if transpose:
            m, down = m.T, not down
        if not left:  # x m = rhs  <=>  m' x' = rhs'
            m, down, rhs = m.T, not down, rhs.T
        n = len(m)
        x = np.empty(rhs.shape, dtype=object)
        done: list[int] = []
        for i in range(n) if down else reversed(range(n)):
            for c in range(rhs.shape[1]):
                rest = rhs[i, c]
                for k in done:
                    rest = s.sub(rest, s.mul(m[i, k], x[k, c]))
                x[i, c] = rest if unit else s.div(rest, m[i, i])
            done.append(i)
        return x if left else x.T

    return _batched(solve, a, b)


def lu(s, eqn, a):
    """Elimination with partial pivoting; the choice of the pivot is a selection, so each twin has its own."""
    if a.ndim != 2 or a.shape[0] != a.shape[1] or len(a) > 6:
        raise UnsupportedError(f"`lu` of shape {a.shape}")
    m, n = a.copy(), len(a)
    pivots = np.empty(n, dtype=object)
    order = np.array([np.int32(i) for i in range(n)] + [None], dtype=object)[:-1]
    for k in range(n):
        best, at = s.op("abs", m[k, k], dtype=m[k, k].dtype), np.int32(k)
        for i in range(k + 1, n):
            size = s.op("abs", m[i, k], dtype=m[i, k].dtype)
            larger = s.op("gt", size, best, dtype=bool)
            best, at = s.select(larger, size, best), s.select(larger, np.int32(i), at)
        pivots[k] = at
        for i in range(k + 1, n):
            here = s.op("eq", at, np.int32(i), dtype=bool)
            for row in (*m.T, order):
                row[k], row[i] = s.select(here, row[i], row[k]), s.select(here, row[k], row[i])
        # a column of zeros has no pivot and is not divided, so that the determinant is zero (as in LAPACK)
        zero = s.op("eq", m[k, k], m[k, k].dtype.type(0), dtype=bool)
        pivot = s.select(zero, m[k, k].dtype.type(1), m[k, k]) if k + 1 < n else None
        for i in range(k + 1, n):
            m[i, k] = s.div(m[i, k], pivot)
            for j in range(k + 1, n):
                m[i, j] = s.sub(m[i, j], s.mul(m[i, k], m[k, j]))
    return [m, pivots, order]
