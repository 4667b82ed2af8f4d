"""The least-squares problem of a calibration, as a per-start program: simulate every record, weigh, compare.

    r = [ (y_k - h(t_k, x(t_k; theta, x0), u_k, theta)) / sigma   for every reading that came ]
        [ z_i / deviation_i                                        for every prior              ]

Records of different length are padded with intervals of length zero and readings that did not come.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float

from pollux.model.backend import Program
from pollux.model.coordinates import Coordinates, to_value
from pollux.model.integrate import Method, trajectory
from pollux.model.leastsquares import Tolerances, levenberg_marquardt
from pollux.model.record import Record
from pollux.model.statespace import System


@dataclass(frozen=True, eq=False)
class Data:
    """Records side by side: times (R, T), inputs (R, T, m), readings (R, T, ny), which came, and sigma (ny,)."""

    t: Float[np.ndarray, "R T"]
    u: Float[np.ndarray, "R T m"]
    y: Float[np.ndarray, "R T ny"]
    came: Bool[np.ndarray, "R T ny"]
    sigma: Float[np.ndarray, " ny"]

    def arrays(self) -> tuple[np.ndarray, ...]:
        """As the programs below take them."""
        return self.t, self.u, self.y, self.came, self.sigma


def gather(records: tuple[Record, ...], sigma: np.ndarray) -> Data:
    """Pad records to one length."""
    size = max(map(len, records))

    def padded(values: np.ndarray, fill: str | float) -> np.ndarray:
        extra = size - len(values)
        tail = np.repeat(values[-1:], extra, axis=0) if fill == "last" else np.full((extra, *values.shape[1:]), fill)
        return np.concatenate([values, tail])

    y = np.stack([padded(r.y, np.nan) for r in records])
    came = np.isfinite(y)
    return Data(
        np.stack([padded(r.t, "last") for r in records]),
        np.stack([padded(r.u, "last") for r in records]),
        np.where(came, y, 0.0),
        came,
        sigma,
    )


@dataclass(frozen=True)
class Problem:
    """Structure of a calibration: what kernels are cached by."""

    system: System
    method: Method
    free: tuple[int, ...]
    """Positions of the free parameters; the first states of the records follow them in z."""
    states: tuple[int, ...]
    """Positions of the first states that are free, the same in every record."""


def solving(problem: Problem) -> Program:
    """Per-start program (z0, low, high, deviation, log, centre, scale, p, X0, *data, *tolerances) -> `Solved`."""
    return _programs(problem)[0]


def sensing(problem: Problem) -> Program:
    """Program (z, log, centre, scale, p, X0, *data) -> (residuals of the data, their Jacobian in z, predictions)."""
    return _programs(problem)[1]


def frame_arrays(c: Coordinates) -> tuple[np.ndarray, ...]:
    """The coordinates as the programs take them."""
    return c.log, c.centre, c.scale


@lru_cache(maxsize=128)
def _programs(problem: Problem) -> tuple[Program, Program]:
    predict = _prediction(problem)

    def misfit(z, frame, p, X0, t, u, y, came, sigma):
        seen = predict(to_value(z, *frame), p, X0, t, u)
        return jnp.where(came, (seen - y) / sigma, 0.0).ravel()

    def solve(z0, low, high, deviation, log, centre, scale, p, X0, t, u, y, came, sigma, loss, step, iterations):
        def residual(z):
            return jnp.concatenate([misfit(z, (log, centre, scale), p, X0, t, u, y, came, sigma), z / deviation])

        return tuple(levenberg_marquardt(residual, z0, low, high, Tolerances(loss, step, iterations)))

    def sense(z, log, centre, scale, p, X0, t, u, y, came, sigma):
        def r(z):
            seen = predict(to_value(z, log, centre, scale), p, X0, t, u)
            r = jnp.where(came, (seen - y) / sigma, 0.0).ravel()
            return r, (r, seen)

        J, (value, seen) = jax.jacfwd(r, has_aux=True)(z)
        return value, J, seen

    return (
        Program("calibrate", problem, solve, (True, *(False,) * 16)),
        Program("sensitivity", problem, sense, (True, *(False,) * 10)),
    )


def _prediction(problem: Problem) -> Callable[..., Array]:
    """(theta, p, X0 (R, n), t (R, T), u (R, T, m)) -> what the sensors should have read, (R, T, ny)."""
    system, free = problem.system, jnp.asarray(problem.free, jnp.int32)
    states = jnp.asarray(problem.states, jnp.int32)
    run = trajectory(system, problem.method)
    k = len(problem.free)

    def one(x0, t, u, p):
        X, _ = run(t, u, x0, p)
        return jax.vmap(system.h, (0, 0, 0, None))(t, X, u, p)

    def predict(theta: Any, p: Any, X0: Any, t: Any, u: Any) -> Array:
        p = p.at[free].set(theta[:k])
        X0 = X0.at[:, states].set(theta[k:].reshape(X0.shape[0], len(problem.states)))
        if t.shape[0] == 1:  # without the batch axis the loop over time is leaner
            return one(X0[0], t[0], u[0], p)[None]
        return jax.vmap(one, (0, 0, 0, None))(X0, t, u, p)

    return predict
