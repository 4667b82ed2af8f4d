"""The ensemble transform Kalman filter, with a rotation that keeps the mean.

With L L' = I + S S' (`pollux.mirror.ensemble`), w = (I + S S')^-1 S e and a rotation U of the space without the mean,

    x = x- + A' w,     A = U L^-1 A-          (any root of (I + S S')^-1 gives the same P = A' A)

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
from jax import Array
from jax.scipy.linalg import solve_triangular

from pollux.mirror.ensemble import (
    Members,
    begin,
    check_members,
    clipping,
    covariance,
    draws,
    evidence,
    forecasting,
    predicted,
    rebuilt,
)
from pollux.mirror.inflation import Inflation, first, inflated
from pollux.mirror.method import CarryFn
from pollux.model.random import Stream
from pollux.model.statespace import System


@dataclass(frozen=True)
class Etkf:
    """Ensemble transform Kalman filter of `members` members; deterministic but for the rotation.

    `inflation` multiplies the anomalies after an update: a factor, or `AdaptiveInflation()`. `seed` counts for nothing
    when kernels are cached, so that another seed compiles nothing.
    """

    members: int
    inflation: Inflation = 1.0
    rotate: bool = True
    seed: int = field(default=0, compare=False)

    def __post_init__(self):
        check_members(self.members, self.seed)

    def start(self, x0: Any, P0: Any) -> Members:
        """Members drawn from N(x0, P0)."""
        return begin(self.members, self.seed, first(self.inflation), x0, P0)

    def carry(self, system: System, substeps: int, low: Any, high: Any) -> CarryFn:
        """One twin's step; see `pollux.mirror.method`."""
        forecast, clip = forecasting(system, substeps, low, high), clipping(low, high)

        def carry(t, dt, state: Members, u, v, y, use, gate, p, Q, R):
            E, factor, count, seed = state
            E = forecast(t, dt, E, u, p, Q, seed, count)
            f = predicted(E, jax.vmap(lambda x: system.h(t + dt, x, v, p))(E), y, use, gate, R)
            L, w, nis, logdet = evidence(f, R)
            now, factor = inflated(self.inflation, factor, f)
            A = solve_triangular(L, f.A, lower=True)
            if self.rotate:
                A = jnp.where(jnp.any(f.used > 0), rotation(seed, count, len(A)) @ A, f.A)
            else:
                A = _symmetric(f.S) @ f.A
            E = clip(rebuilt(f.x + f.A.T @ w, A, now))
            out = jnp.mean(E, axis=0), covariance(E), f.y_hat, f.nu, f.S_diag, f.used, nis, logdet
            return Members(E, factor, count + 1, seed), out

        return carry


def rotation(seed: Array, count: Array, size: int) -> Array:
    """A uniform random orthogonal matrix: the Q of a Gaussian matrix whose R has a positive diagonal."""
    Q, R = jnp.linalg.qr(draws(seed, Stream.MIRROR_ROTATION, count, size, size))
    return Q * jnp.sign(jnp.diag(R))


def _symmetric(S: Array) -> Array:
    """(I + S S')^-1/2."""
    values, V = jnp.linalg.eigh(jnp.eye(len(S)) + S @ S.T)
    return (V / jnp.sqrt(values)) @ V.T
