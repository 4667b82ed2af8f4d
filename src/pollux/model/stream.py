"""A record as a stream: state and forward tangents walk through it side by side, and nothing else is kept.

With theta = (free parameters, free first states), x' = f(x, u, theta) and what the sensors should read h(x, u, theta),

    S_k = dx_k / dtheta,    V_k = dh_k / dtheta = h_x S_k + h_theta,    r_k = (h_k - y_k) w

are the exact derivatives of the steps that the integrator takes (forward mode through one interval at a time). `sums`
adds up what Gauss-Newton needs of them; `rows` hands them out. Memory does not grow with the record, and the only
loop over time is a scan, so that any back end runs it as a real loop.
Sources: Bard, Nonlinear Parameter Estimation (1974), ch. 8 (sensitivity equations); Bock (1981) for derivatives of the
discretised system.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from pollux.model.integrate import Leg, Method, march_of
from pollux.model.statespace import System


@dataclass(frozen=True)
class Problem:
    """Structure of a calibration: what kernels are cached by."""

    system: System
    method: Method
    free: tuple[int, ...]
    """Positions of the free parameters; the first states of the records follow them in theta."""
    states: tuple[int, ...]
    """Positions of the first states that are free, the same in every record."""


class Rows(NamedTuple):
    """One row for each instant (leading axis T): how the instant is reached, and what was put in and read there.

    `start`, `end`, `stop` are seconds since the first instant: the interval that ends here, and until when the input
    of that interval stays as it is. `fresh`: the input jumped at `start`. `y` is NaN where nothing was read.
    """

    t: Any
    start: Any
    end: Any
    stop: Any
    fresh: Any
    u: Any
    y: Any


class Origin(NamedTuple):
    """Where a record begins: absolute time (s) of its first instant, its length (s), and its first input (m,)."""

    base: Any
    span: Any
    u: Any


class Sums(NamedTuple):
    """loss = 1/2 sum r'r, g = sum V'r w, H = sum V'V w^2, over the readings that came."""

    loss: Any
    g: Any
    H: Any


def sums(problem: Problem) -> Callable[..., Sums]:
    """(p (n_p,), x0 (n,), weight (ny,), origin, rows) -> `Sums` over one record, in theta = (free p, free x0)."""
    k = _width(problem)

    def start():
        return Sums(jnp.zeros(()), jnp.zeros(k), jnp.zeros((k, k)))

    def run(p: Array, x0: Array, weight: Array, origin: Origin, rows: Rows) -> Sums:
        def see(total: Sums, y: Array, seen: Array, V: Array) -> tuple[Sums, None]:
            came = jnp.isfinite(y)
            r = jnp.where(came, (seen - y) * weight, 0.0)
            J = jnp.where(came, V * weight, 0.0)
            return Sums(
                total.loss + 0.5 * jnp.sum(r * r),
                total.g + jnp.sum(J * r, axis=1),
                total.H + jnp.sum(J[:, None, :] * J[None, :, :], axis=2),
            ), None

        return _walk(problem, see, start(), p, x0, origin, rows)[0]

    return run


def rows(problem: Problem) -> Callable[..., tuple[Array, Array]]:
    """(p, x0, origin, rows) -> what the sensors should read (T, ny), and its derivatives V (T, k, ny)."""

    def run(p: Array, x0: Array, origin: Origin, rows: Rows) -> tuple[Array, Array]:
        def see(nothing: tuple[()], y: Array, seen: Array, V: Array) -> tuple[tuple[()], tuple[Array, Array]]:
            return nothing, (seen, V)

        return _walk(problem, see, (), p, x0, origin, rows)[1]

    return run


class Scatter(NamedTuple):
    """Of the residuals r (weighed): squares (ny,), readings that came (ny,), and over neighbours in time that both
    came, sum r_k r_{k-1} and sum (r_k^2 + r_{k-1}^2) / 2."""

    squares: Any
    count: Any
    lagged: Any
    paired: Any


def scatter(problem: Problem) -> Callable[..., Scatter]:
    """(p, x0, weight, origin, rows) -> `Scatter` over one record, without derivatives."""
    march, system = march_of(problem.system, problem.method), problem.system

    def run(p: Array, x0: Array, weight: Array, origin: Origin, rows: Rows) -> Scatter:
        def step(carry: Any, row: Rows) -> tuple[Any, None]:
            memory, x, u, r0, came0, total = carry
            leg = Leg(origin.base, row.start, row.end, row.stop, row.fresh, u, p)
            memory, x, _ = march.advance(memory, x, leg)
            came = jnp.isfinite(row.y)
            r = jnp.where(came, (system.h(row.t, x, row.u, p) - row.y) * weight, 0.0)
            both = came & came0
            new = Scatter(
                r * r,
                came.astype(jnp.float64),
                jnp.sum(jnp.where(both, r * r0, 0.0)),
                0.5 * jnp.sum(jnp.where(both, r * r + r0 * r0, 0.0)),
            )
            return (memory, x, row.u, r, came, jax.tree.map(jnp.add, total, new)), None

        ny = len(system.y_names)
        none, zero = jnp.zeros(ny), jnp.zeros(())
        memory = march.begin(origin.base, origin.span, x0, origin.u, p)
        start = (memory, x0, origin.u, none, jnp.zeros(ny, bool), Scatter(none, none, zero, zero))
        return jax.lax.scan(step, start, rows)[0][-1]

    return run


def _walk(
    problem: Problem, see: Callable[..., Any], total: Any, p: Array, x0: Array, origin: Origin, rows: Rows
) -> tuple[Any, Any]:
    """Scan over the rows; `see(total, y, seen, V) -> (total, row of the output)` at each."""
    march, system = march_of(problem.system, problem.method), problem.system
    S0, P = _seeds(problem)

    def step(carry: Any, row: Rows) -> Any:
        at, slopes, u, total = carry
        leg = Leg(origin.base, row.start, row.end, row.stop, row.fresh, u, p)
        at, slopes = along(lambda at, p: march.advance(at[0], at[1], leg._replace(p=p))[:2], at, slopes, p, P)
        seen, V = along(lambda x, p: system.h(row.t, x, row.u, p), at[1], slopes[1], p, P)
        total, out = see(total, row.y, seen, V)
        return (at, slopes, row.u, total), out

    begin = along(lambda x, p: (march.begin(origin.base, origin.span, x, origin.u, p), x), x0, S0, p, P)
    (*_, total), out = jax.lax.scan(step, (*begin, origin.u, total), rows)
    return total, out


def along(fn: Callable[[Any, Array], Any], x: Any, S: Any, p: Array, P: Any) -> tuple[Any, Any]:
    """fn(x, p) and its derivatives along the k directions S in x and P in p (leading axis k in every leaf).

    x and the value may be trees with integers among their leaves, which have no derivative (None in S).
    """
    moving, still = eqx.partition(x, eqx.is_inexact_array)

    def smooth(moving: Any, p: Array) -> Any:
        return eqx.partition(fn(eqx.combine(moving, still), p), eqx.is_inexact_array)

    def push(s: Any, dp: Array) -> Any:
        value, slope, rest = jax.jvp(smooth, (moving, p), (s, dp), has_aux=True)
        return value, rest, slope

    value, rest, slopes = jax.vmap(push, out_axes=(None, None, 0))(S, P)
    return eqx.combine(value, rest), slopes


def _width(problem: Problem) -> int:
    return len(problem.free) + len(problem.states)


def _seeds(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """dx_0/dtheta (k, n) and dp/dtheta (k, n_p): zeros and ones, known when the kernel is compiled."""
    k, split = _width(problem), len(problem.free)
    S0, P = np.zeros((k, len(problem.system.x_names))), np.zeros((k, len(problem.system.p_names)))
    S0[np.arange(split, k), list(problem.states)] = 1.0
    P[np.arange(split), list(problem.free)] = 1.0
    return S0, P
