"""The classical fourth-order Runge-Kutta method with a fixed number of substeps.

    x_{k+1} = x_k + h/6 (k1 + 2 k2 + 2 k3 + k4)

Source: Kutta (1901); Hairer, Norsett and Wanner, Solving Ordinary Differential Equations I, table 1.2.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
from jax import Array

from pollux.model.integrate import March, memoryless
from pollux.model.statespace import StateFn, System


@dataclass(frozen=True)
class RK4:
    """The method as a value: `substeps` equal steps in each interval of the time grid."""

    substeps: int = 4

    def __post_init__(self):
        if self.substeps < 1:
            raise ValueError(f"`RK4` needs at least one substep, received {self.substeps!r}")

    def march(self, system: System) -> March:
        """The method at work on a continuous system."""
        return memoryless(rk4(system.f, self.substeps), self.substeps)


def rk4(f: StateFn, substeps: int) -> Callable[[Any, Any, Array, Array, Array], Array]:
    """Flow (t, dt, x, u, p) -> x at t + dt, with u held constant, by `substeps` equal steps. Global error O(h^4)."""

    def flow(t, dt, x, u, p):
        h = dt / substeps

        def step(i, x):
            s = t + i * h
            k1 = f(s, x, u, p)
            k2 = f(s + h / 2, x + h / 2 * k1, u, p)
            k3 = f(s + h / 2, x + h / 2 * k2, u, p)
            k4 = f(s + h, x + h * k3, u, p)
            return x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)

        if substeps == 1:
            return step(0, x)
        # a loop, not straight-line code: XLA fuses (and repeats) work across steps otherwise; 2x faster over a fleet
        return jax.lax.fori_loop(0, substeps, step, x)

    return flow


@lru_cache(maxsize=256)
def transition(system: System, substeps: int) -> Callable[[Any, Any, Array, Array, Array], Array]:
    """Flow of a system: RK4 for a continuous twin, its own `step` for a discrete one (dt is then its period)."""
    if system.period is not None:
        return lambda t, dt, x, u, p: system.f(t, x, u, p)
    return rk4(system.f, substeps)
