"""What an integration method is: one interface for fixed, adaptive and stiff steps, used by all of stage 1.

A method is a value (`RK4(substeps=4)`, `Adaptive(rtol=1e-6)`, `Stiff()`), and gives the flow of a system over one
interval with the input held constant (zero-order hold),

    x(t + dt) = x(t) + int_t^{t+dt} f(s, x(s), u, p) ds

`trajectory` chains the flow over a time grid. Nothing here raises on a numerical failure: the flow carries a code
that becomes an `Outcome`, and the state is NaN from there on.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax import Array

from pollux.model.statespace import System


class Outcome(StrEnum):
    """How an integration went."""

    SUCCESS = "success"
    MAX_STEPS = "step limit reached"
    DIVERGED = "state not finite"
    SOLVER = "implicit solve failed"


OUTCOMES = (Outcome.SUCCESS, Outcome.MAX_STEPS, Outcome.DIVERGED, Outcome.SOLVER)
"""Outcome by the code that a flow carries."""


class Info(NamedTuple):
    """What one or several intervals cost, as integer arrays: steps taken, steps rejected, index into `OUTCOMES`."""

    steps: Any
    rejected: Any
    code: Any


Flow = Callable[[Any, Any, Array, Array, Array], tuple[Array, Info]]
"""(t, dt, x (n,), u (m,), p (k,)) -> (x at t + dt, what it cost)."""


class Method(Protocol):
    """An integration method: a hashable value, so that kernels are cached by it."""

    def flow(self, system: System) -> Flow:
        """The flow of a continuous system over one interval."""
        ...


def flow_of(system: System, method: Method) -> Flow:
    """Flow by `method`; a discrete twin steps by its own `step` whatever the method is."""
    if system.period is None:
        return method.flow(system)

    def step(t, dt, x, u, p):
        new = jnp.where(dt > 0, system.f(t, x, u, p), x)
        return new, Info(jnp.int32(1), jnp.int32(0), code_of(new))

    return step


def code_of(x: Array) -> Array:
    """0 where every element is finite, else the code of `Outcome.DIVERGED`."""
    return jnp.where(jnp.all(jnp.isfinite(x)), 0, OUTCOMES.index(Outcome.DIVERGED)).astype(jnp.int32)


def trajectory(system: System, method: Method) -> Callable[[Array, Array, Array, Array], tuple[Array, Info]]:
    """(times (T,), U (T, m), x0 (n,), p (k,)) -> (X (T, n), info of the whole), with U[k] held from times[k].

    An interval of length zero leaves the state as it is, so that records of different length can be padded.
    """
    flow = flow_of(system, method)

    def run(times, U, x0, p):
        def step(carry, interval):
            x, info = carry
            t, dt, u = interval
            x, new = flow(t, dt, x, u, p)
            return (x, add(info, new)), x

        first = Info(jnp.int32(0), jnp.int32(0), code_of(x0))
        (_, info), X = jax.lax.scan(step, (x0, first), (times[:-1], jnp.diff(times), U[:-1]))
        return jnp.concatenate([x0[None], X]), info

    return run


def add(a: Info, b: Info) -> Info:
    """Costs add up; the first failure is the one that counts."""
    return Info(a.steps + b.steps, a.rejected + b.rejected, jnp.where(a.code == 0, b.code, a.code))
