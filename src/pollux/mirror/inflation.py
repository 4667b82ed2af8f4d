"""Inflation: an ensemble that is too small, or a model that is wrong, makes a filter too sure of itself.

The anomalies are multiplied by a factor after every update that fused something. A number is a fixed factor;
`AdaptiveInflation` learns it from the innovations. With tau = tr(R^-1 H P H') of the forecast, p fused readings and
variance inflation rho = factor^2,

    observed   rho_o = (nu' R^-1 nu - p) / tau,     v_o = (2 / p) ((rho tau + p) / tau)^2
    posterior  rho   = (v_o rho + v rho_o) / (v_o + v),     v = sd^2

Where a model is wrong in one place only, one factor is too large elsewhere. With `local` every state has its own: the
three sums over the sensors, nu' R^-1 nu, p and tau, are then weighted by how near each sensor is to the state.

Source: Li, Kalnay and Miyoshi (2009), Simultaneous estimation of covariance inflation and observation errors within an
ensemble Kalman filter, QJRMS 135; Miyoshi (2011), The Gaussian approach to adaptive covariance inflation, Mon. Wea.
Rev. 139, eqs. 10 to 14, and sec. 3 (a factor for each place).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from pollux.core.errors import InputError
from pollux.mirror.ensemble import Members, Predicted, begin, check_members
from pollux.mirror.localise import Localisation, weights_of
from pollux.model.statespace import System


@dataclass(frozen=True)
class AdaptiveInflation:
    """Learn the inflation factor. `sd` is how far rho may move in one update; `low` and `high` bound the factor.

    `local`, made by `localisation`, gives every state a factor of its own, which it learns from the sensors near it.
    """

    start: float = 1.0
    sd: float = 0.04
    low: float = 0.9
    high: float = 3.0
    local: Localisation | None = None

    def __post_init__(self):
        if not 0 < self.low <= self.start <= self.high:
            raise InputError(f"Inflation needs 0 < low <= start <= high, received {self!r}")


Inflation = float | AdaptiveInflation


def first(inflation: Inflation) -> np.ndarray:
    """The factor to start with: a scalar, or one a state (n,)."""
    if isinstance(inflation, AdaptiveInflation):
        return np.full(inflation.local.shape[:1] if inflation.local else (), float(inflation.start))
    return np.asarray(float(inflation))


def learning(inflation: Inflation, system: System) -> Callable[[Array, Predicted], Array]:
    """(factor so far, forecast of readings of which some are fused) -> factor to apply and to carry on."""
    if not isinstance(inflation, AdaptiveInflation):
        return lambda factor, f: factor
    weights = weights_of(inflation.local, system) if inflation.local else np.ones(len(system.y_names))

    def learn(factor, f):
        p, misfit = weights @ f.used, weights @ (f.e * f.e)
        # tau is that of the ensemble before the inflation that it carries from its last update
        rho, tau = factor**2, weights @ jnp.sum(f.S * f.S, axis=0) / factor**2
        safe, count = jnp.where(tau > 0, tau, 1.0), jnp.maximum(p, FEW)
        seen = (misfit - p) / safe
        doubt = 2 / count * ((rho * safe + p) / safe) ** 2
        new = (doubt * rho + inflation.sd**2 * seen) / (doubt + inflation.sd**2)
        learnt = jnp.clip(jnp.sqrt(jnp.maximum(new, 0.0)), inflation.low, inflation.high)
        return jnp.where((tau > 0) & (p > 0), learnt, factor)

    return learn


FEW = 1e-3
"""Weight of the fused readings below which a state hears of them as if it were this much."""


class Drawn:
    """What the ensemble filters share, which derive from it: how their members are checked and drawn."""

    members: int
    inflation: Inflation
    seed: int

    def __post_init__(self):
        check_members(self.members, self.seed)

    def start(self, x0: Any, P0: Any) -> Members:
        """Members drawn from N(x0, P0)."""
        return begin(self.members, self.seed, first(self.inflation), x0, P0)
