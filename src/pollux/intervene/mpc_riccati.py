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
from jax.scipy.linalg import block_diag

from pollux.intervene.mpc_options import Riccati
from pollux.intervene.mpc_problem import Shape, Values
from pollux.intervene.mpc_stages import Direction, Stages, Verdict, terms

_TRIALS = 8
_NEAR = 1e-3


class _Point(NamedTuple):
    """A step of all inputs, what it does to states and rows, and the value of the model there less that of no step."""

    d: Array
    turn: Array
    """d less that of the stage before"""
    before: Array
    after: Array
    rows: Array
    value: Array


class _Pass(NamedTuple):
    point: _Point
    K: Array
    damping: Array
    off: Array
    bold: Array
    done: Array
    passes: Array


def riccati(
    shape: Shape, v: Values, s: Stages, verdict: Verdict, damping: Array, method: Riccati, run: Array
) -> tuple[Direction, Array, Array]:
    """Direction, the fall of the cost that it promises, and the damping that the curvature needed.

    `damping` is in units of `verdict.sigma`; it grows tenfold whenever the curvature of the free inputs is not
    positive. Nothing is done unless `run`.
    """
    N, c, n = shape.steps, len(shape.controls), v.x.size

    def body(at: _Pass) -> _Pass:
        k, K, gain, off, ok, held = _backward(shape, v, s, verdict, at.point, at.damping, at.bold, at.off)
        idle = gain <= 1e-14 * jnp.abs(at.point.value)
        solved = (off < method.tolerance) | (idle & ~at.bold)
        last = jnp.where(at.bold, 1, _TRIALS)

        def attempt(carry):
            _, alpha, tries, _, _ = carry
            alpha = jnp.where(tries == last, 0.0, alpha)
            point, smooth = _follow(shape, v, s, verdict, at.point, k, K, alpha, at.damping)
            better = (point.value < at.point.value) | (alpha == 0.0)
            return point, 0.25 * alpha, tries + 1, better, smooth & (alpha == 1.0)

        start = (at.point, jnp.ones(()), jnp.asarray(0), solved | idle | ~ok, jnp.asarray(False))
        point, alpha, _, _, exact = jax.lax.while_loop(lambda carry: ~carry[3], attempt, start)
        failed = (alpha == 0.0) | idle
        done = ok & (solved | (exact & ~held) | (failed & ~at.bold))
        return _Pass(point, K, jnp.where(ok, at.damping, 10 * at.damping), off, ~failed, done, at.passes + 1)

    nothing = _Point(jnp.zeros((N, c)), jnp.zeros((N, c)), jnp.zeros((N, n)), jnp.zeros((N, n)), s.rows, jnp.zeros(()))
    start = _Pass(nothing, jnp.zeros((N, c, n + c)), damping, jnp.ones(()), jnp.asarray(True), ~run, jnp.asarray(0))
    end = jax.lax.while_loop(lambda at: ~at.done & (at.passes < method.iterations), body, start)
    return Direction(end.point.d, end.point.before, end.K), -end.point.value, end.damping


def _backward(
    shape: Shape, v: Values, s: Stages, verdict: Verdict, at: _Point, damping: Array, bold: Array, near: Array
):
    """Newton step k (N, c) and gains K (N, c, n + c) of the piece around `at`.

    Also k'Hk, the largest move that the gradient asks for (in units of the range) and whether all curvature of the
    free inputs is positive. Carried: Hessian V and slope of the value in (dx, d of the stage before) along the Newton
    step, and the slope along no step, which tells the inputs that their limits hold.
    """
    e, prox = terms(shape, v), damping * verdict.sigma
    n, c, pick, rho = e.n, e.c, e.pick, e.rho
    least = 1e-14 * verdict.sigma

    def one(carry, given):
        V, newton, still, gain, off, ok, any_held = carry
        t, held, reference, weight, here, M, d, turn, before, after, lin = given

        R = jax.jacfwd(lambda z: e.limits(t, held, z))(jnp.concatenate([here.after, here.w]))
        below = jnp.maximum(-lin, 0.0)
        slope = -(2 * v.w2 * below) @ R
        slope = slope + jnp.concatenate([(2 * weight * (pick @ (here.after + after) - reference)) @ pick, jnp.zeros(c)])
        S = V + (R.T * jnp.where(below > 0, 2 * v.w2, 0.0)) @ R
        S = S + block_diag((pick.T * (2 * weight)) @ pick, jnp.zeros((c, c)))
        T = jnp.concatenate([here.J, jnp.concatenate([jnp.zeros((c, n)), jnp.eye(c)], axis=1)])
        Q, q, g = T.T @ S @ T, (newton + slope) @ T, (still + slope) @ T
        if shape.goal:
            more = here.slope + M @ jnp.concatenate([before, d])
            Q, q, g = Q + M, q + more, g + more
        move = rho * (here.change + turn)
        pull = move + prox * d
        q_u, g_u = q[n:] + pull, g[n:] + pull
        low, high = -here.w, 1.0 - here.w
        H = Q[n:, n:] + jnp.diag(rho + prox)
        close = jnp.minimum(near, _NEAR)
        at_low, at_high = (d <= low + close) & (g_u > 0), (d >= high - close) & (g_u < 0)
        at_low, at_high = (
            jnp.where(bold, ours, theirs)
            for ours, theirs in zip(_clamped(H, q_u, low - d, high - d, least), (at_low, at_high), strict=True)
        )
        fixed = at_low | at_high
        to = jnp.where(at_low, low - d, jnp.where(at_high, high - d, 0.0))
        free = ~fixed
        cross = jnp.concatenate([(q_u + H @ to)[:, None], Q[n:, :n], -jnp.diag(rho)], axis=1)
        L, positive = _factor(_only(H, free), least)
        Y = _solve(L, jnp.where(free[:, None], cross, 0.0))
        X = _solve_transposed(L, Y)
        k = to - X[:, 0]
        V = block_diag(Q[:n, :n], jnp.diag(rho)) - Y[:, 1:].T @ Y[:, 1:]
        newton = jnp.concatenate([q[:n] + k @ Q[n:, :n], -move - rho * k])
        still = jnp.concatenate([g[:n], -move])
        asked = jnp.max(jnp.abs(d - jnp.clip(d - g_u / verdict.sigma, low, high)))
        gain = gain + jnp.sum(jnp.abs(q_u * k))
        carry = (V, newton, still, gain, jnp.maximum(off, asked), ok & positive, any_held | jnp.any(fixed))
        return carry, (k, -X[:, 1:])

    zero, m = jnp.zeros(()), n + c
    last = jnp.concatenate([-v.worth, jnp.zeros(c)])
    start = (jnp.zeros((m, m)), last, last, zero, zero, jnp.asarray(True), jnp.asarray(False))
    given = _given(shape, v, s, verdict, at)
    (_, _, _, gain, off, ok, held), (k, K) = jax.lax.scan(one, start, given, reverse=True)
    return k, K, gain, off, ok, held


def _follow(shape: Shape, v: Values, s: Stages, verdict: Verdict, at: _Point, k, K, alpha: Array, damping: Array):
    """The point that the gains lead to, and whether the piece of the objective is still that of `at`."""
    e, prox = terms(shape, v), damping * verdict.sigma
    n, c, pick, rho = e.n, e.c, e.pick, e.rho

    def one(carry, given):
        dx, last, missed, free, value, same = carry
        (t, held, reference, weight, here, M, d_old, _, before, _, lin_old), k, K = given
        p = jnp.where(alpha > 0, k + K @ free, 0.0)
        gap = jnp.concatenate([dx - before, missed]) - alpha * free
        raw = d_old + alpha * p + jnp.where(alpha == 1.0, K @ gap, 0.0)
        d = jnp.clip(raw, -here.w, 1.0 - here.w)
        free = jnp.concatenate([here.J @ jnp.concatenate([free[:n], p]), p])
        after = here.J @ jnp.concatenate([dx, d])

        _, tangent = jax.jvp(
            lambda z: e.limits(t, held, z), (jnp.concatenate([here.after, here.w]),), (jnp.concatenate([after, d]),)
        )
        lin = here.rows + tangent
        below, base = jnp.maximum(-lin, 0.0), jnp.maximum(-here.rows, 0.0)
        miss, far, turn = pick @ here.after - reference, pick @ after, d - last
        value = (
            value
            + jnp.sum(v.w2 * (below - base) * (below + base))
            + jnp.sum(weight * far * (2 * miss + far))
            + jnp.sum(rho * turn * (here.change + 0.5 * turn))
            + 0.5 * prox * jnp.sum(d**2)
        )
        if shape.goal:
            z = jnp.concatenate([dx, d])
            value = value + (here.slope + 0.5 * M @ z) @ z
        same = same & jnp.all(raw == d) & jnp.all((lin < 0) == (lin_old < 0))
        return (after, d, d - d_old, free, value, same), (d, turn, dx, after, lin)

    start = (jnp.zeros(n), jnp.zeros(c), jnp.zeros(c), jnp.zeros(n + c), jnp.zeros(()), jnp.asarray(True))
    (x, *_, value, same), out = jax.lax.scan(one, start, (_given(shape, v, s, verdict, at), k, K))
    return _Point(*out, value - v.worth @ x), same


def _given(shape: Shape, v: Values, s: Stages, verdict: Verdict, at: _Point):
    """What a stage of either sweep is given; t is the end of its interval."""
    t = v.t + shape.step * jnp.arange(1.0, shape.steps + 1)
    stages = s._replace(cost=None, penalty=None)
    return (t, v.held, v.reference, v.reference_weight, stages, verdict.curvature, *at[:-1])


def _clamped(H: Array, q: Array, low: Array, high: Array, least: Array) -> tuple[Array, Array]:
    """Which inputs of one stage lie on a limit where q's + s'Hs / 2 is least in a box: projected Newton from s = 0.

    Exact for one input. For more, a fixed number of turns almost always ends there, and the passes over the horizon
    do not depend on it.
    """
    fixed, s = jnp.zeros(q.shape, bool), jnp.zeros(q.shape)
    for _ in range(1 if len(q) == 1 else len(q) + 1):
        L, _ = _factor(_only(H, ~fixed), least)
        rest = jnp.where(fixed, 0.0, q + H @ jnp.where(fixed, s, 0.0))
        step = -_solve_transposed(L, _solve(L, rest[:, None]))[:, 0]
        s = jnp.clip(jnp.where(fixed, s, step), low, high)
        slope = q + H @ s
        fixed = ((s <= low) & (slope > 0)) | ((s >= high) & (slope < 0))
    return fixed & (s <= low), fixed & (s > low)


def _only(H: Array, free: Array) -> Array:
    """H with the identity in place of the rows and columns that are not free."""
    return jnp.where(free[:, None] & free[None, :], H, 0.0) + jnp.diag(jnp.where(free, 0.0, 1.0))


def _factor(H: Array, least: Array) -> tuple[Array, Array]:
    """Cholesky factor of a small matrix and whether all pivots exceed `least`; others are replaced by 1."""
    c = len(H)
    L = [[jnp.zeros(())] * c for _ in range(c)]
    positive = jnp.asarray(True)
    for j in range(c):
        pivot = H[j, j] - sum(L[j][i] ** 2 for i in range(j))
        positive = positive & (pivot > least)
        L[j][j] = jnp.sqrt(jnp.where(pivot > least, pivot, 1.0))
        for i in range(j + 1, c):
            L[i][j] = (H[i, j] - sum(L[i][m] * L[j][m] for m in range(j))) / L[j][j]
    return jnp.stack([jnp.stack(row) for row in L]), positive


def _solve(L: Array, B: Array) -> Array:
    """L^-1 B by forward substitution."""
    rows: list[Array] = []
    for j in range(len(L)):
        rows.append((B[j] - sum(L[j, i] * rows[i] for i in range(j))) / L[j, j])
    return jnp.stack(rows)


def _solve_transposed(L: Array, B: Array) -> Array:
    """L'^-1 B by backward substitution."""
    return _solve(L[::-1, ::-1].T, B[::-1])[::-1]
