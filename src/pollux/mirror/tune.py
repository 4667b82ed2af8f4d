"""`tune`: noise levels from innovations, by maximum likelihood with exact gradients.

    log p(y_1..T) = -1/2 sum_k (nu_k' S_k^-1 nu_k + log det S_k + d_k log 2 pi)

is maximised over the logarithms of each state's drift and each sensor's noise, with a wide prior around the declared
values (a factor e^2): a level that the record says nothing about stays where it was, and the result says so.

Source: Mehra (1970), On the identification of variances and adaptive Kalman filtering, IEEE TAC 15; Harvey (1989),
Forecasting, Structural Time Series Models and the Kalman Filter, sec. 3.4.
"""

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import minimize

from pollux.core.errors import InputError
from pollux.core.twin import Twin
from pollux.mirror.ekf import Ekf
from pollux.mirror.method import Method
from pollux.mirror.scan import filtered, steps
from pollux.mirror.update import Mirror, positive_noise, threshold
from pollux.model import pieces
from pollux.model.augment import augment
from pollux.model.record import as_record
from pollux.model.statespace import StateSpace, flatten

PRIOR_SD = 2.0
"""Standard deviation of the prior of each log level."""


@dataclass(frozen=True)
class Noise:
    """Tuned noise levels. `drift` (unit/sqrt(s)) by state, `noise` (unit) by sensor; `error` is the relative standard
    error of each, and `undetermined` names the levels that the record says little about.
    """

    Q: np.ndarray
    R: np.ndarray
    drift: dict[str, float]
    noise: dict[str, float]
    error: dict[str, float]
    undetermined: tuple[str, ...]
    loglik_before: float
    loglik: float
    converged: bool

    def apply(self, mirror: Mirror) -> Mirror:
        """The same mirror with these levels; compiles nothing."""
        return replace(mirror, Q=self.Q, R=self.R)

    def __str__(self) -> str:
        """A short report."""
        first = f"log-likelihood {self.loglik_before:.6g} -> {self.loglik:.6g}"
        return f"{first}\n{levels_report(self.drift, self.noise, self.error)}"


def levels_report(drift: dict[str, float], noise: dict[str, float], error: dict[str, float]) -> str:
    """One line for each level; `error` is relative, and has no entry where the level was not free."""
    lines = []
    for kind, levels in (("drift", drift), ("noise", noise)):
        for name, value in levels.items():
            sd = error.get(f"{kind} {name}")
            rest = "" if sd is None else f" ± {100 * sd:.0f} %" if sd < 1 else " (undetermined)"
            lines.append(f"  {kind} {name:<16} {value:.4g}{rest}")
    return "\n".join(lines)


def tune(
    twin: Twin | StateSpace,
    record: Any,
    *,
    track: tuple[str, ...] = (),
    method: Method | None = None,
    substeps: int = 4,
    dt_max: float | None = None,
    gate: float = 0.0,
    times: Any = None,
    params: np.ndarray | None = None,
    x0: np.ndarray | None = None,
    skip: int = 0,
    keep: tuple[str, ...] = (),
) -> Noise:
    """Noise levels that make the record likeliest; states with a drift of zero and the signals in `keep` stay.

    `skip` leaves out the first instants. `gate` is off by default: a gate hides the tails that the levels come from.
    """
    space = augment(flatten(twin) if isinstance(twin, Twin) else twin, tuple(track))
    data = as_record(space, record, times=times)
    walk = steps(data, space.system, pieces.fastest(space) if dt_max is None else float(dt_max))
    R0, Q0 = positive_noise(space), space.Q
    free_q = np.array([c.drift > 0 and c.name not in keep for c in space.x])
    free_r = np.array([c.name not in keep for c in space.y])
    names = [f"drift {c.name}" for c, f in zip(space.x, free_q, strict=True) if f]
    names += [f"noise {c.name}" for c, f in zip(space.y, free_r, strict=True) if f]
    if not names:
        raise InputError("Nothing is free to be tuned: every drift is zero and every signal is in `keep`")
    low, high = space.bounds("x")
    key = (space.system, method or Ekf(), substeps, tuple(low), tuple(high), walk.pieces)
    loss = _loss(key, tuple(np.flatnonzero(free_q).tolist()), tuple(np.flatnonzero(free_r).tolist()), int(skip))
    args = (
        walk.t, walk.dt, walk.u, walk.v, walk.y, space.x0 if x0 is None else x0, np.diag(space.P0),
        space.p0 if params is None else params, Q0, R0, threshold(gate),
    )  # fmt: skip

    def fun(theta):
        f, g = loss(theta, *args)
        return (float(f), np.asarray(g)) if np.isfinite(f) else (1e300, np.zeros(len(theta)))

    start = np.zeros(len(names))
    best = minimize(fun, start, jac=True, method="L-BFGS-B", bounds=[(-12.0, 12.0)] * len(names))
    theta = best.x
    sd = np.sqrt(np.maximum(np.diag(np.linalg.pinv(_curvature(fun, theta))), 0.0))
    levels = np.exp(theta)
    scale_q, scale_r = np.ones(len(Q0)), np.ones(len(R0))
    scale_q[free_q], scale_r[free_r] = levels[: free_q.sum()] ** 2, levels[free_q.sum() :] ** 2
    Q, R = Q0 * scale_q, R0 * scale_r

    def without_prior(theta):
        return -(fun(theta)[0] - 0.5 * float(np.sum((theta / PRIOR_SD) ** 2)))

    return Noise(
        Q=Q,
        R=R,
        drift={c.name: math.sqrt(q) for c, q in zip(space.x, Q, strict=True)},
        noise={c.name: math.sqrt(r) for c, r in zip(space.y, R, strict=True)},
        error=dict(zip(names, sd.tolist(), strict=True)),
        undetermined=tuple(name for name, s in zip(names, sd, strict=True) if s > 0.5 * PRIOR_SD),
        loglik_before=without_prior(start),
        loglik=without_prior(theta),
        converged=bool(best.success),
    )


@lru_cache(maxsize=32)
def _loss(key: tuple, free_q: tuple[int, ...], free_r: tuple[int, ...], skip: int) -> Any:
    """Value and gradient of the negative log posterior in the log levels."""
    walk = filtered(*key)
    nx, ny, many = len(key[0].x_names), len(key[0].y_names), len(free_q) + len(free_r)
    to_q, to_r = np.zeros((nx, many)), np.zeros((ny, many))
    for k, i in enumerate(free_q):
        to_q[i, k] = 2.0
    for k, i in enumerate(free_r):
        to_r[i, len(free_q) + k] = 2.0

    def loss(theta, t, dt, u, v, y, x0, P0, p, Q, R, gate):
        Q, R = Q * jnp.exp(to_q @ theta), R * jnp.exp(to_r @ theta)
        *_, used, nis, logdet = walk(t, dt, u, v, y, (x0, P0), p, Q, R, gate, math.inf)
        terms = nis + logdet + jnp.sum(used, axis=1) * math.log(2 * math.pi)
        return 0.5 * jnp.sum(terms[skip:]) + 0.5 * jnp.sum((theta / PRIOR_SD) ** 2)

    run = jax.jit(jax.value_and_grad(loss))
    return lambda theta, *args: run(theta, *(jnp.asarray(a, jnp.float64) for a in args))


def _curvature(fun: Any, theta: np.ndarray, h: float = 1e-3) -> np.ndarray:
    """Hessian by central differences of the exact gradient."""
    rows = [(fun(theta + h * e)[1] - fun(theta - h * e)[1]) / (2 * h) for e in np.eye(len(theta))]
    return (np.array(rows) + np.array(rows).T) / 2
