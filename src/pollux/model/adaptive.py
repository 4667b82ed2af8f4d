"""Explicit Runge-Kutta with step-size control: Tsitouras 5(4), or Dormand-Prince 8(5,3) for tight tolerances."""

from dataclasses import dataclass
from typing import Literal

from pollux.model.control import Tolerance, check
from pollux.model.dop853 import DOP853
from pollux.model.embedded import march
from pollux.model.integrate import March
from pollux.model.statespace import System
from pollux.model.tsit5 import TSIT5


@dataclass(frozen=True)
class Adaptive:
    """Explicit steps with the local error held below atol + rtol |x|; for twins that are not stiff.

    `order` 5 (Tsitouras) or 8 (Dormand and Prince). `max_steps` bounds one interval of the time grid. `gradient` says
    which derivative can be taken through it: `forward` (sensitivities, calibration) or `reverse`.
    """

    rtol: float = 1e-6
    atol: float = 1e-9
    order: Literal[5, 8] = 5
    max_steps: int = 10_000
    gradient: Literal["forward", "reverse"] = "forward"

    def __post_init__(self):
        check(self.rtol, self.atol, self.max_steps)
        if self.order not in (5, 8):
            raise ValueError(f"`Adaptive` has the orders 5 and 8, received {self.order!r}")

    def march(self, system: System) -> March:
        """The method at work on a continuous system."""
        scheme = TSIT5 if self.order == 5 else DOP853
        return march(system, scheme, Tolerance(self.rtol, self.atol), self.max_steps, self.gradient)
