"""One stage of a Riccati recursion: what all methods on the linearised problem of `mpc_stages` share."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.linalg import block_diag

from pollux.intervene.mpc_problem import Shape, Values
from pollux.intervene.mpc_stages import Stages, Terms, Verdict, terms


class Point(NamedTuple):
    """A step of all inputs and what it does to states and rows."""

    d: Array
    """(N, c)"""
    turn: Array
    """(N, c) d less that of the stage before"""
    before: Array
    """(N, n) change of the states at the beginning of each interval"""
    after: Array
    """(N, n) and at its end"""
    rows: Array
    """(N, r) their linearised value"""


def nothing(s: Stages) -> Point:
    """No step."""
    none = jnp.zeros_like
    return Point(none(s.w), none(s.w), none(s.before), none(s.after), s.rows)


def given(shape: Shape, v: Values, s: Stages, verdict: Verdict, at: Point):
    """What a stage of a sweep is given; t is the end of its interval."""
    t = v.t + shape.step * jnp.arange(1.0, shape.steps + 1)
    stages = s._replace(cost=None, penalty=None, reach=None)
    return (t, jnp.arange(shape.steps) == shape.steps - 1, v.held, v.reference, v.reference_weight, stages,
            verdict.curvature, at)  # fmt: skip


def value(e: Terms, row, prox: Array) -> Array:
    """Model of the cost at a step, less that of no step, of one stage; without what is stored at the end."""
    _, last, _, reference, weight, here, M, at = row
    w1, w2 = e.price(last)
    below, base = jnp.maximum(-at.rows, 0.0), jnp.maximum(-here.rows, 0.0)
    miss, far = e.pick @ here.after - reference, e.pick @ at.after
    out = (
        jnp.sum((below - base) * (w1 + w2 * (below + base)))
        + jnp.sum(weight * far * (2 * miss + far))
        + jnp.sum(e.rho * at.turn * (here.change + 0.5 * at.turn))
        + 0.5 * prox * jnp.sum(at.d**2)
    )
    if M is None:
        return out
    z = jnp.concatenate([at.before, at.d])
    return out + (here.slope + 0.5 * M @ z) @ z


def promise(shape: Shape, v: Values, s: Stages, verdict: Verdict, at: Point, prox: Array) -> Array:
    """Fall of the cost that the model promises at a step."""
    e = terms(shape, v)

    def one(carry, row):
        return (carry[0] + value(e, row, prox), row[-1].after), None

    (total, x), _ = jax.lax.scan(one, (jnp.zeros(()), jnp.zeros(e.n)), given(shape, v, s, verdict, at))
    return v.worth @ x - total


def quadratic(e: Terms, V: Array, R: Array, curvature: Array, weight: Array, J: Array, M: Array | None):
    """(Hessian in z = (x, w) of a stage and what follows, map from z to (x at its end, w)).

    V: of what follows, in (x at the end, w). `curvature` (r,) of the rows, `weight` of the references.
    """
    n, c = e.n, e.c
    S = V + (R.T * curvature) @ R + block_diag((e.pick.T * (2 * weight)) @ e.pick, jnp.zeros((c, c)))
    T = jnp.concatenate([J, jnp.concatenate([jnp.zeros((c, n)), jnp.eye(c)], axis=1)])
    Q = T.T @ S @ T
    return (Q if M is None else Q + M), T


def minimise(e: Terms, Q: Array, q: Array, H: Array, move: Array, to: Array, free: Array, least: Array):
    """The best inputs s = k + K (dx, d of the stage before) of a stage, and its value as a function of the latter.

    Q (n + c, n + c) and q (n + c,): second-order model in (dx, s) without the price of moves in Q, which is in H, the
    Hessian in s; `move`: derivative of that price. Inputs that are not `free` are moved by `to`. Returns k, K,
    (Hessian, slope) of the value, and whether all pivots of H exceed `least`.
    """
    n = e.n
    cross = jnp.concatenate([(q[n:] + H @ to)[:, None], Q[n:, :n], -jnp.diag(e.rho)], axis=1)
    L, positive = factor(only(H, free), least)
    Y = solve(L, jnp.where(free[:, None], cross, 0.0))
    X = solve_transposed(L, Y)
    k = to - X[:, 0]
    V = block_diag(Q[:n, :n], jnp.diag(e.rho)) - Y[:, 1:].T @ Y[:, 1:]
    slope = jnp.concatenate([q[:n] + k @ Q[n:, :n], -move - e.rho * k])
    return k, -X[:, 1:], V, slope, positive


def only(H: Array, free: Array) -> Array:
    """H with the identity in place of the rows and columns that are not free."""
    return jnp.where(free[:, None] & free[None, :], H, 0.0) + jnp.diag(jnp.where(free, 0.0, 1.0))


def factor(H: Array, least: Array) -> tuple[Array, Array]:
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


def solve(L: Array, B: Array) -> Array:
    """L^-1 B by forward substitution."""
    rows: list[Array] = []
    for j in range(len(L)):
        rows.append((B[j] - sum(L[j, i] * rows[i] for i in range(j))) / L[j, j])
    return jnp.stack(rows)


def solve_transposed(L: Array, B: Array) -> Array:
    """L'^-1 B by backward substitution."""
    return solve(L[::-1, ::-1].T, B[::-1])[::-1]
