"""The linearised problem of `mpc_stages` with linear penalties, by a primal-dual interior-point method on a recursion.

    min_d  ... + sum_i w1_i v_i + w2_i v_i^2,   v >= 0,   s = rows + R (dx, d) + v >= 0,   0 <= w + d <= 1

In each iteration the slacks v, s and the distances of the inputs to their limits get the complementarity tau with
their multipliers z, y, a, b; all of them are eliminated stage by stage, so that the Newton step is one Riccati
recursion. Needs no curvature of the rows and none of the goal, and its number of iterations hardly depends on how many
limits are active.

Source: Rao, Wright and Rawlings, Application of interior-point methods to model predictive control, JOTA 99 (1998);
Wright, Primal-Dual Interior-Point Methods (1997), ch. 5 and 6 (the centring follows the length of the last step).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from pollux.intervene.mpc_gains import Point, given, minimise, nothing, promise, quadratic
from pollux.intervene.mpc_options import Riccati
from pollux.intervene.mpc_problem import Shape, Values
from pollux.intervene.mpc_stages import Direction, Stages, Verdict, terms

_MU = 1e-13
"""Complementarity at which a subproblem is solved, in units of the scale of the smooth part."""


class _Slack(NamedTuple):
    """Positive quantities and their multipliers, one row a stage."""

    v: Array
    s: Array
    z: Array
    y: Array
    a: Array
    b: Array


class _Pass(NamedTuple):
    point: Point
    slack: _Slack
    K: Array
    tau: Array
    error: Array
    """What is left of the first residual of stationarity."""
    damping: Array
    done: Array
    passes: Array


def barrier(
    shape: Shape, v: Values, s: Stages, verdict: Verdict, damping: Array, method: Riccati, run: Array
) -> tuple[Direction, Array, Array, Array]:
    """Direction, the fall of the cost that it promises, multipliers (N, r), and the damping that was needed."""
    e = terms(shape, v)
    N, c, r = shape.steps, e.c, s.rows.shape[1]
    pairs = N * (2 * r + 2 * c)

    def body(at: _Pass) -> _Pass:
        k, K, ok = _backward(shape, v, s, verdict, at)
        step, slack, longest = _direction(shape, v, s, verdict, at, k, K)
        alpha = jnp.where(ok, jnp.minimum(1.0, 0.995 * longest), 0.0)
        point, slack, total = _move(s, at, step, slack, alpha)
        mu, error = total / pairs, at.error * (1.0 - alpha)
        small = _MU * verdict.sigma
        done = ok & (((mu < small) & (error < 1e-8)) | (alpha < 1e-6))
        tau = jnp.where(ok, mu * jnp.clip((1.0 - alpha) ** 2, 0.05, 0.8), at.tau)
        return _Pass(point, slack, K, tau, error, jnp.where(ok, at.damping, 10 * at.damping), done, at.passes + 1)

    point, slack, total = _begin(shape, v, s, verdict)
    one = jnp.ones(())
    start = _Pass(point, slack, jnp.zeros((N, c, e.n + c)), 0.1 * total / pairs, one, damping, ~run, jnp.asarray(0))
    end = jax.lax.while_loop(lambda at: ~at.done & (at.passes < 3 * method.iterations), body, start)
    promised = jnp.where(run, promise(shape, v, s, verdict, end.point, end.damping * verdict.sigma), 0.0)
    return Direction(end.point.d, end.point.before, end.K), promised, end.slack.y, end.damping


def _begin(shape: Shape, v: Values, s: Stages, verdict: Verdict) -> tuple[Point, _Slack, Array]:
    """A point well inside, and the sum of its complementarities."""
    e, reach = terms(shape, v), s.reach
    assert reach is not None

    def one(carry, row):
        dx, last, total = carry
        t, end, held, _, _, here, _, _ = row
        d = jnp.clip(jnp.zeros(e.c), 0.1 - here.w, 0.9 - here.w)
        after = here.J @ jnp.concatenate([dx, d])
        _, change = jax.jvp(
            lambda z: e.limits(t, held, z),
            (jnp.concatenate([here.after, here.w]),),
            (jnp.concatenate([after, d]),),
        )
        w1, w2 = e.weights(end, s.reach, verdict.sigma)
        rows = here.rows + change
        x = jnp.maximum(-rows, 0.0) + 0.1 * reach
        far, half = rows + x, 0.5 * (w1 + 2 * w2 * x)
        a, b = 0.1 * verdict.sigma / (here.w + d), 0.1 * verdict.sigma / (1.0 - here.w - d)
        total = total + jnp.sum((x + far) * half) + 0.2 * e.c * verdict.sigma
        return (after, d, total), (Point(d, d - last, dx, after, rows), _Slack(x, far, half, half, a, b))

    start = (jnp.zeros(e.n), jnp.zeros(e.c), jnp.zeros(()))
    (*_, total), (point, slack) = jax.lax.scan(one, start, given(shape, v, s, verdict, nothing(s)))
    return point, slack, total


def _condense(q: _Slack, w1: Array, w2: Array, tau: Array) -> tuple[Array, Array, Array, Array]:
    """Slope and curvature of the rows once v and s are eliminated, and t, K of dv = (t - y/s dr) / K."""
    Wy, Wz = q.y / q.s, q.z / q.v
    K = 2 * w2 + Wy + Wz
    t = tau / q.s + tau / q.v - w1 - 2 * w2 * q.v
    return Wy * t / K - tau / q.s, Wy * (2 * w2 + Wz) / K, t, K


def _backward(shape: Shape, v: Values, s: Stages, verdict: Verdict, at: _Pass) -> tuple[Array, Array, Array]:
    """Newton step k (N, c) and gains K (N, c, n + c), and whether all curvature is positive."""
    e, prox, least = terms(shape, v), at.damping * verdict.sigma, 1e-14 * verdict.sigma
    n, c, rho = e.n, e.c, e.rho

    def one(carry, row):
        V, slope, ok = carry
        (t, end, held, reference, weight, here, M, point), slack = row
        R = jax.jacfwd(lambda z: e.limits(t, held, z))(jnp.concatenate([here.after, here.w]))
        force, curvature, _, _ = _condense(slack, *e.weights(end, s.reach, verdict.sigma), at.tau)
        Q, T = quadratic(e, V, R, curvature, weight, here.J, M)
        miss = e.pick @ (here.after + point.after) - reference
        q = (slope + force @ R + jnp.concatenate([(2 * weight * miss) @ e.pick, jnp.zeros(c)])) @ T
        if M is not None:
            q = q + here.slope + M @ jnp.concatenate([point.before, point.d])
        move = rho * (here.change + point.turn)
        low, high = here.w + point.d, 1.0 - here.w - point.d
        q = q + jnp.concatenate([jnp.zeros(n), move + prox * point.d - at.tau / low + at.tau / high])
        H = Q[n:, n:] + jnp.diag(rho + prox + slack.a / low + slack.b / high)
        k, K, V, slope, positive = minimise(e, Q, q, H, move, jnp.zeros(c), jnp.ones(c, bool), least)
        return (V, slope, ok & positive), (k, K)

    last = jnp.concatenate([-v.worth, jnp.zeros(c)])
    start = (jnp.zeros((n + c, n + c)), last, jnp.asarray(True))
    rows = (given(shape, v, s, verdict, at.point), at.slack)
    (_, _, ok), (k, K) = jax.lax.scan(one, start, rows, reverse=True)
    return k, K, ok


def _direction(shape: Shape, v: Values, s: Stages, verdict: Verdict, at: _Pass, k: Array, K: Array):
    """Changes of point and slacks along the Newton step, and how far it goes until one of them is zero."""
    e = terms(shape, v)

    def one(carry, row):
        dx, last, longest = carry
        (t, end, held, _, _, here, _, point), q, k, K = row
        d = k + K @ jnp.concatenate([dx, last])
        after = here.J @ jnp.concatenate([dx, d])
        _, dr = jax.jvp(
            lambda z: e.limits(t, held, z),
            (jnp.concatenate([here.after, here.w]),),
            (jnp.concatenate([after, d]),),
        )
        w1, w2 = e.weights(end, s.reach, verdict.sigma)
        _, _, t_v, K_v = _condense(q, w1, w2, at.tau)
        Wy = q.y / q.s
        dv = (t_v - Wy * dr) / K_v
        ds = dr + dv
        low, high = here.w + point.d, 1.0 - here.w - point.d
        change = _Slack(
            dv, ds, at.tau / q.v - q.z - q.z / q.v * dv, at.tau / q.s - q.y - Wy * ds,
            at.tau / low - q.a - q.a / low * d, at.tau / high - q.b + q.b / high * d,
        )  # fmt: skip
        value, by = jnp.concatenate([*q, low, high]), jnp.concatenate([*change, d, -d])
        longest = jnp.minimum(longest, jnp.min(jnp.where(by < 0, -value / jnp.minimum(by, -1e-300), jnp.inf)))
        return (after, d, longest), (Point(d, d - last, dx, after, dr), change)

    start = (jnp.zeros(e.n), jnp.zeros(e.c), jnp.asarray(jnp.inf))
    rows = (given(shape, v, s, verdict, at.point), at.slack, k, K)
    (*_, longest), (step, change) = jax.lax.scan(one, start, rows)
    return step, change, longest


def _move(s: Stages, at: _Pass, step: Point, change: _Slack, alpha: Array) -> tuple[Point, _Slack, Array]:
    """The next point, and the sum of its complementarities."""

    def one(total, row):
        w, point, slack, step, change = row
        point, slack = jax.tree.map(
            lambda old, by: old + jnp.where(alpha > 0, alpha * by, 0.0), (point, slack), (step, change)
        )
        rows = jnp.sum(slack.v * slack.z + slack.s * slack.y)
        box = jnp.sum((w + point.d) * slack.a + (1.0 - w - point.d) * slack.b)
        return total + rows + box, (point, slack)

    total, (point, slack) = jax.lax.scan(one, jnp.zeros(()), (s.w, at.point, at.slack, step, change))
    return point, slack, total
