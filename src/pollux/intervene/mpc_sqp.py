"""Sequential quadratic programming for `mpc_problem`: prox-linear steps with a line search on the true cost.

At each plan the smooth part is replaced by a convex quadratic and the rows by their linearisation; the penalties stay
as they are. The solution of that program is a descent direction of phi, and phi falls by at least a fraction of what
the model promised (Armijo). Damping grows when a step fails and shrinks when it succeeds, so a concave goal is safe.

The KKT residual is in units of the input range: with sigma the scale of the smooth part,

    max( |w - clip(w - (g - G'y) / sigma, 0, 1)|,  |y max(rows, 0)| / sigma ),   w1 [v > 0] + 2 w2 v <= y <= w1 + 2 w2 v

Source: Burke and Ferris, A Gauss-Newton method for convex composite optimization, Math. Prog. 71 (1995);
Nocedal and Wright, Numerical Optimization (2006), ch. 18.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from pollux.intervene.mpc_interior import Qp, interior_point
from pollux.intervene.mpc_options import InteriorPoint
from pollux.intervene.mpc_problem import KINK, Local, Path, Shape, Values, localise, roll

ARMIJO = 1e-4
TRIALS = 10
OPTIMAL, STALLED, LIMIT, DIVERGED, RUNNING = range(5)


class Solution(NamedTuple):
    """A scaled plan w (N, c), its path, multipliers of the rows, d cost / d w, residual, iterations, status."""

    w: Array
    path: Path
    y: Array
    reduced: Array
    kkt: Array
    promised: Array
    """Fall of the cost that the last direction promised."""
    iterations: Array
    status: Array


class _State(NamedTuple):
    w: Array
    path: Path
    y: Array
    reduced: Array
    kkt: Array
    damping: Array
    d: Array
    """Direction to search along next."""
    promised: Array
    """Fall of the cost that the model promises at its end."""
    iterations: Array
    status: Array


def sqp(shape: Shape, v: Values, w: Array, solver: InteriorPoint, iterations: Array, tolerance: Array) -> Solution:
    """Improve the scaled plan `w` (N, c) until the residual is below `tolerance`, at most `iterations` times.

    One pass searches along the present direction (at first none), judges where it ends and, unless that ends the
    solve, finds the next direction. So everything is traced once: compiling the model dominates the first solve.
    """
    N, r, nf = shape.steps, len(v.w1), len(shape.floored)
    w1 = jnp.concatenate([jnp.tile(v.w1, N), v.floor_price])
    w2 = jnp.concatenate([jnp.tile(v.w2, N), jnp.zeros(nf)])

    def penalty(rows):
        below = jnp.maximum(-rows, 0.0)
        return jnp.sum(w1 * below + w2 * below**2)

    def search(s: _State) -> _State:
        first = s.iterations == 0
        noise = 1e-13 * (1.0 + jnp.where(first, 0.0, jnp.abs(s.path.cost)))
        largest = jnp.finfo(jnp.float64).max

        def attempt(carry):
            _, _, alpha, i, _ = carry
            w = jnp.clip(s.w + alpha * s.d.reshape(s.w.shape), 0.0, 1.0)
            path = roll(shape, v, w)
            target = s.path.cost - ARMIJO * alpha * s.promised + noise
            return w, path, 0.5 * alpha, i + 1, path.cost <= jnp.where(first, largest, target)

        w, path, _, tries, good = jax.lax.while_loop(
            lambda c: ~c[4] & (c[3] < TRIALS), attempt, (s.w, s.path, jnp.asarray(1.0), 0, jnp.asarray(False))
        )
        w, path = jax.tree.map(lambda new, old: jnp.where(good, new, old), (w, path), (s.w, s.path))
        change = jnp.where(good & (tries == 1), 0.1, jnp.where(good, 2.0, 30.0))
        damping = jnp.where(first, s.damping, jnp.clip(s.damping * change, 1e-9, 1e3))
        useful = jnp.where(good, s.promised > 10 * noise, damping < 1e2)
        status = jnp.where(s.iterations >= iterations, LIMIT, RUNNING)
        status = jnp.where(first, jnp.where(good, status, DIVERGED), jnp.where(useful, status, STALLED))
        return s._replace(w=w, path=path, damping=damping, status=status)

    def judge(s: _State, local: Local) -> _State:
        """Multipliers that fit the present violations, the reduced gradient, and the residual."""
        below = jnp.maximum(-local.c, 0.0)
        kink = below < KINK * _reach(local.G, N, r)
        y = jnp.where(s.iterations == 0, w1, s.y)
        y = jnp.clip(y, jnp.where(kink, 0.0, w1) + 2 * w2 * below, w1 + 2 * w2 * below)
        y = jnp.where((s.iterations == 0) & (local.c > 0), 0.0, y)
        reduced = local.g - y @ local.G
        sigma, flat = _scale(local), s.w.reshape(-1)
        stationary = jnp.max(jnp.abs(flat - jnp.clip(flat - reduced / sigma, 0.0, 1.0)))
        slack = jnp.max(jnp.abs(y * jnp.maximum(local.c, 0.0)), initial=0.0) / sigma
        kkt = jnp.maximum(stationary, slack)
        status = jnp.where(kkt < tolerance, OPTIMAL, s.status)
        return s._replace(y=y, reduced=reduced, kkt=kkt, status=status)

    def aim(s: _State, local: Local) -> _State:
        flat, sigma, reach = s.w.reshape(-1), _scale(local), _reach(local.G, N, r)
        H = local.H / sigma + s.damping * jnp.eye(flat.size)
        G, c = local.G / reach[:, None], local.c / reach
        qp = Qp(H, local.g / sigma, G, c, w1 * reach / sigma, w2 * reach**2 / sigma, -flat, 1.0 - flat)
        d, y = interior_point(qp, solver)
        d = jnp.clip(d, -flat, 1.0 - flat)
        smooth = local.g @ d + 0.5 * sigma * d @ (H @ d)
        promised = penalty(local.c) - penalty(local.c + local.G @ d) - smooth
        return s._replace(d=d, y=y * sigma / reach, promised=promised, iterations=s.iterations + 1)

    def body(s: _State) -> _State:
        s = search(s)
        local = localise(shape, v, s.w, s.path, s.y[: N * r].reshape(N, r), s.y[N * r :])
        s = judge(s, local)
        return jax.lax.cond(s.status == RUNNING, aim, lambda s, _: s, s, local)

    nowhere = jax.tree.map(lambda a: jnp.full(a.shape, jnp.nan), jax.eval_shape(lambda: roll(shape, v, w)))
    start = _State(
        w=jnp.asarray(w),
        path=nowhere,
        y=jnp.zeros(w1.size),
        reduced=jnp.zeros(w.size),
        kkt=jnp.asarray(jnp.inf),
        damping=jnp.asarray(1e-6),
        d=jnp.zeros(w.size),
        promised=jnp.asarray(0.0),
        iterations=jnp.asarray(0),
        status=jnp.asarray(RUNNING),
    )
    s = jax.lax.while_loop(lambda s: s.status == RUNNING, body, start)
    return Solution(s.w, s.path, s.y, s.reduced.reshape(s.w.shape), s.kkt, s.promised, s.iterations, s.status)


def _scale(local: Local) -> Array:
    """Size of the smooth part: the largest curvature or slope over the whole range of one input."""
    return jnp.maximum(jnp.maximum(jnp.max(jnp.diagonal(local.H)), jnp.max(jnp.abs(local.g))), 1e-12)


def _reach(G: Array, N: int, r: int) -> Array:
    """How far a full move of the inputs takes each kind of row; rows are divided by it."""
    size = jnp.max(jnp.abs(G), axis=1, initial=0.0)
    if r:
        nodes = jnp.tile(jnp.max(size[: N * r].reshape(N, r), axis=0), N)
        size = jnp.concatenate([nodes, size[N * r :]])
    return jnp.maximum(size, 1e-9)
