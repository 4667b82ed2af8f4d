"""The dual extended Kalman filter: one filter for states, one for tracked parameters, each using the other's mean.

The states' filter takes the parameters theta as known, and carries the sensitivity W = dx/dtheta of its mean:

    W- = F W + F_theta,   G = H W- + H_theta,   S_x = H P- H' + R,   K = P- H' S_x^-1,   W = W- - K G

The parameters' filter reads the same innovations, as predictions that theta moves by G and of which S_x is the noise:

    S = S_x + G P_theta G',   theta += P_theta G' S^-1 nu,   x += K nu + W (the step of theta)

The last term keeps x in step with theta; the belief reported, with P + W P_theta W' and W P_theta, is that of both.
Where the parameters are constant (a drift of zero) this is Friedland's separation: exactly the joint filter, `Ekf()`
with `track=`. A drift is taken as if theta had always been what it is now. Two small filters cost less than one large
one where there are many parameters; they do not know more.

Sources: Wan and Nelson (2001), Dual extended Kalman filter methods, in Haykin, Kalman Filtering and Neural Networks,
sec. 5.3 (the derivative of K is neglected, as there); Friedland (1969), Treatment of bias in recursive filtering, IEEE
TAC 14.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array
from jax.scipy.linalg import solve_triangular

from pollux.core.errors import InputError
from pollux.mirror.method import CarryFn
from pollux.model.gaussian import flow_jacobian, gated, observe_jacobian, propagate, symmetric
from pollux.model.squareroot import factor
from pollux.model.statespace import StateSpace, System


class Pair(NamedTuple):
    """What is carried: states (n,), (n, n), parameters (k,), (k, k), and sensitivity (n, k)."""

    x: Array
    P: Array
    theta: Array
    C: Array
    W: Array


@dataclass(frozen=True)
class Dual:
    """Dual extended Kalman filter for a twin with tracked parameters (`track=`)."""

    def of(self, space: StateSpace) -> "DualOf":
        """The filter of one twin; its last states are parameters. Raises `InputError` when no parameter is tracked."""
        n = len(space.x)
        while n and space.x[n - 1] in space.p:
            n -= 1
        if n == len(space.x):
            raise InputError(
                f"`Dual` filters states and parameters: name parameters of `{space.system.name}` in `track=`"
            )
        return DualOf(n)


@dataclass(frozen=True)
class DualOf:
    """`Dual` for a twin of so many states."""

    states: int

    def start(self, x0: Any, P0: Any) -> Pair:
        """N(x0, P0), taken apart."""
        n, z, P = self.states, jnp.asarray(x0, jnp.float64), jnp.asarray(P0, jnp.float64)
        L = factor(jnp.block([[P[n:, n:], P[n:, :n]], [P[:n, n:], P[:n, :n]]]))
        k = len(z) - n
        first, last = L[:k, :k], L[k:, k:]
        safe = first + jnp.diag(jnp.where(jnp.diag(first) > 0, 0.0, 1.0))
        W = solve_triangular(safe, L[k:, :k].T, lower=True, trans=1).T
        return Pair(z[:n], last @ last.T, z[n:], first @ first.T, W)

    def carry(self, system: System, substeps: int, low: Any, high: Any) -> CarryFn:
        """One twin's step; see `pollux.mirror.method`."""
        n, discrete = self.states, system.period is not None

        def carry(t, dt, state: Pair, u, v, y, use, gate, p, Q, R):
            z, Phi = flow_jacobian(system, substeps, t, dt, jnp.concatenate([state.x, state.theta]), u, p)
            z = jnp.clip(z, low, high)
            P = propagate(state.P, Phi[:n, :n], Q[:n], dt, discrete)
            C = state.C + jnp.diag(dt * Q[n:])
            W = Phi[:n, :n] @ state.W + Phi[:n, n:]
            y_hat, H = observe_jacobian(system, t + dt, z, v, p)
            nu = y - y_hat
            G = H[:, :n] @ W + H[:, n:]
            S_diag = jnp.sum((H[:, :n] @ P) * H[:, :n], axis=1) + jnp.sum((G @ C) * G, axis=1) + R
            used = gated(nu, S_diag, use, gate)

            root = jnp.where(used > 0, 1 / jnp.sqrt(R), 0.0)
            U, B, e = root[:, None] * H[:, :n], root[:, None] * G, jnp.where(used > 0, root * nu, 0.0)
            K, P, half = _fused(P, U)
            white = solve_triangular(half, jnp.column_stack([B, e]), lower=True)
            M, C, other = _fused(C, white[:, :-1])
            W = W - K @ B
            move = M @ white[:, -1]
            x = jnp.clip(z[:n] + K @ e + W @ move, low[:n], high[:n])
            theta = jnp.clip(z[n:] + move, low[n:], high[n:])

            last = solve_triangular(other, white[:, -1], lower=True)
            logdet = jnp.sum(jnp.where(used > 0, jnp.log(R), 0.0))
            logdet = logdet + 2 * jnp.sum(jnp.log(jnp.diag(half)) + jnp.log(jnp.diag(other)))
            cross = W @ C
            both = jnp.block([[P + cross @ W.T, cross], [cross.T, C]])
            mean = jnp.concatenate([x, theta])
            return Pair(x, P, theta, C, W), (mean, symmetric(both), y_hat, nu, S_diag, used, last @ last, logdet)

        return carry


def _fused(P: Array, U: Array) -> tuple[Array, Array, Array]:
    """(gain, covariance, factor of S = U P U' + I) for the rows U of readings with unit noise."""
    L = factor(U @ P @ U.T + jnp.eye(len(U)))
    half = solve_triangular(L, U @ P, lower=True)
    K = solve_triangular(L, half, lower=True, trans=1).T
    A = jnp.eye(len(P)) - K @ U
    return K, symmetric(A @ P @ A.T + K @ K.T), L
