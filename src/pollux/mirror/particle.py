"""The bootstrap particle filter: any distribution, as weighted members.

    w_i ~ w_i- N(y; h(x_i), R),     N_eff = 1 / sum w_i^2

Below `resample` N members of effective size, members are drawn anew from the weights by systematic resampling (one
uniform number u: member i takes the place of the quantile (i + u) / N), and shaken by a kernel of covariance
(jitter b)^2 P, b = N^-1/(n + 4), for a twin whose own noise is too small to part the copies (a regularised filter).

What is reported of readings is that of `pollux.mirror.mixture`.

Sources: Gordon, Salmond and Smith (1993), IEE Proc. F 140; Kitagawa (1996), Monte Carlo filter and smoother, J. Comput.
Graph. Stat. 5 (systematic resampling); Musso, Oudjane and Le Gland (2001), Improving regularised particle filters.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.special import logsumexp

from pollux.core.errors import InputError
from pollux.mirror.ensemble import begin, check_members, draws, forecasting
from pollux.mirror.method import CarryFn
from pollux.mirror.mixture import likely, moments, reported
from pollux.model.random import Stream, uniform
from pollux.model.squareroot import factor
from pollux.model.statespace import System


class Particles(NamedTuple):
    """What a particle filter carries: members (N, n), logarithms of their weights, steps taken, seed."""

    E: Array
    log_w: Array
    taken: Array
    seed: Array


@dataclass(frozen=True)
class ParticleFilter:
    """Bootstrap particle filter of `members` members; `resample` in (0, 1], `jitter` >= 0 as in the module docstring.

    `seed` counts for nothing when kernels are cached.
    """

    members: int
    resample: float = 0.5
    jitter: float = 0.0
    seed: int = field(default=0, compare=False)

    def __post_init__(self):
        check_particles(self.members, self.resample, self.jitter, self.seed)

    def start(self, x0: Any, P0: Any) -> Particles:
        """Members drawn from N(x0, P0), all of one weight."""
        return scattered(self.members, self.seed, x0, P0)

    def carry(self, system: System, substeps: int, low: Any, high: Any) -> CarryFn:
        """One twin's step; see `pollux.mirror.method`."""
        forecast = forecasting(system, substeps, low, high)
        renew = renewing(self.members, self.jitter, low, high)

        def carry(t, dt, state: Particles, u, v, y, use, gate, p, Q, R):
            E, log_w, taken, seed = state
            E = forecast(t, dt, E, u, p, Q, seed, taken)
            Z = jax.vmap(lambda x: system.h(t + dt, x, v, p))(E)
            log_w, seen = weighed(log_w, Z, y, use, gate, R)
            w = jnp.exp(log_w)
            x, P = moments(E, w)
            poor = jnp.sum(w * w) * self.members * self.resample > 1
            E, log_w = jax.lax.cond(poor, renew, lambda E, log_w, *_: (E, log_w), E, log_w, P, seed, taken)
            return Particles(E, log_w, taken + 1, seed), (x, P, *seen)

        return carry


def check_particles(members: int, resample: float, jitter: float, seed: int) -> None:
    """Raises `InputError` naming the setting that is out of range."""
    check_members(members, seed)
    if not 0 < resample <= 1 or not 0 <= jitter < math.inf:
        raise InputError(f"Needs 0 < resample <= 1 and jitter >= 0, received {resample!r} and {jitter!r}")


def scattered(members: int, seed: int, x0: Any, P0: Any) -> Particles:
    """Members drawn from N(x0, P0), all of one weight."""
    first = begin(members, seed, 1.0, x0, P0)
    return Particles(first.E, jnp.full(members, -math.log(members)), first.taken, first.seed)


def likelihood(Z: Array, y: Array, used: Array, R: Array) -> Array:
    """log N(y; z_i, R) over the used sensors, (N,)."""
    miss = jnp.where(used > 0, y - Z, 0.0)
    constant = jnp.sum(jnp.where(used > 0, jnp.log(2 * math.pi * R), 0.0))
    return -0.5 * (jnp.sum(miss * miss / R, axis=1) + constant)


def weighed(
    log_w: Array, Z: Array, y: Array, use: Array, gate: Any, R: Array
) -> tuple[Array, tuple[Array, Array, Array, Array, Array, Array]]:
    """(new log weights, (y_hat, nu, S_diag, used, nis, logdet)) for predicted readings Z (N, ny)."""
    seen = reported(jnp.exp(log_w), Z, jnp.diag(R), y, use, gate)
    joint = log_w + likelihood(Z, y, seen.used, R)
    total = logsumexp(joint)
    return joint - total, likely(seen, total)


def systematic(log_w: Array, u: Any) -> Array:
    """Indices (N,) of the members that take part in the next generation; u in (0, 1)."""
    N = len(log_w)
    reach = jnp.cumsum(jnp.exp(log_w))
    return jnp.searchsorted(reach / reach[-1], (jnp.arange(N) + u) / N)


def renewing(members: int, jitter: float, low: Any, high: Any) -> Callable[..., tuple[Array, Array]]:
    """(E, log_w, P, seed, taken) -> (E, log_w): members drawn by their weights, and shaken."""

    def renew(E, log_w, P, seed, taken):
        u = uniform(seed.astype(jnp.uint64), Stream.MIRROR_RESAMPLING, 0, taken.astype(jnp.uint32), 1)[0]
        E = E[systematic(log_w, u)]
        if jitter > 0:
            width = jitter * members ** (-1 / (E.shape[1] + 4))
            z = draws(seed, Stream.MIRROR_ROTATION, taken, *E.shape)
            E = jnp.clip(E + width * z @ factor(P).T, low, high)
        return E, jnp.full(members, -math.log(members))

    return renew
