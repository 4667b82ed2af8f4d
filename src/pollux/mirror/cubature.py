"""The cubature Kalman filter on factors. See `pollux.mirror.sigma` for the equations and sources."""

from dataclasses import dataclass
from typing import Any

from pollux.mirror.method import StepFn
from pollux.mirror.sigma import sigma_step
from pollux.model.statespace import System


@dataclass(frozen=True)
class Cubature:
    """Cubature Kalman filter: 2n equally weighted points x +- sqrt(n) L_i, the third-degree spherical-radial rule.

    Exact for polynomials up to the third degree; no parameter and no negative weight for any n.
    """

    def step(self, system: System, substeps: int, low: Any, high: Any) -> StepFn:
        """One twin's step; see `pollux.mirror.method`."""
        return sigma_step(0.0, system, substeps, low, high)
