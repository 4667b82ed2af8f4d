"""The window of moving-horizon estimation: its unknowns, its linearised stages, and the step of Gauss and Newton.

Unknowns are whitened: x_0 = m + L z with L L' the arrival covariance, and the noise before and after each flow,

    a_k = x_k + r_k w_k,   x_k+1 = flow(a_k) + r_k w'_k,   r_k = sqrt(dt/2 Q)  (a discrete twin: no w, r_k = sqrt(dt Q))
    cost = 1/2 (|z|^2 + sum |w_k|^2 + |w'_k|^2 + sum_k (y_k - h(x_k))' R^-1 (y_k - h(x_k)))

Linearised, it is solved exactly in one pass forwards, a Kalman filter, and one backwards over its multipliers (Bryson
and Frazier's form of the smoother, which divides by no covariance of the state, so that noise and dt may be zero):

    lambda- = (I - K M)' lambda+ - M' S^-1 e,   w' = -r lambda-,   w = -r Phi' lambda-,   z = -L' lambda_0

The work grows with the length of the window, not with its cube. `Pull` draws states to values: what the bounds need.

Sources: Bell (1994), The iterated Kalman smoother as a Gauss-Newton method, SIAM J. Optim. 4; Bierman (1977),
Factorization Methods for Discrete Sequential Estimation, ch. X (the multipliers).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.linalg import cho_solve

from pollux.model.gaussian import flow_jacobian, observe_jacobian, symmetric
from pollux.model.statespace import System


class Window(NamedTuple):
    """N steps, oldest first: start and length (N,), inputs held over it and at its end (N, m), readings there (N, ny).

    `weight` (N, ny) is 1/R where a reading is fused and 0 elsewhere, where `y` is 0; `root` (N, n) is r_k.
    """

    t: Array
    dt: Array
    u: Array
    v: Array
    y: Array
    weight: Array
    root: Array


class Arrival(NamedTuple):
    """N(m, P): what is known of the first state from everything before the window; `L` L' = P."""

    m: Array
    P: Array
    L: Array


class Plan(NamedTuple):
    """The unknowns: z (n,), w (N, n), w' (N, n)."""

    z: Array
    w: Array
    after: Array


class Path(NamedTuple):
    """States: first (n,), a_k (N, n), x_k+1 (N, n)."""

    first: Array
    before: Array
    after: Array


class Stages(NamedTuple):
    """A path of the model with its derivatives: flow (N, n), Phi (N, n, n), readings (N, ny), H (N, ny, n)."""

    path: Path
    flow: Array
    Phi: Array
    h: Array
    H: Array
    cost: Array


class Pull(NamedTuple):
    """Terms 1/2 D x^2 - d x in the cost, for the states `held` of each place of a path."""

    D: Path
    d: Path


class Filtered(NamedTuple):
    """Of the pass forwards: N(m, P) after the first step, and the covariance after the last."""

    m: Array
    P: Array
    last: Array


class Solved(NamedTuple):
    """The best plan of the linearised window, its path, and the filter's variances after each step (N, n)."""

    plan: Plan
    path: Path
    filtered: Filtered
    var: Array


def linearise(system: System, substeps: int, arrival: Arrival, window: Window, plan: Plan, p: Array) -> Stages:
    """The stages along the path of a plan."""
    before_root = _before(system, window.root)

    def stage(x, row):
        s, r0, w, after = row
        a = x + r0 * w
        flow, Phi = flow_jacobian(system, substeps, s.t, s.dt, a, s.u, p)
        x = flow + s.root * after
        h, H = observe_jacobian(system, s.t + s.dt, x, s.v, p)
        miss = jnp.where(s.weight > 0, s.y - h, 0.0)
        return x, (a, x, flow, Phi, h, H, jnp.sum(s.weight * miss * miss))

    first = arrival.m + arrival.L @ plan.z
    _, (a, x, flow, Phi, h, H, misfit) = jax.lax.scan(stage, first, (window, before_root, plan.w, plan.after))
    cost = 0.5 * (plan.z @ plan.z + jnp.sum(plan.w**2) + jnp.sum(plan.after**2) + jnp.sum(misfit))
    return Stages(Path(first, a, x), flow, Phi, h, H, cost)


def solver(system: System, arrival: Arrival, window: Window, s: Stages, held: np.ndarray) -> Callable[[Pull], Solved]:
    """The linearised window as a function of what pulls at the states `held`."""
    n, discrete = len(arrival.m), system.period is not None
    one = jnp.eye(n)
    before_root = _before(system, window.root)

    def pulled(m: Array, D: Array, d: Array) -> tuple[Array, Array]:
        """(rows, residuals) of a pull, both times the root of its precision."""
        root = jnp.sqrt(D)
        return root[:, None] * one[held], jnp.where(D > 0, d / jnp.where(D > 0, root, 1.0), 0.0) - root * m[held]

    def solve(pull: Pull) -> Solved:
        def forwards(carry, row):
            m, P = carry
            w, r0, a, x, flow, Phi, h, H, D0, d0, D1, d1 = row
            P = P + jnp.diag(r0 * r0)
            A0, g0 = one, jnp.zeros(n)
            if len(held) and not discrete:
                m, P, A0, g0 = _fused(m, P, *pulled(m, D0, d0))
            m = flow + Phi @ (m - a)
            P = symmetric(Phi @ P @ Phi.T) + jnp.diag(w.root * w.root)
            root = jnp.sqrt(w.weight)
            U, e = root[:, None] * H, root * jnp.where(w.weight > 0, w.y - h - H @ (m - x), 0.0)
            if len(held):
                V, f = pulled(m, D1, d1)
                U, e = jnp.concatenate([U, V]), jnp.concatenate([e, f])
            m, P, A1, g1 = _fused(m, P, U, e)
            return (m, P), (m, P, A0, g0, A1, g1)

        def backwards(after, row):
            w, r0, Phi, A0, g0, A1, g1 = row
            late = A1.T @ after - g1
            early = A0.T @ (Phi.T @ late) - g0
            return early, (-r0 * early, -w.root * late)

        def along(x, row):
            w, r0, a, flow, Phi, before, after = row
            at = x + r0 * before
            x = flow + Phi @ (at - a) + w.root * after
            return x, (at, x)

        m, P, A, g = arrival.m, arrival.P, one, jnp.zeros(n)
        if len(held):
            m, P, A, g = _fused(m, P, *pulled(m, pull.D.first, pull.d.first))
        rows = (window, before_root, s.path.before, s.path.after, s.flow, s.Phi, s.h, s.H)
        pulls = (pull.D.before, pull.d.before, pull.D.after, pull.d.after)
        (_, end), (ms, Ps, *back) = jax.lax.scan(forwards, (m, P), (*rows, *pulls))
        last, (w, after) = jax.lax.scan(backwards, jnp.zeros(n), (window, before_root, s.Phi, *back), reverse=True)
        plan = Plan(-arrival.L.T @ (A.T @ last - g), w, after)
        first = arrival.m + arrival.L @ plan.z
        rows = (window, before_root, s.path.before, s.flow, s.Phi, w, after)
        path = Path(first, *jax.lax.scan(along, first, rows)[1])
        return Solved(plan, path, Filtered(ms[0], Ps[0], end), jnp.diagonal(Ps, axis1=1, axis2=2))

    return solve


def nothing(steps: int, held: np.ndarray) -> Pull:
    """No pull."""
    none = Path(jnp.zeros(len(held)), jnp.zeros((steps, len(held))), jnp.zeros((steps, len(held))))
    return Pull(none, none)


def _before(system: System, root: Array) -> Array:
    """r_k of the noise before the flow."""
    return jnp.zeros_like(root) if system.period is not None else root


def _fused(m: Array, P: Array, U: Array, e: Array) -> tuple[Array, Array, Array, Array]:
    """(m, P, I - K U, U' S^-1 e) after the rows U of unit variance with the residuals e."""
    G = U @ P
    S = jnp.eye(len(e)) + G @ U.T
    factor: Any = (jnp.linalg.cholesky(S), True)
    K = cho_solve(factor, G).T
    A = jnp.eye(len(m)) - K @ U
    return m + K @ e, symmetric(A @ P @ A.T + K @ K.T), A, U.T @ cho_solve(factor, e)
