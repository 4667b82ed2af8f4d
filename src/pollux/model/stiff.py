"""Implicit Runge-Kutta with step-size control: Kvaerno 5(4), L-stable, for stiff twins.

Source: Kværnø, Singly diagonally implicit Runge-Kutta methods with an explicit first stage, BIT 44 (2004). Through
Diffrax.
"""

from dataclasses import dataclass
from typing import Literal

from pollux.model._diffrax import diffrax_flow
from pollux.model.integrate import Flow
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

    def flow(self, system: System) -> Flow:
        """The flow of a continuous system over one interval."""
        import diffrax

        # Söderlind's PI coefficients: fewer rejections than pure integral control on stiff problems
        controller = diffrax.PIDController(self.rtol, self.atol, pcoeff=0.3, icoeff=0.4)
        return diffrax_flow(system, diffrax.Kvaerno5(), controller, self.max_steps, self.gradient)
