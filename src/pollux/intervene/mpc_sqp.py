"""Sequential quadratic programming for `mpc_problem`: prox-linear steps with a line search on the true cost.

At each plan the smooth part is replaced by a convex quadratic and the rows by their linearisation; the penalties stay as
they are. The solution of that program is a descent direction of phi, and phi falls by at least a fraction of what the
model promised (Armijo). Damping grows when a step fails and shrinks when it succeeds, so a concave goal is safe.

The KKT residual is in units of the input range: with sigma the scale of the smooth part,

    max( |w - clip(w - (g - G'y) / sigma, 0, 1)|,  |y max(rows, 0)| / sigma ),   w1 [v > 0] + 2 w2 v <= y <= w1 + 2 w2 v

Source: Burke and Ferris, A Gauss-Newton method for convex composite optimization, Math. Prog. 71 (1995);
Nocedal and Wright, Numerical Optimization (2006), ch. 18.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from pollux.intervene.mpc_active import active_set
from pollux.intervene.mpc_interior import Qp, interior_point
from pollux.intervene.mpc_options import ActiveSet, InteriorPoint
from pollux.intervene.mpc_problem import Local, Path, Shape, Values, localise, roll

_ARMIJO = 1e-4
_TRIALS = 10
_KINK = 1e-6
"""A row this close to its limit, relative to what the inputs can do to it, counts as lying on it."""
OPTIMAL, STALLED, LIMIT, DIVERGED, _RUNNING = range(5)


class Solution(NamedTuple):
    """A scaled plan w (N, c), its path, multipliers of the rows, d cost / d w, residual, iterations, status."""

    w: Array
    path: Path
    y: Array
    reduced: Array
    kkt: Array
    iterations: Array
    status: Array


class _State(NamedTuple):
    w: Array
    path: Path
    y: Array
    reduced: Array
    kkt: Array
    damping: Array
    moving: Array
    """Whether the last step was worth taking."""
    iterations: Array
    status: Array


def sqp(
    shape: Shape, v: Values, w: Array, solver: InteriorPoint | ActiveSet, iterations: int, tolerance: float
) -> Solution:
    """Improve the scaled plan `w` (N, c) until the residual is below `tolerance`, at most `iterations` times.

    A pass judges the present plan and, unless that ends the solve, steps to the next. One pass is traced once, because
    compiling the differentiated model dominates the first solve.
    """
    N, r, nf = shape.steps, len(v.w1), len(shape.floored)
    w1 = jnp.concatenate([jnp.tile(v.w1, N), v.floor_price])
    w2 = jnp.concatenate([jnp.tile(v.w2, N), jnp.zeros(nf)])

    def penalty(rows):
        below = jnp.maximum(-rows, 0.0)
        return jnp.sum(w1 * below + w2 * below**2)

    def judge(w, local: Local, y):
        """Multipliers that fit the present violations, the reduced gradient, and the residual."""
        below = jnp.maximum(-local.c, 0.0)
        kink = below < _KINK * _reach(local.G, N, r)
        y = jnp.clip(y, jnp.where(kink, 0.0, w1) + 2 * w2 * below, w1 + 2 * w2 * below)
        reduced = local.g - y @ local.G
        sigma = scale_of(local)
        flat = w.reshape(-1)
        stationary = jnp.max(jnp.abs(flat - jnp.clip(flat - reduced / sigma, 0.0, 1.0)))
        slack = jnp.max(jnp.abs(y * jnp.maximum(local.c, 0.0)), initial=0.0) / sigma
        return y, reduced, jnp.maximum(stationary, slack)

    def step(s: _State, local: Local) -> _State:
        flat = s.w.reshape(-1)
        sigma = scale_of(local)
        reach = _reach(local.G, N, r)
        H = local.H / sigma + s.damping * jnp.eye(flat.size)
        G, c = local.G / reach[:, None], local.c / reach
        qp = Qp(H, local.g / sigma, G, c, w1 * reach / sigma, w2 * reach**2 / sigma, -flat, 1.0 - flat)
        d, y = interior_point(qp, solver) if isinstance(solver, InteriorPoint) else active_set(qp, solver)
        d, y = jnp.clip(d, -flat, 1.0 - flat), y * sigma / reach
        smooth = local.g @ d + 0.5 * sigma * d @ (H @ d)
        promised = penalty(local.c) - penalty(local.c + local.G @ d) - smooth
        noise = 1e-13 * (1.0 + jnp.abs(s.path.cost))

        def attempt(carry):
            _, _, alpha, i, _ = carry
            w = jnp.clip(flat + alpha * d, 0.0, 1.0).reshape(s.w.shape)
            path = roll(shape, v, w)
            good = path.cost <= s.path.cost - _ARMIJO * alpha * promised + noise
            return w, path, 0.5 * alpha, i + 1, good

        w, path, _, tries, good = jax.lax.while_loop(
            lambda c: ~c[4] & (c[3] < _TRIALS), attempt, (s.w, s.path, jnp.asarray(1.0), 0, jnp.asarray(False))
        )
        w, path = jax.tree.map(lambda new, old: jnp.where(good, new, old), (w, path), (s.w, s.path))
        damping = jnp.where(good & (tries == 1), s.damping / 10, jnp.where(good, 2 * s.damping, 30 * s.damping))
        damping = jnp.clip(damping, 1e-9, 1e3)
        return s._replace(
            w=w,
            path=path,
            y=jnp.where(jnp.all(jnp.isfinite(y)), y, s.y),
            damping=damping,
            moving=jnp.where(good, promised > 10 * noise, damping < 1e2),
            iterations=s.iterations + 1,
        )

    def body(s: _State) -> _State:
        local = localise(shape, v, s.w, s.path, s.y[: N * r].reshape(N, r), s.y[N * r :])
        y, reduced, kkt = judge(s.w, local, s.y)
        status = jnp.where(s.iterations >= iterations, LIMIT, _RUNNING)
        status = jnp.where(s.moving, status, STALLED)
        status = jnp.where(kkt < tolerance, OPTIMAL, status)
        s = s._replace(y=y, reduced=reduced, kkt=kkt, status=status)
        return jax.lax.cond(status == _RUNNING, step, lambda s, _: s, s, local)

    path = roll(shape, v, w)
    below = jnp.maximum(-jnp.concatenate([path.rows.reshape(-1), path.floors]), 0.0)
    start = _State(
        w=w,
        path=path,
        y=jnp.where(below > 0, w1, 0.0) + 2 * w2 * below,
        reduced=jnp.zeros(w.size),
        kkt=jnp.asarray(jnp.inf),
        damping=jnp.asarray(1e-6),
        moving=jnp.asarray(True),
        iterations=jnp.asarray(0),
        status=jnp.where(jnp.isfinite(path.cost), _RUNNING, DIVERGED),
    )
    s = jax.lax.while_loop(lambda s: s.status == _RUNNING, body, start)
    return Solution(s.w, s.path, s.y, s.reduced.reshape(s.w.shape), s.kkt, s.iterations, s.status)


def scale_of(local: Local) -> Array:
    """Size of the smooth part: the largest curvature or slope over the whole range of one input."""
    return jnp.maximum(jnp.maximum(jnp.max(jnp.diagonal(local.H)), jnp.max(jnp.abs(local.g))), 1e-12)


def _reach(G: Array, N: int, r: int) -> Array:
    """How far a full move of the inputs takes each kind of row; rows are divided by it."""
    size = jnp.max(jnp.abs(G), axis=1, initial=0.0)
    if r:
        nodes = jnp.tile(jnp.max(size[: N * r].reshape(N, r), axis=0), N)
        size = jnp.concatenate([nodes, size[N * r :]])
    return jnp.maximum(size, 1e-9)
