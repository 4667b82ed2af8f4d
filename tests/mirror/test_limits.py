"""Where estimators must agree: linear twins with many members, steady gains, and noise that is small.

Elsewhere: the Kalman filter (`test_filters`, `test_ensemble`, `test_particle`, `test_marginal`, `test_horizon`), batch
least squares (`test_smooth`, `test_horizon`), the smoother (`test_variational`), equal modes (`test_imm`).
"""

import jax.numpy as jnp
import numpy as np
import plants
import pytest
from scipy.linalg import solve_discrete_are

from pollux import (
    Ekf,
    Enkf,
    Ienkf,
    Imm,
    IteratedEkf,
    Mhe,
    Mode,
    NoInput,
    Record,
    Scalar,
    Signals,
    Twin,
    Ukf,
    assimilate,
    flatten,
    var,
    var3d,
)


def cart_record(T, seed, missing=0.2):
    y, u = plants.drive(T, seed, missing)
    return Record(np.arange(float(T)), u, y, ("a",), ("place", "speed"))


def test_the_iterated_ensemble_tends_to_the_kalman_filter():
    """Without process noise, which it adds after the minimisation."""
    record, still = cart_record(25, 3), {"Q": np.zeros(2)}
    mean = assimilate(plants.Cart(), record, gate=0.0, **still).mean

    def error(members):
        methods = [Ienkf(members, iterations=2, rotate=False, seed=s) for s in range(3)]
        tracks = [assimilate(plants.Cart(), record, method=m, gate=0.0, **still) for m in methods]
        return np.sqrt(np.mean([(t.mean - mean) ** 2 for t in tracks]))

    few, many = error(12), error(108)
    assert many < 0.02
    assert few > 2 * many, "nine times the members, a third of the error or less"


def test_a_fixed_gain_from_the_riccati_equation_is_the_kalman_filter_in_the_end():
    record = cart_record(80, 5, missing=0.0)
    B = solve_discrete_are(plants.F.T, plants.H.T, plants.Q, plants.R)
    track = assimilate(plants.Cart(), record, method=var3d(B), gate=0.0)
    mean, cov, _ = plants.textbook(record.y, record.u[:, 0])
    np.testing.assert_allclose(track.mean[60:], mean[60:], atol=1e-8)
    np.testing.assert_allclose(track.cov[60:], cov[60:], atol=1e-9)


def test_a_mode_that_the_readings_exclude_leaves_the_filter_of_the_other():
    record = cart_record(60, 2)
    modes = Mode("free"), Mode("upside down", (("c", 1.9),))
    bank = assimilate(plants.Cart(), record, method=Imm(modes, dwell=1e9), gate=0.0)
    mean, cov, _ = plants.textbook(record.y, record.u[:, 0])
    np.testing.assert_allclose(bank.mean[40:], mean[40:], atol=1e-6)
    np.testing.assert_allclose(bank.cov[40:], cov[40:], atol=1e-6)


class Hang(Signals):
    angle: Scalar = var("rad", start=1.0, drift=0.2, spread=0.5)
    rate: Scalar = var("rad/s", start=0.0, drift=0.2, spread=0.5)


class Shadow(Signals):
    x: Scalar = var("1", noise=0.3)


class Pendulum(Twin[Hang, NoInput, Shadow]):
    def dynamics(self, t: Scalar, x: Hang, u: NoInput) -> Hang:
        return Hang(angle=x.rate, rate=-jnp.sin(x.angle) - 0.1 * x.rate)

    def observe(self, t: Scalar, x: Hang, u: NoInput) -> Shadow:
        return Shadow(x=jnp.sin(x.angle))


@pytest.mark.parametrize("method", [Ukf(), IteratedEkf(20), Mhe(4)], ids=repr)
def test_estimates_differ_by_the_square_of_the_noise(method):
    """Curvature meets variance: ten times less noise, a hundred times less difference to the extended Kalman filter."""
    space = flatten(Pendulum())
    t, g = 0.4 * np.arange(12), np.random.default_rng(1)
    still = Record(t, np.zeros((12, 0)), np.full((12, 1), np.nan), (), ("x",))
    silent = assimilate(Pendulum(), still, dt_max=1.0)
    e = g.standard_normal((12, 1))

    def difference(size):
        record = Record(t, np.zeros((12, 0)), silent.predicted + size * 0.3 * e, (), ("x",))
        noise = {"P0": size**2 * np.diag(space.P0), "Q": size**2 * space.Q, "R": size**2 * space.R}
        a, b = (assimilate(Pendulum(), record, method=m, gate=0.0, dt_max=1.0, **noise) for m in (method, Ekf()))
        assert np.abs(b.mean - silent.mean).max() > 0.1 * size
        return np.abs(a.mean - b.mean).max()

    order = np.log10(difference(0.1) / difference(0.01))
    assert 1.7 < order < 2.3


def test_an_ensemble_without_noise_and_spread_is_the_simulation():
    record = cart_record(20, 4)
    still = {"P0": np.zeros((2, 2)), "Q": np.zeros(2)}
    track = assimilate(plants.Cart(), record, method=Enkf(8), gate=0.0, **still)
    plain = assimilate(plants.Cart(), record, gate=0.0, **still)
    np.testing.assert_allclose(track.mean, plain.mean, atol=1e-12)
    np.testing.assert_allclose(track.cov, 0.0, atol=1e-20)
