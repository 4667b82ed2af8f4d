"""Members as their mean and N - 1 contrasts, and rotations of the latter: nothing that is done to them moves the mean.

    A = B' E / sqrt(N - 1),     E = x + sqrt(N - 1) B A,     so that A' A is the covariance of the members E (N, n)

The columns of B (N, N - 1) are those of the Householder reflection that swaps e_1 and 1 / sqrt(N), but for its first:
B' B = I and B' 1 = 0. With the mean x and r = sqrt(N), no product of matrices is needed:

    (B' E)_i = E_i+1 - (r x - E_1) / (r - 1),     B A = (s / r; A_1 - s / (r (r - 1)); ...),  s = sum of the rows of A

Sources: Householder (1958), Unitary triangularization of a nonsymmetric matrix, J. ACM 5; Sakov and Oke (2008),
Implications of the form of the ensemble transformation in the ensemble square root filters, Mon. Wea. Rev. 136 (keeping
the mean, and rotations that do).
"""

import math

import jax.numpy as jnp
from jax import Array

from pollux.model.random import Stream, uniform


def contrasts(E: Array) -> tuple[Array, Array]:
    """(x, A): the mean (n,) and the scaled contrasts (N - 1, n) of members E (N, n)."""
    N = len(E)
    r = math.sqrt(N)
    x = jnp.mean(E, axis=0)
    return x, (E[1:] - (r * x - E[0]) / (r - 1)) / math.sqrt(N - 1)


def members(x: Array, A: Array) -> Array:
    """E (N, n) of a mean and scaled contrasts."""
    N = len(A) + 1
    r = math.sqrt(N)
    total = jnp.sum(A, axis=0)
    return x + math.sqrt(N - 1) * jnp.concatenate([total[None] / r, A - total / (r * (r - 1))])


def turned(A: Array, v: Array) -> Array:
    """U A (N - 1, n), with U = I - 2 v v' / (N - 1) the reflection along a vector v of signs (`signs`).

    U' U = I, so that covariance and mean stay as they are, while members that have drifted apart from the others are
    taken back into them. A reflection costs N - 1 bits and no product of matrices, and leaves more of the ensemble's
    own directions than a rotation that is uniform over all, which the model has to sort anew after every update.

    Source: Sakov and Oke (2008), sec. 4, of which this is the member with the least to draw.
    """
    return A - v[:, None] * (2 / len(A) * (v @ A))


def signs(seed: Array, taken: Array, size: int) -> Array:
    """Random signs (size,) of one step: -1.0 or 1.0."""
    heads = uniform(seed.astype(jnp.uint64), Stream.MIRROR_ROTATION, 0, taken.astype(jnp.uint32), size) < 0.5
    return jnp.where(heads, 1.0, -1.0)
