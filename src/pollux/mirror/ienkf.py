"""The iterated ensemble Kalman filter: a Gauss-Newton method for the start of the interval, on the exact model.

The unknown is the state at the last update, x = x0 + A0' w in the basis of `pollux.mirror.ensemble`, w ~ N(0, I). Each
turn integrates an ensemble around it, E = x + T A0 rescaled by T^-1 afterwards, so that Y is the sensitivity there:

    w <- w + (I + S S')^-1 (S R^-1/2 (y - y_hat) - w),   T = (I + S S')^-1/2,   S = T^-1 Y' R^-1/2

The members at the reading are those of the last turn, integrated once more. For long intervals between readings, over
which the model is far from linear. With one turn it is an ensemble Kalman smoother of lag one. Process noise is added
after the interval, as for the other ensembles, and is not part of the minimisation.

Sources: Sakov, Oliver and Bertino (2012), An iterative EnKF for strongly nonlinear systems, Mon. Wea. Rev. 140 (the
transform variant); Bocquet and Sakov (2014), An iterative ensemble Kalman smoother, QJRMS 140.
"""

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp

from pollux.core.errors import InputError
from pollux.mirror.contrasts import contrasts, members, signs, turned
from pollux.mirror.ensemble import Members, forecasting, predicted, rebuilt, unbounded, unmoved, where_fused
from pollux.mirror.inflation import Drawn, Inflation, learning
from pollux.mirror.method import CarryFn
from pollux.mirror.transform import likelihood
from pollux.model.statespace import System


@dataclass(frozen=True)
class Ienkf(Drawn):
    """Iterated ensemble Kalman filter of `members` members and `iterations` turns; other arguments as in `Etkf`."""

    members: int
    inflation: Inflation = 1.0
    iterations: int = 10
    rotate: bool = True
    seed: int = field(default=0, compare=False)

    def __post_init__(self):
        super().__post_init__()
        if self.iterations < 1:
            raise InputError(f"`Ienkf` needs at least one iteration, received {self.iterations!r}")

    def carry(self, system: System, substeps: int, low: Any, high: Any) -> CarryFn:
        """One twin's step; see `pollux.mirror.method`."""
        forecast, learn = forecasting(system, substeps, low, high), learning(self.inflation, system)
        N = self.members
        free = unbounded(low, high)

        def carry(t, dt, state: Members, u, v, y, use, gate, p, Q, R):
            E0, factor, taken, seed = state
            x0, A0 = contrasts(E0)
            still = jnp.zeros_like(Q)

            def observed(E):
                return jax.vmap(lambda x: system.h(t + dt, x, v, p))(E)

            def around(w, T):
                E = members(x0 + A0.T @ w, T @ A0)
                return E if free else jnp.clip(E, low, high)

            ahead = forecast(t, dt, E0, u, p, Q, seed, taken)
            f = predicted(ahead, observed(ahead), y, use, gate, R)
            flips = where_fused(f, lambda: signs(seed, taken, N - 1), jnp.zeros(N - 1))
            weight = jnp.where(f.used > 0, 1 / jnp.sqrt(R), 0.0)
            wanted = jnp.where(f.used > 0, y, 0.0)

            def turn(carry, _):
                w, T, T_inv = carry
                Z = observed(forecast(t, dt, around(w, T), u, p, still, seed, taken))
                y_hat, Y = contrasts(Z)
                S = T_inv @ Y * weight
                e = (wanted - y_hat) * weight
                values, V = jnp.linalg.eigh(jnp.eye(N - 1) + S @ S.T)
                w = w + V @ ((V.T @ (S @ e - w)) / values)
                return (w, (V / jnp.sqrt(values)) @ V.T, (V * jnp.sqrt(values)) @ V.T), None

            def analysis():
                one = jnp.eye(N - 1)
                (w, T, _), _ = jax.lax.scan(turn, (jnp.zeros(N - 1), one, one), None, length=self.iterations)
                T = turned(T, flips) if self.rotate else T
                x, A = contrasts(forecast(t, dt, around(w, T), u, p, Q, seed, taken))
                now = learn(factor, f)
                return x, now * A, now, *likelihood(f, R)

            x, A, now, nis, logdet = where_fused(f, analysis, unmoved(f, factor))
            E, x, P = rebuilt(x, A, low, high)
            return Members(E, now, taken + 1, seed), (x, P, f.y_hat, f.nu, f.S_diag, f.used, nis, logdet)

        return carry
