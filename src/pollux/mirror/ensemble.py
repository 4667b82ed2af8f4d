"""What the ensemble filters share: the state they carry, its forecast, and the statistics they report.

Notation: ensemble E (N, n), mean x, scaled anomalies in a basis without the mean, A = B' (E - x) / sqrt(N - 1), where
the columns of B (N, N - 1) are orthonormal and orthogonal to the vector of ones (`pollux.mirror.contrasts`), so that
P = A' A and nothing that is done to A moves the mean. Y and S' = R^-1/2 Y' are the same of the predicted readings.

Source: Evensen (2009), Data Assimilation: The Ensemble Kalman Filter, ch. 9.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from pollux.core.errors import InputError
from pollux.mirror.contrasts import contrasts, members
from pollux.mirror.fence import fenced
from pollux.model.gaussian import gated
from pollux.model.random import Stream, normal
from pollux.model.rk4 import rk4, transition
from pollux.model.statespace import System


class Members(NamedTuple):
    """What an ensemble filter carries: members (N, n), inflation factor (scalar or (n,)), steps taken, and seed.

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


def begin(members: int, seed: int, inflation: Any, x0: Any, P0: Any) -> Members:
    """Members drawn from N(x0, P0), moved so that their mean is x0 and scaled so that E[cov] = P0."""
    E = _drawn(members, jnp.asarray(x0, jnp.float64), jnp.asarray(P0, jnp.float64), seed)
    return Members(E, jnp.asarray(inflation, jnp.float64), jnp.zeros(()), jnp.asarray(float(seed)))


def draws(seed: Array, stream: Stream, taken: Array, members: int, size: int) -> Array:
    """N(0, 1) numbers (members, size) of one step: what one member draws does not depend on how many there are."""
    step, seed = taken.astype(jnp.uint32), seed.astype(jnp.uint64)
    return jax.vmap(lambda i: normal(seed, stream, i, step, size))(jnp.arange(members, dtype=jnp.uint32))


def forecasting(system: System, substeps: int, low: Any, high: Any) -> Callable[..., Array]:
    """(t, dt, E, u, p, Q, seed, taken) -> members at t + dt: each flows, is shaken by its own noise, and is clipped."""
    flow = transition(system, substeps) if system.period is not None else rk4(fenced(system.f), substeps)
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
    (x, A), (y_hat, Y) = contrasts(E), contrasts(Z)
    nu = y - y_hat
    S_diag = jnp.sum(Y * Y, axis=0) + R
    used = gated(nu, S_diag, use, gate)
    weight = jnp.where(used > 0, 1 / jnp.sqrt(R), 0.0)
    return Predicted(x, A, y_hat, Y, nu, S_diag, used, Y * weight, jnp.where(used > 0, nu, 0.0) * weight)


def unmoved(f: Predicted, factor: Array) -> tuple[Array, ...]:
    """(x, A, inflation factor, nis, log det S) of a step in which nothing is fused."""
    return f.x, f.A, factor, jnp.zeros(()), jnp.zeros(())


def where_fused(f: Predicted, made: Callable[[], Any], otherwise: Any) -> Any:
    """`made()` where a reading is fused, else `otherwise`: a step without a reading costs no analysis.

    A branch is computed by itself, also where it is always taken: XLA would inline random numbers and gates into each
    of their users, once for every element that they compute.
    """
    return jax.lax.cond(jnp.max(f.used) > 0, made, lambda: otherwise)


def rebuilt(x: Array, A: Array, low: Any, high: Any) -> tuple[Array, Array, Array]:
    """(E, x, P): members of mean x and covariance P = A' A, or what their bounds make of them."""
    E = members(x, A)
    if unbounded(low, high):
        return E, x, A.T @ A
    E = jnp.clip(E, low, high)
    x, A = contrasts(E)
    return E, x, A.T @ A


@lru_cache(maxsize=64)
def _drawing(members: int) -> Callable[..., Array]:
    def draw(x0, P0, seed):
        z = draws(seed, Stream.MIRROR_START, jnp.zeros(()), members, len(x0))
        z = (z - jnp.mean(z, axis=0)) * np.sqrt(members / (members - 1))
        values, V = jnp.linalg.eigh(P0)
        return x0 + (z @ V) * jnp.sqrt(jnp.maximum(values, 0.0)) @ V.T

    return jax.jit(draw)


def _drawn(members: int, x0: Array, P0: Array, seed: int) -> Array:
    return _drawing(members)(x0, P0, jnp.asarray(float(seed)))
