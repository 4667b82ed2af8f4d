"""Linearly implicit Runge-Kutta with step-size control: Rodas5P, L-stable, for stiff twins."""

from dataclasses import dataclass
from typing import Literal

from pollux.model.control import Tolerance, check
from pollux.model.embedded import march
from pollux.model.integrate import March
from pollux.model.lu import DENSE
from pollux.model.rodas5p import rodas5p
from pollux.model.statespace import System
from pollux.model.tridiagonal import TRIDIAGONAL


@dataclass(frozen=True)
class Stiff:
    """Implicit steps with the local error held below atol + rtol |x|; for fast and slow modes in one twin.

    `jacobian` says what is known of df/dx: `tridiagonal` where each state sees only the one before and the one after it
    (one field on a line of cells), which makes a step O(n); where that is not so, steps get small. `max_steps` bounds
    one interval of the time grid. `gradient`: see `Adaptive`.
    """

    rtol: float = 1e-6
    atol: float = 1e-9
    jacobian: Literal["dense", "tridiagonal"] = "dense"
    max_steps: int = 10_000
    gradient: Literal["forward", "reverse"] = "forward"

    def __post_init__(self):
        check(self.rtol, self.atol, self.max_steps)
        if self.jacobian not in ("dense", "tridiagonal"):
            raise ValueError(f"`jacobian` is 'dense' or 'tridiagonal', received {self.jacobian!r}")

    def march(self, system: System) -> March:
        """The method at work on a continuous system."""
        scheme = rodas5p(DENSE if self.jacobian == "dense" else TRIDIAGONAL)
        return march(system, scheme, Tolerance(self.rtol, self.atol), self.max_steps, self.gradient)
