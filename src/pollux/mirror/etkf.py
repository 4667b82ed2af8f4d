"""The ensemble transform Kalman filter, with a rotation that keeps the mean.

With L L' = I + S S' (`pollux.mirror.ensemble`), w = (I + S S')^-1 S e and a rotation U of the space without the mean,

    x = x- + A' w,     A = U L^-1 A-          (any T with T' T = (I + S S')^-1 in the place of L^-1 gives the same P)

U is uniform over all rotations (the Q of a Gaussian matrix, Stewart 1980), so which root it multiplies makes no
difference to the law of the ensemble, and the cheapest one, L^-1, serves. Without a rotation the symmetric root is
taken, which moves the members least.

Sources: Bishop, Etherton and Majumdar (2001), Adaptive sampling with the ensemble transform Kalman filter, Mon. Wea.
Rev. 129; Sakov and Oke (2008), ibid. 136, sec. 4 (random rotations); Stewart (1980), SIAM J. Numer. Anal. 17.
"""

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from pollux.mirror.ensemble import (
    Members,
    any_root,
    draws,
    evidence,
    forecasting,
    predicted,
    rebuilt,
    symmetric_root,
)
from pollux.mirror.inflation import Drawn, Inflation, inflated
from pollux.mirror.method import CarryFn
from pollux.model.random import Stream
from pollux.model.statespace import System


@dataclass(frozen=True)
class Etkf(Drawn):
    """Ensemble transform Kalman filter of `members` members; deterministic but for the rotation.

    `inflation` multiplies the anomalies after an update: a factor, or `AdaptiveInflation()`. `seed` counts for nothing
    when kernels are cached, so that another seed compiles nothing. A rotation costs (members)^3 operations.
    """

    members: int
    inflation: Inflation = 1.0
    rotate: bool = True
    seed: int = field(default=0, compare=False)

    def carry(self, system: System, substeps: int, low: Any, high: Any) -> CarryFn:
        """One twin's step; see `pollux.mirror.method`."""
        forecast = forecasting(system, substeps, low, high)

        def carry(t, dt, state: Members, u, v, y, use, gate, p, Q, R):
            E, factor, taken, seed = state
            E = forecast(t, dt, E, u, p, Q, seed, taken)
            f = predicted(E, jax.vmap(lambda x: system.h(t + dt, x, v, p))(E), y, use, gate, R)
            L, w, nis, logdet = evidence(f, R)
            now, factor = inflated(self.inflation, factor, f)
            if self.rotate:
                turned = rotation(seed, taken, len(f.A)) @ any_root(f, L)
                A = jnp.where(jnp.any(f.used > 0), turned, f.A)
            else:
                A = symmetric_root(f)
            E, x, P = rebuilt(f.x + f.A.T @ w, A, now, low, high)
            out = x, P, f.y_hat, f.nu, f.S_diag, f.used, nis, logdet
            return Members(E, factor, taken + 1, seed), out

        return carry


def rotation(seed: Array, taken: Array, size: int) -> Array:
    """A uniform random orthogonal matrix: the Q of a Gaussian matrix whose R has a positive diagonal.

    Its Householder vectors are drawn rather than computed: what each turn of the factorisation leaves is Gaussian
    again, so that half the numbers and half the work do (Stewart 1980, sec. 3).
    """
    place = np.cumsum(np.tri(size)).reshape(size, size).astype(int) - 1
    z = draws(seed, Stream.MIRROR_ROTATION, taken, 1, size * (size + 1) // 2)[0]
    G = jnp.where(np.tri(size, dtype=bool), z[place], 0.0)
    head = jnp.diag(G)
    last = np.arange(size) == size - 1  # of one number nothing is left to reflect
    beta = jnp.where(last, head, -jnp.sign(head) * jnp.sqrt(jnp.sum(G * G, axis=0)))
    reflectors = G / jnp.where(last, 1.0, head - beta)
    tau = jnp.where(last, 0.0, (beta - head) / beta)
    return jax.lax.linalg.householder_product(reflectors, tau) * jnp.sign(beta)
