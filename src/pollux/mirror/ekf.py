"""The extended Kalman filter in Joseph's form. See `pollux.model.gaussian` for the equations and sources."""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

from pollux.mirror.method import StepFn
from pollux.model.gaussian import correct, flow_jacobian, gated, observe_jacobian, propagate, symmetric
from pollux.model.statespace import System


@dataclass(frozen=True)
class Ekf:
    """Extended Kalman filter: Jacobians by forward differentiation. Exact for linear twins."""

    def step(self, system: System, substeps: int, low: Any, high: Any) -> StepFn:
        """One twin's step; see `pollux.mirror.method`."""
        discrete = system.period is not None

        def step(t, dt, x, P, u, v, y, use, gate, p, Q, R):
            x, Phi = flow_jacobian(system, substeps, t, dt, x, u, p)
            x = jnp.clip(x, low, high)
            P = propagate(symmetric(P), Phi, Q, dt, discrete)
            y_hat, H = observe_jacobian(system, t + dt, x, v, p)
            nu = y - y_hat
            S_diag = jnp.sum((H @ P) * H, axis=1) + R
            used = gated(nu, S_diag, use, gate)
            x, P, nis, logdet = correct(x, P, H, nu, R, used)
            return jnp.clip(x, low, high), P, y_hat, nu, S_diag, used, nis, logdet

        return step
