"""Moving-horizon estimation: the states of the last N steps that agree best with all that was read in them.

    minimise   1/2 |x_0 - m|^2_P^-1 + 1/2 sum_k |w_k|^2_Q^-1 + 1/2 sum_k |y_k - h(x_k)|^2_R^-1,   low <= x <= high

by Gauss and Newton's method, linearised anew at every reading, with a full step or the longest half of it that lets
the cost fall. `pollux.mirror.horizon_window` solves the linearised window stage by stage, `horizon_bounds` keeps it
within the bounds. States are bounded at every reading, and where the flow starts after its noise.

Arrival cost: (m, P) is what the forward pass knows of the second state from the first one and its reading when the
window moves on, linearised at the smoothed path of the last window and without its bounds. No reading is counted twice.
For a linear twin it is the Kalman filter, whatever the horizon.

Reported covariance, innovation and gate are those of the extended Kalman filter along the smoothed path; a reading that
its gate refuses never enters the window. Parameters that change are taken to have had their new values all along.

Sources: Rao, Rawlings and Mayne (2003), Constrained state estimation for nonlinear discrete-time systems, IEEE TAC 48;
Kuehl, Diehl, Kraus, Schloeder and Bock (2011), A real-time algorithm for moving horizon state and parameter estimation,
Comput. Chem. Eng. 35, sec. 3.3 (the arrival cost).
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.linalg import solve_triangular

from pollux.core.errors import InputError
from pollux.mirror.horizon_bounds import violation, within
from pollux.mirror.horizon_window import Arrival, Filtered, Plan, Window, linearise, nothing, solver
from pollux.mirror.method import CarryFn
from pollux.model.gaussian import correct, flow_jacobian, gated, observe_jacobian, propagate
from pollux.model.squareroot import factor
from pollux.model.statespace import StateSpace, System

_SHORTEST = 2.0**-12
"""Share of a step below which the search is given up."""

_ROUNDING = 1e-13
"""Share of the cost by which it may rise: at the bottom its differences are rounding."""


class Edge(NamedTuple):
    """A state of the smoothed path, and N(m, P) of it before the readings of the window were seen."""

    x: Array
    m: Array
    P: Array


class Horizon(NamedTuple):
    """What is carried: belief (x, P), window and its noise, and the edges before and after its first step."""

    x: Array
    P: Array
    window: Window
    w: Array
    after: Array
    first: Edge
    second: Edge


@dataclass(frozen=True)
class Mhe:
    """Moving-horizon estimation over the last `horizon` steps, at most `iterations` of Gauss and Newton's method each.

    A step is an instant with readings, or a piece of a long gap. The iteration ends when it moves by no more than
    `tolerance` standard deviations. `iterations=1` is the real-time scheme: one linear problem for each reading.
    """

    horizon: int
    iterations: int = 20
    tolerance: float = 1e-8

    def __post_init__(self):
        if self.horizon < 1 or self.iterations < 1 or not self.tolerance > 0:
            raise InputError(
                f"`Mhe` needs a horizon and iterations of at least 1 and a tolerance > 0, received {self!r}"
            )

    def of(self, space: StateSpace) -> "SizedMhe":
        """The estimator of one twin."""
        return SizedMhe(self, len(space.u), len(space.y))


class _Turn(NamedTuple):
    plan: Plan
    way: Plan
    """To the best plan of the window linearised at `plan`."""
    first: Array
    second: Array
    last: Array
    """States of its path: before the window, after the first step, now."""
    free: Filtered
    cost: Array
    weight: Array
    share: Array
    turns: Array
    done: Array


@dataclass(frozen=True)
class SizedMhe:
    """`Mhe` for twins of so many inputs and sensors."""

    settings: Mhe
    inputs: int
    sensors: int

    def start(self, x0: Any, P0: Any) -> Horizon:
        """A window of steps of length zero, before which N(x0, P0) was known."""
        x, P = jnp.asarray(x0, jnp.float64), jnp.asarray(P0, jnp.float64)
        N, n, m, ny = self.settings.horizon, len(x), self.inputs, self.sensors
        none, still = jnp.zeros(N), jnp.zeros((N, n))
        inputs, readings = jnp.zeros((N, m)), jnp.zeros((N, ny))
        window = Window(none, none, inputs, inputs, readings, readings, still)
        return Horizon(x, P, window, still, still, Edge(x, x, P), Edge(x, x, P))

    def carry(self, system: System, substeps: int, low: Any, high: Any) -> CarryFn:
        """One twin's step; see `pollux.mirror.method`."""
        discrete = system.period is not None
        low, high = np.asarray(low), np.asarray(high)

        def carry(t, dt, state: Horizon, u, v, y, use, gate, p, Q, R):
            x, Phi = flow_jacobian(system, substeps, t, dt, state.x, u, p)
            x = jnp.clip(x, low, high)
            P = propagate(state.P, Phi, Q, dt, discrete)
            y_hat, H = observe_jacobian(system, t + dt, x, v, p)
            nu = y - y_hat
            S_diag = jnp.sum((H @ P) * H, axis=1) + R
            used = gated(nu, S_diag, use, gate)
            _, _, nis, logdet = correct(x, P, H, nu, R, used)

            seen = used > 0
            step = Window(
                t, dt, u, v, jnp.where(seen, y, 0.0), jnp.where(seen, 1 / R, 0.0),
                jnp.sqrt(dt * Q if discrete else dt / 2 * Q),
            )  # fmt: skip
            joins = (dt <= 0) & ~jnp.any(seen & (state.window.weight[-1] > 0))
            window = _where(joins, _joined(state.window, step), _shifted(state.window, step))
            edge = _where(joins, state.first, state.second)
            still = jnp.zeros_like(x)
            w, after = _where(joins, (state.w, state.after), _shifted((state.w, state.after), (still, still)))
            L = factor(edge.P)
            z = solve_triangular(L + jnp.diag(jnp.where(jnp.diag(L) > 0, 0.0, 1.0)), edge.x - edge.m, lower=True)
            moved = (dt > 0) | jnp.any(seen)
            arrival = Arrival(edge.m, edge.P, L)
            best = self._best(system, substeps, low, high, arrival, window, Plan(z, w, after), p, ~moved)
            free = best.free
            new = Horizon(
                jnp.clip(best.last, low, high), free.last, window, best.plan.w, best.plan.after,
                Edge(best.first, edge.m, edge.P), Edge(best.second, free.m, free.P),
            )  # fmt: skip
            new = _where(moved, new, state)
            return new, (new.x, new.P, y_hat, nu, S_diag, used, nis, logdet)

        return carry

    def _best(self, system, substeps, low, high, arrival: Arrival, window: Window, plan: Plan, p, done) -> _Turn:
        """Gauss and Newton's method from a first plan. A turn tries a step, and where the cost falls finds the next."""
        held = np.flatnonzero(np.isfinite(low) | np.isfinite(high))
        N, limit = self.settings.horizon, self.settings.iterations + 1

        def turn(c: _Turn) -> _Turn:
            trial = jax.tree.map(lambda a, d: a + c.share * d, c.plan, c.way)
            stages = linearise(system, substeps, arrival, window, trial, p)
            solve = solver(system, arrival, window, stages, held)
            if len(held):
                best, free, needed = within(solve, plan, jnp.diag(arrival.P), low, high, held)
                outside = violation(stages.path, low, high, held)
            else:
                best, _, free, _ = solve(nothing(N, held))
                needed = outside = c.weight
            weight = jnp.maximum(c.weight, needed)
            way = jax.tree.map(jnp.subtract, best, trial)
            far = jnp.max(jnp.stack([jnp.max(jnp.abs(a)) for a in way]))
            cost = stages.cost + c.weight @ outside
            good = (c.turns == 0) | (cost <= c.cost + _ROUNDING * (1 + jnp.abs(c.cost)))
            ends = stages.path.first, stages.path.after[0], stages.path.after[-1]
            found = trial, way, *ends, free, stages.cost + weight @ outside, weight, jnp.ones(())
            before = (*c[:-4], c.weight, c.share / 2)
            done = jnp.where(good, far < self.settings.tolerance, c.share < _SHORTEST)
            return _Turn(*_where(good, found, before), turns=c.turns + 1, done=done)

        rest = jax.tree.map(jnp.zeros_like, plan)
        x, P, zero = arrival.m, arrival.P, jnp.zeros(())
        free = Filtered(x, P, P)
        start = _Turn(plan, rest, x, x, x, free, zero, jnp.zeros(len(held)), zero + 1, jnp.asarray(0), done)
        return jax.lax.while_loop(lambda c: ~c.done & (c.turns < limit), turn, start)


def _shifted(kept: Any, new: Any) -> Any:
    """The rows without their oldest, and a new one."""
    return jax.tree.map(lambda a, b: jnp.concatenate([a[1:], jnp.asarray(b)[None]]), kept, new)


def _joined(window: Window, step: Window) -> Window:
    """The window with the readings of a step of length zero among those of its last step."""
    last = jax.tree.map(lambda a: a[-1], window)
    seen = step.weight > 0
    row = last._replace(
        t=jnp.where(last.dt > 0, last.t, step.t), v=step.v, y=jnp.where(seen, step.y, last.y),
        weight=jnp.where(seen, step.weight, last.weight),
    )  # fmt: skip
    return jax.tree.map(lambda a, b: jnp.concatenate([a[:-1], jnp.asarray(b)[None]]), window, row)


def _where(which: Array, a: Any, b: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(which, a, b), a, b)
