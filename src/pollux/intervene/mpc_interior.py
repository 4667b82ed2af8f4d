"""A convex quadratic program with soft rows and a box, by Mehrotra's predictor-corrector interior-point method.

    min_d  1/2 d'H d + g'd + sum_i w1_i v_i + w2_i v_i^2,   v_i >= max(0, -(c + G d)_i),   lo <= d <= hi

The slack v of each row and all multipliers are eliminated, so that one iteration factorises one matrix of the size of d:
H + G'D G + box terms. A linear objective (H = 0) is an ordinary case.

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
    v: Array
    s: Array
    y: Array
    z: Array
    a: Array
    b: Array


def interior_point(qp: Qp, method: InteriorPoint) -> tuple[Array, Array]:
    """Solution d and the multipliers y of the rows (cost per unit of c). Bounded by `method.iterations`."""
    H, g, G, c, w1, w2, lo, hi = qp
    w1 = w1 + 1e-9  # a row without any weight would leave y + z = 0, which has no interior
    count = 2 * c.size + 2 * g.size
    scale = 1.0 + jnp.max(jnp.abs(g))

    def gap(q: _Point) -> Array:
        return (
            jnp.sum(q.y * q.s) + jnp.sum(q.z * q.v) + jnp.sum(q.a * (q.d - lo)) + jnp.sum(q.b * (hi - q.d))
        ) / count

    def residuals(q: _Point):
        return (
            H @ q.d + g - q.y @ G - q.a + q.b,
            w1 + 2 * w2 * q.v - q.y - q.z,
            G @ q.d + c + q.v - q.s,
        )

    def newton(q: _Point, factor, parts, r, goals) -> _Point:
        r_d, r_v, r_s = r
        Dy, K = parts
        cy, cz, ca, cb = goals
        t = -r_v + cy / q.s + cz / q.v - Dy * r_s
        e = cy / q.s - Dy * r_s - Dy * t / K
        dd = cho_solve(factor, -r_d + e @ G + ca / (q.d - lo) - cb / (hi - q.d))
        Gd = G @ dd
        dv = (t - Dy * Gd) / K
        ds = Gd + dv + r_s
        dy = (cy - q.y * ds) / q.s
        dz = (cz - q.z * dv) / q.v
        return _Point(dd, dv, ds, dy, dz, (ca - q.a * dd) / (q.d - lo), (cb + q.b * dd) / (hi - q.d))

    def longest(q: _Point, dq: _Point) -> Array:
        def limit(value, change):
            return jnp.min(jnp.where(change < 0, -value / jnp.where(change < 0, change, -1.0), jnp.inf), initial=jnp.inf)

        limits = [limit(v, dv) for v, dv in zip(q[1:], dq[1:], strict=True)]
        limits += [limit(q.d - lo, dq.d), limit(hi - q.d, -dq.d)]
        return jnp.minimum(1.0, jnp.min(jnp.stack(limits)))

    def body(carry):
        q, mu, _, i = carry
        r = residuals(q)
        Dy, Dz = q.y / q.s, q.z / q.v
        K = 2 * w2 + Dy + Dz
        M = H + (G.T * (Dy * (2 * w2 + Dz) / K)) @ G
        M = M + jnp.diag(q.a / (q.d - lo) + q.b / (hi - q.d))
        factor = cho_factor(M)
        products = (q.y * q.s, q.z * q.v, q.a * (q.d - lo), q.b * (hi - q.d))
        affine = newton(q, factor, (Dy, K), r, tuple(-v for v in products))
        alpha = longest(q, affine)
        after = _Point(*(v + alpha * dv for v, dv in zip(q, affine, strict=True)))
        target = mu * (gap(after) / mu) ** 3
        second = (affine.y * affine.s, affine.z * affine.v, affine.a * affine.d, -affine.b * affine.d)
        goals = tuple(target - v - w for v, w in zip(products, second, strict=True))
        step = newton(q, factor, (Dy, K), r, goals)
        alpha = 0.995 * longest(q, step)
        alpha = jnp.where(jnp.isfinite(alpha), alpha, 0.0)
        moved = _Point(*(v + alpha * dv for v, dv in zip(q, step, strict=True)))
        ok = jnp.all(jnp.isfinite(moved.d)) & jnp.isfinite(gap(moved))
        q = jax.tree.map(lambda new, old: jnp.where(ok, new, old), moved, q)
        error = jnp.max(jnp.stack([jnp.max(jnp.abs(v), initial=0.0) for v in residuals(q)]))
        done = ((gap(q) < method.tolerance * scale) & (error < 1e2 * method.tolerance * scale)) | ~ok
        return q, gap(q), done, i + 1

    d = jnp.clip(jnp.zeros_like(g), lo + 0.1 * (hi - lo), hi - 0.1 * (hi - lo))
    row = G @ d + c
    v = jnp.maximum(-row, 0.0) + 0.1
    half = 0.5 * (w1 + 2 * w2 * v)
    box = 0.1 * scale
    start = _Point(d, v, jnp.maximum(row + v, 0.1), half, half, box / (d - lo), box / (hi - d))
    q, *_ = jax.lax.while_loop(
        lambda s: ~s[2] & (s[3] < method.iterations), body, (start, gap(start), jnp.asarray(False), 0)
    )
    return q.d, q.y
