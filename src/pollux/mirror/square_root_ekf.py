"""The extended Kalman filter on factors. See `pollux.model.squareroot` for the equations and sources."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jax import Array

from pollux.mirror.method import StepFn
from pollux.model.gaussian import flow_jacobian, gated, observe_jacobian
from pollux.model.squareroot import covariance, factor, propagate, update
from pollux.model.statespace import System


@dataclass(frozen=True)
class SquareRootEkf:
    """Extended Kalman filter that never subtracts covariances; equal to `Ekf` but for rounding.

    For precise sensors on vague states: it holds all digits of the posterior where `Ekf` loses those that the prior
    was larger by. It takes about twice the arithmetic.
    """

    def step(self, system: System, substeps: int, low: Any, high: Any) -> StepFn:
        """One twin's step; see `pollux.mirror.method`."""
        prior = prior_root(system, substeps, low, high)

        def step(t, dt, x, P, u, v, y, use, gate, p, Q, R):
            x, L, y_hat, nu, G, S_diag, used = prior(t, dt, x, P, u, v, y, use, gate, p, Q, R)
            x, L, nis, logdet = update(x, L, G, None, nu, R, used)
            return jnp.clip(x, low, high), covariance(L), y_hat, nu, S_diag, used, nis, logdet

        return step


def prior_root(system: System, substeps: int, low: Any, high: Any) -> Callable[..., tuple[Array, ...]]:
    """(arguments of a step) -> (x, L, y_hat, nu, G, S_diag, used) before an update: P = L L', G = H L."""
    discrete = system.period is not None

    def prior(t, dt, x, P, u, v, y, use, gate, p, Q, R):
        x, Phi = flow_jacobian(system, substeps, t, dt, x, u, p)
        x = jnp.clip(x, low, high)
        L = propagate(factor(P), Phi, Q, dt, discrete)
        y_hat, H = observe_jacobian(system, t + dt, x, v, p)
        nu = y - y_hat
        G = H @ L
        S_diag = jnp.sum(G * G, axis=1) + R
        return x, L, y_hat, nu, G, S_diag, gated(nu, S_diag, use, gate)

    return prior
