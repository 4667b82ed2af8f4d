"""C^-1/2 v for many small symmetric matrices C >= I at once, without eigenvalues: the batch axis is last.

Product form of the Denman-Beavers iteration, of which only the product with v is kept:

    M_0 = C, v_0 = v;    v_k+1 = (v_k + M_k^-1 v_k) / 2,    M_k+1 = I / 2 + (M_k + M_k^-1) / 4

M_k tends to I quadratically and v_k to C^-1/2 v; all M_k are symmetric and >= I, so that their inverses need no
pivots. LAPACK's eigenvalues, one matrix after another, take about five times as long for 40 matrices of order 6.

Source: Cheng, Higham, Kenney and Laub (2001), Approximating the logarithm of a matrix to specified accuracy, SIAM J.
Matrix Anal. Appl. 22, sec. 4; Higham (2008), Functions of Matrices, eq. 6.29.
"""

import jax
import jax.numpy as jnp
from jax import Array

CONVERGED = 1e-8
"""|M - I| at which one more turn is exact to rounding: the error is squared."""

TURNS = 60
"""Never more: an eigenvalue falls to a quarter each turn, so this is enough for 1e30."""


def spd_inverse(M: Array) -> Array:
    """Inverses of symmetric positive definite M (k, k, batch) by Gauss and Jordan's sweeps, without pivots."""
    for i in range(M.shape[0]):
        pivot = 1 / M[i, i]
        row, column = M[i] * pivot, M[:, i]
        M = M - column[:, None] * row[None]
        M = M.at[i].set(row).at[:, i].set(-column * pivot).at[i, i].set(pivot)
    return M


def inverse_root(C: Array, C_inv: Array, v: Array) -> Array:
    """C^-1/2 v for C and its inverse (k, k, batch), C >= I, and v (k, batch)."""
    one = jnp.eye(C.shape[0])[:, :, None]

    def more(carry):
        k, M, _, _ = carry
        return (k < TURNS) & jnp.any(jnp.abs(M - one) > CONVERGED)  # ends for NaN

    def turn(carry):
        k, M, M_inv, v = carry
        v = (v + jnp.sum(M_inv * v[None], axis=1)) / 2
        M = one / 2 + (M + M_inv) / 4
        return k + 1, M, spd_inverse(M), v

    _, _, M_inv, v = jax.lax.while_loop(more, turn, (0, C, C_inv, v))
    return (v + jnp.sum(M_inv * v[None], axis=1)) / 2
