"""The optimal control problem of `MpcOptions` as functions of the scaled inputs alone (single shooting).

    w = (u - low) / (high - low) in [0, 1]^(steps x m),   phi(w) = smooth(w) + sum_i w1_i v_i + w2_i v_i^2,
    v = max(0, -rows(w))

Rows are the margins and bounded states at the end of each interval, then the floors at the end of the horizon. Because
limits of states are soft and limits of inputs are a box, phi itself is the merit function: any w in the box is allowed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from pollux.model.rk4 import rk4
from pollux.model.statespace import System

_EDGE = 1e-6
"""Share of an interval that is kept clear of its ends, see `stage`."""
KINK = 1e-6
"""A row this close to its limit, relative to what the inputs can do to it, counts as lying on it."""


@dataclass(frozen=True)
class Shape:
    """What is compiled: everything that changes the program and no number that could change at run time."""

    system: System
    steps: int
    step: float
    substeps: int
    controls: tuple[int, ...]
    referenced: tuple[int, ...]
    bounded: tuple[int, ...]
    floored: tuple[int, ...]
    goal: bool
    exact: bool
    economic: bool
    """Whether anything is linear: a goal, a worth, or the penalty of a limit or a floor."""


class Values(NamedTuple):
    """What a solve is given. Shapes: N steps, n states, m inputs, c controls, r rows a node."""

    t: Any
    x: Any
    """(n,)"""
    before: Any
    """(m,) inputs in force"""
    p: Any
    held: Any
    """(N, m) inputs; the controls are overwritten"""
    low: Any
    high: Any
    """(c,)"""
    reference: Any
    reference_weight: Any
    """(N, referenced)"""
    rate: Any
    """(c,)"""
    worth: Any
    """(n,)"""
    bound_low: Any
    bound_high: Any
    """(bounded,)"""
    reserve: Any
    """(r,)"""
    floor: Any
    """(floored,)"""
    w1: Any
    w2: Any
    """(r,) weights of the rows of one node"""
    floor_price: Any
    """(floored,)"""


class Path(NamedTuple):
    """A simulated plan: states (N + 1, n), the goal of each interval (N,), rows (N, r), floors and the total cost."""

    states: Array
    goals: Array
    rows: Array
    floors: Array
    cost: Array
    penalty: Array


class Local(NamedTuple):
    """phi around one plan: gradient and Hessian of the smooth part, Jacobian and value of the rows, flattened."""

    g: Array
    H: Array
    G: Array
    c: Array


def stage(shape: Shape) -> Callable[..., tuple[Array, Array]]:
    """(t, x, u, p) -> (x at t + step, integral of the goal), u held.

    The model is asked for times strictly inside the interval: a tariff or a demand that switches at its end belongs to
    the next one, and would otherwise enter the last stage of the Runge-Kutta step.
    """
    s, h = shape.system, shape.step
    if s.period is not None:
        return lambda t, x, u, p: (s.f(t, x, u, p), h * s.goal(t, x, u, p))

    def both(t, z, u, p):
        return jnp.append(s.f(t, z[:-1], u, p), s.goal(t, z[:-1], u, p))

    rate = both if shape.goal else s.f

    def step(t, x, u, p):
        def inside(time, z, u, p):
            return rate(t + _EDGE * h + (time - t) * (1 - 2 * _EDGE), z, u, p)

        flow = rk4(inside, shape.substeps)
        if not shape.goal:
            return flow(t, h, x, u, p), jnp.zeros(())
        z = flow(t, h, jnp.append(x, 0.0), u, p)
        return z[:-1], z[-1]

    return step


def rows_of(shape: Shape, v: Values) -> Callable[[Array, Array, Array], Array]:
    """(t, x, u) -> margins and distances of the bounded states to their limits (r,)."""
    at = np.asarray(shape.bounded, int)

    def rows(t, x, u):
        margins = shape.system.margins(t, x, u, v.p)
        return jnp.concatenate([margins, x[at] - v.bound_low, v.bound_high - x[at]]) - v.reserve

    return rows


def inputs(shape: Shape, v: Values, w: Array) -> Array:
    """Inputs (N, m) of a scaled plan (N, c)."""
    return v.held.at[:, np.asarray(shape.controls, int)].set(v.low + w * (v.high - v.low))


def _changes(shape: Shape, v: Values, w: Array) -> Array:
    controls = np.asarray(shape.controls, int)
    first = (v.before[controls] - v.low) / (v.high - v.low)
    return (w - jnp.concatenate([first[None], w[:-1]])) * (v.high - v.low)


def roll(shape: Shape, v: Values, w: Array) -> Path:
    """Simulate a scaled plan and add up its cost."""
    advance = stage(shape)
    u = inputs(shape, v, w)
    times = v.t + shape.step * jnp.arange(shape.steps)

    def one(x, given):
        after, goal = advance(given[0], x, given[1], v.p)
        return after, (after, goal)

    _, (after, goals) = jax.lax.scan(one, v.x, (times, u))
    rows = jax.vmap(rows_of(shape, v))(times + shape.step, after, u)
    floors = after[-1, np.asarray(shape.floored, int)] - v.floor
    miss = after[:, np.asarray(shape.referenced, int)] - v.reference
    below, short = jnp.maximum(-rows, 0.0), jnp.maximum(-floors, 0.0)
    penalty = jnp.sum(v.w1 * below + v.w2 * below**2) + jnp.sum(v.floor_price * short)
    cost = (
        jnp.sum(goals)
        + jnp.sum(v.reference_weight * miss**2)
        + jnp.sum(v.rate * _changes(shape, v, w) ** 2)
        - v.worth @ after[-1]
        + penalty
    )
    return Path(jnp.concatenate([v.x[None], after]), goals, rows, floors, cost, penalty)


def localise(shape: Shape, v: Values, w: Array, path: Path, y: Array, y_floor: Array) -> Local:
    """Linearise the stages and condense them on the inputs. `y` (N, r), `y_floor`: multipliers of the rows.

    S_k+1 = A_k S_k + B_k E_k is dx_k+1 / dw. The Hessian of stage k is that of its Hamiltonian
    goal_k + lambda_k+1' f_k (`exact`) or of goal_k alone, made positive semidefinite.
    """
    N, n, c = shape.steps, v.x.size, len(shape.controls)
    controls, referenced = np.asarray(shape.controls, int), np.asarray(shape.referenced, int)
    advance, rows = stage(shape), rows_of(shape, v)
    before, after = path.states[:-1], path.states[1:]
    u, times = inputs(shape, v, w), v.t + shape.step * jnp.arange(N)
    width = v.high - v.low

    def split(z, k_u):
        return z[:n], k_u.at[controls].set(v.low + z[n:] * width)

    def ahead(t, z, k_u):
        x, k_u = split(z, k_u)
        return jnp.append(*advance(t, x, k_u, v.p))

    def limits(t, z, k_u):
        return rows(t, *split(z, k_u))

    J = jax.vmap(jax.jacfwd(ahead, argnums=1))(times, jnp.concatenate([before, w], 1), u)
    A, B, l_z = J[:, :n, :n], J[:, :n, n:], J[:, n, :]

    def condense(S, given):
        k, A_k, B_k = given
        after = (A_k @ S.reshape(n, N * c)).reshape(n, N, c)
        after = jax.lax.dynamic_update_slice(after, B_k[:, None, :], (0, k, 0))
        return after, after

    _, S = jax.lax.scan(condense, jnp.zeros((n, N, c)), (jnp.arange(N), A, B))
    S = S.reshape(N, n, N * c)
    E = jnp.eye(N * c).reshape(N, c, N * c)

    miss = after[:, referenced] - v.reference
    root = (jnp.sqrt(2 * v.reference_weight)[:, :, None] * S[:, referenced]).reshape(-1, N * c)
    g = (jnp.sqrt(2 * v.reference_weight) * miss).reshape(-1) @ root - v.worth @ S[-1]
    H = root.T @ root
    change = _changes(shape, v, w)
    D = (jnp.eye(N) - jnp.eye(N, k=-1))[:, None, :, None] * jnp.diag(width)[None, :, None, :]
    D = D.reshape(N * c, N * c)
    rate = jnp.tile(v.rate, N)
    g = g + (2 * rate * change.reshape(-1)) @ D
    H = H + (D.T * (2 * rate)) @ D

    if len(v.w1):
        R = jax.vmap(jax.jacfwd(limits, argnums=1))(times + shape.step, jnp.concatenate([after, w], 1), u)
        G = (R[:, :, :n] @ S + R[:, :, n:] @ E).reshape(-1, N * c)
    else:
        R = jnp.zeros((N, 0, n + c))
        G = jnp.zeros((0, N * c))
    G = jnp.concatenate([G, S[-1, np.asarray(shape.floored, int)]])
    value = jnp.concatenate([path.rows.reshape(-1), path.floors])

    if shape.goal:
        Z = jnp.concatenate([jnp.concatenate([jnp.zeros((1, n, N * c)), S[:-1]]), E], axis=1)
        g = g + jnp.einsum("kz,kzi->i", l_z, Z)
        if shape.exact:
            slope = jnp.zeros((N, n)).at[:, referenced].add(2 * v.reference_weight * miss)
            slope = slope - jnp.einsum("kr,krx->kx", y, R[:, :, :n])
            slope = slope.at[-1].add(-v.worth)
            slope = slope.at[-1, np.asarray(shape.floored, int)].add(-y_floor)

            def adjoint(costate, given):
                A_k, l_k, slope_k = given
                costate = costate + slope_k
                return A_k.T @ costate + l_k, costate

            _, costate = jax.lax.scan(adjoint, jnp.zeros(n), (A, l_z[:, :n], slope), reverse=True)
        else:
            costate = jnp.zeros((N, n))

        def hamiltonian(z, t, k_u, k_costate):
            out = ahead(t, z, k_u)
            return out[n] + k_costate @ out[:n] if shape.exact else out[n]

        M = jax.vmap(jax.hessian(hamiltonian))(jnp.concatenate([before, w], 1), times, u, costate)
        eigenvalues, vectors = jnp.linalg.eigh(0.5 * (M + M.swapaxes(1, 2)))
        half = jnp.sqrt(jnp.maximum(eigenvalues, 0.0))[:, :, None] * vectors.swapaxes(1, 2)
        half = (half @ Z).reshape(-1, N * c)
        H = H + half.T @ half
    return Local(g, H, G, value)
