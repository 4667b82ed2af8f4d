"""The Gaussian algebra that filters, tuning and the fault detector share, for one twin.

Time update (extended Kalman filter), with Phi = d flow / dx:

    x- = flow(t, dt, x, u, p)
    P- = Phi (P + dt/2 Q) Phi' + dt/2 Q

The noise term is the trapezoidal rule for int_0^dt Phi(s) Q Phi(s)' ds: positive definite by construction, exact for
a random walk, and accurate to O(dt^3) otherwise. A discrete twin adds Q period after its step.

Measurement update with diagonal R in Joseph's form, one sensor at a time (few sensors) or jointly (many); the two
agree exactly because R is diagonal, and a sensor that is not used has zero gain.

Sources: Jazwinski (1970), Stochastic Processes and Filtering Theory, ch. 8; Bucy and Joseph (1968), Filtering for
Stochastic Processes with Applications to Guidance; Bar-Shalom, Li and Kirubarajan (2001), sec. 5.4.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from pollux.model.rk4 import transition
from pollux.model.statespace import System

SEQUENTIAL = 6
"""Up to this many sensors are fused one after another: scalar divisions, no factorisation."""

ROUNDING = 4 * 2.0**-52
"""Rounding is treated as noise: this share of the prior variance is added to the diagonal after an update."""


def flow_jacobian(system: System, substeps: int, t: Any, dt: Any, x: Array, u: Array, p: Array) -> tuple[Array, Array]:
    """(x at t + dt, Phi = its derivative with respect to x)."""
    flow = transition(system, substeps)

    def twice(x):
        out = flow(t, dt, x, u, p)
        return out, out

    Phi, out = jax.jacfwd(twice, has_aux=True)(x)
    if system.period is not None:  # a discrete twin does not move in an interval of length zero
        return jnp.where(dt > 0, out, x), jnp.where(dt > 0, Phi, jnp.eye(len(x)))
    return out, Phi


def observe_jacobian(system: System, t: Any, x: Array, u: Array, p: Array) -> tuple[Array, Array]:
    """(y = h(t, x, u, p), H = dh/dx)."""

    def twice(x):
        out = system.h(t, x, u, p)
        return out, out

    H, out = jax.jacfwd(twice, has_aux=True)(x)
    return out, H


def propagate(P: Array, Phi: Array, Q: Array, dt: Any, discrete: bool) -> Array:
    """Covariance after a time update; Q (n,) is the diagonal of the noise variance per second."""
    if discrete:
        return symmetric(Phi @ P @ Phi.T) + jnp.diag(dt * Q)
    half = jnp.diag(dt / 2 * Q)
    return symmetric(Phi @ (P + half) @ Phi.T) + half


def gated(nu: Array, S_diag: Array, use: Array, gate: Any) -> Array:
    """Which sensors are fused: 1.0 where a value came, is allowed by `use` and nu^2 <= gate * S_ii; else 0.0.

    The test uses the innovations before any update, so it does not depend on the order of the sensors.
    """
    inside = nu * nu <= gate * S_diag  # false for NaN
    return jnp.where(inside, use, 0.0)


def correct(x: Array, P: Array, H: Array, nu: Array, R: Array, used: Array) -> tuple[Array, Array, Array, Array]:
    """(x, P, nis, log det S) after fusing the sensors with `used` = 1; nis = nu' S^-1 nu and S over them."""
    nu = jnp.where(used > 0, nu, 0.0)
    P0 = P
    fuse = _one_by_one if len(R) <= SEQUENTIAL else _jointly
    x, P, nis, logdet = fuse(x, P, H, nu, R, used)
    return x, P + jnp.diag(ROUNDING * jnp.diag(P0)), nis, logdet


def symmetric(P: Array) -> Array:
    """The symmetric matrix with the lower triangle of P: exact symmetry, and over a fleet half the work."""
    return jnp.where(np.tri(len(P), dtype=bool), P, P.T)


def _one_by_one(x, P, H, nu, R, used):
    nis = logdet = jnp.zeros(())
    start = x
    for i in range(len(R)):
        h = H[i]
        Ph = P @ h
        s = h @ Ph + R[i]
        e = nu[i] - h @ (x - start)  # the linearisation point stays the prior mean
        k = Ph * (used[i] / s)
        x = x + k * e
        P = P - jnp.outer(k, Ph)  # (I - k h') P
        P = symmetric(P - jnp.outer(P @ h, k) + R[i] * jnp.outer(k, k))
        nis = nis + used[i] * e * e / s
        logdet = logdet + used[i] * jnp.log(s)
    return x, P, nis, logdet


def _jointly(x, P, H, nu, R, used):
    H = H * used[:, None]
    S = H @ P @ H.T + jnp.diag(jnp.where(used > 0, R, 1.0))
    L = jnp.linalg.cholesky(S)
    factor = (L, True)
    K = jax.scipy.linalg.cho_solve(factor, H @ P).T
    A = jnp.eye(len(x)) - K @ H
    P = symmetric(A @ P @ A.T + (K * R) @ K.T)
    return x + K @ nu, P, nu @ jax.scipy.linalg.cho_solve(factor, nu), 2 * jnp.sum(jnp.log(jnp.diag(L)))
