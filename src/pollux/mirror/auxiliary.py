"""The auxiliary particle filter: members are chosen by what the new reading says of where they would go, then moved.

    mu_i = flow(x_i),   k ~ w_i N(y; h(mu_i), R),   x = mu_k + noise,   w ~ N(y; h(x), R) / N(y; h(mu_k), R)

Better than the bootstrap filter where readings are precise and the process noise moderate: no member is wasted on a
place that the reading excludes. Members are chosen anew at every step that fuses something.

The log-likelihood is log sum_i w_i N(y; h(mu_i), R) + log mean_k w_k.

Source: Pitt and Shephard (1999), Filtering via simulation: auxiliary particle filters, JASA 94.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp

from pollux.mirror.ensemble import draws
from pollux.mirror.method import CarryFn
from pollux.mirror.mixture import likely, moments, reported
from pollux.mirror.particle import Particles, check_particles, likelihood, scattered, systematic
from pollux.model.random import Stream, uniform
from pollux.model.rk4 import transition
from pollux.model.statespace import System


@dataclass(frozen=True)
class AuxiliaryParticleFilter:
    """Auxiliary particle filter of `members` members; `seed` counts for nothing when kernels are cached."""

    members: int
    seed: int = field(default=0, compare=False)

    def __post_init__(self):
        check_particles(self.members, 1.0, 0.0, self.seed)

    def start(self, x0: Any, P0: Any) -> Particles:
        """Members drawn from N(x0, P0), all of one weight."""
        return scattered(self.members, self.seed, x0, P0)

    def carry(self, system: System, substeps: int, low: Any, high: Any) -> CarryFn:
        """One twin's step; see `pollux.mirror.method`."""
        flow = transition(system, substeps)
        N = self.members

        def carry(t, dt, state: Particles, u, v, y, use, gate, p, Q, R):
            E, log_w, taken, seed = state

            def observed(E):
                return jax.vmap(lambda x: system.h(t + dt, x, v, p))(E)

            centre = jax.vmap(lambda x: flow(t, dt, x, u, p))(E)
            if system.period is not None:
                centre = jnp.where(dt > 0, centre, E)
            centre = jnp.clip(centre, low, high)
            noise = jnp.sqrt(dt * Q) * draws(seed, Stream.MIRROR_NOISE, taken, *E.shape)
            ahead = observed(jnp.clip(centre + noise, low, high))
            seen = reported(jnp.exp(log_w), ahead, jnp.diag(R), y, use, gate)
            used = seen.used

            def fuse(_):
                guess = likelihood(observed(centre), y, used, R)
                chance = uniform(seed.astype(jnp.uint64), Stream.MIRROR_RESAMPLING, 0, taken.astype(jnp.uint32), 1)[0]
                first = log_w + guess
                k = systematic(first - logsumexp(first), chance)
                new = jnp.clip(centre[k] + noise, low, high)
                second = likelihood(observed(new), y, used, R) - guess[k]
                total = logsumexp(second)
                return new, second - total, logsumexp(first) + total - math.log(N)

            def skip(_):
                return jnp.clip(centre + noise, low, high), log_w, jnp.zeros(())

            E, log_w, log_p = jax.lax.cond(jnp.any(used > 0), fuse, skip, None)
            x, P = moments(E, jnp.exp(log_w))
            return Particles(E, log_w, taken + 1, seed), (x, P, *likely(seen, log_p))

        return carry
