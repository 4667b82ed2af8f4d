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

from pollux.mirror.contrasts import contrasts
from pollux.mirror.ensemble import Members, draws, forecasting, predicted, rebuilt, unmoved, where_fused
from pollux.mirror.inflation import Drawn, Inflation, learning
from pollux.mirror.method import CarryFn
from pollux.mirror.transform import analysed
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
        forecast, learn = forecasting(system, substeps, low, high), learning(self.inflation, system)
        N = self.members

        def carry(t, dt, state: Members, u, v, y, use, gate, p, Q, R):
            E, factor, taken, seed = state
            E = forecast(t, dt, E, u, p, Q, seed, taken)
            f = predicted(E, jax.vmap(lambda x: system.h(t + dt, x, v, p))(E), y, use, gate, R)
            noise = where_fused(f, lambda: draws(seed, Stream.MIRROR_SENSORS, taken, N, len(R)), jnp.zeros((N, len(R))))

            def analysis():
                found = analysed(f, R, jnp.where(f.used > 0, contrasts(noise)[1], 0.0))
                now = learn(factor, f)
                return f.x + found.moves[0], now * (f.A + found.moves[1:]), now, found.nis, found.logdet

            x, A, now, nis, logdet = where_fused(f, analysis, unmoved(f, factor))
            E, x, P = rebuilt(x, A, low, high)
            return Members(E, now, taken + 1, seed), (x, P, f.y_hat, f.nu, f.S_diag, f.used, nis, logdet)

        return carry
