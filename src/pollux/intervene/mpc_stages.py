"""The optimal control problem of `MpcOptions` stage by stage: nothing in it is larger than one stage.

    min  sum_k l_k(x_k, w_k) + sum_i q_ik (x_i,k+1 - r_ik)^2 + sum_j rho_j (w_jk - w_j,k-1)^2 / 2
         + sum_i w2_i max(0, -rows_i(x_k+1, w_k))^2 - worth' x_N,      x_k+1 = f_k(x_k, w_k),   0 <= w <= 1

`forward` simulates a plan and linearises it on the way, `judge` runs backward and says how far it is from optimal.
Both are scans over the horizon with small bodies, so that their cost is linear in it and they compile to short loops.

Source: Bertsekas, Nonlinear Programming (1999), sec. 1.9 (costate); Burke and Ferris, A Gauss-Newton method for convex
composite optimization, Math. Prog. 71 (1995) (curvature of the rows).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from pollux.intervene.mpc_problem import KINK, Shape, Values, rows_of, stage


class Stages(NamedTuple):
    """A plan, simulated and linearised. Every array has the horizon as first axis; z = (x, w) of one stage."""

    w: Array
    """(N, c)"""
    change: Array
    """(N, c) w less that of the stage before"""
    before: Array
    """(N, n) states at the beginning of each interval"""
    after: Array
    """(N, n) and at its end"""
    J: Array
    """(N, n, n + c) d after / dz"""
    rows: Array
    """(N, r)"""
    slope: Array | None
    """(N, n + c) d goal / dz; None without a goal"""
    cost: Array
    penalty: Array
    reach: Array | None
    """(r,) how far a full move of all inputs takes each row; None without linear penalties"""


class Direction(NamedTuple):
    """A step of the linearised problem, and how its inputs answer to what the plan did not foresee.

    w = w_old + alpha d + K ((x, w_before) - what alpha d would have led to)
    """

    d: Array
    """(N, c)"""
    before: Array
    """(N, n) change of the states at the beginning of each interval"""
    K: Array
    """(N, c, n + c)"""


class Verdict(NamedTuple):
    """What the optimality conditions say of a plan."""

    reduced: Array
    """(N, c) d cost / dw"""
    y: Array
    """(N, r) multipliers of the rows, floors last: 2 w2 v, and w1 of it where there is a price"""
    curvature: Array | None
    """(N, n + c, n + c) of the goal, with that of the dynamics if `exact`; None without a goal"""
    sigma: Array
    """Scale of the smooth part, see `mpc_sqp`."""
    kkt: Array


class Terms(NamedTuple):
    """The functions and constants of one stage, shared by all sweeps over the horizon."""

    n: int
    c: int
    pick: np.ndarray
    """(referenced, n) of 0 and 1"""
    rho: Array
    """(c,) second derivative of the price of a move, in scaled inputs"""
    ahead: Callable[[Any, Array, Array], tuple[Array, Array]]
    """(t at the beginning, held inputs (m,), z) -> (x at the end, integral of the goal)"""
    limits: Callable[[Any, Array, Array], Array]
    """(t at the end, held inputs, (x at the end, w)) -> rows (r,), the floors last"""
    price: Callable[[Any], tuple[Array, Array]]
    """whether the stage is the last -> linear and quadratic weights of the rows (r,)"""

    def weights(self, last: Any, reach: Array | None, sigma: Array) -> tuple[Array, Array]:
        """The same; a row without any weight gets a small one, as its multipliers would have no interior."""
        assert reach is not None
        w1, w2 = self.price(last)
        return w1 + 1e-9 * sigma / reach, w2


def terms(shape: Shape, v: Values) -> Terms:
    """Selections are products with constant matrices: plain to differentiate, and free where code is folded."""
    n, m, c = v.x.size, v.before.size, len(shape.controls)
    pick, decided = np.eye(n)[list(shape.referenced)], np.eye(m)[list(shape.controls)]
    chosen = decided.any(0)
    advance, rows, width = stage(shape), rows_of(shape, v), v.high - v.low

    def inputs(held, w):
        return jnp.where(chosen, (v.low + w * width) @ decided, held)

    def ahead(t, held, z):
        return advance(t, z[:n], inputs(held, z[n:]), v.p)

    floors = np.eye(n)[list(shape.floored)]

    def limits(t, held, z):
        r = rows(t, z[:n], inputs(held, z[n:]))
        return jnp.concatenate([r, floors @ z[:n] - v.floor]) if shape.floored else r

    def price(last):
        if not shape.floored:
            return v.w1, v.w2
        w1 = jnp.concatenate([v.w1, jnp.where(last, v.floor_price, 0.0)])
        return w1, jnp.concatenate([v.w2, jnp.zeros(len(shape.floored))])

    return Terms(n, c, pick, 2 * v.rate * width**2, ahead, limits, price)


def forward(shape: Shape, v: Values, old: Stages, step: Direction, alpha: Array) -> Stages:
    """Simulate and linearise the plan that `step` makes of `old`. With `alpha` = 0 that is `old` again."""
    s = terms(shape, v)

    def one(carry, given):
        x, last, missed, cost, penalty, spread, reach = carry
        k, held, reference, weight, w_old, x_old, d, dx, K = given
        t = v.t + shape.step * k
        planned = w_old + alpha * d
        w = planned + K @ jnp.concatenate([x - x_old - alpha * dx, missed])
        w = jnp.clip(jnp.where(jnp.isfinite(w), w, planned), 0.0, 1.0)

        def both(z):
            after, goal = s.ahead(t, held, z)
            out = jnp.append(after, goal) if shape.goal else after
            return out, out

        J, out = jax.jacfwd(both, has_aux=True)(jnp.concatenate([x, w]))
        after, change = out[: s.n], w - last
        rows = s.limits(t + shape.step, held, jnp.concatenate([after, w]))
        w1, w2 = s.price(k == shape.steps - 1)
        below = jnp.maximum(-rows, 0.0)
        paid = jnp.sum((w1 + w2 * below) * below) if shape.economic else jnp.sum(w2 * below**2)
        cost = cost + jnp.sum(weight * (s.pick @ after - reference) ** 2) + 0.5 * jnp.sum(s.rho * change**2) + paid
        cost = cost + out[s.n] if shape.goal else cost
        slope = J[s.n] if shape.goal else None
        if shape.economic:
            spread, far = _spread(s, t + shape.step, held, jnp.concatenate([after, w]), J[: s.n], spread)
            reach = jnp.maximum(reach, far)
        carry = (after, w, w - planned, cost, penalty + paid, spread, reach)
        return carry, (w, change, x, after, J[: s.n], rows, slope)

    zero = jnp.zeros(())
    first = (v.before[np.asarray(shape.controls, int)] - v.low) / (v.high - v.low)
    given = (jnp.arange(shape.steps, dtype=float), v.held, v.reference, v.reference_weight, old.w, old.before, *step)
    spread, reach = (jnp.zeros((s.n, s.n)), jnp.full(old.rows.shape[1], 1e-9)) if shape.economic else (None, None)
    start = (v.x, first, jnp.zeros(s.c), zero, zero, spread, reach)
    (x, _, _, cost, penalty, _, reach), out = jax.lax.scan(one, start, given)
    return Stages(*out, cost - v.worth @ x, penalty, reach)


def _spread(s: Terms, t, held, z: Array, J: Array, spread: Array) -> tuple[Array, Array]:
    """(sum over all inputs of (dx/dw) (dx/dw)' at the end of a stage, 2-norms of d rows / d all inputs)."""
    R = jax.jacfwd(lambda z: s.limits(t, held, z))(z)
    B, n, c = J[:, s.n :], s.n, s.c
    spread = J[:, :n] @ spread @ J[:, :n].T + B @ B.T
    both = jnp.concatenate([jnp.concatenate([spread, B], 1), jnp.concatenate([B.T, jnp.eye(c)], 1)])
    return spread, jnp.sqrt(jnp.maximum(jnp.sum((R @ both) * R, axis=1), 0.0))


def judge(shape: Shape, v: Values, plan: Stages, y: Array, first: Array) -> Verdict:
    """Gradient, multipliers and residual of a plan; the residual is that of `mpc_sqp`. `y`: multipliers of its step.

    Costates of the smooth part and of the penalties run backward apart, and with them the curvature
    P_k = A' (P_k+1 + 2 q) A + M_k of the smooth part, of which the largest diagonal scales the residual.
    """
    s = terms(shape, v)
    n, c = s.n, s.c

    def one(carry, given):
        smooth, hard, P, later, moves, sigma, slack = carry
        k, held, reference, weight, here, y = given
        t = v.t + shape.step * k
        R = jax.jacfwd(lambda z: s.limits(t + shape.step, held, z))(jnp.concatenate([here.after, here.w]))
        w1, w2 = s.price(k == shape.steps - 1)
        below = jnp.maximum(-here.rows, 0.0)
        if plan.reach is None:
            y = 2 * w2 * below
        else:
            y = jnp.where(first, jnp.where(below > 0, w1, 0.0), y)
            least = jnp.where(below < KINK * plan.reach, 0.0, w1)
            y = jnp.clip(y, least + 2 * w2 * below, w1 + 2 * w2 * below)
            slack = jnp.maximum(slack, jnp.max(jnp.append(y * jnp.maximum(here.rows, 0.0), 0.0)))
        smooth = smooth + (2 * weight * (s.pick @ here.after - reference)) @ s.pick
        hard = hard - y @ R[:, :n]
        P = P + (s.pick.T * (2 * weight)) @ s.pick
        g, h, H = smooth @ here.J, hard @ here.J, here.J.T @ P @ here.J
        M = None
        if shape.goal:
            costate = smooth + hard

            def hamiltonian(z):
                after, goal = s.ahead(t, held, z)
                return goal + costate @ after if shape.exact else goal

            M = jax.hessian(hamiltonian)(jnp.concatenate([here.before, here.w]))
            g, H = g + here.slope, H + M
        slope = g[n:] + s.rho * here.change - later
        size = jnp.maximum(jnp.max(jnp.abs(slope)), jnp.max(jnp.diagonal(H)[n:] + s.rho * (1.0 + moves)))
        carry = (g[:n], h[:n], H[:n, :n], s.rho * here.change, jnp.ones(()), jnp.maximum(sigma, size), slack)
        return carry, (slope + h[n:] - y @ R[:, n:], y, M)

    zero = jnp.zeros(())
    start = (-v.worth, jnp.zeros(n), jnp.zeros((n, n)), jnp.zeros(c), zero, jnp.asarray(1e-12), zero)
    series = plan._replace(cost=None, penalty=None, reach=None)
    given = (jnp.arange(shape.steps, dtype=float), v.held, v.reference, v.reference_weight, series, y)
    (*_, sigma, slack), (reduced, y, M) = jax.lax.scan(one, start, given, reverse=True)

    def residual(worst, given):
        w, slope = given
        return jnp.maximum(worst, jnp.max(jnp.abs(w - jnp.clip(w - slope / sigma, 0.0, 1.0)))), None

    kkt, _ = jax.lax.scan(residual, slack / sigma, (plan.w, reduced))
    return Verdict(reduced, y, M, sigma, kkt)
