"""Particle filters against the Kalman filter, quadrature on a grid, and the laws of resampling."""

import jax
import jax.numpy as jnp
import numpy as np
import plants
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from pollux import (
    AuxiliaryParticleFilter,
    Ekf,
    NoInput,
    ParticleFilter,
    Record,
    Scalar,
    Signals,
    Twin,
    assimilate,
    var,
)
from pollux.core.errors import InputError
from pollux.mirror.particle import systematic

SYSTEMATIC = jax.jit(systematic)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.001, 0.999))
def test_systematic_resampling_takes_each_member_as_often_as_its_weight(seed, u):
    """The count of a member of weight w is the whole number below or above N w."""
    w = np.random.default_rng(seed).exponential(size=50) ** 2
    w /= w.sum()
    k = np.asarray(SYSTEMATIC(jnp.log(w), u))
    counts = np.bincount(k, minlength=50)
    assert counts.sum() == 50
    assert (np.abs(counts - 50 * w) < 1 + 1e-9).all()


def test_systematic_resampling_has_no_bias():
    w = np.array([0.05, 0.15, 0.3, 0.5])
    picks = jax.vmap(lambda u: systematic(jnp.log(jnp.asarray(w)), u))((jnp.arange(1000) + 0.5) / 1000)
    np.testing.assert_allclose(np.bincount(np.asarray(picks).ravel()) / 4000, w, atol=1e-3)


@pytest.mark.parametrize("method", [ParticleFilter, AuxiliaryParticleFilter])
def test_particles_tend_to_the_kalman_filter(method):
    y, u = plants.drive(40, 1)
    record = Record(np.arange(40.0), u, y, ("a",), ("place", "speed"))
    mean, cov, logs = plants.textbook(y, u[:, 0])

    def errors(members):
        track = assimilate(plants.Cart(), record, method=method(members, seed=1), gate=0.0)
        return np.sqrt(np.mean((track.mean - mean) ** 2)), track

    few, _ = errors(300)
    many, track = errors(20_000)
    assert many < 0.01
    assert many < few / 2.5
    np.testing.assert_allclose(track.cov, cov, atol=0.01)
    assert track.loglik.sum() == pytest.approx(logs.sum(), abs=0.5)


class Place(Signals):
    x: Scalar = var("m", start=0.3, drift=0.4, spread=1.0)


class Square(Signals):
    r: Scalar = var("m^2", noise=0.3)


class Folded(Twin[Place, NoInput, Square]):
    """Only x^2 is seen, so there are two answers: no Gaussian filter can say so."""

    period = 1.0

    def step(self, t: Scalar, x: Place, u: NoInput) -> Place:
        return Place(x=0.9 * x.x)

    def observe(self, t: Scalar, x: Place, u: NoInput) -> Square:
        return Square(r=x.x**2)


def on_a_grid(y):
    """Bayes' rule by quadrature: means, standard deviations and log-likelihoods."""
    grid = np.linspace(-6, 6, 1601)
    step = grid[1] - grid[0]
    density = norm.pdf(grid, 0.3, 1.0)
    move = norm.pdf(grid[:, None], 0.9 * grid[None], 0.4)
    out = []
    for k, value in enumerate(y):
        density = density if k == 0 else move @ density * step
        density = density * norm.pdf(value, grid**2, 0.3)
        total = density.sum() * step
        density /= total
        mean = (grid * density).sum() * step
        out.append((mean, np.sqrt(((grid - mean) ** 2 * density).sum() * step), np.log(total)))
    return np.array(out).T


@pytest.mark.parametrize("method", [ParticleFilter(20_000), AuxiliaryParticleFilter(20_000)])
def test_two_answers_are_kept_apart_as_by_quadrature(method):
    y = np.array([1.2, 1.0, 1.1, 0.3, 0.6, 1.5])
    record = Record(np.arange(6.0), np.zeros((6, 0)), y[:, None], (), ("r",))
    track = assimilate(Folded(), record, method=method, gate=0.0)
    mean, sd, logs = on_a_grid(y)
    np.testing.assert_allclose(track.mean[:, 0], mean, atol=0.08)
    np.testing.assert_allclose(track.sd[:, 0], sd, atol=0.03)
    np.testing.assert_allclose(track.loglik, logs, atol=0.05)
    gaussian = assimilate(Folded(), record, method=Ekf(), gate=0.0)
    assert gaussian.sd[-1, 0] < 0.3 * sd[-1]


def test_missing_readings_leave_the_forecast():
    y = np.full((5, 1), np.nan)
    record = Record(np.arange(5.0), np.zeros((5, 0)), y, (), ("r",))
    for method in (ParticleFilter(4000), AuxiliaryParticleFilter(4000)):
        track = assimilate(Folded(), record, method=method)
        variance = 1.0
        for k in range(1, 5):
            variance = 0.81 * variance + 0.16
            assert track.mean[k, 0] == pytest.approx(0.3 * 0.9**k, abs=0.06)
            assert track.cov[k, 0, 0] == pytest.approx(variance, rel=0.08)
        assert track.loglik.sum() == 0.0


def test_settings_are_checked():
    with pytest.raises(InputError, match="resample"):
        ParticleFilter(10, resample=0.0)
    with pytest.raises(InputError, match="members"):
        AuxiliaryParticleFilter(1)
