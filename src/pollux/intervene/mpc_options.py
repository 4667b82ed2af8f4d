"""What a model-predictive controller is asked to do, as values. Structure compiles; numbers never do."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

import numpy as np
from jaxtyping import Float

Weight = float | Mapping[str, float]
"""One number for all signals, or one for each name (0 where a name is missing)."""


@dataclass(frozen=True)
class InteriorPoint:
    """Solve each quadratic subproblem by Mehrotra's primal-dual interior-point method on the condensed problem.

    Right for economic (linear) costs of twins that are too large for native code. `iterations` bounds one subproblem.
    """

    iterations: int = 40
    tolerance: float = 1e-11


@dataclass(frozen=True)
class Riccati:
    """Solve each quadratic subproblem by Riccati recursions over the stages, in time linear in the horizon.

    Every stage is small, so it becomes native code: right for small twins and short cycles. Tracking with quadratic
    penalties takes a projected Newton method, one to three passes from a warm start; linear costs and penalties
    (`goal`, `worth`, `price`, `floor`) take an interior-point method, whose passes may be three times `iterations`.
    """

    iterations: int = 20
    tolerance: float = 1e-10


@dataclass(frozen=True)
class MpcOptions:
    """The optimal control problem over `steps` intervals of `step` seconds, the input held constant in each.

        min  sum_k integral goal dt                                     the twin's own stage cost
             + sum_k sum_i references[i] (x_i(t_k) - r_i,k)^2           k = 1 .. steps
             + sum_k sum_j rate[j] (u_j,k - u_j,k-1)^2                  k = 0 .. steps - 1, u_-1 = input in force
             + sum_k sum_l limit[l] v_l,k^2 + price[l] v_l,k            v = max(0, reserve - margin), at the end of k
             + sum_i terminal[i] (x_i(T) - r_i)^2 - worth[i] x_i(T) + floor penalties
        s.t. x' = f(t, x, u, p), low <= u <= high

    Weights are in cost units per squared (or plain, for `price` and `worth`) unit of the signal.
    """

    steps: int
    step: float
    substeps: int = 4
    controls: tuple[str, ...] | None = None
    """Inputs that are optimised; the others are held at their present (or announced) values. None: all."""
    references: Mapping[str, float] = field(default_factory=dict)
    """State name -> weight; the set-points themselves are given to `solve`."""
    rate: Weight = 0.0
    limit: Weight = 1e3
    """Quadratic penalty of each margin (and of each state in `bounds`)."""
    price: Weight = 0.0
    """Linear (exact) penalty of the same: above the multiplier of a limit, it is kept exactly where possible."""
    reserve: Weight = 0.0
    """Distance kept from each limit, in its unit: for what a plan cannot see, as disturbances and switching."""
    bounds: tuple[str, ...] = ()
    """States whose `within` is kept as a limit beside the margins."""
    terminal: Mapping[str, float] = field(default_factory=dict)
    """State name -> quadratic weight at the end of the horizon."""
    worth: Mapping[str, float] = field(default_factory=dict)
    """State name -> value per unit of what is stored at the end of the horizon."""
    floor: Mapping[str, float] = field(default_factory=dict)
    """State name -> linear penalty per unit below the floor that is given to `solve`, at the end of the horizon."""
    hessian: Literal["exact", "gauss_newton"] = "exact"
    """Curvature of `goal` and of the dynamics: by differentiation and convexified, or that of squares alone."""
    iterations: int = 20
    """Bound on outer (SQP) iterations."""
    tolerance: float = 1e-5
    """Of the KKT residual, in units of the input range."""
    solver: InteriorPoint | Riccati | None = None
    """None: `Riccati` when there is neither a goal nor a linear penalty, else `InteriorPoint`."""


class Outcome(StrEnum):
    """How a solve ended."""

    OPTIMAL = "optimal"
    """The KKT residual is below the tolerance."""
    STALLED = "stalled"
    """No step improves the cost any more; the residual says how far from optimal that is."""
    LIMIT = "iteration limit"
    """The bound on iterations was reached; the plan is the best one found, and never worse than the warm start."""
    DIVERGED = "diverged"
    """The model gives no finite cost from here, even for the plan that was handed in."""


@dataclass(frozen=True)
class Plan:
    """An optimised input plan, with how it went. `inputs[k]` holds from `times[k]` to `times[k + 1]`."""

    t: float
    times: Float[np.ndarray, " steps"]
    inputs: Float[np.ndarray, "steps u"]
    states: Float[np.ndarray, "nodes n"]
    """steps + 1 nodes, the first is the state that was given."""
    margins: Float[np.ndarray, "steps m"]
    """At the end of each interval, less the reserve."""
    multipliers: Float[np.ndarray, "steps m"]
    """Cost per unit by which a margin is tightened; above 0 where the limit binds."""
    reduced: Float[np.ndarray, "steps u"]
    """d cost / d input: above 0 the lower limit of the input holds it, below 0 the upper one."""
    cost: float
    """Value of the whole objective, penalties included."""
    penalty: float
    """The part of `cost` that is due to violated margins."""
    kkt: float
    """Scaled KKT residual: in the unit of the input range, see `mpc_sqp`."""
    promised: float
    """Fall of the cost that the last step promised: what a longer search might still gain."""
    iterations: int
    outcome: Outcome

    def shifted(self, by: int = 1) -> np.ndarray:
        """Warm start for the time `by` steps later: the plan moved forward, the last input repeated."""
        out = np.empty_like(self.inputs)
        kept = max(len(out) - by, 0)
        out[:kept], out[kept:] = self.inputs[by:], self.inputs[-1]
        return out
