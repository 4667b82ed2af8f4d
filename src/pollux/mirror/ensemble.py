"""What the ensemble filters share: the state they carry, its forecast, and the statistics they report.

Notation: ensemble E (N, n), mean x, scaled anomalies in a basis without the mean, A = B' (E - x) / sqrt(N - 1), where
the columns of B (N, N - 1) are orthonormal and orthogonal to the vector of ones, so that P = A' A and nothing that is
done to A moves the mean. Y and S = R^-1/2 Y' are the same of the predicted readings.

    nis = nu' (Y' Y + R)^-1 nu = e' (e - S' w),  w = (I + S S')^-1 S e = S (I + S' S)^-1 e,  e = R^-1/2 nu
    log det (Y' Y + R) = log det R + log det (I + S S')

Sources: Evensen (2009), Data Assimilation: The Ensemble Kalman Filter, ch. 9; Sakov and Oke (2008), Implications of
the form of the ensemble transformation in the ensemble square root filters, Mon. Wea. Rev. 136 (keeping the mean);
Andrews (1968), A square root formulation of the Kalman covariance equations, AIAA J. 6.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.linalg import cho_solve, solve_triangular

from pollux.core.errors import InputError
from pollux.model.gaussian import gated
from pollux.model.random import Stream, normal
from pollux.model.rk4 import transition
from pollux.model.squareroot import factor
from pollux.model.statespace import System


class Members(NamedTuple):
    """What an ensemble filter carries: members (N, n), inflation factor, steps taken, and seed of its random numbers.

    All are float64, so that a belief can store them in one vector; a seed is a whole number below 2^53.
    """

    E: Array
    inflation: Array
    taken: Array
    seed: Array


class Predicted(NamedTuple):
    """Statistics of a forecast ensemble at a reading; shapes as in the module docstring."""

    x: Array
    A: Array
    y_hat: Array
    Y: Array
    nu: Array
    S_diag: Array
    used: Array
    S: Array
    """R^-1/2 Y' transposed, (N - 1, ny); columns of zeros where a sensor is not used."""
    e: Array
    """R^-1/2 nu, (ny,); zeros where a sensor is not used."""


def check_members(members: int, seed: int, least: int = 2) -> None:
    """Raises `InputError` for an ensemble that is too small, or a seed that a float64 cannot hold."""
    if members < least:
        raise InputError(f"An ensemble needs at least {least} members, received {members!r}")
    if not 0 <= seed < 2**53:
        raise InputError(f"A seed is a whole number from 0 to 2^53, received {seed!r}")


def begin(members: int, seed: int, inflation: float, x0: Any, P0: Any) -> Members:
    """Members drawn from N(x0, P0), moved so that their mean is x0 and scaled so that E[cov] = P0."""
    E = _drawn(members, jnp.asarray(x0, jnp.float64), jnp.asarray(P0, jnp.float64), seed)
    return Members(E, jnp.asarray(float(inflation)), jnp.zeros(()), jnp.asarray(float(seed)))


@lru_cache(maxsize=64)
def helmert(members: int) -> np.ndarray:
    """The basis B (N, N - 1): B' B = I, B' 1 = 0 (Helmert's contrasts)."""
    B = np.triu(np.ones((members, members - 1)))
    B[np.arange(1, members), np.arange(members - 1)] = -np.arange(1.0, members)
    return B / np.linalg.norm(B, axis=0)


def draws(seed: Array, stream: Stream, taken: Array, members: int, size: int) -> Array:
    """N(0, 1) numbers (members, size) of one step: what one member draws does not depend on how many there are."""
    step, seed = taken.astype(jnp.uint32), seed.astype(jnp.uint64)
    return jax.vmap(lambda i: normal(seed, stream, i, step, size))(jnp.arange(members, dtype=jnp.uint32))


def forecasting(system: System, substeps: int, low: Any, high: Any) -> Callable[..., Array]:
    """(t, dt, E, u, p, Q, seed, taken) -> members at t + dt: each flows, is shaken by its own noise, and is clipped."""
    flow = transition(system, substeps)
    free = unbounded(low, high)

    def forecast(t, dt, E, u, p, Q, seed, taken):
        moved = jax.vmap(lambda x: flow(t, dt, x, u, p))(E)
        if system.period is not None:
            moved = jnp.where(dt > 0, moved, E)

        def shaken(moved):
            return moved + jnp.sqrt(dt * Q) * draws(seed, Stream.MIRROR_NOISE, taken, *E.shape)

        moved = jax.lax.cond(jnp.any(Q > 0), shaken, lambda moved: moved, moved)
        return moved if free else jnp.clip(moved, low, high)

    return forecast


def unbounded(low: Any, high: Any) -> bool:
    """Whether no state has a bound."""
    return bool(np.isinf(low).all() and np.isinf(high).all())


def predicted(E: Array, Z: Array, y: Array, use: Array, gate: Any, R: Array) -> Predicted:
    """Statistics of members E (N, n) and their readings Z (N, ny)."""
    N = len(E)
    B = helmert(N) / np.sqrt(N - 1)
    x, y_hat = jnp.mean(E, axis=0), jnp.mean(Z, axis=0)
    A, Y = B.T @ E, B.T @ Z
    nu = y - y_hat
    S_diag = jnp.sum(Y * Y, axis=0) + R
    used = gated(nu, S_diag, use, gate)
    weight = jnp.where(used > 0, 1 / jnp.sqrt(R), 0.0)
    return Predicted(x, A, y_hat, Y, nu, S_diag, used, Y * weight, jnp.where(used > 0, nu, 0.0) * weight)


def rebuilt(x: Array, A: Array, inflation: Any, low: Any, high: Any) -> tuple[Array, Array, Array]:
    """(E, x, P): members of mean x and covariance P = inflation^2 A' A, or what their bounds make of them."""
    N = len(A) + 1
    A = inflation * A
    E = x + np.sqrt(N - 1) * (helmert(N) @ A)
    if unbounded(low, high):
        return E, x, A.T @ A
    E = jnp.clip(E, low, high)
    x = jnp.mean(E, axis=0)
    return E, x, (E - x).T @ (E - x) / (N - 1)


def evidence(f: Predicted, R: Array) -> tuple[Array, Array, Array, Array]:
    """(L, w, nis, log det S): the mean moves by A' w; L L' is I + S S' or I + S' S, whichever is smaller."""
    few = _few_members(f.S)
    L = jax.lax.linalg.cholesky(_gram(f.S, few), symmetrize_input=False)
    half = solve_triangular(L, f.S @ f.e if few else f.e, lower=True)
    w = solve_triangular(L, half, lower=True, trans=1)
    nis = f.e @ f.e - half @ half if few else half @ half
    logdet = jnp.sum(jnp.where(f.used > 0, jnp.log(R), 0.0)) + 2 * jnp.sum(jnp.log(jnp.diag(L)))
    return L, w if few else f.S @ w, nis, logdet


def any_root(f: Predicted, L: Array) -> Array:
    """T A with T' T = (I + S S')^-1: L^-1 A, or Andrews' A - S (I + L')^-1 L^-1 S' A."""
    if _few_members(f.S):
        return solve_triangular(L, f.A, lower=True)
    inner = solve_triangular(L, f.S.T @ f.A, lower=True)
    return f.A - f.S @ solve_triangular(L + jnp.eye(len(L)), inner, lower=True, trans=1)


def symmetric_root(f: Predicted) -> Array:
    """(I + S S')^-1/2 A, by eigenvalues of the smaller of S S' and S' S."""
    few = _few_members(f.S)
    values, V = jnp.linalg.eigh(_gram(f.S, few), symmetrize_input=False)
    if few:
        return V @ ((V.T @ f.A) / jnp.sqrt(values)[:, None])
    # (v^-1/2 - 1) / (v - 1) without the difference, v >= 1 but for rounding
    bend = -1 / (jnp.sqrt(values) * (1 + jnp.sqrt(values)))
    return f.A + f.S @ (V @ (bend[:, None] * (V.T @ (f.S.T @ f.A))))


def gained(f: Predicted, L: Array, D: Array) -> Array:
    """D (I + S' S)^-1 S' A: what members with the normalised innovations D (N - 1, ny) move by."""
    if _few_members(f.S):
        return D @ (f.S.T @ cho_solve((L, True), f.A))
    return D @ cho_solve((L, True), f.S.T @ f.A)


def _few_members(S: Array) -> bool:
    return S.shape[0] <= S.shape[1]


def _gram(S: Array, few: bool) -> Array:
    return jnp.eye(min(S.shape)) + (S @ S.T if few else S.T @ S)


@lru_cache(maxsize=64)
def _drawing(members: int) -> Callable[..., Array]:
    def draw(x0, P0, seed):
        z = draws(seed, Stream.MIRROR_START, jnp.zeros(()), members, len(x0))
        z = (z - jnp.mean(z, axis=0)) * np.sqrt(members / (members - 1))
        return x0 + z @ factor(P0).T

    return jax.jit(draw)


def _drawn(members: int, x0: Array, P0: Array, seed: int) -> Array:
    return _drawing(members)(x0, P0, jnp.asarray(float(seed)))
