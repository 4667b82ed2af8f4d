"""Square-root algebra of the Gaussian filters: covariances as factors P = L L', never as differences.

Time update and measurement update are each one triangularisation (an array algorithm):

    [Phi L, Phi sqrt(dt/2 Q), sqrt(dt/2 Q)]  ->  L-                       (no update subtracts anything)

    [sqrt(R)  B  G ]      [ S^1/2     0  ]       L- L-' = P-,  G G' + B B' + R = S,  L- G' = Pxy
    [   0     0  L-]  ->  [ Kbar      L+ ],      K = Kbar S^-1/2,  L+ L+' = P- - K S K'

G is H L- for a Jacobian H and a difference of sigma points otherwise; B is what bends (zero for a Jacobian).

Sources: Kaminski, Bryson and Schmidt (1971), Discrete square root filtering, IEEE TAC 16; Kailath, Sayed and Hassibi
(2000), Linear Estimation, ch. 12; Bjorck (1967), Solving linear least squares problems by Gram-Schmidt
orthogonalization, BIT 7 (the triangular factor is as accurate as Householder's).
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array


def deviation(variance: Any) -> Array:
    """sqrt with a derivative of zero at zero: an interval of length zero, or a noise of none, must not give a NaN."""
    positive = variance > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, variance, 1.0)), 0.0)


def triangular(A: Array) -> Array:
    """The lower triangle L (n, n) with L L' = A A' and a diagonal >= 0, for A (n, m), by modified Gram-Schmidt.

    A row that depends on those above it gets a diagonal of the size of rounding, never NaN.
    """
    n = len(A)
    columns = []
    for i in range(n):
        norm2 = A[0] @ A[0]
        positive = norm2 > 0
        norm = jnp.sqrt(jnp.where(positive, norm2, 1.0))  # the inner choice keeps derivatives finite
        q = A[0] / norm
        below = A[1:] @ q
        columns.append(jnp.concatenate([jnp.zeros(i, A.dtype), jnp.where(positive, norm, 0.0)[None], below]))
        A = A[1:] - jnp.outer(below, q)
    return jnp.stack(columns, axis=1)


def factor(P: Array) -> Array:
    """Lower L with L L' = P, from the lower triangle of P; a matrix that rounding has made indefinite is mended.

    Cholesky's method with every pivot held above rounding, n eps P_ii: the result is the factor of a matrix that
    differs from P by no more than that on the diagonal. A variance of zero gives a row of zeros.
    """
    n = len(P)
    share = 4 * n * jnp.finfo(P.dtype).eps
    columns = []
    for i in range(n):
        least = share * P[i, i]
        column = P[i:, i] - sum((c[i] * c[i:] for c in columns), jnp.zeros(n - i, P.dtype))
        pivot = jnp.maximum(column[0], least)
        positive = pivot > 0
        root = jnp.sqrt(jnp.where(positive, pivot, 1.0))
        rest = jnp.where(positive, column[1:] / root, 0.0)
        columns.append(jnp.concatenate([jnp.zeros(i, P.dtype), jnp.where(positive, root, 0.0 * pivot)[None], rest]))
    return jnp.stack(columns, axis=1)


def covariance(L: Array) -> Array:
    """P = L L' with rounding treated as noise: `factor` of it succeeds however ill-conditioned it is."""
    P = L @ L.T
    return P + 4 * jnp.finfo(L.dtype).eps * jnp.diag(jnp.diag(P))


def propagate(L: Array, Phi: Array, Q: Array, dt: Any, discrete: bool) -> Array:
    """Factor after a time update; Q (n,) is the diagonal of the noise variance per second (`gaussian.propagate`)."""
    if discrete:
        return triangular(jnp.concatenate([Phi @ L, jnp.diag(deviation(dt * Q))], axis=1))
    half = deviation(dt / 2 * Q)
    return triangular(jnp.concatenate([Phi @ L, Phi * half, jnp.diag(half)], axis=1))


def update(
    x: Array, L: Array, G: Array, B: Array | None, nu: Array, R: Array, used: Array
) -> tuple[Array, Array, Array, Array]:
    """(x, L, nis, log det S) after fusing the sensors with `used` = 1; nis = nu' S^-1 nu and S over them.

    G (ny, n) and B (ny, k) as in the module docstring; a sensor that is not used gets a row of zeros and a unit
    variance, so that its gain and its share of log det S are exactly zero.
    """
    ny, n = G.shape
    mask = used > 0
    root = jnp.diag(jnp.where(mask, jnp.sqrt(R), 1.0))
    bend = jnp.zeros((ny, 0), L.dtype) if B is None else jnp.where(mask[:, None], B, 0.0)
    top = jnp.concatenate([root, bend, jnp.where(mask[:, None], G, 0.0)], axis=1)
    bottom = jnp.concatenate([jnp.zeros((n, ny + bend.shape[1]), L.dtype), L], axis=1)
    post = triangular(jnp.concatenate([top, bottom]))
    S_root, K_bar, L_post = post[:ny, :ny], post[ny:, :ny], post[ny:, ny:]
    e = jax.scipy.linalg.solve_triangular(S_root, jnp.where(mask, nu, 0.0), lower=True)
    return x + K_bar @ e, L_post, e @ e, 2 * jnp.sum(jnp.log(jnp.diag(S_root)))
