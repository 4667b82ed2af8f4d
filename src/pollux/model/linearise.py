"""`linearise`: the twin as a linear system about one operating point.

d(dx)/dt = A dx + B du,   dy = C dx + D du,      A = df/dx, B = df/du, C = dh/dx, D = dh/du
"""

from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from pollux.core.twin import Twin
from pollux.model.backend import Backend, default
from pollux.model.compile import programs
from pollux.model.record import as_inputs
from pollux.model.simulate import as_state
from pollux.model.statespace import StateSpace, flatten


@dataclass(frozen=True, eq=False)
class Linear:
    """Matrices at the point (t, x, u); of the step map when the twin is discrete."""

    space: StateSpace = field(repr=False)
    A: Float[np.ndarray, "n n"]
    B: Float[np.ndarray, "n m"]
    C: Float[np.ndarray, "ny n"]
    D: Float[np.ndarray, "ny m"]
    t: float
    x: Float[np.ndarray, " n"]
    u: Float[np.ndarray, " m"]

    @property
    def poles(self) -> np.ndarray:
        """Eigenvalues of A (1/s for a continuous twin), slowest first."""
        found = np.linalg.eigvals(self.A)
        return found[np.argsort(np.abs(np.real(found)))]

    @property
    def stable(self) -> bool:
        """Whether every small deviation dies out."""
        period = self.space.system.period
        return bool(np.all(np.abs(self.poles) < 1) if period else np.all(np.real(self.poles) < 0))

    def discrete(self, dt: float) -> tuple[Float[np.ndarray, "n n"], Float[np.ndarray, "n m"]]:
        """(Phi, Gamma) over `dt` with u held: the blocks of exp([[A, B], [0, 0]] dt) (Van Loan 1978)."""
        if self.space.system.period is not None:
            return self.A, self.B
        n, m = self.B.shape
        block = np.zeros((n + m, n + m))
        block[:n, :n], block[:n, n:] = self.A, self.B
        e = np.asarray(jax.scipy.linalg.expm(block * dt))
        return e[:n, :n], e[:n, n:]


def linearise(twin: Twin, *, x: Any = None, u: Any = None, t: float = 0.0, backend: Backend | None = None) -> Linear:
    """Exact linearisation by automatic differentiation at state `x` and input `u` (default: the start values).

    `x` as in `simulate`; `u` as a vector, a dict by input name or one constant.
    """
    space = flatten(twin)
    at = as_state(space, twin, x)
    held = as_inputs(space, u, np.array([t]))[1][0]
    kernel = (backend or default()).one(programs(space.system, 1)[1])
    A, B, C, D = kernel(np.float64(t), at, held, space.p0)
    return Linear(space, A, B, C, D, t, at, held)
