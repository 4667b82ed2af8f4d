"""The unscented Kalman filter with additive noise, in a square-root Joseph form.

Sigma points X_i+- = x +- c L_i with P = L L', c = sqrt(n + kappa), weights w = 1 / 2(n + kappa) and w_0 = kappa / (n +
kappa). With G_i = (Y_i+ - Y_i-) / 2c, so that Pxy = L G', and Omega = Pyy - G G' (the curvature of h, positive by
construction) the posterior is

    S = G G' + Omega + R,   K = L G' S^-1,   P+ = (L - K G)(L - K G)' + K (Omega + R) K'

which is Joseph's form without a Jacobian: a sum of squares, so it stays positive definite. Process noise enters by
the trapezoidal rule: half before the flow, half after it. kappa = 3 - n for n < 3 matches the Gaussian's fourth
moment (Julier and Uhlmann, Proc. IEEE 2004); kappa = 0 above is the cubature filter (Arasaratnam and Haykin, 2009),
whose weights are never negative.
"""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from pollux.mirror.method import StepFn
from pollux.model.gaussian import ROUNDING, gated, symmetric
from pollux.model.rk4 import transition
from pollux.model.statespace import System

_FLOOR = 1e-30
"""Variance below which a state counts as known exactly (keeps the factor of a zero row finite)."""


@dataclass(frozen=True)
class Ukf:
    """Unscented Kalman filter: no Jacobian, second-order accurate in the mean. `kappa` >= 0; None chooses it."""

    kappa: float | None = None

    def step(self, system: System, substeps: int, low: Any, high: Any) -> StepFn:
        """One twin's step; see `pollux.mirror.method`."""
        flow = transition(system, substeps)
        discrete = system.period is not None
        n = len(system.x_names)
        kappa = max(3.0 - n, 0.0) if self.kappa is None else self.kappa
        c, w, w0 = math.sqrt(n + kappa), 0.5 / (n + kappa), kappa / (n + kappa)

        def points(x: Array, P: Array) -> tuple[Array, Array]:
            L = jax.lax.linalg.cholesky(P + jnp.diag(jnp.full(n, _FLOOR)), symmetrize_input=False)
            return L, jnp.concatenate([x[None], x + c * L.T, x - c * L.T])

        def mean(Z: Array) -> Array:
            return w0 * Z[0] + w * jnp.sum(Z[1:], axis=0)

        def step(t, dt, x, P, u, v, y, use, gate, p, Q, R):
            before, after = (0.0 * Q, dt * Q) if discrete else (dt / 2 * Q, dt / 2 * Q)
            _, X = points(x, P + jnp.diag(before))
            X = jnp.clip(X, low, high)
            moved = jax.vmap(lambda x: flow(t, dt, x, u, p))(X)
            X = jnp.where(dt > 0, moved, X) if discrete else moved
            x = mean(X)
            D = X - x
            P = symmetric(w * D[1:].T @ D[1:] + w0 * jnp.outer(D[0], D[0])) + jnp.diag(after)
            x = jnp.clip(x, low, high)

            L, X = points(x, P)
            Y = jax.vmap(lambda x: system.h(t + dt, x, v, p))(jnp.clip(X, low, high))
            y_hat = mean(Y)
            up, down = Y[1 : n + 1], Y[n + 1 :]
            G = (up - down).T / (2 * c)
            bend = (up + down) / 2 - y_hat
            Omega = 2 * w * bend.T @ bend + w0 * jnp.outer(Y[0] - y_hat, Y[0] - y_hat)
            nu = y - y_hat
            S = G @ G.T + Omega + jnp.diag(R)
            used = gated(nu, jnp.diag(S), use, gate)

            both = used[:, None] * used[None, :]
            noise = Omega * both + jnp.diag(jnp.where(used > 0, R, 1.0))
            G = G * used[:, None]
            root = jax.lax.linalg.cholesky(G @ G.T + noise, symmetrize_input=False)
            factor = (root, True)
            K = jax.scipy.linalg.cho_solve(factor, G @ L.T).T
            e = jnp.where(used > 0, nu, 0.0)
            A = L - K @ G
            P_new = symmetric(A @ A.T + K @ (noise * both) @ K.T) + jnp.diag(ROUNDING * jnp.diag(P))
            nis = e @ jax.scipy.linalg.cho_solve(factor, e)
            logdet = 2 * jnp.sum(jnp.log(jnp.diag(root)))
            return jnp.clip(x + K @ e, low, high), P_new, y_hat, nu, jnp.diag(S), used, nis, logdet

        return step
