"""4D-Var against SciPy, the smoother and the Kalman filter."""

import jax
import jax.numpy as jnp
import numpy as np
import plants
import pytest
from scipy.optimize import least_squares

from pollux import NoInput, Record, Scalar, Signals, Twin, assimilate, flatten, param, smooth, var, variational
from pollux.model.rk4 import rk4


def test_weak_constraint_is_the_smoother_on_a_linear_twin():
    y, u = plants.drive(25, 5)
    record = Record(np.arange(25.0), u, y, ("a",), ("place", "speed"))
    best = variational(plants.Cart(), record)
    track = smooth(plants.Cart(), record, gate=0.0)
    assert best.converged
    assert best.iterations <= 3
    np.testing.assert_allclose(best.mean, track.mean, atol=1e-7)
    np.testing.assert_allclose(best.cov_first, track.cov[0], atol=1e-8)
    np.testing.assert_allclose(best.cov_last, track.cov[-1], atol=1e-8)


class Level(Signals):
    h: Scalar = var("m", start=1.0, drift=0.03, spread=0.3)


class Seen(Signals):
    y: Scalar = var("m", noise=0.05)


class Heating(Twin[Level, NoInput, Seen]):
    """Linear and continuous, crossed in pieces: noise enters where the filters let it enter."""

    k: Scalar = param("1/s", 0.3)

    def dynamics(self, t: Scalar, x: Level, u: NoInput) -> Level:
        return Level(h=-self.k * x.h)

    def observe(self, t: Scalar, x: Level, u: NoInput) -> Seen:
        return Seen(y=x.h)


def test_weak_constraint_is_the_filter_at_the_end_of_a_continuous_window():
    t = np.array([0.0, 0.5, 2.5, 3.0])
    y = np.array([[1.2], [0.9], [np.nan], [0.5]])
    record = Record(t, np.zeros((4, 0)), y, (), ("y",))
    best = variational(Heating(), record, dt_max=0.7)
    track = assimilate(Heating(), record, dt_max=0.7, gate=0.0)
    np.testing.assert_allclose(best.mean[-1], track.mean[-1], atol=1e-8)
    np.testing.assert_allclose(best.cov_last, track.cov[-1], atol=1e-9)


class Roll(Signals):
    x: Scalar = var("1", start=1.5, spread=1.0)
    y: Scalar = var("1", start=-1.5, spread=1.0)
    z: Scalar = var("1", start=25.0, spread=1.0)


class RollSeen(Signals):
    a: Scalar = var("1", noise=1.0)
    c: Scalar = var("1", noise=1.0)


class Lorenz(Twin[Roll, NoInput, RollSeen]):
    rho: Scalar = param("1", 28.0)

    def dynamics(self, t: Scalar, x: Roll, u: NoInput) -> Roll:
        return Roll(x=10.0 * (x.y - x.x), y=self.rho * x.x - x.y - x.x * x.z, z=x.x * x.y - 8.0 / 3.0 * x.z)

    def observe(self, t: Scalar, x: Roll, u: NoInput) -> RollSeen:
        return RollSeen(a=x.x, c=x.z)


def test_strong_constraint_equals_scipy_and_finds_the_start():
    space = flatten(Lorenz())
    flow = rk4(space.system.f, 4)
    t = 0.05 * np.arange(16)

    @jax.jit
    def run(x):
        def step(x, t):
            x = flow(t, 0.05, x, jnp.zeros(0), space.p0)
            return x, x

        return jnp.concatenate([x[None], jax.lax.scan(step, x, t[:-1])[1]])

    g = np.random.default_rng(1)
    truth = np.asarray(run(jnp.asarray(space.x0 + 0.7 * g.standard_normal(3))))
    y = truth[:, [0, 2]] + g.standard_normal((16, 2))
    record = Record(t, np.zeros((16, 0)), y, (), ("a", "c"))
    best = variational(space, record, substeps=4, dt_max=1.0)
    reference = least_squares(
        lambda x: np.r_[x - space.x0, (np.asarray(run(jnp.asarray(x)))[:, [0, 2]] - y).ravel()],
        space.x0, xtol=1e-14, ftol=1e-14, gtol=1e-12,
    )  # fmt: skip
    assert best.converged
    assert best.cost == pytest.approx(reference.cost, rel=1e-8)
    np.testing.assert_allclose(best.mean[0], reference.x, rtol=1e-5)
    J = np.asarray(jax.jacfwd(lambda x: run(x)[:, jnp.array([0, 2])].ravel())(jnp.asarray(best.mean[0])))
    np.testing.assert_allclose(best.cov_first, np.linalg.inv(np.eye(3) + J.T @ J), rtol=1e-6, atol=1e-10)
    assert np.abs(best.mean - truth).max() < 5 * np.sqrt(np.diag(best.cov_last).max() + 1)
    assert np.sqrt(np.mean((best.mean - truth) ** 2)) < 0.8


def test_a_window_that_is_given_up_says_so():
    y = np.array([[0.5, 20.0]] * 3)
    record = Record(np.array([0.0, 0.1, 0.2]), np.zeros((3, 0)), y, (), ("a", "c"))
    best = variational(Lorenz(), record, iterations=1, dt_max=1.0)
    assert not best.converged
    assert best.gradient > 1e-8
