"""The interacting multiple model filter: which of several modes is the asset in, and where is it?

A mode is a set of parameter values (valve stuck, leak open) and a factor on the drift. Modes follow a Markov chain in
continuous time that leaves a mode after `dwell` seconds on average, for any other alike; over dt it stays with

    Pi_ii = 1/M + (1 - 1/M) r,   Pi_ij = (1 - r) / M,   r = exp(-M dt / ((M - 1) dwell))

so that the answer does not depend on the pieces in which a gap is crossed. Each step mixes, filters, and weighs:

    c_j = sum_i Pi_ij mu_i,   mu_i|j = Pi_ij mu_i / c_j,   x_0j = sum_i mu_i|j x_i,
    P_0j = sum_i mu_i|j (P_i + (x_i - x_0j)(x_i - x_0j)'),   mu_j ~ c_j N(nu_j; 0, S_j)

What is reported of readings, and the gate, are those of `pollux.mirror.mixture`. The covariance of a mode's predicted
readings has the variances that its filter states and the correlations of the sensors linearised at its mean.

Sources: Blom and Bar-Shalom (1988), The interacting multiple model algorithm for systems with Markovian switching
coefficients, IEEE TAC 33; Bar-Shalom, Li and Kirubarajan (2001), sec. 11.6.6.
"""

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import logsumexp

from pollux.core.errors import DefinitionError, InputError
from pollux.mirror.ekf import Ekf
from pollux.mirror.method import CarryFn, Method
from pollux.mirror.mixture import likely, moments, reported
from pollux.model.gaussian import observe_jacobian
from pollux.model.statespace import System


@dataclass(frozen=True)
class Mode:
    """One mode: the values of the parameters that differ in it, by name, and what its drifts are multiplied by."""

    name: str
    params: tuple[tuple[str, float], ...] = ()
    drift: float = 1.0


class Bank(NamedTuple):
    """What the filter carries: means (M, n), covariances (M, n, n) and probabilities (M,) of the modes."""

    x: Array
    P: Array
    mu: Array


@dataclass(frozen=True)
class Imm:
    """Interacting multiple models over `modes`, each filtered by `method`; equally likely at the start."""

    modes: tuple[Mode, ...]
    dwell: float
    method: Method = field(default_factory=Ekf)

    def __post_init__(self):
        if len(self.modes) < 2 or not self.dwell > 0:
            raise InputError(
                f"`Imm` needs two modes or more and a dwell time > 0 s, received {len(self.modes)} and {self.dwell!r}"
            )

    def start(self, x0: Any, P0: Any) -> Bank:
        """Every mode at N(x0, P0)."""
        M = len(self.modes)
        x, P = jnp.asarray(x0, jnp.float64), jnp.asarray(P0, jnp.float64)
        return Bank(jnp.tile(x, (M, 1)), jnp.tile(P, (M, 1, 1)), jnp.full(M, 1 / M))

    def carry(self, system: System, substeps: int, low: Any, high: Any) -> CarryFn:
        """One twin's step; see `pollux.mirror.method`. Raises `DefinitionError` for a parameter that is not there."""
        step = self.method.step(system, substeps, low, high)
        M, ny = len(self.modes), len(system.y_names)
        own, value = self._params(system)
        drift = np.array([m.drift for m in self.modes]) ** 2

        def correlated(t, v, p, R, x, P, variance, own, value):
            """Covariance of one mode's predicted readings."""
            _, H = observe_jacobian(system, t, x, v, jnp.where(own, value, p))
            S = H @ P @ H.T + jnp.diag(R)
            scale = jnp.sqrt(variance / jnp.diag(S))
            return scale[:, None] * S * scale

        def carry(t, dt, state: Bank, u, v, y, use, gate, p, Q, R):
            c, x, P = _mixed(state, dt, M, self.dwell)

            def run(x, P, own, value, drift, use, gate):
                return step(t, dt, x, P, u, v, y, use, gate, jnp.where(own, value, p), drift * Q, R)

            each = jax.vmap(run, in_axes=(0, 0, 0, 0, 0, None, None))
            # once to see what is predicted (a compiler computes what both have in common once), once to fuse
            ahead, spread, y_each, _, S_each, *_ = each(x, P, own, value, drift, np.zeros(ny), math.inf)
            S = jax.vmap(lambda *mode: correlated(t + dt, v, p, R, *mode))(ahead, spread, S_each, own, value)
            seen = reported(c, y_each, jnp.tensordot(c, S, 1), y, use, gate)
            x, P, _, _, _, _, nis, logdet = each(x, P, own, value, drift, seen.used, math.inf)
            log_mu = jnp.log(c) - 0.5 * (nis + logdet)
            total = logsumexp(log_mu)
            mu = jnp.exp(log_mu - total)
            mean, cov = _merged(mu, x, P)
            return Bank(x, P, mu), (mean, cov, *likely(seen, total - 0.5 * jnp.sum(seen.used) * math.log(2 * math.pi)))

        return carry

    def _params(self, system: System) -> tuple[np.ndarray, np.ndarray]:
        own = np.zeros((len(self.modes), len(system.p_names)), dtype=bool)
        value = np.zeros(own.shape)
        for i, mode in enumerate(self.modes):
            for name, number in mode.params:
                if name not in system.p_names:
                    raise DefinitionError(
                        f"Mode {mode.name!r} sets parameter {name!r}; `{system.name}` has {list(system.p_names)}"
                    )
                own[i, system.p_names.index(name)] = True
                value[i, system.p_names.index(name)] = number
        return own, value


def _mixed(state: Bank, dt: Any, M: int, dwell: float) -> tuple[Array, Array, Array]:
    stay = jnp.exp(-M * dt / ((M - 1) * dwell))
    Pi = (1 - stay) / M + stay * jnp.eye(M)
    joint = Pi * state.mu[:, None]
    c = jnp.sum(joint, axis=0)
    x, P = jax.vmap(_merged, in_axes=(1, None, None))(joint / jnp.where(c > 0, c, 1.0), state.x, state.P)
    return c, x, P


def _merged(mu: Array, x: Array, P: Array) -> tuple[Array, Array]:
    """Moments of the mixture."""
    mean, spread = moments(x, mu)
    return mean, jnp.tensordot(mu, P, 1) + spread
