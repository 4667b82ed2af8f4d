"""`variational`: 4D-Var, the trajectory that agrees best with a start, the model and all readings of a window.

With whitened unknowns z (start) and w_k (model error over step k), x_0 = x0 + L z, P0 = L L', e = R^-1/2 (y - h),

    minimise   1/2 |z|^2 + 1/2 sum_k |w_k|^2 + 1/2 sum_k |e_k|^2

Where Q is zero throughout, the model is a strong constraint and only z is free. Otherwise it is weak: half of each
step's noise enters before the flow and half after it, as in the filters, so that for a linear twin the answer is the
smoother's. Each turn of Gauss and Newton's method solves (I + J' J) d = -g by conjugate gradients, with products J v by
forward tangents and J' r by the exact adjoint of the whole trajectory; a step is halved until the cost falls.

Sources: Le Dimet and Talagrand (1986), Variational algorithms for analysis and assimilation of meteorological
observations, Tellus A 38; Courtier, Thepaut and Hollingsworth (1994), A strategy for operational implementation of
4D-Var, using an incremental approach, QJRMS 120; Tremolet (2006), Accounting for an imperfect model in 4D-Var, 132.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pollux.core.twin import Twin
from pollux.mirror.prepare import lay
from pollux.mirror.scan import cut
from pollux.mirror.update import positive_noise
from pollux.model.record import Record
from pollux.model.rk4 import transition
from pollux.model.squareroot import deviation, factor
from pollux.model.statespace import Channel, StateSpace, System

ROUNDING = 1e-13
"""Share of the cost by which it may rise in a step: at the bottom, its differences are rounding."""

SHORTEST = 20
"""Halvings of a step before the search is given up."""


@dataclass(frozen=True, eq=False)
class Analysis:
    """The best trajectory `mean` (T, n), and covariances of its first and last state (n, n), linearised there."""

    name: str
    record: Record
    states: tuple[Channel, ...]
    mean: np.ndarray
    cov_first: np.ndarray
    cov_last: np.ndarray = field(repr=False)
    cost: float
    gradient: float
    """Norm of the gradient in the whitened unknowns, over 1 + the square root of twice the cost."""
    iterations: int
    converged: bool

    @property
    def t(self) -> np.ndarray:
        """Times (T,)."""
        return self.record.t


def variational(
    twin: Twin | StateSpace,
    record: Any,
    *,
    track: tuple[str, ...] = (),
    substeps: int = 4,
    dt_max: float | None = None,
    times: Any = None,
    x0: np.ndarray | None = None,
    P0: np.ndarray | None = None,
    params: np.ndarray | None = None,
    Q: np.ndarray | None = None,
    R: np.ndarray | None = None,
    iterations: int = 30,
    tolerance: float = 1e-8,
) -> Analysis:
    """The trajectory of the module docstring. Missing readings are NaN; there is no gate. Bounds hold by clipping.

    Other arguments as in `assimilate`; `Q=np.zeros(n)` makes the model a strong constraint. Strong constraints over a
    window that is long against the time in which errors grow have many minima: start near, or shorten it.
    """
    laid = lay(twin, record, track=track, dt_max=dt_max, times=times)
    space, walk = laid.space, laid.walk
    Q = np.asarray(space.Q if Q is None else Q, np.float64)
    turn, cost, covariance = _solver(space.system, substeps, laid.low, laid.high, walk.pieces, bool(np.any(Q > 0)))
    x0 = np.asarray(space.x0 if x0 is None else x0, np.float64)
    L = factor(jnp.asarray(np.diag(space.P0) if P0 is None else P0, jnp.float64))
    p = jnp.asarray(space.p0 if params is None else params, jnp.float64)
    args = (walk.t, walk.dt, walk.u, walk.v, walk.y, x0, L, p, Q, positive_noise(space) if R is None else R)
    c = jnp.zeros(_unknowns(space.system, len(walk.t), walk.pieces, bool(np.any(Q > 0))))
    done, count, value, slope = False, 0, float("nan"), float("inf")
    while not done and count < iterations:
        count += 1
        d, value, slope = (np.asarray(a) for a in turn(c, *args))
        slope = float(slope) / (1 + float(np.sqrt(2 * value)))
        done = slope < tolerance
        enough = value + ROUNDING * (1 + abs(value))
        sizes = (0.5**k for k in range(SHORTEST))
        size = next((s for s in sizes if not done and float(cost(c + s * d, *args)) <= enough), 0.0)
        if size == 0.0:
            break
        c = c + size * d
    x, first, last = (np.asarray(a) for a in covariance(c, *args))
    return Analysis(space.system.name, laid.record, space.x, x, first, last, float(value), slope, count, done)


def _kicks(system: System) -> int:
    """Noises of one piece: before and after the flow, or after the step of a discrete twin."""
    return 1 if system.period is not None else 2


def _unknowns(system: System, T: int, n_pieces: int, weak: bool) -> int:
    n = len(system.x_names)
    return n + (T - 1) * n_pieces * _kicks(system) * n * weak


@lru_cache(maxsize=32)
def _solver(system: System, substeps: int, low: tuple, high: tuple, n_pieces: int, weak: bool) -> Any:
    """Compiled (one turn's step, cost and slope), (cost) and (trajectory and covariances) of the unknowns c."""
    flow = transition(system, substeps)
    n, kicks, discrete = len(system.x_names), _kicks(system), system.period is not None
    bounds = np.array(low), np.array(high)

    def trajectory(c, t, dt, u, v, y, x0, L, p, Q, R):
        w = c[n:].reshape(-1, n_pieces, kicks, n) if weak else jnp.zeros((len(t) - 1, n_pieces, kicks, n))

        def piece(x, row):
            start, size, w, u = row
            if discrete:
                moved = jnp.where(size > 0, flow(start, size, x, u, p), x)
                return jnp.clip(moved + jnp.sqrt(size * Q) * w[0], *bounds), None
            half = deviation(size / 2 * Q)
            return jnp.clip(flow(start, size, x + half * w[0], u, p) + half * w[1], *bounds), None

        def step(x, row):
            t, dt, u, w = row
            starts, sizes = cut(t, dt, system.period, n_pieces)
            x, _ = jax.lax.scan(piece, x, (starts, sizes, w, jnp.broadcast_to(u, (n_pieces, len(u)))))
            return x, x

        first = jnp.clip(x0 + L @ c[:n], *bounds)
        _, rest = jax.lax.scan(step, first, (t[1:], dt[1:], u[1:], w))
        return jnp.concatenate([first[None], rest])

    def misfit(c, t, dt, u, v, y, x0, L, p, Q, R):
        x = trajectory(c, t, dt, u, v, y, x0, L, p, Q, R)
        z = jax.vmap(lambda t, x, v: system.h(t, x, v, p))(t + dt, x, v)
        return jnp.where(jnp.isnan(y), 0.0, (jnp.where(jnp.isnan(y), 0.0, y) - z) / jnp.sqrt(R))

    def cost(c, *args):
        return (c @ c + jnp.sum(misfit(c, *args) ** 2)) / 2

    def normal(c, *args):
        """(residuals, product with I + J' J, product with J')."""
        e, tangent = jax.linearize(lambda c: misfit(c, *args), c)
        adjoint = jax.linear_transpose(tangent, c)
        return e, lambda d: d + adjoint(tangent(d))[0], lambda r: adjoint(r)[0]

    def turn(c, *args):
        e, product, adjoint = normal(c, *args)
        g = c + adjoint(e)
        d, _ = jax.scipy.sparse.linalg.cg(product, -g, tol=1e-10, maxiter=4 * len(c))
        return d, (c @ c + jnp.sum(e * e)) / 2, jnp.linalg.norm(g)

    def covariance(c, *args):
        _, product, _ = normal(c, *args)

        def at(k):
            _, back = jax.vjp(lambda c: trajectory(c, *args)[k], c)
            rows = jax.vmap(lambda e: back(e)[0])(jnp.eye(n))
            solved = jax.vmap(lambda r: jax.scipy.sparse.linalg.cg(product, r, tol=1e-10, maxiter=4 * len(c))[0])(rows)
            return rows @ solved.T

        return trajectory(c, *args), at(0), at(-1)

    return jax.jit(turn), jax.jit(cost), jax.jit(covariance)
