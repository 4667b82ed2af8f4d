"""A convex quadratic program with quadratic soft rows and a box, by a projected semismooth Newton method.

    min_d  1/2 d'H d + g'd + sum_i w2_i max(0, -(c + G d)_i)^2,   lo <= d <= hi

The objective is piecewise quadratic. Each iteration fixes the inputs that their limits hold, takes the Newton step of
the present piece in the others and searches along the projected arc. It ends in finitely many steps because the
objective falls and there are finitely many pieces; from a warm start one or two are usual.

Source: Bertsekas, Projected Newton methods for optimization problems with simple constraints, SIAM J. Control
Optim. 20 (1982); Tassa, Mansard and Todorov, Control-limited differential dynamic programming, ICRA (2014), sec. III.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.linalg import cho_factor, cho_solve

from pollux.intervene.mpc_interior import Qp
from pollux.intervene.mpc_options import ActiveSet

_ARC = 0.25 ** np.arange(6.0)


def active_set(qp: Qp, method: ActiveSet) -> tuple[Array, Array]:
    """Solution d and the multipliers y = 2 w2 v of the rows. `qp.w1` is ignored."""
    H, g, G, c, _, w2, lo, hi = qp
    diagonal = jnp.arange(g.size)
    scale = jnp.maximum(jnp.max(H[diagonal, diagonal]), 1e-300)

    def slope(d):
        v = jnp.maximum(-(G @ d + c), 0.0)
        return H @ d + g - (2 * w2 * v) @ G, v

    def value(d):
        v = jnp.maximum(-(G @ d + c), 0.0)
        return 0.5 * d @ (H @ d) + g @ d + jnp.sum(w2 * v**2)

    def body(carry):
        d, grad, v, _, i = carry
        free = ~(((d <= lo) & (grad > 0)) | ((d >= hi) & (grad < 0)))
        M = H + (G.T * jnp.where(v > 0, 2 * w2, 0.0)) @ G
        M = jnp.where(free[:, None] & free[None, :], M, 0.0)
        M = M.at[diagonal, diagonal].add(jnp.where(free, 0.0, 1.0))
        step = cho_solve(cho_factor(M), jnp.where(free, -grad, 0.0))
        arc = jnp.clip(d + jnp.asarray(_ARC)[:, None] * step, lo, hi)
        best = arc[jnp.argmin(jax.vmap(value)(arc))]
        best = jnp.where(jnp.all(jnp.isfinite(best)), best, d)
        grad, v = slope(best)
        off = jnp.max(jnp.abs(best - jnp.clip(best - grad / scale, lo, hi)))
        still = jnp.max(jnp.abs(best - d)) == 0.0
        return best, grad, v, (off < method.tolerance) | still, i + 1

    d = jnp.zeros_like(g)
    d, _, v, *_ = jax.lax.while_loop(
        lambda s: ~s[3] & (s[4] < method.iterations), body, (d, *slope(d), jnp.asarray(False), 0)
    )
    return d, 2 * w2 * v
