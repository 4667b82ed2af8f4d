"""Linearly implicit Runge-Kutta with step-size control: Rodas5P, L-stable, for stiff twins."""

from dataclasses import dataclass
from typing import Literal

from pollux.model.control import Tolerance
from pollux.model.embedded import march
from pollux.model.integrate import March
from pollux.model.rodas5p import RODAS5P
from pollux.model.statespace import System


@dataclass(frozen=True)
class Stiff:
    """Implicit steps with the local error held below atol + rtol |x|; for fast and slow modes in one twin.

    `max_steps` bounds one interval of the time grid. `gradient`: see `Adaptive`.
    """

    rtol: float = 1e-6
    atol: float = 1e-9
    max_steps: int = 10_000
    gradient: Literal["forward", "reverse"] = "forward"

    def march(self, system: System) -> March:
        """The method at work on a continuous system."""
        return march(system, RODAS5P, Tolerance(self.rtol, self.atol), self.max_steps, self.gradient)
