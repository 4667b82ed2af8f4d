"""Linear algebra for a tridiagonal Jacobian: one field on a line of cells, each of which sees its two neighbours.

Three tangents give the whole Jacobian, whatever the number of cells, because every third column shares no row (Curtis,
Powell and Reid, On the estimation of sparse Jacobian matrices, IMA J. Appl. Math. 13 (1974)); a solve takes O(n).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from pollux.model.linear import Linear


class Bands(NamedTuple):
    """Below, on and above the diagonal, (n,) each; the first of `lower` and the last of `upper` are zero."""

    lower: Array
    diagonal: Array
    upper: Array


def slopes(f: Callable[[Any, Array], Array], s: Any, x: Array) -> tuple[Array, Bands]:
    """df/ds and the bands of df/dx, by four tangents."""
    n = x.shape[0]
    colour = np.arange(n) % 3
    s = jnp.asarray(s, x.dtype)

    def tangent(ds: Array, dx: Array) -> Array:
        return jax.jvp(f, (s, x), (ds, dx))[1]

    ds = jnp.asarray([1.0, 0.0, 0.0, 0.0], x.dtype)
    dx = jnp.asarray(np.stack([np.zeros(n), *(colour == c for c in range(3))]), x.dtype)
    by = jax.vmap(tangent)(ds, dx)
    f_t, columns = by[0], by[1:]

    def band(offset: int) -> Array:
        where = (colour + offset) % 3
        inside = (np.arange(n) + offset >= 0) & (np.arange(n) + offset < n)
        picked = sum(jnp.where((where == c) & inside, columns[c], 0.0) for c in range(3))
        return jnp.asarray(picked)

    return f_t, Bands(band(-1), band(0), band(1))


def factor(J: Bands, shift: Any) -> Bands:
    """Bands of shift I - J; elimination is as cheap as a solve, so nothing is kept of it."""
    return Bands(-J.lower, shift - J.diagonal, -J.upper)


def solve(W: Bands, b: Array) -> Array:
    """W^{-1} b, by elimination with partial pivoting (LAPACK `gtsv` on a CPU)."""
    return jax.lax.linalg.tridiagonal_solve(W.lower, W.diagonal, W.upper, b[:, None])[:, 0]


TRIDIAGONAL = Linear(slopes, factor, solve)
