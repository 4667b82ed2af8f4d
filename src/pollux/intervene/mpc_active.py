"""The linearised problem of `mpc_stages` by a projected semismooth Newton method whose step is a Riccati recursion.

    min_d  sum_k  l_k'z + z'M_k z / 2 + sum_i q_i (miss_i + dx_i,k+1)^2 + rho (change + d_k - d_k-1)^2 / 2
                  + w2 max(0, -(rows_k + R_k (dx_k+1, d_k)))^2 + damping d_k^2 / 2,
    dx_k+1 = J_k (dx_k, d_k),   0 <= w + d <= 1

The objective is piecewise quadratic. Backward in time, each pass fixes the inputs that their limits hold and finds
gains of the minimiser of the present piece; forward, the inputs follow the gains and are clipped, so that later stages
answer to what earlier ones could not do. A pass in which no input is clipped and no row changes sides is exact. The
cost of a pass is linear in the horizon; the state of a stage is (x, w of the stage before), for the price of moves.

Source: Tassa, Mansard and Todorov, Control-limited differential dynamic programming, ICRA (2014); Bertsekas, Projected
Newton methods for optimization problems with simple constraints, SIAM J. Control Optim. 20 (1982); Rao, Wright and
Rawlings, Application of interior-point methods to model predictive control, JOTA 99 (1998) (the recursion).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from pollux.intervene.mpc_gains import (
    Point,
    factor,
    given,
    minimise,
    nothing,
    only,
    quadratic,
    solve,
    solve_transposed,
    value,
)
from pollux.intervene.mpc_options import Riccati
from pollux.intervene.mpc_problem import Shape, Values
from pollux.intervene.mpc_stages import Direction, Stages, Verdict, terms

_TRIALS = 8
_NEAR = 1e-3


class _Pass(NamedTuple):
    point: Point
    value: Array
    """Of the model there, less that of no step."""
    K: Array
    damping: Array
    off: Array
    bold: Array
    done: Array
    passes: Array


def active_set(
    shape: Shape, v: Values, s: Stages, verdict: Verdict, damping: Array, method: Riccati, run: Array
) -> tuple[Direction, Array, Array, Array]:
    """Direction, the fall of the cost that it promises, multipliers (N, r), and the damping that was needed.

    `damping` is in units of `verdict.sigma`; it grows tenfold whenever the curvature of the free inputs is not
    positive. Nothing is done unless `run`.
    """

    def body(at: _Pass) -> _Pass:
        k, K, gain, off, ok, held = _backward(shape, v, s, verdict, at.point, at.damping, at.bold, at.off)
        idle = gain <= 1e-14 * jnp.abs(at.value)
        solved = (off < method.tolerance) | (idle & ~at.bold)
        last = jnp.where(at.bold, 1, _TRIALS)

        def attempt(carry):
            _, _, alpha, tries, _, _ = carry
            alpha = jnp.where(tries == last, 0.0, alpha)
            point, worth, smooth = _follow(shape, v, s, verdict, at.point, k, K, alpha, at.damping)
            better = (worth < at.value) | (alpha == 0.0)
            return point, worth, 0.25 * alpha, tries + 1, better, smooth & (alpha == 1.0)

        start = (at.point, at.value, jnp.ones(()), jnp.asarray(0), solved | idle | ~ok, jnp.asarray(False))
        point, worth, alpha, _, _, exact = jax.lax.while_loop(lambda carry: ~carry[4], attempt, start)
        failed = (alpha == 0.0) | idle
        done = ok & (solved | (exact & ~held) | (failed & ~at.bold))
        damping = jnp.where(ok, at.damping, 10 * at.damping)
        return _Pass(point, worth, K, damping, off, ~failed, done, at.passes + 1)

    zero, one, yes = jnp.zeros(()), jnp.ones(()), jnp.asarray(True)
    gains = jnp.zeros((*s.w.shape, s.J.shape[2]))
    start = _Pass(nothing(s), zero, gains, damping, one, yes, ~run, jnp.asarray(0))
    end = jax.lax.while_loop(lambda at: ~at.done & (at.passes < method.iterations), body, start)
    return Direction(end.point.d, end.point.before, end.K), -end.value, verdict.y, end.damping


def _backward(
    shape: Shape, v: Values, s: Stages, verdict: Verdict, at: Point, damping: Array, bold: Array, near: Array
):
    """Newton step k (N, c) and gains K (N, c, n + c) of the piece around `at`.

    Also |q'k|, the largest move that the gradient asks for (in units of the range), whether all curvature of the free
    inputs is positive, and whether some are not free. Carried: Hessian V and slope of the value in (dx, d of the stage
    before) along the Newton step, and the slope along no step. `bold`: an input is fixed where the Newton step of its
    stage leaves the box. Else it is where the gradient pushes it out of the box from nearer than `near`: less daring,
    but certain to go down (Bertsekas).
    """
    e, prox = terms(shape, v), damping * verdict.sigma
    n, c, rho, least = e.n, e.c, e.rho, 1e-14 * verdict.sigma

    def one(carry, row):
        V, newton, still, gain, off, ok, held_any = carry
        t, last, held, reference, weight, here, M, p = row
        _, w2 = e.price(last)
        R = jax.jacfwd(lambda z: e.limits(t, held, z))(jnp.concatenate([here.after, here.w]))
        below = jnp.maximum(-p.rows, 0.0)
        Q, T = quadratic(e, V, R, jnp.where(below > 0, 2 * w2, 0.0), weight, here.J, M)
        miss = e.pick @ (here.after + p.after) - reference
        slope = jnp.concatenate([(2 * weight * miss) @ e.pick, jnp.zeros(c)]) - (2 * w2 * below) @ R
        move = rho * (here.change + p.turn)
        own = jnp.concatenate([jnp.zeros(n), move + prox * p.d])
        if M is not None:
            own = own + here.slope + M @ jnp.concatenate([p.before, p.d])
        q, g = (newton + slope) @ T + own, (still + slope) @ T + own
        H = Q[n:, n:] + jnp.diag(rho + prox)
        low, high = -here.w - p.d, 1.0 - here.w - p.d
        close = jnp.minimum(near, _NEAR)
        at_low, at_high = (low >= -close) & (g[n:] > 0), (high <= close) & (g[n:] < 0)
        at_low, at_high = (
            jnp.where(bold, ours, theirs)
            for ours, theirs in zip(_clamped(H, q[n:], low, high, least), (at_low, at_high), strict=True)
        )
        free = ~(at_low | at_high)
        to = jnp.where(at_low, low, jnp.where(at_high, high, 0.0))
        k, K, V, newton, positive = minimise(e, Q, q, H, move, to, free, least)
        asked = jnp.max(jnp.abs(jnp.clip(-g[n:] / verdict.sigma, low, high)))
        gain, off = gain + jnp.sum(jnp.abs(q[n:] * k)), jnp.maximum(off, asked)
        still = jnp.concatenate([g[:n], -move])
        return (V, newton, still, gain, off, ok & positive, held_any | jnp.any(~free)), (k, K)

    zero, m = jnp.zeros(()), n + c
    end = jnp.concatenate([-v.worth, jnp.zeros(c)])
    start = (jnp.zeros((m, m)), end, end, zero, zero, jnp.asarray(True), jnp.asarray(False))
    rows = given(shape, v, s, verdict, at)
    (_, _, _, gain, off, ok, held), (k, K) = jax.lax.scan(one, start, rows, reverse=True)
    return k, K, gain, off, ok, held


def _follow(shape: Shape, v: Values, s: Stages, verdict: Verdict, at: Point, k, K, alpha: Array, damping: Array):
    """The point that the gains lead to, its value, and whether the piece of the objective is still that of `at`.

    A whole step (`alpha` = 1) lets later inputs answer to earlier ones that were clipped; a shorter one is projected as
    it is, which is what certainly goes down.
    """
    e, prox = terms(shape, v), damping * verdict.sigma
    n, c = e.n, e.c

    def one(carry, row):
        dx, before, missed, free, total, same = carry
        (t, last, held, reference, weight, here, M, p), k, K = row
        ours = jnp.where(alpha > 0, k + K @ free, 0.0)
        gap = jnp.concatenate([dx - p.before, missed]) - alpha * free
        raw = p.d + alpha * ours + jnp.where(alpha == 1.0, K @ gap, 0.0)
        d = jnp.clip(raw, -here.w, 1.0 - here.w)
        free = jnp.concatenate([here.J @ jnp.concatenate([free[:n], ours]), ours])
        after = here.J @ jnp.concatenate([dx, d])
        base, by = jnp.concatenate([here.after, here.w]), jnp.concatenate([after, d])
        _, change = jax.jvp(lambda z: e.limits(t, held, z), (base,), (by,))
        new = Point(d, d - before, dx, after, here.rows + change)
        total = total + value(e, (t, last, held, reference, weight, here, M, new), prox)
        same = same & jnp.all(raw == d) & jnp.all((new.rows < 0) == (p.rows < 0))
        return (after, d, d - p.d, free, total, same), new

    start = (jnp.zeros(n), jnp.zeros(c), jnp.zeros(c), jnp.zeros(n + c), jnp.zeros(()), jnp.asarray(True))
    (x, *_, total, same), point = jax.lax.scan(one, start, (given(shape, v, s, verdict, at), k, K))
    return point, total - v.worth @ x, same


def _clamped(H: Array, q: Array, low: Array, high: Array, least: Array) -> tuple[Array, Array]:
    """Which inputs of one stage lie on a limit where q's + s'Hs / 2 is least in a box: projected Newton from s = 0.

    Exact for one input. For more, a fixed number of turns almost always ends there, and the passes over the horizon
    do not depend on it.
    """
    fixed, s = jnp.zeros(q.shape, bool), jnp.zeros(q.shape)
    for _ in range(1 if len(q) == 1 else len(q) + 1):
        L, _ = factor(only(H, ~fixed), least)
        rest = jnp.where(fixed, 0.0, q + H @ jnp.where(fixed, s, 0.0))
        step = -solve_transposed(L, solve(L, rest[:, None]))[:, 0]
        s = jnp.clip(jnp.where(fixed, s, step), low, high)
        slope = q + H @ s
        fixed = ((s <= low) & (slope > 0)) | ((s >= high) & (slope < 0))
    return fixed & (s <= low), fixed & (s > low)
