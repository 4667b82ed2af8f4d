"""Bounded nonlinear least squares: Levenberg-Marquardt with exact Jacobians, one compiled loop, batched over starts.

    min_z 1/2 |r(z)|^2   s.t.  low <= z <= high
    (H_ff + lambda D_ff) s_f = -g_f,     H = J' J,  g = J' r,  D = diag H

f are the coordinates that are not held by a bound (at it, with the gradient pushing outwards); the step is projected
into the box, and accepted where the loss falls. lambda follows the ratio of actual to predicted fall.
Sources: Moré, The Levenberg-Marquardt algorithm (1978); Kanzow, Yamashita and Fukushima, J. Comp. Appl. Math. 172
(2004) for the projection; Nielsen, Damping parameter in Marquardt's method (1999).
"""

from collections.abc import Callable
from enum import StrEnum
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array


class FitOutcome(StrEnum):
    """How a fit went."""

    CONVERGED = "converged"
    MAX_STEPS = "iteration limit reached"
    STUCK = "no step lowers the loss"
    NOT_FINITE = "the model is not finite at the start"


FIT_OUTCOMES = tuple(FitOutcome)
_CONVERGED, _RUNNING, _STUCK, _LOST = range(4)


class Tolerances(NamedTuple):
    """When to stop: relative fall of the loss, step in scaled coordinates, number of iterations."""

    loss: float = 1e-10
    step: float = 1e-9
    iterations: int = 100


class Solved(NamedTuple):
    """Where one start ended: coordinates, loss 1/2 |r|^2, iterations, index into `FIT_OUTCOMES`."""

    z: Any
    loss: Any
    iterations: Any
    code: Any


class _State(NamedTuple):
    """Best point so far with its derivatives, and the next point to try."""

    z: Array
    loss: Array
    g: Array
    H: Array
    trial: Array
    predicted: Array
    damping: Array
    growth: Array
    iterations: Array
    code: Array


def levenberg_marquardt(
    residual: Callable[[Array], Array], z0: Array, low: Array, high: Array, tol: Tolerances
) -> Solved:
    """Minimise 1/2 |residual(z)|^2 within [low, high] from z0, all (k,); pure, so it can be jitted and vmapped.

    A trial point at which the residual is not finite is rejected like one that raises the loss. The residual is
    traced once: the start is simply the first trial.
    """
    size = z0.shape[0]
    z0 = jnp.clip(z0, low, high)
    if size == 0:
        loss = 0.5 * jnp.sum(residual(z0) ** 2)
        return Solved(z0, loss, jnp.int32(0), jnp.int32(_CONVERGED))

    def evaluate(z):
        J, r = jax.jacfwd(lambda z: (residual(z),) * 2, has_aux=True)(z)
        loss = 0.5 * jnp.sum(r * r)
        fine = jnp.isfinite(loss) & jnp.all(jnp.isfinite(J))
        J, r = jnp.where(fine, J, 0.0), jnp.where(fine, r, 0.0)
        return jnp.where(fine, loss, jnp.inf), J.T @ r, J.T @ J

    def body(s: _State) -> _State:
        loss, g, H = evaluate(s.trial)
        first = s.iterations == 0
        better = loss < s.loss
        move = s.trial - s.z
        fall = s.loss - loss
        ratio = fall / jnp.maximum(s.predicted, 1e-300)
        easier = jnp.where(ratio > 0.9, 0.1, jnp.maximum(1 / 3, 1 - (2 * ratio - 1) ** 3))
        damping = jnp.where(better, jnp.maximum(s.damping * easier, 1e-10), s.damping * s.growth)
        damping = jnp.where(first, s.damping, damping)
        growth = jnp.where(better, 2.0, 2.0 * s.growth)
        small = jnp.max(jnp.abs(move)) <= tol.step
        flat = (jnp.abs(s.predicted) <= tol.loss * s.loss) | (better & (fall <= tol.loss * s.loss))
        code = jnp.where(small | flat, _CONVERGED, jnp.where(damping > 1e12, _STUCK, _RUNNING))
        code = jnp.where(first, jnp.where(better, _RUNNING, _LOST), code)
        z, loss = jnp.where(better, s.trial, s.z), jnp.where(better, loss, s.loss)
        g, H = jnp.where(better, g, s.g), jnp.where(better, H, s.H)
        trial = _step(z, g, H, damping, low, high)
        move = trial - z
        predicted = -(g @ move + 0.5 * move @ H @ move)
        return _State(z, loss, g, H, trial, predicted, damping, growth, s.iterations + 1, code.astype(jnp.int32))

    zero = jnp.zeros_like(z0)
    inf = jnp.float64(jnp.inf)
    start = _State(
        z0, inf, zero, jnp.zeros((size, size)), z0, inf, jnp.float64(1e-3), jnp.float64(2.0),
        jnp.int32(0), jnp.int32(_RUNNING),
    )  # fmt: skip
    end = jax.lax.while_loop(lambda s: (s.code == _RUNNING) & (s.iterations < tol.iterations), body, start)
    return Solved(end.z, end.loss, end.iterations, end.code)


def _step(z: Array, g: Array, H: Array, damping: Array, low: Array, high: Array) -> Array:
    """The damped Gauss-Newton point, with coordinates that a bound holds left where they are."""
    free = ~(((z <= low) & (g > 0)) | ((z >= high) & (g < 0)))
    diagonal = jnp.diag(H)
    D = jnp.maximum(diagonal, 1e-12 * jnp.max(diagonal) + 1e-300)
    both = free[:, None] & free[None, :]
    damped = jnp.where(both, H, 0.0) + jnp.diag(jnp.where(free, damping * D, 1.0))
    scale = 1 / jnp.sqrt(jnp.diag(damped))  # equilibrated, so that Cholesky sees correlations and not units
    factor = jax.scipy.linalg.cho_factor(damped * scale[:, None] * scale[None, :])
    move = -scale * jax.scipy.linalg.cho_solve(factor, scale * jnp.where(free, g, 0.0))
    return jnp.clip(z + jnp.where(jnp.isfinite(move), move, 0.0), low, high)
