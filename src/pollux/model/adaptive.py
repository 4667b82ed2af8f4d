"""Explicit Runge-Kutta with step-size control: Tsitouras 5(4), or Dormand-Prince 8(7) for tight tolerances.

Sources: Tsitouras, Computers & Mathematics with Applications 62 (2011); Prince and Dormand, J. Comp. Appl. Math. 7
(1981); controller: Söderlind, ACM TOMS 29 (2003). Through Diffrax.
"""

from dataclasses import dataclass
from typing import Literal

from pollux.model._diffrax import diffrax_flow
from pollux.model.integrate import Flow
from pollux.model.statespace import System


@dataclass(frozen=True)
class Adaptive:
    """Explicit steps with the local error held below atol + rtol |x|; for twins that are not stiff.

    `order` 5 (Tsit5) or 8 (Dopri8). `max_steps` bounds one interval of the time grid. `gradient` says which
    derivative can be taken through it: `forward` (sensitivities, calibration) or `reverse`.
    """

    rtol: float = 1e-6
    atol: float = 1e-9
    order: Literal[5, 8] = 5
    max_steps: int = 10_000
    gradient: Literal["forward", "reverse"] = "forward"

    def flow(self, system: System) -> Flow:
        """The flow of a continuous system over one interval."""
        import diffrax

        solver = diffrax.Tsit5() if self.order == 5 else diffrax.Dopri8()
        controller = diffrax.PIDController(self.rtol, self.atol)
        return diffrax_flow(system, solver, controller, self.max_steps, self.gradient)
