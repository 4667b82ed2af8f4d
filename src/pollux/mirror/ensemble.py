"""What the ensemble filters share: the state they carry, its forecast, and the statistics they report.

Notation: ensemble E (N, n), mean x, scaled anomalies in a basis without the mean, A = B' (E - x) / sqrt(N - 1), where
the columns of B (N, N - 1) are orthonormal and orthogonal to the vector of ones, so that P = A' A and nothing that is
done to A moves the mean. Y and S = R^-1/2 Y' are the same of the predicted readings.

    nis = nu' (Y' Y + R)^-1 nu = e' (e - S' w),  w = (I + S S')^-1 S e,  e = R^-1/2 nu
    log det (Y' Y + R) = log det R + log det (I + S S')

Source: Evensen (2009), Data Assimilation: The Ensemble Kalman Filter, ch. 9; Sakov and Oke (2008), Implications of the
form of the ensemble transformation in the ensemble square root filters, Mon. Wea. Rev. 136 (keeping the mean).
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.linalg import solve_triangular

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
    count: Array
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


def draws(seed: Array, stream: Stream, count: Array, members: int, size: int) -> Array:
    """N(0, 1) numbers (members, size) of one step: what one member draws does not depend on how many there are."""
    step, seed = count.astype(jnp.uint32), seed.astype(jnp.uint64)
    return jax.vmap(lambda i: normal(seed, stream, i, step, size))(jnp.arange(members, dtype=jnp.uint32))


def forecasting(system: System, substeps: int, low: Any, high: Any) -> Callable[..., Array]:
    """(t, dt, E, u, p, Q, seed, count) -> members at t + dt: each flows, is shaken by its own noise, and is clipped."""
    flow = transition(system, substeps)
    clip = clipping(low, high)

    def forecast(t, dt, E, u, p, Q, seed, count):
        moved = jax.vmap(lambda x: flow(t, dt, x, u, p))(E)
        if system.period is not None:
            moved = jnp.where(dt > 0, moved, E)

        def shaken(moved):
            return moved + jnp.sqrt(dt * Q) * draws(seed, Stream.MIRROR_NOISE, count, *E.shape)

        return clip(jax.lax.cond(jnp.any(Q > 0), shaken, lambda moved: moved, moved))

    return forecast


def clipping(low: Any, high: Any) -> Callable[[Array], Array]:
    """x -> x within its bounds; nothing at all where there are none."""
    if np.isinf(low).all() and np.isinf(high).all():
        return lambda x: x
    return lambda x: jnp.clip(x, low, high)


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


def rebuilt(x: Array, A: Array, inflation: Any = 1.0) -> Array:
    """Members with mean x and covariance inflation^2 A' A."""
    N = len(A) + 1
    return x + (inflation * np.sqrt(N - 1)) * (helmert(N) @ A)


def evidence(f: Predicted, R: Array) -> tuple[Array, Array, Array, Array]:
    """(L, w, nis, log det S): L L' = I + S S', w = (I + S S')^-1 S e, the mean's move in the basis."""
    L = jax.lax.linalg.cholesky(jnp.eye(len(f.S)) + f.S @ f.S.T, symmetrize_input=False)
    half = solve_triangular(L, f.S @ f.e, lower=True)
    w = solve_triangular(L, half, lower=True, trans=1)
    nis = f.e @ f.e - half @ half
    logdet = jnp.sum(jnp.where(f.used > 0, jnp.log(R), 0.0)) + 2 * jnp.sum(jnp.log(jnp.diag(L)))
    return L, w, nis, logdet


def covariance(E: Array) -> Array:
    """Sample covariance (n, n)."""
    D = E - jnp.mean(E, axis=0)
    return D.T @ D / (len(E) - 1)


@lru_cache(maxsize=64)
def _drawing(members: int) -> Callable[..., Array]:
    def draw(x0, P0, seed):
        z = draws(seed, Stream.MIRROR_START, jnp.zeros(()), members, len(x0))
        z = (z - jnp.mean(z, axis=0)) * np.sqrt(members / (members - 1))
        return x0 + z @ factor(P0).T

    return jax.jit(draw)


def _drawn(members: int, x0: Array, P0: Array, seed: int) -> Array:
    return _drawing(members)(x0, P0, jnp.asarray(float(seed)))
