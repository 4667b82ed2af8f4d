"""Random numbers that are functions of their counters alone, in plain integer arithmetic that any back end can lower.

    (w0, w1, w2, w3) = Philox-4x32-10 (counter = (block, step, member, stream), key = seed)
    u_2i = 2^-53 + 2^-52 floor((2^32 w0 + w1) / 2^12),   u_2i+1 the same from (w2, w3)            uniform on (0, 1)
    r = sqrt(-2 log u_2i),   z_2i = r cos(2 pi u_2i+1),   z_2i+1 = r sin(2 pi u_2i+1)              N(0, 1)

What member i of stream s draws at step k depends on (seed, s, i, k) and nothing else: not on the number of members,
their position in a fleet, the lanes or threads that compute them, nor on what was drawn before. No state is carried, so
that a loop may draw in any order. Uniforms have 52 random bits and are never 0 or 1; normals reach 8.57 and are
Box-Muller pairs, because a logarithm, a root, a sine and a cosine give two of them, without the three branches that an
inverse error function computes for each.

Source: Salmon, Moraes, Dror and Shaw, Parallel random numbers: as easy as 1, 2, 3 (SC'11), sec. 3.3; Box and Muller,
A note on the generation of random normal deviates, Ann. Math. Stat. 29 (1958).
"""

from enum import IntEnum
from math import factorial
from typing import Any

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
"""Of the two halves of a counter (Salmon et al., table 2)."""
WEYL = (0x9E3779B9, 0xBB67AE85)
"""Added to the key after each round: the golden ratio and sqrt(3) - 1."""
ROUNDS = 10
_LOW = 0xFFFFFFFF
_ONE = 0x3FF0000000000000


class Stream(IntEnum):
    """What a number is drawn for. Purposes never share a stream: a guard must not meet its planner's disturbances."""

    ROLLOUT_PARAMETERS = 0
    ROLLOUT_NOISE = 1
    FORECAST_START = 2
    FORECAST_PARAMETERS = 3
    FORECAST_NOISE = 4
    FORECAST_SENSORS = 5
    CHECK_START = 6
    CHECK_PARAMETERS = 7
    CHECK_NOISE = 8
    LIFE_START = 9
    LIFE_PARAMETERS = 10
    LIFE_NOISE = 11
    MIRROR_START = 16
    MIRROR_NOISE = 17
    MIRROR_SENSORS = 18
    MIRROR_ROTATION = 19
    MIRROR_RESAMPLING = 20


def philox(counter: tuple[Any, Any, Any, Any], key: tuple[Any, Any]) -> tuple[Array, Array, Array, Array]:
    """Philox-4x32-10: four random 32-bit words of a counter of four, under a key of two.

    Words are held in uint64, so that a product is one 32 x 32 -> 64 bit multiplication; of what comes in, and of what
    goes from round to round, the low 32 bits count.
    """
    a, b, c, d = (jnp.asarray(word).astype(jnp.uint64) for word in counter)
    k, m = (jnp.asarray(word).astype(jnp.uint64) for word in key)
    for turn in range(ROUNDS):
        left = (a & _LOW) * jnp.uint64(MULTIPLIERS[0])
        right = (c & _LOW) * jnp.uint64(MULTIPLIERS[1])
        first, second = (jnp.uint64(turn * weyl & _LOW) for weyl in WEYL)
        a, b, c, d = _high(right) ^ b ^ (k + first), right, _high(left) ^ d ^ (m + second), left
    return a & _LOW, b & _LOW, c & _LOW, d & _LOW


def uniform(seed: Any, stream: int, member: Any, step: Any, size: int) -> Float[Array, " {size}"]:
    """`size` numbers of U(0, 1), float64. `seed` (64 bits), `member` and `step` (32 bits) are scalars, traced or not.

    The first numbers of a longer draw are those of a shorter one.
    """
    return _woven(*_pairs(seed, stream, member, step, size), size)


def normal(seed: Any, stream: int, member: Any, step: Any, size: int) -> Float[Array, " {size}"]:
    """`size` numbers of N(0, 1), float64; arguments as in `uniform`."""
    u, v = _pairs(seed, stream, member, step, size)
    cos, sin = _circle(v)
    r = jnp.sqrt(-2.0 * jnp.log(u))
    return _woven(r * cos, r * sin, size)


def _pairs(seed: Any, stream: int, member: Any, step: Any, size: int) -> tuple[Array, Array]:
    """Two uniforms of each block; `ceil(size / 2)` blocks."""
    seed = jnp.asarray(seed).astype(jnp.uint64)
    block = jnp.arange((size + 1) // 2).astype(jnp.uint64)
    a, b, c, d = philox((block, step, member, int(stream)), (seed & _LOW, _high(seed)))
    return _unit(a, b), _unit(c, d)


def _woven(a: Array, b: Array, size: int) -> Array:
    """a_0, b_0, a_1, b_1, ... A selection by a constant folds away where code is unrolled; XLA would compute the whole
    of both operands of a `stack` once for each element, branching (8x slower, measured)."""
    return jnp.where(jnp.arange(2) == 0, a[:, None], b[:, None]).reshape(-1)[:size]


def _unit(high: Array, low: Array) -> Array:
    """52 bits as the mantissa of a number in [1, 2), less 1, in the middle of their cell; every step is exact."""
    bits = lax.shift_right_logical(high << jnp.uint64(32) | low, jnp.uint64(12)) | jnp.uint64(_ONE)
    return lax.bitcast_convert_type(bits, jnp.float64) - (1.0 - 2.0**-53)


def _circle(v: Array) -> tuple[Array, Array]:
    """cos and sin of 2 pi v for v in [0, 1], to 2e-16: Taylor series about the nearest quarter turn, reached exactly.

    Nothing is left to reduce, which costs a library's sine and cosine most of their time.
    """
    quarter = jnp.floor(4.0 * v + 0.5)
    angle = 2.0 * jnp.pi * (v - 0.25 * quarter)
    z = angle * angle
    cos, sin = _series(z, 0), angle * _series(z, 1)
    odd = (quarter == 1.0) | (quarter == 3.0)
    x, y = jnp.where(odd, sin, cos), jnp.where(odd, cos, sin)
    return (
        jnp.where((quarter == 1.0) | (quarter == 2.0), -x, x),
        jnp.where((quarter == 2.0) | (quarter == 3.0), -y, y),
    )


def _series(z: Array, first: int) -> Array:
    """sum over k of (-z)^k / (2 k + first)!, up to the term that is below 1e-18 at z = (pi / 4)^2."""
    total = jnp.full_like(z, 1.0 / factorial(16 + first))
    for k in range(7, -1, -1):
        total = 1.0 / factorial(2 * k + first) - z * total
    return total


def _high(word: Array) -> Array:
    return lax.shift_right_logical(word, jnp.uint64(32))
