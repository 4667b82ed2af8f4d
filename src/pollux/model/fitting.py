"""The least-squares problem of a calibration, as a per-start or per-twin program: stream every record, weigh, compare.

    r = [ (y_k - h(t_k, x(t_k; theta, x0), u_k, theta)) / sigma   for every reading that came ]
        [ z_i / deviation_i                                        for every prior              ]

Records of different length are padded with intervals of length zero and readings that did not come (NaN).
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
from pollux.model.leastsquares import Descent, Tolerances, levenberg_marquardt
from pollux.model.record import Record
from pollux.model.stream import Origin, Problem, Rows, Sums, rows, scatter, sums

_ROWS, _ORIGIN, _DESCENT = len(Rows._fields), len(Origin._fields), len(Descent._fields)
_OWN = 9  # arrays of one twin: coordinates, parameters, first states and weights


@dataclass(frozen=True, eq=False)
class Data:
    """Records side by side, (R, T, ...), or without the first axis where there is one; and sigma (ny,) or (ny, N)."""

    origin: Origin
    rows: Rows
    sigma: Float[np.ndarray, " ny"]

    def arrays(self) -> tuple[Any, ...]:
        """As the programs below take them."""
        return *self.origin, *self.rows

    @property
    def y(self) -> Float[np.ndarray, "R T ny"]:
        """Readings, NaN where none came; always with the axis of records."""
        y = self.rows.y
        return y if self.rows.t.ndim == 2 else y[None]

    @property
    def came(self) -> Bool[np.ndarray, "R T ny"]:
        """Which readings came."""
        return np.isfinite(self.y)


def gather(records: tuple[Record, ...], sigma: np.ndarray) -> Data:
    """Pad records to one length."""
    size = max(map(len, records))

    def padded(r: Record) -> tuple[Origin, Rows]:
        extra = size - len(r)
        last = [np.concatenate([v, np.repeat(v[-1:], extra, axis=0)]) for v in (r.t, r.u)]
        return grid(last[0], last[1], np.concatenate([r.y, np.full((extra, r.y.shape[1]), np.nan)]))

    parts = [padded(r) for r in records]
    if len(parts) == 1:  # without the axis of records the loop over time is the only one
        return Data(*parts[0], sigma)
    origin, table = (jax.tree.map(lambda *v: np.stack(v), *column) for column in zip(*parts, strict=True))
    return Data(origin, table, sigma)


def grid(t: np.ndarray, u: np.ndarray, y: np.ndarray) -> tuple[Origin, Rows]:
    """Rows of one record, or of a fleet on one time axis: t (T,), u (T, m) or (T, m, N), y (T, ny) or (T, ny, N).

    An interval may be integrated in one go up to where any twin's input changes.
    """
    since, size = t - t[0], len(t)
    changes = np.any(u[1:] != u[:-1], axis=tuple(range(1, u.ndim)))
    jumps = np.where(np.append(changes, False), np.arange(1, size + 1), size - 1)
    until = since[np.minimum.accumulate(jumps[::-1])[::-1]]
    start, stop = (np.concatenate([[0.0], v[:-1]]) for v in (since, until))
    fresh = np.concatenate([[False, False], changes])[:size]
    return Origin(t[0], since[-1], u[0]), Rows(t, start, since, stop, fresh, u, y)


@dataclass(frozen=True)
class Lanes:
    """What differs from lane to lane of a fleet of calibrations."""

    twins: bool = False
    """Every lane is another twin with its own values and readings; else another start of the same problem."""
    inputs: bool = False
    """Every twin has its own inputs."""


def solving(problem: Problem, lanes: Lanes = Lanes()) -> Program:
    """Program (*at, low, high, precision, log, centre, scale, p, X0, weight, *data, *tolerances) -> where it ends.

    `at` and the result are a `Descent`.
    """
    return _solving(problem, lanes)


@lru_cache(maxsize=128)
def _solving(problem: Problem, lanes: Lanes) -> Program:
    total = _total(problem)

    def solve(*args):
        at, rest = Descent(*args[:_DESCENT]), args[_DESCENT + _OWN :]
        low, high, precision, log, centre, scale, p, X0, weight = args[_DESCENT : _DESCENT + _OWN]
        origin, table, tolerances = Origin(*rest[:_ORIGIN]), Rows(*rest[_ORIGIN:-3]), Tolerances(*rest[-3:])

        def evaluate(z):
            theta = to_value(z, log, centre, scale)
            slope = jnp.where(log, theta, scale)
            loss, g, H = total(theta, p, X0, weight, origin, table)
            return Sums(loss, slope * g, slope[:, None] * H * slope[None, :])

        return tuple(levenberg_marquardt(evaluate, at, low, high, precision, tolerances))

    own = (lanes.twins,) * _OWN
    fleet = (*(True,) * _DESCENT, *own, *data_lanes(lanes), False, False, False)
    return Program("calibrate", (problem, lanes), solve, fleet)


def data_lanes(lanes: Lanes) -> tuple[bool, ...]:
    """Which of `Data.arrays()` have the axis of the fleet."""
    origin = Origin(base=False, span=False, u=lanes.inputs)
    return (*origin, *Rows(*(False,) * _ROWS)._replace(u=lanes.inputs, y=lanes.twins))


@lru_cache(maxsize=128)
def sensing(problem: Problem) -> Program:
    """Program (theta, p, X0, *data) -> (what the sensors should read, (R,) T, ny; its derivatives (R,) T, k, ny)."""
    stream = rows(problem)

    def sense(theta, p, X0, *rest):
        origin, table = Origin(*rest[:_ORIGIN]), Rows(*rest[_ORIGIN:])
        p, X0 = place(problem, theta, p, X0)
        if X0.ndim == 1:
            return stream(p, X0, origin, table)
        return jax.lax.scan(lambda _, r: ((), stream(p, *r)), (), (X0, origin, table))[1]

    return Program("sensitivity", problem, sense, (True, False, False, *(False,) * (_ORIGIN + _ROWS)))


def rows_of(
    problem: Problem, data: Data, seen: np.ndarray, V: np.ndarray, slope: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Residuals (R T ny,), their Jacobian in z (R T ny, k) and predictions (R, T, ny), from what `sensing` gives.

    `slope` is d theta / d z, (k,).
    """
    y, came = data.y, data.came
    seen, V = seen.reshape(y.shape), V.reshape(*y.shape[:2], -1, y.shape[2])
    residuals = np.where(came, (seen - y) / data.sigma, 0.0)
    local = np.where(came[..., None], np.swapaxes(V, -1, -2) / data.sigma[:, None], 0.0)
    k, n = len(problem.free), len(problem.states)
    J = np.zeros((*y.shape, len(slope)))
    J[..., :k] = local[..., :k]
    for r, part in enumerate(local):
        J[r, ..., k + r * n : k + (r + 1) * n] = part[..., k:]
    return residuals.ravel(), J.reshape(-1, len(slope)) * slope, seen


@lru_cache(maxsize=128)
def scattering(problem: Problem, lanes: Lanes) -> Program:
    """Program of one twin (theta, p, x0, weight, *data) -> `Scatter`."""
    stream = scatter(problem)

    def fn(theta, p, x0, weight, *rest):
        return tuple(stream(*place(problem, theta, p, x0), weight, Origin(*rest[:_ORIGIN]), Rows(*rest[_ORIGIN:])))

    return Program("scatter", (problem, lanes), fn, (*(True,) * 4, *data_lanes(lanes)))


def frame_arrays(c: Coordinates) -> tuple[np.ndarray, ...]:
    """The coordinates as `solving` takes them, after its first argument."""
    return c.low, c.high, 1 / c.deviation**2, c.log, c.centre, c.scale


def place(problem: Problem, theta: Any, p: Any, X0: Any) -> tuple[Array, Array]:
    """(p, X0) with theta = (free parameters, free first states of each record) put in; X0 (n,) or (R, n)."""
    k = len(problem.free)
    p = _put(p, problem.free, theta[:k])
    first = theta[k:] if X0.ndim == 1 else theta[k:].reshape(X0.shape[0], len(problem.states))
    return p, _put(X0, problem.states, first)


def _put(values: Any, where: tuple[int, ...], new: Any) -> Any:
    """`values` (..., n) with `new` (..., len(where)) at `where`, by static indexing alone."""
    if not where:
        return values
    size = values.shape[-1]
    chosen, source = np.zeros(size, bool), np.zeros(size, np.int32)
    chosen[list(where)], source[list(where)] = True, np.arange(len(where))
    return jnp.where(chosen, new[..., source], values)


def _total(problem: Problem) -> Callable[..., Sums]:
    """(theta, p, X0, weight, origin, rows) -> `Sums` in theta, over one record or all of them, one after another."""
    stream, k, n = sums(problem), len(problem.free), len(problem.states)

    def run(theta, p, X0, weight, origin, table):
        p, X0 = place(problem, theta, p, X0)
        if X0.ndim == 1:
            return stream(p, X0, weight, origin, table)

        def record(_, one):
            x0, origin, table = one
            return (), stream(p, x0, weight, origin, table)

        loss, g, H = jax.lax.scan(record, (), (X0, origin, table))[1]
        count = X0.shape[0]
        shared = jnp.sum(H[:, :k, :k], axis=0)
        across = jnp.transpose(H[:, :k, k:], (1, 0, 2)).reshape(k, count * n)
        own = (np.eye(count)[:, None, :, None] * H[:, k:, None, k:]).reshape(count * n, count * n)
        return Sums(
            jnp.sum(loss),
            jnp.concatenate([jnp.sum(g[:, :k], axis=0), g[:, k:].reshape(count * n)]),
            jnp.concatenate([jnp.concatenate([shared, across], 1), jnp.concatenate([across.T, own], 1)]),
        )

    return run
