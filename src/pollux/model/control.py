"""Choice of the step size: error norm, controller and first step.

Error norm (Hairer, Norsett and Wanner, Solving Ordinary Differential Equations I, eq. II.4.11), with the local error
estimate e and the states x0, x1 at both ends of the step; a step is accepted where it is at most 1:

    || e || = sqrt( 1/n sum_i ( e_i / (atol + rtol max(|x0_i|, |x1_i|)) )^2 )

Controller: the lesser of the elementary one and of the predictive one of Gustafsson (Control-theoretic techniques for
stepsize selection in implicit Runge-Kutta methods, ACM TOMS 20 (1994); Hairer and Wanner, Solving Ordinary Differential
Equations II, eq. IV.8.25), with local order k and aim a,

    h' = h (a / ||e||)^(1/k) min(1, (h / h_last) (||e_last|| / ||e||)^(1/k))

in logarithms, and the elementary one alone after a rejection. Chosen by measurement on Lorenz, Robertson and Van der
Pol: up to 30 % fewer tried steps than H211b, PI or elementary control, at a true error as small or smaller; about
equal with an eighth-order pair, and on Robertson the elementary one is slightly cheaper.
"""

import math
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array


class Tolerance(NamedTuple):
    """Relative and absolute part."""

    rtol: float
    atol: float


class Control(NamedTuple):
    """What the controller remembers: the next step, the last accepted one, and log(||e|| / `AIM`) of that."""

    h: Any
    last: Any
    error: Any


AIM = 0.5
"""The error norm that the controller aims at; below 1, so that few steps are rejected."""
SHRINK, GROW = 0.1, 8.0
"""Least and greatest change of the step size at once."""
TINY = 1e-10
"""Least error norm that the controller sees: far below it the step grows by `GROW` whatever the error."""


def check(rtol: float, atol: float, max_steps: int) -> None:
    """Raise `ValueError` for tolerances that no step can meet, or without any step."""
    if not (0 < rtol < 1 and 0 <= atol < math.inf):
        raise ValueError(f"`rtol` lies between 0 and 1 and `atol` is not negative, received {rtol!r} and {atol!r}")
    if max_steps < 1:
        raise ValueError(f"`max_steps` is at least 1, received {max_steps!r}")


def scale(tol: Tolerance, x0: Array, x1: Array) -> Array:
    """What each element of the local error is measured by."""
    return tol.atol + tol.rtol * jnp.maximum(jnp.abs(x0), jnp.abs(x1))


def mean_square(x: Array) -> Array:
    """1/n sum x_i^2; the square of the norm, which is enough to compare with 1 and to take the logarithm of."""
    return jnp.sum(x * x) / max(x.shape[0], 1)


def begin(h: Any) -> Control:
    """A controller that starts with step `h`."""
    return Control(h, h, jnp.zeros_like(h))


def next_step(c: Control, tried: Any, square: Any, accepted: Any, order: int) -> Control:
    """The controller after a step of size `tried` <= c.h with squared error norm `square` and local order `order`.

    A step that was cut, because the input changes at its end, does not make the next one smaller.
    """
    error = 0.5 * jnp.log(jnp.maximum(square, TINY**2)) - math.log(AIM)
    error = jnp.where(jnp.isfinite(square), error, jnp.inf)
    elementary = -error / order
    predicted = elementary + jnp.log(tried / c.last) + (c.error - error) / order
    log_ratio = jnp.where(accepted, jnp.minimum(elementary, predicted), elementary)
    h = tried * jnp.exp(jnp.clip(log_ratio, math.log(SHRINK), math.log(GROW)))
    kept = accepted & (tried < c.h)
    return Control(
        jnp.where(kept, jnp.maximum(h, c.h), h),
        jnp.where(accepted, tried, c.last),
        jnp.where(accepted, error, c.error),
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
    h1 = jnp.where(steepest > 1e-15, jnp.exp(jnp.log(0.01 / jnp.where(steepest > 0, steepest, 1.0)) / order), 1e-3 * h0)
    h = jnp.minimum(100 * h0, h1)
    return jnp.where(jnp.isfinite(h) & (h > 0), h, little)
