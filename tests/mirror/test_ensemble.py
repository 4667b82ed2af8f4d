"""Ensemble filters against textbook NumPy, their limits, and each other."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import plants
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pollux import (
    AdaptiveInflation,
    Enkf,
    Etkf,
    Ienkf,
    Letkf,
    NoInput,
    Record,
    Scalar,
    Signals,
    Twin,
    assimilate,
    flatten,
    localisation,
    param,
    var,
)
from pollux.core.errors import InputError
from pollux.mirror.contrasts import contrasts, members, signs, turned
from pollux.mirror.ensemble import Members
from pollux.mirror.fence import fenced
from pollux.mirror.localise import gaspari_cohn
from pollux.model.symroot import inverse_root, spd_inverse

N, SITES = 6, 9
RING = localisation(np.arange(SITES), np.arange(SITES), 0.8, around=SITES)


class Ring(Signals):
    x: Scalar = var("1", start=0.0, shape=(SITES,))


class Seen(Signals):
    y: Scalar = var("1", noise=0.7, shape=(SITES,))


class Still(Twin[Ring, NoInput, Seen]):
    """Nothing moves, and the sensors are curved: what a filter does is its analysis."""

    k: Scalar = param("1", 0.1)

    def dynamics(self, t: Scalar, x: Ring, u: NoInput) -> Ring:
        return Ring(x=0.0 * x.x)

    def observe(self, t: Scalar, x: Ring, u: NoInput) -> Seen:
        return Seen(y=x.x + self.k * x.x**2)


SPACE = flatten(Still())


@cache
def analysis(method):
    carry = method.carry(SPACE.system, 1, *SPACE.bounds("x"))

    def step(E, y, seed, factor=1.0, taken=3.0):
        state = Members(E, *(jnp.asarray(v, jnp.float64) for v in (factor, taken, seed)))
        use, R = jnp.ones(SITES), jnp.asarray(SPACE.R)
        return carry(0.0, 0.0, state, jnp.zeros(0), jnp.zeros(0), y, use, jnp.inf, SPACE.p0, 0 * SPACE.Q, R)

    return jax.jit(step)


def problem(seed, members=N):
    g = np.random.default_rng(seed)
    y = g.standard_normal(SITES)
    y[g.uniform(size=SITES) < 0.3] = np.nan
    return g.standard_normal((members, SITES)), y


def textbook(E, y):
    """(mean, covariance, y_hat, nis, log det S) of the Kalman update with the sample statistics."""
    Z = E + 0.1 * E**2
    x, y_hat = E.mean(0), Z.mean(0)
    seen = ~np.isnan(y)
    A, Y = E - x, (Z - y_hat)[:, seen]
    S = Y.T @ Y / (len(E) - 1) + 0.49 * np.eye(seen.sum())
    K = A.T @ Y / (len(E) - 1) @ np.linalg.inv(S)
    nu = (y - y_hat)[seen]
    P = A.T @ A / (len(E) - 1) - K @ S @ K.T
    return x + K @ nu, P, y_hat, nu @ np.linalg.solve(S, nu), np.linalg.slogdet(S)[1] if seen.any() else 0.0


EVERYWHERE = localisation(np.zeros(SITES), np.zeros(SITES), 1.0)
EXACT = [Etkf(N), Etkf(N, rotate=False), Letkf(N, EVERYWHERE), Etkf(14), Etkf(14, rotate=False)]


@pytest.mark.parametrize("method", EXACT, ids=repr)
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_transforms_have_the_moments_of_the_kalman_update(method, seed):
    E, y = problem(seed, method.members)
    state, (x, P, y_hat, _, _, used, nis, logdet) = analysis(method)(E, y, seed)
    wanted = textbook(E, y)
    for a, b in zip((x, P, y_hat, nis, logdet), wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(np.mean(state.E, 0), x, atol=1e-13)
    np.testing.assert_allclose(np.cov(state.E.T), P, atol=1e-12)
    assert np.array_equal(used > 0, ~np.isnan(y))


def test_the_symmetric_root_and_the_local_filter_without_distance_are_the_same_members():
    E, y = problem(4)
    one, two = (analysis(Letkf(N, EVERYWHERE, rotate=False)), analysis(EXACT[1]))
    np.testing.assert_allclose(one(E, y, 0)[0].E, two(E, y, 0)[0].E, atol=1e-12)


def test_local_analysis_equals_hunt_state_by_state():
    E, y = problem(7)
    got = np.asarray(analysis(Letkf(N, RING, rotate=False))(E, y, 0)[0].E)
    Z = E + 0.1 * E**2
    x, y_hat = E.mean(0), Z.mean(0)
    seen = ~np.isnan(y)
    for i in range(SITES):
        rho = np.where(seen, RING.weights[i], 0.0)
        Y = (Z - y_hat)[:, seen]
        R_inv = np.diag(rho[seen] / 0.49)
        Pw = np.linalg.inv((N - 1) * np.eye(N) + Y @ R_inv @ Y.T)
        values, V = np.linalg.eigh((N - 1) * Pw)
        W = V * np.sqrt(values) @ V.T + (Pw @ Y @ R_inv @ (y - y_hat)[seen])
        np.testing.assert_allclose(got[:, i], x[i] + W @ (E - x)[:, i], atol=1e-11)


def test_a_sensor_out_of_reach_moves_nothing():
    E, _ = problem(7)
    y = np.full(SITES, np.nan)
    y[0] = 3.0
    new = np.asarray(analysis(Letkf(N, RING, rotate=False))(E, y, 0)[0].E)
    untouched = RING.weights[:, 0] == 0
    assert untouched.any()
    np.testing.assert_allclose(new[:, untouched], E[:, untouched], atol=1e-14)
    assert np.abs(new[:, 0] - E[:, 0]).max() > 0.1


def test_perturbed_readings_tend_to_the_kalman_update():
    E, y = problem(11, 2000)
    wanted = textbook(E, y)
    _, (x, P, _, _, _, _, nis, logdet) = analysis(Enkf(2000))(E, y, 5)
    np.testing.assert_allclose(x, wanted[0], atol=1e-9)  # perturbations have mean zero
    np.testing.assert_allclose(P, wanted[1], atol=0.08)
    assert float(nis) == pytest.approx(wanted[3], rel=1e-9)
    assert float(logdet) == pytest.approx(wanted[4], rel=1e-9)


@pytest.mark.parametrize("method", [lambda N, seed: Etkf(N, rotate=False, seed=seed), Enkf], ids=["etkf", "enkf"])
def test_the_ensemble_tends_to_the_kalman_filter(method):
    """The error falls as N^-1/2: 64 times the members, an eighth of the error."""
    y, u = plants.drive(40, 3)
    record = Record(np.arange(40.0), u, y, ("a",), ("place", "speed"))
    mean, _, _ = plants.textbook(y, u[:, 0])

    def error(members):
        tracks = [assimilate(plants.Cart(), record, method=method(members, seed=s), gate=0.0) for s in range(3)]
        return np.sqrt(np.mean([(t.mean - mean) ** 2 for t in tracks]))

    few, many = error(40), error(2560)
    assert many < 0.02
    assert 4 < few / many < 16


def test_the_track_is_consistent():
    y, u = plants.drive(300, 8)
    record = Record(np.arange(300.0), u, y, ("a",), ("place", "speed"))
    track = assimilate(plants.Cart(), record, method=Etkf(50), gate=0.0)
    assert 0.85 < track.consistency().ratio < 1.2
    assert all(0.92 < c < 0.98 for c in track.coverage().values())


ONE = localisation(np.zeros(2), np.zeros(2), 1.0)
DRAWN = [
    lambda seed: Enkf(9, 1.02, seed=seed),
    lambda seed: Etkf(9, 1.02, seed=seed),
    lambda seed: Letkf(9, ONE, AdaptiveInflation(local=ONE), seed=seed),
    lambda seed: Ienkf(9, iterations=2, seed=seed),
]


@pytest.mark.parametrize("method", DRAWN, ids=["enkf", "etkf", "letkf", "ienkf"])
def test_the_same_seed_gives_the_same_bits(method):
    y, u = plants.drive(30, 8)
    y[10:14] = np.nan
    record = Record(np.arange(30.0), u, y, ("a",), ("place", "speed"))
    first, again, other = (assimilate(plants.Cart(), record, method=method(s), gate=0.0) for s in (3, 3, 4))
    assert np.array_equal(first.mean, again.mean)
    assert np.array_equal(first.cov, again.cov)
    assert not np.array_equal(first.mean, other.mean)


@settings(max_examples=20, deadline=None)
@given(size=st.sampled_from([1, 6, 23]), seed=st.integers(0, 2**53 - 1), taken=st.integers(0, 2**31))
def test_a_turn_is_orthogonal_and_keeps_mean_and_covariance(size, seed, taken):
    v = signs(jnp.asarray(float(seed)), jnp.asarray(float(taken)), size)
    assert set(np.unique(v)) <= {-1.0, 1.0}
    U = np.asarray(turned(jnp.eye(size), v))
    np.testing.assert_allclose(U @ U.T, np.eye(size), atol=1e-13)
    g = np.random.default_rng(size)
    E = 5 + g.standard_normal((size + 1, 3))
    x, A = contrasts(jnp.asarray(E))
    new = np.asarray(members(x, turned(A, v)))
    np.testing.assert_allclose(new.mean(0), E.mean(0), atol=1e-13)
    np.testing.assert_allclose(np.cov(new.T), np.cov(E.T), atol=1e-12)


def test_signs_are_fair_and_every_step_draws_its_own():
    draw = jax.jit(jax.vmap(lambda k: signs(jnp.zeros(()), k, 5)))
    v = np.asarray(draw(jnp.arange(8000.0)))
    assert np.abs(v.mean(0)).max() < 4 / np.sqrt(8000)
    assert np.abs(v.T @ v / 8000 - np.eye(5)).max() < 4 / np.sqrt(8000)
    assert np.abs(v[1:].T @ v[:-1] / 7999).max() < 4 / np.sqrt(8000)


def test_a_ring_behind_a_fence_is_the_same_ring():
    def ring(x, F):
        around = jnp.concatenate([x[-2:], x, x[:1]])
        total = jax.lax.scan(lambda s, z: (s + jax.nn.softplus(z), None), 0.0, around)[0]
        return (around[3:] - around[:-3]) * jnp.roll(x, 1) - x + F + total

    x, F = jnp.asarray(np.random.default_rng(0).standard_normal((4, 9))), 8.0
    for plain, other in ((ring, fenced(ring)), (jax.jacfwd(ring), jax.jacrev(fenced(ring)))):
        one, two = (jax.vmap(f, (0, None))(x, F) for f in (plain, other))
        np.testing.assert_allclose(one, two, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("n", [2, 3, 24])
def test_the_basis_is_orthonormal_and_blind_to_the_mean(n):
    B = np.asarray(members(jnp.zeros(n - 1), jnp.eye(n - 1))) / np.sqrt(n - 1)
    np.testing.assert_allclose(B.T @ B, np.eye(n - 1), atol=1e-14)
    np.testing.assert_allclose(B.sum(0), 0.0, atol=1e-13)
    E = np.random.default_rng(n).standard_normal((n, 4))
    x, A = contrasts(jnp.asarray(E))
    np.testing.assert_allclose(A, B.T @ E / np.sqrt(n - 1), atol=1e-14)
    np.testing.assert_allclose(members(x, A), E, atol=1e-14)


@pytest.mark.parametrize("k", [1, 4, 7])
@pytest.mark.parametrize("size", [1e-6, 1.0, 1e8])
def test_inverse_root_equals_the_eigenvalues(k, size):
    g = np.random.default_rng(k)
    X = g.standard_normal((20, k, k)) * np.sqrt(size)
    C = np.eye(k) + X @ np.swapaxes(X, 1, 2)
    v = g.standard_normal((20, k))
    values, V = np.linalg.eigh(C)
    exact = np.einsum("bij,bj,bkj,bk->bi", V, values**-0.5, V, v)
    columns = jnp.moveaxis(jnp.asarray(C), 0, -1)
    got = jax.jit(lambda C, v: inverse_root(C, spd_inverse(C), v))(columns, v.T)
    np.testing.assert_allclose(np.asarray(got).T, exact, rtol=1e-6 if size > 1 else 1e-12, atol=1e-12)


def test_gaspari_cohn_is_a_smooth_correlation():
    z = np.linspace(0, 2.5, 2001)
    w = gaspari_cohn(z)
    assert w[0] == 1.0
    assert np.all(w[z >= 2] == 0)
    assert np.all(np.diff(w) <= 0)
    assert abs(gaspari_cohn(np.array(1.0)) - 5 / 24) < 1e-15
    assert np.abs(np.diff(w, 2)).max() < 1e-5
    assert np.abs(w - np.exp(-0.5 * (10 / 3) * z**2)).max() < 0.035
    ring = np.minimum(np.arange(30), 30 - np.arange(30))
    weights = gaspari_cohn(ring / 5.0)
    assert np.fft.fft(weights).real.min() > -1e-12  # positive definite


def test_inflation_is_learnt_from_the_innovations():
    """An ensemble that is half as wide as it should be is widened; one that is right is left about as it is."""
    learn = AdaptiveInflation(sd=0.15)
    step = analysis(Etkf(40, learn))
    g = np.random.default_rng(0)
    factors = {}
    for width in (1.0, 0.5):
        factor, kept = 1.0, []
        for _ in range(400):
            E = g.standard_normal((40, SITES)) * width * factor
            y = g.standard_normal(SITES) + 0.7 * g.standard_normal(SITES)
            factor = float(step(E, y, 0, factor)[0].inflation)
            kept.append(factor)
        factors[width] = np.mean(kept[200:])
    assert abs(factors[1.0] - 1.0) < 0.12
    assert abs(factors[0.5] - 2.0) < 0.3
    fixed = analysis(Etkf(N, 1.1))
    E, y = problem(1)
    np.testing.assert_allclose(fixed(E, y, 0, 1.1)[1][1], 1.21 * textbook(E, y)[1], atol=1e-12)
    silent = np.full(SITES, np.nan)
    np.testing.assert_allclose(fixed(E, silent, 0, 1.1)[1][1], np.cov(E.T), atol=1e-12)


def test_settings_are_checked():
    with pytest.raises(InputError, match="members"):
        Etkf(1)
    with pytest.raises(InputError, match="seed"):
        Enkf(5, seed=-1)
    with pytest.raises(InputError, match="Inflation"):
        AdaptiveInflation(start=5.0)
    with pytest.raises(InputError, match="radius"):
        localisation(np.zeros(3), np.zeros(3), 0.0)
    with pytest.raises(InputError, match="weights of shape"):
        Letkf(4, RING).carry(flatten(plants.Cart()).system, 1, np.full(2, -np.inf), np.full(2, np.inf))
