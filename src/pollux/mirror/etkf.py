"""The ensemble transform Kalman filter, with a rotation that keeps the mean.

With L L' = I + S S' (`pollux.mirror.transform`), w = (I + S S')^-1 S e and a rotation U of the space without the mean,

    x = x- + A' w,     A = U L^-1 A-          (any T with T' T = (I + S S')^-1 in the place of L^-1 gives the same P)

U spreads every contrast over all members with random signs (`pollux.mirror.contrasts.rotation`), so which root it
multiplies matters little, and the cheapest one, L^-1, serves. Without a rotation the symmetric root is taken, which
moves the members least.

Sources: Bishop, Etherton and Majumdar (2001), Adaptive sampling with the ensemble transform Kalman filter, Mon. Wea.
Rev. 129; Sakov and Oke (2008), ibid. 136, sec. 4 (random rotations).
"""

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp

from pollux.mirror.contrasts import signs, turned
from pollux.mirror.ensemble import Members, forecasting, predicted, rebuilt, unmoved, where_fused
from pollux.mirror.inflation import Drawn, Inflation, learning
from pollux.mirror.method import CarryFn
from pollux.mirror.transform import analysed, any_root, symmetric_root
from pollux.model.statespace import System


@dataclass(frozen=True)
class Etkf(Drawn):
    """Ensemble transform Kalman filter of `members` members; deterministic but for the rotation.

    `inflation` multiplies the anomalies after an update: a factor, or `AdaptiveInflation()`. `seed` counts for nothing
    when kernels are cached, so that another seed compiles nothing.
    """

    members: int
    inflation: Inflation = 1.0
    rotate: bool = True
    seed: int = field(default=0, compare=False)

    def carry(self, system: System, substeps: int, low: Any, high: Any) -> CarryFn:
        """One twin's step; see `pollux.mirror.method`."""
        forecast, learn = forecasting(system, substeps, low, high), learning(self.inflation, system)

        def carry(t, dt, state: Members, u, v, y, use, gate, p, Q, R):
            E, factor, taken, seed = state
            E = forecast(t, dt, E, u, p, Q, seed, taken)
            f = predicted(E, jax.vmap(lambda x: system.h(t + dt, x, v, p))(E), y, use, gate, R)
            v = where_fused(f, lambda: signs(seed, taken, len(f.A)), jnp.zeros(len(f.A)))

            def analysis():
                found, now = analysed(f, R), learn(factor, f)
                A = turned(any_root(f, found), v) if self.rotate else symmetric_root(f)
                return f.x + found.moves[0], now * A, now, found.nis, found.logdet

            x, A, now, nis, logdet = where_fused(f, analysis, unmoved(f, factor))
            E, x, P = rebuilt(x, A, low, high)
            return Members(E, now, taken + 1, seed), (x, P, f.y_hat, f.nu, f.S_diag, f.used, nis, logdet)

        return carry
