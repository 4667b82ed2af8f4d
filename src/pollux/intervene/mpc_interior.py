"""A convex quadratic program with soft rows and a box, by Mehrotra's predictor-corrector interior-point method.

    min_d  1/2 d'H d + g'd + sum_i w1_i v_i + w2_i v_i^2,   v_i >= max(0, -(c + G d)_i),   lo <= d <= hi

The slack v of each row and all multipliers are eliminated, so that one iteration factorises one matrix of the size of
d: H + G'D G + box terms. A linear objective (H = 0) is an ordinary case.

Source: Mehrotra, On the implementation of a primal-dual interior point method, SIAM J. Optim. 2 (1992);
Nocedal and Wright, Numerical Optimization (2006), algorithm 16.4.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.linalg import cho_factor, cho_solve

from pollux.intervene.mpc_options import InteriorPoint


class Qp(NamedTuple):
    """The data of the program above. Shapes: H (n, n), g (n,), G (r, n), c, w1, w2 (r,), lo, hi (n,)."""

    H: Array
    g: Array
    G: Array
    c: Array
    w1: Array
    w2: Array
    lo: Array
    hi: Array


class _Point(NamedTuple):
    d: Array
    P: Array
    """Positive quantities, stacked: v, s = c + G d + v, d - lo, hi - d."""
    D: Array
    """Their multipliers: z, y, a, b."""


def interior_point(qp: Qp, method: InteriorPoint) -> tuple[Array, Array]:
    """Solution d and the multipliers y of the rows (cost per unit of c). Bounded by `method.iterations`."""
    H, g, G, c, w1, w2, lo, hi = qp
    w1 = w1 + 1e-9  # a row without any weight would leave y + z = 0, which has no interior
    r, n = c.size, g.size
    scale = 1.0 + jnp.max(jnp.abs(g))

    def parts(stacked: Array) -> tuple[Array, Array, Array, Array]:
        return stacked[:r], stacked[r : 2 * r], stacked[2 * r : 2 * r + n], stacked[2 * r + n :]

    def residuals(q: _Point) -> tuple[Array, Array, Array]:
        z, y, a, b = parts(q.D)
        v, s = q.P[:r], q.P[r : 2 * r]
        return H @ q.d + g - y @ G - a + b, w1 + 2 * w2 * v - y - z, G @ q.d + c + v - s

    def newton(q: _Point, factor, K, W, residual, goal) -> _Point:
        r_d, r_v, r_s = residual
        C = goal / q.P
        Cz, Cy, Ca, Cb = parts(C)
        Wy = W[r : 2 * r]
        t = Cy + Cz - r_v - Wy * r_s
        dd = cho_solve(factor, (Cy - Wy * (r_s + t / K)) @ G + Ca - Cb - r_d)
        Gd = G @ dd
        dv = (t - Wy * Gd) / K
        dP = jnp.concatenate([dv, Gd + dv + r_s, dd, -dd])
        return _Point(dd, dP, C - W * dP)

    def longest(q: _Point, dq: _Point) -> Array:
        value, change = jnp.concatenate([q.P, q.D]), jnp.concatenate([dq.P, dq.D])
        return jnp.minimum(1.0, jnp.min(jnp.where(change < 0, -value / jnp.minimum(change, -1e-300), jnp.inf)))

    def body(carry):
        q, mu, _, i = carry
        residual = residuals(q)
        W = q.D / q.P
        Wz, Wy, Wa, Wb = parts(W)
        K = 2 * w2 + Wy + Wz
        factor = cho_factor(H + (G.T * (Wy * (2 * w2 + Wz) / K)) @ G + jnp.diag(Wa + Wb))
        affine = newton(q, factor, K, W, residual, -q.P * q.D)
        alpha = longest(q, affine)
        target = mu * (jnp.mean((q.P + alpha * affine.P) * (q.D + alpha * affine.D)) / mu) ** 3
        step = newton(q, factor, K, W, residual, target - q.P * q.D - affine.P * affine.D)
        alpha = 0.995 * longest(q, step)
        moved = jax.tree.map(lambda v, dv: v + alpha * dv, q, step)
        mu = jnp.mean(moved.P * moved.D)
        error = jnp.max(jnp.abs(jnp.concatenate(residuals(moved))))
        ok = jnp.isfinite(mu) & jnp.isfinite(error)
        q = jax.tree.map(lambda new, old: jnp.where(ok, new, old), moved, q)
        done = ((mu < method.tolerance * scale) & (error < 1e2 * method.tolerance * scale)) | ~ok
        return q, mu, done, i + 1

    d = jnp.clip(jnp.zeros_like(g), lo + 0.1 * (hi - lo), hi - 0.1 * (hi - lo))
    row = G @ d + c
    v = jnp.maximum(-row, 0.0) + 0.1
    P = jnp.concatenate([v, jnp.maximum(row + v, 0.1), d - lo, hi - d])
    half = 0.5 * (w1 + 2 * w2 * v)
    D = jnp.concatenate([half, half, 0.1 * scale / (d - lo), 0.1 * scale / (hi - d)])
    start = (_Point(d, P, D), jnp.mean(P * D), jnp.asarray(False), 0)
    q, *_ = jax.lax.while_loop(lambda s: ~s[2] & (s[3] < method.iterations), body, start)
    return q.d, parts(q.D)[1]
