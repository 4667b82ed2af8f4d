"""The Rao-Blackwellised particle filter against the Kalman filter, and against many plain particles."""

import jax.numpy as jnp
import numpy as np
import plants
import pytest

from pollux import (
    Ekf,
    NoInput,
    ParticleFilter,
    RaoBlackwellParticleFilter,
    Record,
    Scalar,
    Signals,
    Twin,
    assimilate,
    flatten,
    var,
)
from pollux.core.errors import DefinitionError, InputError


def cart_record(T=30, seed=1):
    y, u = plants.drive(T, seed)
    return Record(np.arange(float(T)), u, y, ("a",), ("place", "speed"))


@pytest.mark.parametrize("members", [2, 7])
def test_with_all_states_linear_it_is_the_kalman_filter(members):
    record = cart_record()
    method = RaoBlackwellParticleFilter(members, ("s", "v"))
    track = assimilate(plants.Cart(), record, method=method, gate=0.0)
    means, covs, logs = plants.textbook(record.y, record.u[:, 0])
    np.testing.assert_allclose(track.mean, means, atol=1e-11)
    np.testing.assert_allclose(track.cov, covs, atol=1e-12)
    np.testing.assert_allclose(track.loglik, logs, atol=1e-10)


class Swing(Signals):
    x: Scalar = var("1", start=1.0, drift=0.1, spread=0.4)
    v: Scalar = var("1/s", start=0.0, drift=0.3, spread=0.4)


class Places(Signals):
    y: Scalar = var("1", noise=0.1)


class Oscillator(Twin[Swing, NoInput, Places]):
    """Linear and continuous."""

    def dynamics(self, t: Scalar, x: Swing, u: NoInput) -> Swing:
        return Swing(x=x.v, v=-x.x - 0.2 * x.v)

    def observe(self, t: Scalar, x: Swing, u: NoInput) -> Places:
        return Places(y=x.x)


def test_a_continuous_twin_in_pieces_is_the_extended_kalman_filter():
    t = np.array([0.0, 0.4, 1.6, 2.0])
    record = Record(t, np.zeros((4, 0)), np.array([[1.1], [0.8], [np.nan], [-0.2]]), (), ("y",))
    method = RaoBlackwellParticleFilter(2, ("x", "v"))
    track, ekf = (assimilate(Oscillator(), record, method=m, gate=0.0, dt_max=0.5) for m in (method, Ekf()))
    np.testing.assert_allclose(track.mean, ekf.mean, atol=1e-12)
    np.testing.assert_allclose(track.cov, ekf.cov, atol=1e-12)
    np.testing.assert_allclose(track.nis, ekf.nis, atol=1e-10)
    np.testing.assert_allclose(track.loglik, ekf.loglik, atol=1e-10)


@pytest.mark.parametrize("linear", ["s", "v"])
def test_what_is_drawn_teaches_the_linear_state(linear):
    """A linear twin again, half of it in particles: the Kalman filter in the limit, which needs the cross terms."""
    record = cart_record()
    means, covs, logs = plants.textbook(record.y, record.u[:, 0])

    def errors(members):
        method = RaoBlackwellParticleFilter(members, (linear,), seed=3)
        track = assimilate(plants.Cart(), record, method=method, gate=0.0)
        return np.sqrt(np.mean((track.mean - means) ** 2)), track

    few, _ = errors(200)
    many, track = errors(10_000)
    assert many < 0.004
    assert many < few / 3
    np.testing.assert_allclose(track.cov, covs, atol=0.005)
    assert track.loglik.sum() == pytest.approx(logs.sum(), abs=0.4)


class Mix(Signals):
    xi: Scalar = var("1", start=0.0, drift=0.2, spread=1.0)
    a: Scalar = var("1", start=0.0, drift=0.1, spread=1.0)
    b: Scalar = var("1", start=0.0, drift=0.1, spread=1.0)


class Bent(Signals):
    square: Scalar = var("1", noise=0.1)
    skew: Scalar = var("1", noise=0.1)


class Mixed(Twin[Mix, NoInput, Bent]):
    """A state that bends, driven by an oscillation that does not."""

    period = 1.0

    def step(self, t: Scalar, x: Mix, u: NoInput) -> Mix:
        return Mix(xi=jnp.arctan(x.xi) + x.a, a=0.92 * x.a - 0.3 * x.b, b=0.3 * x.a + 0.92 * x.b)

    def observe(self, t: Scalar, x: Mix, u: NoInput) -> Bent:
        return Bent(square=0.1 * x.xi * jnp.abs(x.xi) + 0.2 * x.b, skew=x.a - x.b + 0.1 * x.xi**2)


def test_it_errs_less_than_plain_particles_and_tends_to_the_same():
    T, g = 25, np.random.default_rng(0)
    x, y = g.standard_normal(3), np.empty((T, 2))
    for k in range(T):
        if k:
            x = np.array([np.arctan(x[0]) + x[1], 0.92 * x[1] - 0.3 * x[2], 0.3 * x[1] + 0.92 * x[2]])
            x = x + np.array([0.2, 0.1, 0.1]) * g.standard_normal(3)
        y[k] = np.array([0.1 * x[0] * abs(x[0]) + 0.2 * x[2], x[1] - x[2] + 0.1 * x[0] ** 2])
        y[k] += 0.1 * g.standard_normal(2)
    record = Record(np.arange(float(T)), np.zeros((T, 0)), y, (), ("square", "skew"))

    def run(method):
        return assimilate(Mixed(), record, method=method, gate=0.0)

    fine = run(ParticleFilter(40_000))
    seeds = range(8)
    plain = [run(ParticleFilter(200, seed=s)) for s in seeds]
    marginal = [run(RaoBlackwellParticleFilter(200, ("a", "b"), seed=s)) for s in seeds]

    def variance(tracks):
        return np.mean([(t.mean - fine.mean) ** 2 for t in tracks])

    def log_variance(tracks):
        return np.mean([(t.loglik.sum() - fine.loglik.sum()) ** 2 for t in tracks])

    assert variance(marginal) < variance(plain) / 3
    assert log_variance(marginal) < log_variance(plain) / 3
    limit = run(RaoBlackwellParticleFilter(10_000, ("a", "b")))
    assert np.sqrt(np.mean((limit.mean - fine.mean) ** 2)) < 0.015
    np.testing.assert_allclose(limit.sd, fine.sd, rtol=0.15)
    assert limit.loglik.sum() == pytest.approx(fine.loglik.sum(), abs=0.3)


class Product(Twin[Mix, NoInput, Bent]):
    period = 1.0

    def step(self, t: Scalar, x: Mix, u: NoInput) -> Mix:
        return Mix(xi=x.xi, a=x.a * x.b, b=x.b)

    def observe(self, t: Scalar, x: Mix, u: NoInput) -> Bent:
        return Bent(square=x.xi**2, skew=x.b)


def test_what_is_not_linear_is_named():
    space = flatten(Mixed())
    RaoBlackwellParticleFilter(5, ("a", "b")).of(space)
    with pytest.raises(DefinitionError, match=r"not linear in 'xi'.*flow of 'xi'"):
        RaoBlackwellParticleFilter(5, ("a", "xi")).of(space)
    with pytest.raises(DefinitionError, match=r"not linear in 'xi'.*reading 'square'"):
        RaoBlackwellParticleFilter(5, ("xi",)).of(flatten(Product()))
    with pytest.raises(DefinitionError, match=r"not linear in 'a' times 'b'.*flow of 'a'"):
        RaoBlackwellParticleFilter(5, ("a", "b")).of(flatten(Product()))
    RaoBlackwellParticleFilter(5, ("a",)).of(flatten(Product()))
    with pytest.raises(DefinitionError, match="no state 'c'"):
        RaoBlackwellParticleFilter(5, ("c",)).of(space)
    with pytest.raises(InputError, match="at least one"):
        RaoBlackwellParticleFilter(5, ()).of(space)
    with pytest.raises(InputError, match="resample"):
        RaoBlackwellParticleFilter(5, ("a",), resample=2.0)
