"""What the filters report whose belief is a mixture (particles, modes): its Gaussian moments.

    y_hat = sum w_i y_i,   S = sum w_i (S_i + (y_i - y_hat)(y_i - y_hat)'),   nis = nu' S^-1 nu over the used sensors

log det S is replaced by what makes the log-likelihood that of the mixture, log sum_i w_i N(y; y_i, S_i).
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from pollux.model.gaussian import gated
from pollux.model.squareroot import factor


class Seen(NamedTuple):
    """Predicted readings, innovations and variances (ny,), what is fused (ny,), and nis."""

    y_hat: Array
    nu: Array
    S_diag: Array
    used: Array
    nis: Array


def moments(E: Array, w: Array) -> tuple[Array, Array]:
    """Weighted mean and covariance."""
    x = w @ E
    D = E - x
    return x, (D * w[:, None]).T @ D


def reported(w: Array, Z: Array, own: Array, y: Array, use: Array, gate: float | Array) -> Seen:
    """The moments for predictions Z (N, ny) of weights w (N,), each with the covariance `own` (ny, ny) on average."""
    y_hat, S = moments(Z, w)
    S = S + own
    nu = y - y_hat
    used = gated(nu, jnp.diag(S), use, gate)
    both = used[:, None] * used[None]
    L = factor(jnp.where(both > 0, S, jnp.eye(len(S))))
    half = jax.scipy.linalg.solve_triangular(L, jnp.where(used > 0, nu, 0.0), lower=True)
    return Seen(y_hat, nu, jnp.diag(S), used, half @ half)


def likely(seen: Seen, log_p: Array) -> tuple[Array, Array, Array, Array, Array, Array]:
    """(y_hat, nu, S_diag, used, nis, logdet) with the logdet that makes the log-likelihood log_p."""
    y_hat, nu, S_diag, used, nis = seen
    return y_hat, nu, S_diag, used, nis, -2 * log_p - nis - jnp.sum(used) * math.log(2 * math.pi)
