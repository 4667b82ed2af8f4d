"""The unscented Kalman filter on factors. See `pollux.mirror.sigma` for the equations and sources."""

from dataclasses import dataclass
from typing import Any

from pollux.core.errors import InputError
from pollux.mirror.method import StepFn
from pollux.mirror.sigma import sigma_step
from pollux.model.statespace import System


@dataclass(frozen=True)
class SquareRootUkf:
    """Unscented Kalman filter on factors; equal to `Ukf` but for rounding. `kappa` >= 0; None takes max(3 - n, 0).

    kappa = 3 - n matches the fourth moment of a Gaussian. A negative kappa would give a negative weight, and with it
    covariances that are differences: it is refused.
    """

    kappa: float | None = None

    def __post_init__(self):
        if self.kappa is not None and not self.kappa >= 0:
            raise InputError(f"`kappa` must be at least 0, received {self.kappa!r}. Use None to have it chosen")

    def step(self, system: System, substeps: int, low: Any, high: Any) -> StepFn:
        """One twin's step; see `pollux.mirror.method`."""
        kappa = max(3.0 - len(system.x_names), 0.0) if self.kappa is None else self.kappa
        return sigma_step(kappa, system, substeps, low, high)
