"""Inflation: an ensemble that is too small, or a model that is wrong, makes a filter too sure of itself.

The anomalies are multiplied by a factor after every update that fused something. A number is a fixed factor;
`AdaptiveInflation` learns it from the innovations. With tau = tr(R^-1 H P H') of the forecast, p fused readings and
variance inflation rho = factor^2,

    observed   rho_o = (nu' R^-1 nu - p) / tau,     v_o = (2 / p) ((rho tau + p) / tau)^2
    posterior  rho   = (v_o rho + v rho_o) / (v_o + v),     v = sd^2

Source: Li, Kalnay and Miyoshi (2009), Simultaneous estimation of covariance inflation and observation errors within an
ensemble Kalman filter, QJRMS 135; Miyoshi (2011), The Gaussian approach to adaptive covariance inflation, Mon. Wea.
Rev. 139, eqs. 10 to 14.
"""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jax import Array

from pollux.core.errors import InputError
from pollux.mirror.ensemble import Members, Predicted, begin, check_members


@dataclass(frozen=True)
class AdaptiveInflation:
    """Learn the inflation factor. `sd` is how far rho may move in one update; `low` and `high` bound the factor."""

    start: float = 1.0
    sd: float = 0.04
    low: float = 0.9
    high: float = 3.0

    def __post_init__(self):
        if not 0 < self.low <= self.start <= self.high:
            raise InputError(f"Inflation needs 0 < low <= start <= high, received {self!r}")


Inflation = float | AdaptiveInflation


def first(inflation: Inflation) -> float:
    """The factor to start with."""
    return inflation.start if isinstance(inflation, AdaptiveInflation) else float(inflation)


def inflated(inflation: Inflation, factor: Array, f: Predicted) -> tuple[Array, Array]:
    """(factor to apply now, factor to carry on); nothing is inflated where nothing was fused."""
    some = jnp.any(f.used > 0)
    if isinstance(inflation, AdaptiveInflation):
        rho, p, tau = factor**2, jnp.sum(f.used), jnp.sum(f.S * f.S) / factor**2
        # tau is that of the ensemble before the inflation that it carries from its last update
        safe, count = jnp.where(tau > 0, tau, 1.0), jnp.maximum(p, 1.0)
        seen = (f.e @ f.e - p) / safe
        doubt = 2 / count * ((rho * safe + p) / safe) ** 2
        new = (doubt * rho + inflation.sd**2 * seen) / (doubt + inflation.sd**2)
        learnt = jnp.clip(jnp.sqrt(jnp.maximum(new, 0.0)), inflation.low, inflation.high)
        factor = jnp.where(some & (tau > 0), learnt, factor)
    return jnp.where(some, factor, 1.0), factor


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
