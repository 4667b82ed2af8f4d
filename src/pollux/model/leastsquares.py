"""Bounded nonlinear least squares: Levenberg-Marquardt on sums, one compiled loop, batched over starts or twins.

    min_z  1/2 |r(z)|^2 + 1/2 sum_i c_i z_i^2   s.t.  low <= z <= high
    (H_ff + lambda D_ff) s_f = -g_f,     H = J'J + diag c,  g = J'r + c z,  D = diag H

f are the coordinates that are not held by a bound (at it with the gradient pushing outwards, or carried to it by the
step); the step is accepted where the loss falls. lambda follows the ratio of actual to predicted fall. The residual is
known by |r|^2, J'r and J'J alone, so that it may be a stream of any length.
Sources: Moré, The Levenberg-Marquardt algorithm (1978); Kanzow, Yamashita and Fukushima, J. Comp. Appl. Math. 172
(2004) for the projection; Nielsen, Damping parameter in Marquardt's method (1999).
"""

from collections.abc import Callable
from enum import StrEnum
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from pollux.model.stream import Sums


class FitOutcome(StrEnum):
    """How a fit went."""

    CONVERGED = "converged"
    MAX_STEPS = "iteration limit reached"
    STUCK = "the model is not finite next to the best point"
    NOT_FINITE = "the model is not finite at the start"


FIT_OUTCOMES = tuple(FitOutcome)
_CONVERGED, _RUNNING, _STUCK, _LOST = range(4)
_FIRST_DAMPING = 1e-3
_EASED = 0.2
"""What a good step does to the damping. In curved valleys 0.1 overshoots (one step in four is then rejected), one third
closes in slowly: on 12 records of cascaded tanks 0.2 took 9.5 passes on average, the others 12 and 13."""


class Tolerances(NamedTuple):
    """When to stop: relative fall of the loss, step in scaled coordinates, number of passes over the record."""

    loss: float = 1e-10
    step: float = 1e-9
    iterations: int = 100


class Descent(NamedTuple):
    """Where a fit stands: the best point so far with its derivatives, and the next point to try."""

    z: Any
    loss: Any
    """1/2 |r|^2 with the prior's part; inf before the first pass."""
    g: Any
    """J'r, without the prior's part; so is H = J'J."""
    H: Any
    trial: Any
    predicted: Any
    damping: Any
    growth: Any
    iterations: Any
    """Passes so far."""
    code: Any
    """Index into `FIT_OUTCOMES`; that of `MAX_STEPS` while it runs."""

    @property
    def running(self) -> Any:
        """Whether it has not ended."""
        return self.code == _RUNNING


def begin(z0: np.ndarray, low: np.ndarray, high: np.ndarray) -> Descent:
    """The start of a fit at z0 (k,), or of N fits at z0 (k, N)."""
    z = np.clip(z0, low, high)
    lanes = z.shape[1:]
    H, number = np.zeros((z.shape[0], *z.shape)), np.zeros(lanes)
    count = np.zeros(lanes, np.int32)
    far = number + np.inf
    return Descent(z, far, np.zeros_like(z), H, z, far, number + _FIRST_DAMPING, number + 2.0, count, count + _RUNNING)


def levenberg_marquardt(
    evaluate: Callable[[Array], Sums], at: Descent, low: Array, high: Array, precision: Array, tol: Tolerances
) -> Descent:
    """Minimise `evaluate(z).loss` + 1/2 sum precision z^2 within [low, high], all (k,), from where `at` stands; pure.

    A trial point at which the sums are not finite is rejected like one that raises the loss. The sums are traced once:
    the start is simply the first trial. It ends without another pass where the next step would gain nothing. Stopped
    by `tol.iterations`, it goes on from its result as if nothing had been.
    """

    def loss_of(z: Array, sums: Sums) -> Array:
        fine = jnp.isfinite(sums.loss) & jnp.all(jnp.isfinite(sums.H)) & jnp.all(jnp.isfinite(sums.g))
        return jnp.where(fine, sums.loss + 0.5 * jnp.sum(precision * z * z), jnp.inf)

    def body(s: Descent) -> Descent:
        sums = evaluate(s.trial)
        loss = loss_of(s.trial, sums)
        first = s.iterations == 0
        better = loss < s.loss
        fall = s.loss - loss
        ratio = fall / jnp.maximum(s.predicted, 1e-300)
        easier = jnp.where(ratio > 0.9, _EASED, jnp.maximum(1 / 3, 1 - (2 * ratio - 1) ** 3))
        damping = jnp.where(better, jnp.maximum(s.damping * easier, 1e-10), s.damping * s.growth)
        damping = jnp.where(first, s.damping, damping)
        growth = jnp.where(better, 2.0, 2.0 * s.growth)
        z, best = jnp.where(better, s.trial, s.z), jnp.where(better, loss, s.loss)
        g, H = jnp.where(better, sums.g, s.g), jnp.where(better, sums.H, s.H)
        trial, predicted = _step(z, g + precision * z, H + jnp.diag(precision), damping, low, high)
        gains = tol.loss * best
        ended = (jnp.max(jnp.abs(trial - z)) <= tol.step) | (jnp.abs(predicted) <= gains) | (damping > 1e12)
        ended = ended | (better & ~first & (fall <= gains))
        code = jnp.where(ended, jnp.where(jnp.isfinite(loss), _CONVERGED, _STUCK), _RUNNING)
        code = jnp.where(first & ~better, _LOST, code)
        return Descent(z, best, g, H, trial, predicted, damping, growth, s.iterations + 1, code.astype(jnp.int32))

    return jax.lax.while_loop(lambda s: s.running & (s.iterations < tol.iterations), body, at)


def _step(z: Array, g: Array, H: Array, damping: Array, low: Array, high: Array) -> tuple[Array, Array]:
    """The damped Gauss-Newton point in the box, and the fall of the loss that it promises.

    Coordinates that a bound holds stay; those that would leave the box go to their bound, and the others are sought
    again with that in mind, until all are inside.
    """
    diagonal = jnp.diag(H)
    D = jnp.maximum(diagonal, 1e-12 * jnp.max(diagonal) + 1e-300)

    def solve(held: Array, move: Array) -> Array:
        rest = jnp.where(held, 0.0, g + H @ jnp.where(held, move, 0.0))
        both = ~held[:, None] & ~held[None, :]
        damped = jnp.where(both, H, 0.0) + jnp.diag(jnp.where(held, 1.0, damping * D))
        scale = 1 / jnp.sqrt(jnp.diag(damped))  # equilibrated, so that Cholesky sees correlations and not units
        factor = jax.scipy.linalg.cho_factor(damped * scale[:, None] * scale[None, :])
        found = -scale * jax.scipy.linalg.cho_solve(factor, scale * rest)
        return jnp.where(held, move, jnp.where(jnp.isfinite(found), found, 0.0))

    def body(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        held, move, _ = carry
        move = solve(held, move)
        out = ~held & ((z + move < low) | (z + move > high))
        return held | out, jnp.where(out, jnp.clip(z + move, low, high) - z, move), jnp.any(out)

    stays = ((z <= low) & (g > 0)) | ((z >= high) & (g < 0))
    _, move, _ = jax.lax.while_loop(lambda c: c[2], body, (stays, jnp.zeros_like(z), jnp.bool_(True)))
    point = jnp.clip(z + move, low, high)
    move = point - z
    return point, -(g @ move + 0.5 * move @ H @ move)
