"""The local ensemble transform Kalman filter: every state is updated by the sensors near it.

For state i with weights rho_i of the sensors (`pollux.mirror.localise`), which multiply R^-1,

    C_i = I + S diag(rho_i) S',   x_i = x_i- + a_i' C_i^-1 S diag(rho_i) e,   a_i = C_i^-1/2 a_i-

where a_i is column i of the anomalies A. The symmetric root changes smoothly from state to state. All C_i are one
matrix product, and C_i^-1/2 is needed for one vector only. Afterwards all anomalies are rotated together, if at all.
nis and log det S are those of the ensemble without localisation, so that they are comparable with its innovations.

Source: Hunt, Kostelich and Szunyogh (2007), Efficient data assimilation for spatiotemporal chaos: a local ensemble
transform Kalman filter, Physica D 230.
"""

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from pollux.mirror.contrasts import signs, turned
from pollux.mirror.ensemble import Members, forecasting, predicted, rebuilt, unmoved, where_fused
from pollux.mirror.inflation import Drawn, Inflation, learning
from pollux.mirror.localise import Localisation, weights_of
from pollux.mirror.method import CarryFn
from pollux.mirror.transform import likelihood
from pollux.model.statespace import System
from pollux.model.symroot import inverse_root, spd_inverse


@dataclass(frozen=True)
class Letkf(Drawn):
    """Local ensemble transform Kalman filter; `local` is made by `localisation(places of states, of sensors, radius)`.

    Other arguments as in `Etkf`. For many states and few members.
    """

    members: int
    local: Localisation
    inflation: Inflation = 1.0
    rotate: bool = True
    seed: int = field(default=0, compare=False)

    def carry(self, system: System, substeps: int, low: Any, high: Any) -> CarryFn:
        """One twin's step; see `pollux.mirror.method`. Raises `InputError` when `local` is of another size."""
        rho = jnp.asarray(weights_of(self.local, system).T)
        forecast, learn = forecasting(system, substeps, low, high), learning(self.inflation, system)

        def carry(t, dt, state: Members, u, v, y, use, gate, p, Q, R):
            E, factor, taken, seed = state
            E = forecast(t, dt, E, u, p, Q, seed, taken)
            f = predicted(E, jax.vmap(lambda x: system.h(t + dt, x, v, p))(E), y, use, gate, R)
            v = where_fused(f, lambda: signs(seed, taken, len(f.A)), jnp.zeros(len(f.A)))

            def analysis():
                move, A = _local(f.A, f.S, f.e, rho)
                now = learn(factor, f)
                return f.x + move, now * (turned(A, v) if self.rotate else A), now, *likelihood(f, R)

            x, A, now, nis, logdet = where_fused(f, analysis, unmoved(f, factor))
            E, x, P = rebuilt(x, A, low, high)
            return Members(E, now, taken + 1, seed), (x, P, f.y_hat, f.nu, f.S_diag, f.used, nis, logdet)

        return carry


def _local(A: Array, S: Array, e: Array, rho: Array) -> tuple[Array, Array]:
    """(move of the mean (n,), anomalies (N - 1, n)) for A (N - 1, n), S (N - 1, ny), e (ny,) and rho (ny, n)."""
    k, ny = S.shape
    C = ((S[:, None] * S[None]).reshape(k * k, ny) @ rho).reshape(k, k, -1) + jnp.eye(k)[:, :, None]
    b = (S * e) @ rho
    C_inv = spd_inverse(C)
    w = jnp.sum(C_inv * b[None], axis=1)
    return jnp.sum(A * w, axis=0), inverse_root(C, C_inv, A)
