"""Bounds on the states of a linearised window, by a primal-dual interior-point method.

With slacks s = x - low > 0 and multipliers z > 0 of each bound (and their mirror images for `high`), Newton's step on
s z = mu, x - low = s, eliminated, is the same window pulled towards a value inside:

    D = z / s,   d = D (low + s) + mu / s

so that each turn is one pass of `pollux.mirror.horizon_window`. A window whose own solution lies within its bounds
takes one turn, without any pull. mu falls with the length of the last step.

Source: Bell, Burke and Pillonetto (2009), An inequality constrained nonlinear Kalman-Bucy smoother by interior point
likelihood maximization, Automatica 45; Wright, Primal-Dual Interior-Point Methods (1997), ch. 5.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from pollux.mirror.horizon_window import Filtered, Path, Plan, Pull, Solved, nothing

_GAP = 1e-10
"""Mean complementarity at which the bounds are met, in units of the cost: a bound out of reach pulls by 1e-10 sd."""

_ROUNDING = 1e-7
"""Below it, complementarity that no longer halves is what rounding leaves of a large cost: going on would spoil it."""

_TURNS = 60

_SHORT = 0.995
"""How far of the way to the boundary a step goes."""


class _Side(NamedTuple):
    """Slacks and multipliers of one bound, each a `Path`; 1 and 0 where there is none."""

    s: Path
    z: Path


class _Turn(NamedTuple):
    low: _Side
    high: _Side
    mu: Array
    pull: Pull
    plan: Plan
    free: Filtered
    var: Array
    """Without a pull, of the states `held`."""
    turns: Array
    done: Array


def within(
    solve: Callable[[Pull], Solved],
    plan: Plan,
    first_var: Array,
    low: np.ndarray,
    high: np.ndarray,
    held: np.ndarray,
) -> tuple[Plan, Filtered, Array]:
    """(the best plan with low <= x <= high, the pass without bounds, weights (k,) of an exact penalty on `held`).

    `first_var` (n,) is the variance of the first state before the window; `plan` is any of the right shape.
    """
    is_low, is_high = np.isfinite(low[held]), np.isfinite(high[held])
    lower, upper = np.where(is_low, low[held], 0.0), np.where(is_high, high[held], 0.0)
    pairs = (2 * len(plan.after) + 1) * (is_low.sum() + is_high.sum())
    least = 1e-9 * (1.0 + np.maximum(np.abs(lower), np.abs(upper)))

    def pulls(low: _Side, high: _Side, mu: Array) -> Pull:
        D = _each(lambda s, z, S, Z: z / s + Z / S, *low, *high)
        d = _each(lambda s, z: z / s * (lower + s) + is_low * mu / s, *low)
        return Pull(D, _each(lambda d, S, Z: d + Z / S * (upper - S) - is_high * mu / S, d, *high))

    def turn(at: _Turn) -> _Turn:
        first = at.turns == 0
        solved = solve(at.pull)
        free, var = _where(first, (solved.filtered, solved.var[:, held]), (at.free, at.var))
        x = _each(lambda x: x[..., held], solved.path)
        above, below = _each(lambda x: x - lower, x), _each(lambda x: upper - x, x)
        inside = ~_any(_each(lambda a, b: (is_low & (a < 0)) | (is_high & (b < 0)), above, below))
        spread = jnp.sqrt(var) + least
        sd = Path(jnp.sqrt(first_var[held]) + least, spread, spread)

        down, up = _newton(at.low, above, at.mu, is_low), _newton(at.high, below, at.mu, is_high)
        primal = jnp.minimum(_reach(at.low.s, down.s), _reach(at.high.s, up.s))
        dual = jnp.minimum(_reach(at.low.z, down.z), _reach(at.high.z, up.z))
        new_low = _where(first, _begin(above, sd, is_low), _moved(at.low, down, primal, dual))
        new_high = _where(first, _begin(below, sd, is_high), _moved(at.high, up, primal, dual))
        gap = (_total(new_low) + _total(new_high)) / pairs
        far = _any(
            _each(lambda a, b, w: (1 - primal) * jnp.maximum(jnp.abs(a), jnp.abs(b)) > 1e-9 * w, down.s, up.s, sd)
        )
        mu = gap * jnp.where(first, 0.1, jnp.clip((1 - jnp.minimum(primal, dual)) ** 2, 0.01, 0.9))
        stuck = (gap < _ROUNDING) & (2 * pairs * gap > _total(at.low) + _total(at.high))
        done = jnp.where(first, inside, (gap < _GAP) & ~far | stuck)
        return _Turn(new_low, new_high, mu, pulls(new_low, new_high, mu), solved.plan, free, var, at.turns + 1, done)

    pull = nothing(len(plan.after), held)
    none = _Side(_each(jnp.ones_like, pull.D), pull.D)
    n = plan.after.shape[1]
    unknown = Filtered(jnp.zeros(n), jnp.zeros((n, n)), jnp.zeros((n, n)))
    start = _Turn(none, none, jnp.zeros(()), pull, plan, unknown, pull.D.after, jnp.asarray(0), jnp.asarray(False))
    end = jax.lax.while_loop(lambda at: ~at.done & (at.turns < _TURNS), turn, start)
    strength = _each(lambda z, Z: jnp.max(jnp.atleast_2d(z + Z), axis=0), end.low.z, end.high.z)
    weight = 2.0 * jnp.max(jnp.stack(strength), axis=0)
    return end.plan, end.free, jnp.where(end.turns > 1, weight, 0.0)


def violation(path: Path, low: np.ndarray, high: np.ndarray, held: np.ndarray) -> Array:
    """By how much the states `held` leave their bounds, summed over a path, (k,)."""

    def one(x):
        x = jnp.atleast_2d(x[..., held])
        return jnp.sum(jnp.maximum(low[held] - x, 0.0) + jnp.maximum(x - high[held], 0.0), axis=0)

    return one(path.first) + one(path.before) + one(path.after)


def _begin(distance: Path, sd: Path, has: np.ndarray) -> _Side:
    s = _each(lambda d, w: jnp.where(has, jnp.maximum(d, w), 1.0), distance, sd)
    return _Side(s, _each(lambda s: jnp.where(has, 1.0 / s, 0.0), s))


def _newton(side: _Side, distance: Path, mu: Array, has: np.ndarray) -> _Side:
    ds = _each(lambda d, s: jnp.where(has, d - s, 0.0), distance, side.s)
    return _Side(ds, _each(lambda s, z, d: jnp.where(has, mu / s - z - z / s * d, 0.0), side.s, side.z, ds))


def _moved(side: _Side, step: _Side, primal: Array, dual: Array) -> _Side:
    return _Side(_each(lambda a, d: a + primal * d, side.s, step.s), _each(lambda a, d: a + dual * d, side.z, step.z))


def _reach(value: Path, step: Path) -> Array:
    """The longest step up to 1 that keeps a value positive."""
    most = _each(lambda a, d: jnp.min(jnp.where(d < 0, -a / jnp.where(d < 0, d, -1.0), jnp.inf)), value, step)
    return jnp.minimum(1.0, _SHORT * jnp.min(jnp.stack(most)))


def _total(side: _Side) -> Array:
    return jnp.sum(jnp.stack(_each(lambda s, z: jnp.sum(s * z), *side)))


def _any(flags: Path) -> Array:
    return jnp.any(jnp.stack(_each(jnp.any, flags)))


def _each(fn: Callable[..., Any], *paths: Path) -> Path:
    return jax.tree.map(fn, *paths)


def _where(which: Array, a: Any, b: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(which, a, b), a, b)
