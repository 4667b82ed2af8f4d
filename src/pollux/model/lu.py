"""Factor a matrix once, solve with it many times: small ones by elimination with partial pivoting, written out.

Elimination of [W | I] gives the triangle U and M = L^{-1} P, so that a right-hand side costs one product and one back
substitution, without a permutation by traced indices. Written in whole rows, a small matrix is element-wise work
over a fleet; a large one goes to LAPACK.

Source: Golub and Van Loan, Matrix Computations, sec. 3.4 (partial pivoting bounds every element of L by one).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jax.scipy.linalg as jsl
from jax import Array

from pollux.model.linear import Linear

SMALL = 12
"""Up to this size elimination is written out."""


class Factors(NamedTuple):
    """W = M^{-1} U, with the reciprocals of the diagonal of U."""

    U: Array
    M: Array
    inverse: Array


def factor(W: Array) -> Any:
    """Factors of W (n, n). A singular matrix gives solutions that are not finite."""
    n = W.shape[0]
    if n > SMALL:
        return jsl.lu_factor(W)
    rows = jnp.arange(n)
    both = jnp.concatenate([W, jnp.eye(n, dtype=W.dtype)], axis=1)
    for k in range(n - 1):  # whole rows and masks, no gather and no scatter: element-wise work over a fleet
        size = jnp.where(rows < k, -1.0, jnp.abs(both[:, k]))
        pivot = (rows == jnp.argmax(size))[:, None]
        chosen = jnp.sum(jnp.where(pivot, both, 0.0), axis=0)
        both = jnp.where((rows == k)[:, None], chosen, jnp.where(pivot, both[k], both))
        ratio = jnp.where(rows > k, both[:, k], 0.0) * (1.0 / chosen[k])
        both = both - ratio[:, None] * chosen
    U = both[:, :n]
    return Factors(U, both[:, n:], 1.0 / jnp.diagonal(U))


def solve(factors: Any, b: Array) -> Array:
    """x with W x = b (n,)."""
    if not isinstance(factors, Factors):
        return jsl.lu_solve(factors, b)
    U, M, inverse = factors
    y = jnp.sum(M * b, axis=1)
    x: list[Array] = []
    for k in reversed(range(len(inverse))):
        x.insert(0, y[k] * inverse[k])
        y = y - U[:, k] * x[0]
    return jnp.stack(x) if x else y


def slopes(f: Callable[[Any, Array], Array], s: Any, x: Array) -> tuple[Array, Array]:
    """df/ds (n,) and df/dx (n, n), by n + 1 tangents."""
    return jax.jacfwd(f, argnums=(0, 1))(s, x)


DENSE = Linear(slopes, lambda J, shift: factor(shift * jnp.eye(J.shape[0]) - J), solve)
