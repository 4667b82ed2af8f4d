"""Counter-based random numbers: the published vectors, a plain-integer oracle, and laws that chance must obey."""

import math

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pollux.model.backend import Program, Xla
from pollux.model.random import Stream, normal, philox, uniform

WORD = st.integers(0, 2**32 - 1)
N = 200_000


def plain(counter, key):
    """Philox-4x32-10 on Python integers, from figure 2 and table 2 of the paper."""
    (a, b, c, d), (k, m) = counter, key
    for _ in range(10):
        left, right = 0xD2511F53 * a, 0xCD9E8D57 * c
        a, b, c, d = right >> 32 ^ b ^ k, right & 0xFFFFFFFF, left >> 32 ^ d ^ m, left & 0xFFFFFFFF
        k, m = (k + 0x9E3779B9) % 2**32, (m + 0xBB67AE85) % 2**32
    return a, b, c, d


def members(fn, size, n=N, seed=7, stream=1, step=3):
    """`size` draws of n members, (size, n)."""
    return np.asarray(jax.jit(jax.vmap(lambda i: fn(seed, stream, i, step, size), out_axes=-1))(np.arange(n)))


@pytest.fixture(scope="module")
def z():
    return members(normal, 3)


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((2**32 - 1,) * 4, (2**32 - 1,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)  # fmt: skip
def test_known_answers(counter, key, words):
    """The vectors that Random123 publishes for `philox4x32 10`."""
    assert tuple(int(w) for w in philox(counter, key)) == words
    assert plain(counter, key) == words


@settings(deadline=None)  # the first example compiles
@given(st.tuples(WORD, WORD, WORD, WORD), st.tuples(WORD, WORD))
def test_words_equal_the_plain_integers(counter, key):
    counter64, key64 = (np.array(v, np.uint64) for v in (counter, key))
    assert tuple(int(w) for w in _compiled(counter64, key64)) == plain(counter, key)


_compiled = jax.jit(lambda counter, key: philox(tuple(counter), tuple(key)))


@pytest.mark.parametrize("seed", [0, 1, 2**40 + 5, 2**63 - 1])
def test_numbers_are_the_stated_functions_of_the_words(seed):
    got_u, got_z = uniform(seed, 4, 9, 11, 5), normal(seed, 4, 9, 11, 5)
    u = []
    for block in range(3):
        a, b, c, d = plain((block, 11, 9, 4), (seed % 2**32, seed >> 32))
        u += [((a << 32 | b) >> 12) * 2.0**-52 + 2.0**-53, ((c << 32 | d) >> 12) * 2.0**-52 + 2.0**-53]
    np.testing.assert_array_equal(got_u, u[:5])
    r = [math.sqrt(-2 * math.log(v)) for v in u[::2]]
    turn = [2 * math.pi * v for v in u[1::2]]
    z = [s for a, t in zip(r, turn, strict=True) for s in (a * math.cos(t), a * math.sin(t))]
    np.testing.assert_allclose(got_z, z[:5], rtol=0, atol=1e-14)


def test_golden_numbers():
    """The numbers that stored results rest on: a change here changes every ensemble."""
    np.testing.assert_array_equal(
        uniform(2026, Stream.FORECAST_NOISE, 63, 95, 2), [0.4817932453557999, 0.6719303080509752]
    )
    np.testing.assert_allclose(
        normal(2026, Stream.FORECAST_NOISE, 63, 95, 3),
        [-0.5693141362853575, -1.0660027350944086, 0.07050345948759232],
        rtol=1e-14,
    )


def test_uniform_is_uniform_and_open():
    u = members(uniform, 2)
    for row in u:
        assert stats.kstest(row, "uniform").pvalue > 1e-3
    assert u.min() > 0
    assert u.max() < 1
    pairs = np.histogram2d(u[0], u[1], bins=16, range=[[0, 1]] * 2)[0]
    assert stats.chisquare(pairs.ravel()).pvalue > 1e-3


def test_normal_is_normal(z):
    for row in z:
        assert stats.kstest(row, "norm").pvalue > 1e-3
        assert abs(row.mean()) < 4 / math.sqrt(N)
        assert abs(row.var() - 1) < 4 * math.sqrt(2 / N)
        assert abs(stats.skew(row)) < 4 * math.sqrt(6 / N)
        assert abs(stats.kurtosis(row)) < 4 * math.sqrt(24 / N)


def test_tails_hold_what_they_should(z):
    for limit in (3.0, 3.5, 4.0):
        expected = z.size * 2 * stats.norm.sf(limit)
        assert abs((np.abs(z) > limit).sum() - expected) < 4 * math.sqrt(expected)


def test_counters_are_independent(z):
    """Neighbours in every counter, and in the seed, are uncorrelated, in themselves and in size."""
    others = [members(normal, 1, **{k: v})[0] for k, v in (("step", 4), ("stream", 2), ("seed", 8))]
    pairs = [(z[0], z[1]), (z[0], z[2]), (z[0, 1:], z[0, :-1]), *((z[0], w) for w in others)]
    for a, b in pairs:
        for f in (np.asarray, np.abs):
            assert abs(np.corrcoef(f(a), f(b))[0, 1]) < 4 / math.sqrt(N)


def test_a_longer_draw_begins_with_the_shorter():
    np.testing.assert_array_equal(normal(1, 2, 3, 4, 3), normal(1, 2, 3, 4, 8)[:3])
    assert normal(1, 2, 3, 4, 0).shape == (0,)


def test_the_same_for_one_and_for_any_fleet():
    program = Program("draw", "test_random", lambda seed, i: (normal(seed, 1, i, 2, 3),), (False, True))
    small, large = (Xla().fleet(program)(np.int64(5), np.arange(n))[0] for n in (3, 100))
    np.testing.assert_array_equal(small, large[:, :3])
    for i in range(3):
        np.testing.assert_allclose(small[:, i], Xla().one(program)(np.int64(5), np.int64(i))[0], rtol=1e-14)


def test_no_two_purposes_share_a_stream():
    assert len({int(s) for s in Stream}) == len(Stream.__members__)
