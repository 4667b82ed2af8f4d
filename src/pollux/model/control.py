"""Choice of the step size: error norm, first step, and a digital filter as controller.

Error norm (Hairer, Norsett and Wanner, Solving Ordinary Differential Equations I, eq. II.4.11), with the local error
estimate e and the states x0, x1 at both ends of the step; a step is accepted where it is at most 1:

    || e || = sqrt( 1/n sum_i ( e_i / (atol + rtol max(|x0_i|, |x1_i|)) )^2 )

Controller: H211b (Söderlind, Digital filters in adaptive time-stepping, ACM TOMS 29 (2003), table 2, b = 4), in
logarithms; after a rejection the elementary controller h <- h (SAFETY / || e ||)^(1/k).
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array


class Tolerance(NamedTuple):
    """Relative and absolute part."""

    rtol: float
    atol: float


class Control(NamedTuple):
    """What the controller remembers: the next step, log of the last accepted error and of the last change of step."""

    h: Any
    error: Any
    change: Any


SAFETY = 0.8
"""What the controller aims the error norm at; below 1, so that few steps are rejected."""
SHRINK, GROW = 0.1, 8.0
"""Least and greatest change of the step size at once."""
MEMORY = 0.25
"""1/b of H211b: weight of the last change of step."""
TINY = 1e-10
"""Least error norm that the controller sees: far below it the step grows by `GROW` whatever the error."""


def scale(tol: Tolerance, x0: Array, x1: Array) -> Array:
    """What each element of the local error is measured by."""
    return tol.atol + tol.rtol * jnp.maximum(jnp.abs(x0), jnp.abs(x1))


def mean_square(x: Array) -> Array:
    """1/n sum x_i^2; the square of the norm, which is enough to compare with 1 and to take the logarithm of."""
    return jnp.sum(x * x) / max(x.shape[0], 1)


def begin(h: Any) -> Control:
    """A controller that starts with step `h`."""
    return Control(h, jnp.zeros_like(h), jnp.zeros_like(h))


def next_step(c: Control, tried: Any, square: Any, accepted: Any, order: int) -> Control:
    """The controller after a step of size `tried` <= c.h with squared error norm `square` and local order `order`.

    A step that was cut, because the input changes at its end, does not make the next one smaller.
    """
    error = 0.5 * jnp.log(jnp.maximum(square, TINY**2)) - jnp.log(SAFETY)
    error = jnp.where(jnp.isfinite(square), error, jnp.inf)
    filtered = -(MEMORY / order) * (error + c.error) - MEMORY * c.change
    log_ratio = jnp.where(accepted, filtered, -error / order)
    change = jnp.clip(log_ratio, jnp.log(SHRINK), jnp.log(GROW))
    h = tried * jnp.exp(change)
    kept = accepted & (tried < c.h)
    return Control(
        jnp.where(kept, jnp.maximum(h, c.h), h),
        jnp.where(accepted, error, c.error),
        jnp.where(accepted, change, c.change),
    )


def first_step(f: Any, x: Array, f0: Array, span: Any, order: int, tol: Tolerance) -> Array:
    """A first step from two evaluations of f(s, x) (Hairer, Norsett and Wanner I, sec. II.4, "Starting step size").

    Where state or slope tell nothing, a millionth of `span`.
    """
    weight = scale(tol, x, x)
    d0, d1 = jnp.sqrt(mean_square(x / weight)), jnp.sqrt(mean_square(f0 / weight))
    little = 1e-6 * span
    h0 = jnp.where((d0 < 1e-5) | (d1 < 1e-5), little, 0.01 * d0 / jnp.where(d1 > 0, d1, 1.0))
    h0 = jnp.minimum(h0, span)
    f1 = f(h0, x + h0 * f0)
    d2 = jnp.sqrt(mean_square((f1 - f0) / weight)) / jnp.where(h0 > 0, h0, 1.0)
    steepest = jnp.maximum(d1, d2)
    h1 = jnp.where(steepest > 1e-15, (0.01 / jnp.where(steepest > 0, steepest, 1.0)) ** (1 / order), 1e-3 * h0)
    h = jnp.minimum(100 * h0, h1)
    return jnp.where(jnp.isfinite(h) & (h > 0), h, little)
