"""The analysis of ensemble filters: from the statistics of a forecast to new contrasts, by one triangular solution.

With S (N - 1, ny) and e = R^-1/2 nu of `pollux.mirror.ensemble`, and L the Cholesky factor of the smaller of two,

    C = I + S S' = L L',   G = L^-1 A,     V = L^-1 S D'      where N - 1 <= ny
    C = I + S' S = L L',   G = L^-1 S' A,  V = L^-1 D'        otherwise

members with the normalised innovations D (k, ny) move by D (I + S' S)^-1 S' A = V' G. The mean is one, D = e', and with
its own column v of V,

    nis = nu' (Y' Y + R)^-1 nu = e' e - v' v  or  v' v,      log det (Y' Y + R) = log det R + 2 sum_i log L_ii

Sources: Evensen (2009), Data Assimilation: The Ensemble Kalman Filter, ch. 9; Andrews (1968), A square root formulation
of the Kalman covariance equations, AIAA J. 6.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from pollux.mirror.ensemble import Predicted


class Analysed(NamedTuple):
    """What the members move by, and how likely the readings were; letters as in the module docstring."""

    moves: Array
    """(k, n), a row for each row of D; the first is that of the mean."""
    L: Array
    G: Array
    nis: Array
    logdet: Array


def analysed(f: Predicted, R: Array, noise: Array | None = None) -> Analysed:
    """The analysis of e and, where `noise` (N - 1, ny) is given, of members with D = noise - S."""
    few, n = _few_members(f.S), f.A.shape[1]
    L = factored(f.S)
    D = f.e[None] if noise is None else jnp.concatenate([f.e[None], noise - f.S])
    right = jnp.concatenate([f.A.T, D @ f.S.T] if few else [f.A.T @ f.S, D])
    # from the right, because BLAS takes half as long as from the left
    solved = jax.lax.linalg.triangular_solve(L, right, left_side=False, lower=True, transpose_a=True)
    G, V = solved[:n].T, solved[n:]
    return Analysed(V @ G, L, G, *_likelihood(f, R, L, V[0]))


def likelihood(f: Predicted, R: Array) -> tuple[Array, Array]:
    """(nis, log det S) alone."""
    L = factored(f.S)
    right = f.S @ f.e if _few_members(f.S) else f.e
    return _likelihood(f, R, L, jax.scipy.linalg.solve_triangular(L, right, lower=True))


def factored(S: Array) -> Array:
    """L of the module docstring."""
    return jax.lax.linalg.cholesky(_gram(S), symmetrize_input=False)


def any_root(f: Predicted, found: Analysed) -> Array:
    """T A with T' T = (I + S S')^-1: L^-1 A, or Andrews' A - S (I + L')^-1 L^-1 S' A."""
    if _few_members(f.S):
        return found.G
    whole = found.L + jnp.eye(len(found.L))
    return f.A - f.S @ jax.scipy.linalg.solve_triangular(whole, found.G, lower=True, trans=1)


def symmetric_root(f: Predicted) -> Array:
    """(I + S S')^-1/2 A, by eigenvalues of the smaller of S S' and S' S."""
    values, V = jnp.linalg.eigh(_gram(f.S), symmetrize_input=False)
    if _few_members(f.S):
        return V @ ((V.T @ f.A) / jnp.sqrt(values)[:, None])
    # (v^-1/2 - 1) / (v - 1) without the difference, v >= 1 but for rounding
    bend = -1 / (jnp.sqrt(values) * (1 + jnp.sqrt(values)))
    return f.A + f.S @ (V @ (bend[:, None] * (V.T @ (f.S.T @ f.A))))


def _likelihood(f: Predicted, R: Array, L: Array, v: Array) -> tuple[Array, Array]:
    nis = f.e @ f.e - v @ v if _few_members(f.S) else v @ v
    logdet = jnp.sum(jnp.where(f.used > 0, jnp.log(R), 0.0)) + 2 * jnp.sum(jnp.log(jnp.diag(L)))
    return nis, logdet


def _few_members(S: Array) -> bool:
    return S.shape[0] <= S.shape[1]


def _gram(S: Array) -> Array:
    return jnp.eye(min(S.shape)) + (S @ S.T if _few_members(S) else S.T @ S)
