"""One-step methods with an embedded error estimate and a continuous extension, marched with step-size control.

A `Scheme` is the method itself; this file is the loop around it, the same for explicit and implicit ones. Of each step
it keeps what the continuous extension needs, so that instants of the grid inside a step are read and not stepped to
(Hairer, Norsett and Wanner I, sec. II.6). Each twin of a fleet has its own step size and its own time.

Derivatives: the choice of the step is taken as constant (Bock's internal numerical differentiation, 1981), so that
tangents are those of the steps that were taken.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from pollux.model.bounded import repeat_while
from pollux.model.control import Control, Tolerance, begin, first_step, mean_square, next_step, scale
from pollux.model.integrate import OUTCOMES, Info, Leg, March, Outcome, code_of, next_change
from pollux.model.statespace import System

Gradient = Literal["forward", "reverse"]
Slope = Callable[[Any, Array], Array]
"""(s, x) -> dx/ds with input and parameters held."""


class Trial(NamedTuple):
    """One step that was tried: state at its end, local error estimates (vectors), stages, and what the next step
    starts from (the slope at the end, for a method whose first stage is the last one's)."""

    x: Array
    errors: tuple[Array, ...]
    stages: Any
    slope: Any


class Scheme(NamedTuple):
    """A one-step method."""

    order: int
    """Order k of the local error estimate, e = O(h^k)."""
    slope: Callable[[Slope, Any, Array], Any]
    """(f, s, x) -> what a first step starts from, or () for a method that needs nothing."""
    step: Callable[[Slope, Any, Any, Array, Any], Trial]
    """(f, s, h, x, slope) -> one step from s to s + h."""
    square: Callable[..., Array]
    """Mean squares of the scaled error estimates -> the square of the error norm."""
    extend: Callable[..., Array]
    """(f, theta, s, h, x0, x1, slope at the end, stages) -> the state at s + theta h, 0 <= theta <= 1."""


class Memory(NamedTuple):
    """The last step, from (s0, x0) to (s1, x1), and where the march stands."""

    s0: Any
    s1: Any
    x0: Array
    x1: Array
    stages: Any
    slope: Any
    control: Control
    code: Any


def march(system: System, scheme: Scheme, tol: Tolerance, max_steps: int, gradient: Gradient) -> March:
    """The march of `scheme`; `max_steps` bounds the steps tried in one leg, rejected ones included."""

    def slope(base, u, p) -> Slope:
        return lambda s, x: system.f(base + s, x, u, p)

    def start(base, span, x, u, p):
        f = slope(base, u, p)
        f0 = f(jnp.zeros_like(span), x)
        known = scheme.slope(lambda s, x: f0, jnp.zeros_like(span), x)
        h = jax.lax.stop_gradient(first_step(f, x, f0, span, scheme.order, tol))
        stages = jax.eval_shape(lambda: scheme.step(f, span, span, x, known).stages)
        zeros = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), stages)
        zero = jnp.zeros_like(span)
        return Memory(zero, zero, x, x, zeros, known, begin(h), code_of(x))

    def advance(m: Memory, x: Array, leg: Leg) -> tuple[Memory, Array, Info]:
        f = slope(leg.base, leg.u, leg.p)
        m = jax.lax.cond(leg.fresh, lambda: _restart(scheme, f, m, x, leg.start), lambda: m)

        def unfinished(carry):
            m, steps, rejected = carry
            return (m.s1 < leg.end) & (m.code == 0) & (steps + rejected < max_steps)

        def attempt(carry):
            m, steps, rejected = carry
            new, accepted = _attempt(scheme, f, m, leg.stop, tol)
            return new, steps + accepted, rejected + (~accepted & (new.code == 0))

        none = jnp.int32(0)
        m, steps, rejected = repeat_while(unfinished, attempt, (m, none, none), max_steps, gradient)
        short = (m.s1 < leg.end) & (m.code == 0)
        code = jnp.where(short, OUTCOMES.index(Outcome.MAX_STEPS), m.code).astype(jnp.int32)
        h = m.s1 - m.s0
        theta = jnp.where(h > 0, (leg.end - m.s0) / jnp.where(h > 0, h, 1.0), 0.0)
        at_end = jax.lax.cond(
            leg.end < m.s1, lambda: scheme.extend(f, theta, m.s0, h, m.x0, m.x1, m.slope, m.stages), lambda: m.x1
        )
        at_end = jnp.where(code == 0, at_end, jnp.nan)
        at_end = jnp.where(leg.end > leg.start, at_end, x)
        return m._replace(code=code), at_end, Info(steps, rejected, code)

    return March(start, advance, next_change)


def _restart(scheme: Scheme, f: Slope, m: Memory, x: Array, s: Any) -> Memory:
    """State or input have jumped: the slope is another, the step size is still the best guess."""
    return m._replace(s0=s, s1=s, x0=x, x1=x, slope=scheme.slope(f, s, x), code=jnp.maximum(m.code, code_of(x)))


def _attempt(scheme: Scheme, f: Slope, m: Memory, stop: Any, tol: Tolerance) -> tuple[Memory, Array]:
    """Try one step, which never passes `stop`: the memory after it, and whether it was accepted."""
    left = stop - m.s1
    last = 1.01 * m.control.h >= left  # no crumb of a step is left over
    h = jnp.where(last, left, m.control.h)
    trial = scheme.step(f, m.s1, h, m.x1, m.slope)
    weight = scale(tol, m.x1, trial.x)
    square = jax.lax.stop_gradient(scheme.square(*(mean_square(e / weight) for e in trial.errors)))
    accepted = (square <= 1.0) & jnp.isfinite(jnp.sum(trial.x))
    square = jnp.where(jnp.isfinite(jnp.sum(trial.x)), square, jnp.inf)
    control = next_step(m.control, h, jax.lax.stop_gradient(square), accepted, scheme.order)
    end = jnp.where(accepted, jnp.where(last, stop, m.s1 + h), m.s1)
    least = jnp.maximum(16 * jnp.finfo(end.dtype).eps * end, 1e-30 * stop)
    lost = jnp.where(jnp.isfinite(square), OUTCOMES.index(Outcome.STEP_SIZE), OUTCOMES.index(Outcome.DIVERGED))
    code = jnp.where((control.h < least) & (end < stop), lost, m.code).astype(jnp.int32)
    # start and stages of a rejected step are never read: the loop ends on an accepted one or with a code
    return Memory(
        m.s1,
        end,
        m.x1,
        jnp.where(accepted, trial.x, m.x1),
        trial.stages,
        jax.tree.map(lambda new, old: jnp.where(accepted, new, old), trial.slope, m.slope),
        control,
        code,
    ), accepted
