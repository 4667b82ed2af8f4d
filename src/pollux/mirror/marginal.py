"""The Rao-Blackwellised (marginalised) particle filter: particles for the states that bend, a Kalman filter in each.

For a twin that is affine in the states z that are named, given the others xi,

    xi' = f(xi) + A(xi) z + w,   z' = g(xi) + B(xi) z + w_z,   y = h(xi) + C(xi) z + e

every particle carries xi and the density N(m, L L') of z given its path. xi' is drawn from its density with z
integrated out, N(f + A m, A P A' + Q_xi), and what was drawn is a reading of z. Both are one triangularisation,

    [A L   sqrt(Q_xi)     0     ]      [S^1/2   0 ]      xi' = f + A m + S^1/2 n,   m' = g + B m + K n,   n ~ N(0, I)
    [B L       0      sqrt(Q_z) ]  ->  [  K     L']

which holds the cross terms and subtracts no covariance. Readings weigh a particle by N(y; h + C m, C P C' + R) and
update its z. With all states named it is the Kalman filter, for any number of particles.

A continuous twin takes half of its noise before the flow and half after it. Where its linear states drive the others,
its flow over dt bends in z by terms of the order of dt^2; it is linearised at the mean of each particle.

Sources: Schoen, Gustafsson and Nordlund (2005), Marginalized particle filters for mixed linear/nonlinear state-space
models, IEEE TSP 53, model 3 and theorem 2.2; Doucet, de Freitas, Murphy and Russell (2000), UAI.
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
from pollux.mirror.ensemble import begin, draws
from pollux.mirror.method import CarryFn
from pollux.mirror.mixture import likely, moments, reported
from pollux.mirror.particle import check_particles, systematic
from pollux.model.random import Stream, normal, uniform
from pollux.model.rk4 import transition
from pollux.model.squareroot import factor, triangular, update
from pollux.model.statespace import StateSpace, System

_PLACES = 12
"""States at which linearity is tried."""


class Marginals(NamedTuple):
    """What is carried: particles (N, k), mean (N, l) and factor (N, l, l) of their linear states, weights, counters."""

    E: Array
    m: Array
    L: Array
    log_w: Array
    taken: Array
    seed: Array


@dataclass(frozen=True)
class RaoBlackwellParticleFilter:
    """Particle filter of `members` particles, each with a Kalman filter for the states named in `linear`.

    A name stands for all elements of a signal. `resample` and `seed` as in `ParticleFilter`.
    """

    members: int
    linear: tuple[str, ...]
    resample: float = 0.5
    seed: int = field(default=0, compare=False)

    def __post_init__(self):
        check_particles(self.members, self.resample, 0.0, self.seed)

    def of(self, space: StateSpace) -> "Marginal":
        """The filter of one twin. Raises `DefinitionError` naming a state that is unknown or not linear.

        Linearity is tried by differentiation at states about the start, with inputs and parameters as declared.
        """
        names = space.system.x_names
        chosen = [[i for i, x in enumerate(names) if x == name or x.startswith(name + "[")] for name in self.linear]
        for name, found in zip(self.linear, chosen, strict=True):
            if not found:
                raise DefinitionError(f"`{space.system.name}` has no state {name!r} to be linear; it has {list(names)}")
        if not chosen:
            raise InputError("Name at least one state in `linear=`, or use `ParticleFilter`")
        linear = tuple(sorted({i for found in chosen for i in found}))
        _check_affine(space, np.array(linear))
        return Marginal(self.members, self.resample, linear, len(names), self.seed)


@dataclass(frozen=True)
class Marginal:
    """`RaoBlackwellParticleFilter` for one twin: which of its `size` states are linear."""

    members: int
    resample: float
    linear: tuple[int, ...]
    size: int
    seed: int = field(default=0, compare=False)

    @property
    def others(self) -> tuple[int, ...]:
        """The states that particles carry."""
        return tuple(i for i in range(self.size) if i not in self.linear)

    def start(self, x0: Any, P0: Any) -> Marginals:
        """Particles drawn from N(x0, P0), with the density of their linear states given what was drawn."""
        x, P = jnp.asarray(x0, jnp.float64), jnp.asarray(P0, jnp.float64)
        k, order = len(self.others), np.array(self.others + self.linear)
        L = factor(P[order[:, None], order])
        first = begin(self.members, self.seed, 1.0, jnp.zeros_like(x), jnp.eye(self.size))
        N, n = self.members, first.E[:, :k]
        E, m = x[order[:k]] + n @ L[:k, :k].T, x[order[k:]] + n @ L[k:, :k].T
        return Marginals(E, m, jnp.tile(L[k:, k:], (N, 1, 1)), jnp.full(N, -math.log(N)), first.taken, first.seed)

    def carry(self, system: System, substeps: int, low: Any, high: Any) -> CarryFn:
        """One twin's step; see `pollux.mirror.method`."""
        flow, discrete, N, k = transition(system, substeps), system.period is not None, self.members, len(self.others)
        order = np.array(self.others + self.linear)
        back = np.argsort(order)
        low, high = np.asarray(low)[order], np.asarray(high)[order]
        place = jnp.eye(self.size)[:, np.array(self.linear)]

        def whole(xi, z):
            return jnp.concatenate([xi, z], axis=-1)[..., back]

        def in_z(fn, xi, m):
            """(value, derivative with respect to z) of a function of the whole state."""
            value = fn(whole(xi, m))
            return value, jax.jacfwd(lambda z: fn(whole(xi, z)))(m)

        def moved(t, dt, u, p, Q, xi, m, L, n):
            root = jnp.sqrt(dt * Q if discrete else dt / 2 * Q)[order]
            if not discrete:
                xi = xi + root[:k] * n[k:]
            x, Phi = in_z(lambda x: flow(t, dt, x, u, p), xi, m)
            if discrete:  # it does not move in an interval of length zero
                x, Phi = jnp.where(dt > 0, x, whole(xi, m)), jnp.where(dt > 0, Phi, place)
            x, Phi = x[order], Phi[order]
            before = Phi @ L if discrete else jnp.concatenate([Phi @ L, Phi * root[k:]], axis=1)
            T = triangular(jnp.concatenate([before, jnp.diag(root)], axis=1))
            x = jnp.clip(x + T[:, :k] @ n[:k], low, high)
            return x[:k], x[k:], T[k:, k:]

        def carry(t, dt, state: Marginals, u, v, y, use, gate, p, Q, R):
            E, m, L, log_w, taken, seed = state
            n = draws(seed, Stream.MIRROR_NOISE, taken, N, 2 * k) if k else jnp.zeros((N, 0))
            E, m, L = jax.vmap(lambda *particle: moved(t, dt, u, p, Q, *particle))(E, m, L, n)
            Z, C = jax.vmap(lambda xi, m: in_z(lambda x: system.h(t + dt, x, v, p), xi, m))(E, m)
            G = C @ L
            w = jnp.exp(log_w)
            own = jnp.tensordot(w, G @ jnp.swapaxes(G, 1, 2), 1) + jnp.diag(R)
            seen = reported(w, Z, own, y, use, gate)
            m, L, nis, logdet = jax.vmap(lambda m, L, G, z: update(m, L, G, None, y - z, R, seen.used))(m, L, G, Z)
            m = jnp.clip(m, low[k:], high[k:])
            joint = log_w - 0.5 * (nis + logdet)
            total = logsumexp(joint)
            log_w = joint - total
            w = jnp.exp(log_w)
            x, spread = moments(whole(E, m), w)
            P = spread + place @ jnp.tensordot(w, L @ jnp.swapaxes(L, 1, 2), 1) @ place.T

            def renewed(_):
                chance = uniform(seed.astype(jnp.uint64), Stream.MIRROR_RESAMPLING, 0, taken.astype(jnp.uint32), 1)[0]
                i = systematic(log_w, chance)
                return E[i], m[i], L[i], jnp.full(N, -math.log(N))

            poor = jnp.sum(w * w) * N * self.resample > 1
            kept = jax.lax.cond(poor, renewed, lambda _: (E, m, L, log_w), None)
            log_p = total - 0.5 * jnp.sum(seen.used) * math.log(2 * math.pi)
            return Marginals(*kept, taken=taken + 1, seed=seed), (x, P, *likely(seen, log_p))

        return carry


def _check_affine(space: StateSpace, linear: np.ndarray) -> None:
    """No derivative with respect to a linear state may change with one of them."""
    system, (low, high) = space.system, space.bounds("x")
    drawn = np.asarray(normal(0, Stream.MIRROR_START, 0, 0, 2 * _PLACES * len(low))).reshape(2, _PLACES, -1)
    places = space.x0 + np.sqrt(space.P0) * drawn
    x, other = jnp.asarray(np.clip(places, low, high))

    u, p = jnp.asarray(space.u0), jnp.asarray(space.p0)

    def slopes(x):
        """(functions, linear states)"""

        def both(z):
            full = x.at[linear].set(z)
            return jnp.concatenate([fn(0.0, full, u, p) for fn in (system.f, system.h)])

        return jax.jacfwd(both)(x[linear])

    def change(x, other):
        """[i, function, j]: of the derivative by state j, when state i goes elsewhere."""
        at = slopes(x)
        there = jax.vmap(lambda i: slopes(x.at[i].set(other[i])))(jnp.asarray(linear))
        return jnp.abs(there - at) > 1e-9 * (jnp.abs(there) + jnp.abs(at))  # false where one is not finite

    bent: np.ndarray = np.any(np.asarray(jax.jit(jax.vmap(change))(x, other)), axis=(0,))
    if bent.any():
        alone = [int(i) for i in range(len(linear)) if bent[i, :, i].any()]
        i, what = (alone[0], alone[0]) if alone else np.argwhere(bent.any(axis=1))[0]
        row = int(np.argmax(bent[i, :, what]))
        rows = [f"the flow of {name!r}" for name in system.x_names] + [f"reading {name!r}" for name in system.y_names]
        pair = " times ".join(repr(system.x_names[linear[j]]) for j in dict.fromkeys((int(i), int(what))))
        raise DefinitionError(
            f"`{system.name}` is not linear in {pair}: the derivative of {rows[row]} by it changes with it. Leave it "
            f"to the particles, out of `linear={tuple(system.x_names[j] for j in linear)}`"
        )
