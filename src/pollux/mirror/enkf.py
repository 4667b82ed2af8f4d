"""The ensemble Kalman filter with perturbed readings.

Every member is updated with its own reading y + eps_i, eps_i ~ N(0, R) moved so that their mean is zero:

    x_i = x_i- + A' S (I + S' S)^-1 R^-1/2 (y + eps_i - h(x_i-))

in the scaled anomalies of `pollux.mirror.ensemble`. It tends to the Kalman filter as N grows, with an error of order
N^-1/2 (the transform filters: the same order from the start ensemble only). Unlike them it keeps no exact covariance.

Source: Burgers, van Leeuwen and Evensen (1998), Analysis scheme in the ensemble Kalman filter, Mon. Wea. Rev. 126.
"""

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp

from pollux.mirror.ensemble import (
    Members,
    draws,
    evidence,
    forecasting,
    gained,
    helmert,
    predicted,
    rebuilt,
)
from pollux.mirror.inflation import Drawn, Inflation, inflated
from pollux.mirror.method import CarryFn
from pollux.model.random import Stream
from pollux.model.statespace import System


@dataclass(frozen=True)
class Enkf(Drawn):
    """Stochastic ensemble Kalman filter of `members` members; arguments as in `Etkf`."""

    members: int
    inflation: Inflation = 1.0
    seed: int = field(default=0, compare=False)

    def carry(self, system: System, substeps: int, low: Any, high: Any) -> CarryFn:
        """One twin's step; see `pollux.mirror.method`."""
        forecast = forecasting(system, substeps, low, high)
        N = self.members
        B = helmert(N)

        def carry(t, dt, state: Members, u, v, y, use, gate, p, Q, R):
            E, factor, taken, seed = state
            E = forecast(t, dt, E, u, p, Q, seed, taken)
            f = predicted(E, jax.vmap(lambda x: system.h(t + dt, x, v, p))(E), y, use, gate, R)
            L, w, nis, logdet = evidence(f, R)
            now, factor = inflated(self.inflation, factor, f)
            noise = B.T @ draws(seed, Stream.MIRROR_SENSORS, taken, N, len(R)) / jnp.sqrt(N - 1)
            D = jnp.where(f.used > 0, noise, 0.0) - f.S
            E, x, P = rebuilt(f.x + f.A.T @ w, f.A + gained(f, L, D), now, low, high)
            out = x, P, f.y_hat, f.nu, f.S_diag, f.used, nis, logdet
            return Members(E, factor, taken + 1, seed), out

        return carry
