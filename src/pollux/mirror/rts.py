"""The smoother of Rauch, Tung and Striebel, extended by linearisation, in the form of sums of squares.

With the filtered beliefs (x_k, P_k), and x_k+1- , Phi, Q_k of the step from k to k + 1 linearised at x_k,

    G = P_k Phi' (Phi P_k Phi' + Q_k)^-1,    x_k|T = x_k + G (x_k+1|T - x_k+1-)
    P_k|T = (I - G Phi) P_k (I - G Phi)' + G (P_k+1|T + Q_k) G'

which never subtracts covariances. Exact for linear twins: the answer of batch least squares.

Sources: Rauch, Tung and Striebel (1965), Maximum likelihood estimates of linear dynamic systems, AIAA J. 3; Sarkka
(2013), Bayesian Filtering and Smoothing, sec. 9.1; Bierman (1983), A new computationally efficient fixed-interval,
discrete-time smoother, Automatica 19 (the sum of squares).
"""

from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import cho_solve

from pollux.mirror.scan import cut
from pollux.model.gaussian import flow_jacobian, symmetric
from pollux.model.squareroot import factor
from pollux.model.statespace import System


@lru_cache(maxsize=64)
def backward(system: System, substeps: int, low: tuple, high: tuple, n_pieces: int) -> Any:
    """Compiled (t, dt, u, x (T, n), P (T, n, n), p, Q) -> smoothed (x, P); t, dt, u as in `scan.Steps`."""
    discrete = system.period is not None
    bounds = np.array(low), np.array(high)

    def across(x, t, dt, u, p, Q):
        """(x at the end, Phi, covariance of what the noise adds)."""

        def piece(carry, row):
            x, Phi, noise = carry
            start, size = row
            half = jnp.diag(size / 2 * Q)
            x, F = flow_jacobian(system, substeps, start, size, x, u, p)
            noise = F @ noise @ F.T + jnp.diag(size * Q) if discrete else F @ (noise + half) @ F.T + half
            return (jnp.clip(x, *bounds), F @ Phi, noise), None

        n = len(x)
        start = (x, jnp.eye(n), jnp.zeros((n, n)))
        return jax.lax.scan(piece, start, cut(t, dt, system.period, n_pieces))[0]

    def run(t, dt, u, x, P, p, Q):
        def back(later, row):
            x_s, P_s = later
            t, dt, u, x, P = row
            x_p, Phi, noise = across(x, t, dt, u, p, Q)
            L = factor(symmetric(Phi @ P @ Phi.T + noise))
            L = L + jnp.diag(jnp.where(jnp.diag(L) > 0, 0.0, 1.0))  # a state that is known exactly
            G = cho_solve((L, True), Phi @ P).T
            A = jnp.eye(len(x)) - G @ Phi
            x_s = jnp.clip(x + G @ (x_s - x_p), *bounds)
            P_s = symmetric(A @ P @ A.T + G @ (P_s + noise) @ G.T)
            return (x_s, P_s), (x_s, P_s)

        _, (xs, Ps) = jax.lax.scan(back, (x[-1], P[-1]), (t[1:], dt[1:], u[1:], x[:-1], P[:-1]), reverse=True)
        return jnp.concatenate([xs, x[-1:]]), jnp.concatenate([Ps, P[-1:]])

    return jax.jit(run)
