"""3D-Var, also called optimal interpolation: a Kalman update with one fixed background covariance.

    x = x- + B H' (H B H' + R)^-1 (y - h(x-)),     P = (I - K H) B

The baseline that a filter with a covariance of its own has to beat; for models too large to carry one.

Source: Lorenc (1986), Analysis methods for numerical weather prediction, QJRMS 112.
"""

from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
import numpy as np

from pollux.core.errors import InputError
from pollux.mirror.method import StepFn
from pollux.model.gaussian import correct, gated, observe_jacobian
from pollux.model.rk4 import transition
from pollux.model.statespace import System


@dataclass(frozen=True)
class Var3d:
    """Fixed-gain analysis with the background covariance of `var3d`. Equal covariances share compiled kernels."""

    size: int
    data: bytes = field(repr=False)

    @property
    def background(self) -> np.ndarray:
        """B (n, n)."""
        return np.frombuffer(self.data).reshape(self.size, self.size)

    def step(self, system: System, substeps: int, low: Any, high: Any) -> StepFn:
        """One twin's step; see `pollux.mirror.method`. Raises `InputError` when B is of another size."""
        n = len(system.x_names)
        if self.size != n:
            raise InputError(f"`{system.name}` has {n} states (tracked parameters included), B is of order {self.size}")
        B = jnp.asarray(self.background)
        flow = transition(system, substeps)

        def step(t, dt, x, P, u, v, y, use, gate, p, Q, R):
            moved = flow(t, dt, x, u, p)
            x = jnp.clip(moved if system.period is None else jnp.where(dt > 0, moved, x), low, high)
            y_hat, H = observe_jacobian(system, t + dt, x, v, p)
            nu = y - y_hat
            S_diag = jnp.sum((H @ B) * H, axis=1) + R
            used = gated(nu, S_diag, use, gate)
            x, P, nis, logdet = correct(x, B, H, nu, R, used)
            return jnp.clip(x, low, high), P, y_hat, nu, S_diag, used, nis, logdet

        return step


def var3d(background: Any) -> Var3d:
    """3D-Var with background covariance B (n, n), for example a share of the covariance of a long simulation.

    Raises `InputError` where B is not symmetric and positive semidefinite.
    """
    B = np.ascontiguousarray(background, dtype=np.float64)
    if B.ndim != 2 or B.shape[0] != B.shape[1] or not np.allclose(B, B.T) or np.linalg.eigvalsh(B).min() < -1e-9:
        raise InputError(f"A background covariance is symmetric and positive semidefinite, received shape {B.shape}")
    return Var3d(len(B), B.tobytes())
