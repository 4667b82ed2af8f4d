"""What an integration method is: one interface for fixed, adaptive and stiff steps, used by all of stage 1.

A method is a value (`RK4(substeps=4)`, `Adaptive(rtol=1e-6)`, `Stiff()`), and solves

    dx/dt = f(t, x, u, p),    u held between the instants of a time grid (zero-order hold).

`readings` follows a system over a grid. A method with step-size control keeps its step across the grid: it is cut only
where the input changes, and instants inside a step are read from its continuous extension. Nothing here raises on a
numerical failure: the march carries a code that becomes an `Outcome`, and the state is NaN from there on.
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
    STEP_SIZE = "step size below the resolution of time"


OUTCOMES = (Outcome.SUCCESS, Outcome.MAX_STEPS, Outcome.DIVERGED, Outcome.STEP_SIZE)
"""Outcome by the code that a march carries."""


class Info(NamedTuple):
    """What one or several intervals cost, as integer arrays: steps taken, steps rejected, index into `OUTCOMES`."""

    steps: Any
    rejected: Any
    code: Any


class Leg(NamedTuple):
    """One interval of a grid. Times are seconds since `base`, so that an epoch costs no precision."""

    base: Any
    """Absolute time (s) of the start of the grid."""
    start: Any
    end: Any
    stop: Any
    """Until when the input is sure to stay as it is; a step may reach beyond `end` up to here."""
    fresh: Any
    """Whether state or input have jumped at `start`, so that nothing before it can be built on."""
    u: Array
    p: Array


class March(NamedTuple):
    """A method at work on one system."""

    begin: Callable[[Any, Any, Array, Array, Array], Any]
    """(base, span, x (n,), u (m,), p (k,)) -> memory at time zero of a grid that lasts `span` seconds."""
    advance: Callable[[Any, Array, Leg], tuple[Any, Array, Info]]
    """(memory, x at leg.start, leg) -> (memory, x at leg.end, what it cost). A leg of length zero leaves x alone."""
    ahead: Callable[[Array, Array], Array]
    """(times (T,), U (T, m)) -> what the leg that starts at each instant is told as `stop` (T,)."""


Flow = Callable[[Any, Any, Array, Array, Array], tuple[Array, Info]]
"""(t, dt, x (n,), u (m,), p (k,)) -> (x at t + dt, what it cost)."""


class Method(Protocol):
    """An integration method: a hashable value, so that kernels are cached by it."""

    def march(self, system: System) -> March:
        """The method at work on a continuous system."""
        ...


def march_of(system: System, method: Method) -> March:
    """March by `method`; a discrete twin steps by its own `step` whatever the method is."""
    if system.period is None:
        return method.march(system)
    return memoryless(lambda t, dt, x, u, p: system.f(t, x, u, p), 1)


def memoryless(advance: Callable[[Any, Any, Array, Array, Array], Array], steps: int) -> March:
    """March of a one-step map (t, dt, x, u, p) -> x that keeps nothing from one interval to the next."""

    def leg(memory, x, leg):
        dt = leg.end - leg.start
        new = jnp.where(dt > 0, advance(leg.base + leg.start, dt, x, leg.u, leg.p), x)
        return memory, new, Info(jnp.where(dt > 0, jnp.int32(steps), 0), jnp.int32(0), code_of(new))

    return March(lambda base, span, x, u, p: (), leg, lambda times, U: times)


def flow_of(system: System, method: Method) -> Flow:
    """The flow over one interval, x(t + dt) = x(t) + int_t^{t+dt} f(s, x(s), u, p) ds, from a fresh start."""
    march = march_of(system, method)

    def flow(t, dt, x, u, p):
        leg = Leg(t, jnp.zeros_like(dt), dt, dt, jnp.bool_(False), u, p)
        _, end, info = march.advance(march.begin(t, dt, x, u, p), x, leg)
        return end, info

    return flow


def code_of(x: Array) -> Array:
    """0 where every element is finite, else the code of `Outcome.DIVERGED`."""
    return jnp.where(jnp.all(jnp.isfinite(x)), 0, OUTCOMES.index(Outcome.DIVERGED)).astype(jnp.int32)


def trajectory(system: System, method: Method) -> Callable[[Array, Array, Array, Array], tuple[Array, Info]]:
    """(times (T,), U (T, m), x0 (n,), p (k,)) -> (X (T, n), info of the whole), with U[k] held from times[k].

    An interval of length zero leaves the state as it is, so that records of different length can be padded.
    """
    return readings(system, method, lambda t, x, u, p: x)


def readings(
    system: System, method: Method, read: Callable[[Any, Array, Array, Array], Any]
) -> Callable[[Array, Array, Array, Array], tuple[Any, Info]]:
    """(times (T,), U (T, m), x0 (n,), p (k,)) -> (`read(t, x, u, p)` at every instant, stacked, info of the whole).

    Reading happens inside the loop over time, so that a back end which lowers it to a real loop does so once.
    """
    march = march_of(system, method)

    def run(times, U, x0, p):
        base = times[0]
        span = times[-1] - base

        def instant(carry, row):
            memory, x, info, start, stop, fresh, u = carry
            t, held, ahead = row
            end = t - base
            memory, x, new = march.advance(memory, x, Leg(base, start, end, stop, fresh, u, p))
            jump = ~_same(held, u)
            return (memory, x, add(info, new), end, ahead, jump, held), read(t, x, held, p)

        zero = jnp.zeros_like(base)
        first = Info(jnp.int32(0), jnp.int32(0), code_of(x0))
        carry = (march.begin(base, span, x0, U[0], p), x0, first, zero, zero, jnp.bool_(False), U[0])
        carry, out = jax.lax.scan(instant, carry, (times, U, march.ahead(times, U)))
        return out, carry[2]

    return run


def next_change(times: Array, U: Array) -> Array:
    """For each instant, the seconds since the first at which the input next changes, or those of the last instant."""
    base = times[0]

    def earlier(later, row):
        t, u, stop = later
        t_here, here = row
        stop = jnp.where(_same(here, u), stop, t - base)
        return (t_here, here, stop), stop

    return jax.lax.scan(earlier, (times[-1], U[-1], times[-1] - base), (times, U), reverse=True)[1]


def _same(a: Array, b: Array) -> Any:
    return jnp.all(a == b) if a.shape[0] else jnp.bool_(True)


def add(a: Info, b: Info) -> Info:
    """Costs add up; the first failure is the one that counts."""
    return Info(a.steps + b.steps, a.rejected + b.rejected, jnp.where(a.code == 0, b.code, a.code))
