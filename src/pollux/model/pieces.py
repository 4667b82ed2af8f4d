"""Long gaps are crossed in pieces: how long one may be, and how many it takes."""

import math

import jax
import numpy as np

from pollux.model.statespace import StateSpace

MAX_PIECES = 10_000
"""A gap of more pieces than this is not integrated, so that every update takes bounded time."""


def fastest(space: StateSpace) -> float:
    """Half the time constant of the fastest mode at the start: 0.5 / rho(A), s.

    Up to there the trapezoidal rule gives that mode's process noise within 4 % of its standard deviation (twice this
    length: 15 %, always on the large side), and a few Runge-Kutta substeps are far inside their stability region.
    """
    if space.system.period is not None:
        return math.inf
    A = np.asarray(jax.jacfwd(space.system.f, argnums=1)(0.0, space.x0, space.u0, space.p0))
    rho = float(np.abs(np.linalg.eigvals(A)).max(initial=0.0)) if np.isfinite(A).all() else 0.0
    return 0.5 / rho if rho > 0 else math.inf


def count(period: float | None, dt_max: float, t: float, until: float) -> int:
    """Number of pieces from t to `until`, at most `MAX_PIECES` + 1.

    A discrete twin takes as many steps as sampling instants lie between (possibly none), a continuous one at least
    one piece of at most `dt_max` seconds.
    """
    if period is not None:
        n = round(until / period) - round(t / period)
    else:
        n = max(1, math.ceil((until - t) / dt_max)) if dt_max < math.inf else 1
    return min(n, MAX_PIECES + 1)


def most(period: float | None, dt_max: float, t: np.ndarray, until: np.ndarray) -> int:
    """The largest `count` of many gaps."""
    if period is not None:
        n = np.rint(until / period) - np.rint(t / period)
    elif dt_max < math.inf:
        n = np.ceil((until - t) / dt_max)
    else:
        return 1
    least = 1 if period is None else 0
    return int(min(max(least, n.max(initial=0)), MAX_PIECES + 1))
