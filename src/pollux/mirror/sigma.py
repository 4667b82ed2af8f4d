"""The sigma-point filters on factors: what `SquareRootUkf` and `Cubature` share.

Points X = x, x +- c L_i with c = sqrt(n + kappa), weights w0 = kappa / (n + kappa) and w = 1 / 2(n + kappa), all >= 0,
so every second moment is a sum of squares and its factor one triangularisation:

    L- = tria [sqrt(2w) (X_i+ - X_i-) / 2, sqrt(2w) ((X_i+ + X_i-) / 2 - x), sqrt(w0) (X_0 - x), sqrt(dt/2 Q)]

The measurement update takes G_i = (Y_i+ - Y_i-) / 2c, so that L G' = Pxy, and B = [sqrt(2w) ((Y_i+ + Y_i-) / 2 - y),
sqrt(w0) (Y_0 - y)], the curvature, into the array algorithm of `pollux.model.squareroot`.

Sources: van der Merwe and Wan (2001), The square-root unscented Kalman filter, ICASSP; Arasaratnam and Haykin (2009),
Cubature Kalman filters, IEEE TAC 54 (their square-root form is kappa = 0).
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from pollux.mirror.method import StepFn
from pollux.model.gaussian import gated
from pollux.model.rk4 import transition
from pollux.model.squareroot import covariance, deviation, factor, triangular, update
from pollux.model.statespace import System


def sigma_step(kappa: float, system: System, substeps: int, low: Any, high: Any) -> StepFn:
    """The step of `pollux.mirror.method` for these points; without a centre when `kappa` is zero."""
    flow = transition(system, substeps)
    discrete = system.period is not None
    n = len(system.x_names)
    c, w0 = math.sqrt(n + kappa), kappa / (n + kappa)
    weight = math.sqrt(1 / (n + kappa))  # sqrt(2w)
    centre = kappa > 0

    def points(x: Array, L: Array) -> Array:
        middle = [x[None]] if centre else []
        return jnp.clip(jnp.concatenate([x + c * L.T, x - c * L.T, *middle]), low, high)

    def moments(Z: Array) -> tuple[Array, Array, Array]:
        """(mean, half differences (m, n), bend (m, n or n + 1)), the last two weighted."""
        up, down = Z[:n], Z[n : 2 * n]
        middle = (up + down) / 2
        mean = jnp.sum(middle, axis=0) / (n + kappa) + (w0 * Z[2 * n] if centre else 0.0)
        bend = weight * (middle - mean)
        if centre:
            bend = jnp.concatenate([bend, math.sqrt(w0) * (Z[2 * n] - mean)[None]])
        return mean, weight * (up - down).T / 2, bend.T

    def step(t, dt, x, P, u, v, y, use, gate, p, Q, R):
        noise = jnp.diag(deviation(dt * Q if discrete else dt / 2 * Q))
        L = factor(P)
        X = points(x, L if discrete else triangular(jnp.concatenate([L, noise], axis=1)))
        moved = jax.vmap(lambda x: flow(t, dt, x, u, p))(X)
        x, odd, even = moments(jnp.where(dt > 0, moved, X) if discrete else moved)
        L = triangular(jnp.concatenate([odd, even, noise], axis=1))
        x = jnp.clip(x, low, high)

        y_hat, G, B = moments(jax.vmap(lambda x: system.h(t + dt, x, v, p))(points(x, L)))
        nu = y - y_hat
        S_diag = jnp.sum(G * G, axis=1) + jnp.sum(B * B, axis=1) + R
        used = gated(nu, S_diag, use, gate)
        x, L, nis, logdet = update(x, L, G, B, nu, R, used)
        return jnp.clip(x, low, high), covariance(L), y_hat, nu, S_diag, used, nis, logdet

    return step
