"""The dual filter against the joint one, to which it is equal for constants, and against the truth for a drift."""

import jax.numpy as jnp
import numpy as np
import plants
import pytest

from pollux import Dual, LogNormal, Record, Scalar, Signals, Twin, assimilate, build_mirror, param, var
from pollux.core.errors import InputError


class Spin(Signals):
    w: Scalar = var("rad/s", start=1.0, drift=0.02, spread=0.3)
    T: Scalar = var("K", start=300.0, drift=0.05, spread=2.0)


class Torque(Signals):
    m: Scalar = var("N m", start=1.0)


class Meter(Signals):
    speed: Scalar = var("rad/s", noise=0.03)
    temp: Scalar = var("K", noise=0.2)


class Rotor(Twin[Spin, Torque, Meter]):
    """A shaft that heats its bearing; friction and heating are not known."""

    friction: Scalar = param("N m s", 0.5, prior=LogNormal(0.4))
    gain: Scalar = param("K/(N m)", 2.0, prior=LogNormal(0.3))

    def dynamics(self, t: Scalar, x: Spin, u: Torque) -> Spin:
        braking = self.friction * x.w * jnp.abs(x.w)
        return Spin(w=u.m - braking, T=0.1 * (300.0 - x.T) + self.gain * self.friction * x.w**2)

    def observe(self, t: Scalar, x: Spin, u: Torque) -> Meter:
        return Meter(speed=x.w, temp=x.T)


class Wearing(Rotor):
    friction: Scalar = param("N m s", 0.5, prior=LogNormal(0.4), drift=0.02)


def simulated(seed, drift, T=200, dt=0.5):
    """Truth (T, 4) and readings of a rotor whose friction wanders."""
    g = np.random.default_rng(seed)
    x = np.array([1.0, 300.0]) + np.array([0.3, 2.0]) * g.standard_normal(2)
    friction, gain = 0.5 * np.exp(0.4 * g.standard_normal()), 2.0 * np.exp(0.3 * g.standard_normal())
    truth, y, u = [], [], []
    for k in range(T):
        u.append([1 + 0.8 * np.sin(k / 9)])
        truth.append([*x, friction, gain])
        y.append(x + np.array([0.03, 0.2]) * g.standard_normal(2))
        for _ in range(10):
            heating = 0.1 * (300 - x[1]) + gain * friction * x[0] ** 2
            x = x + dt / 10 * np.array([u[-1][0] - friction * x[0] * abs(x[0]), heating])
        x = x + np.array([0.02, 0.05]) * np.sqrt(dt) * g.standard_normal(2)
        friction = max(friction + drift * np.sqrt(dt) * g.standard_normal(), 0.05)
    return np.array(truth), Record(dt * np.arange(T), np.array(u), np.array(y), ("m",), ("speed", "temp"))


TRACK = ("friction", "gain")


def test_constants_are_learned_exactly_as_by_the_joint_filter():
    _, record = simulated(0, 0.0)
    record.y[20:30, 1] = np.nan
    record.y[40, 0] += 1.0
    joint, dual = (assimilate(Rotor(), record, track=TRACK, method=m) for m in (None, Dual()))
    assert dual.used[40, 0] == 0, "the spike must meet the gate"
    np.testing.assert_allclose(dual.mean, joint.mean, rtol=1e-9)
    np.testing.assert_allclose(dual.cov, joint.cov, rtol=1e-7, atol=1e-12)
    np.testing.assert_allclose(dual.nis, joint.nis, rtol=1e-7, atol=1e-10)
    np.testing.assert_allclose(dual.loglik, joint.loglik, rtol=1e-7, atol=1e-9)


def test_a_drifting_parameter_is_followed_about_as_well_as_by_the_joint_filter():
    errors, nis = [], []
    for seed in range(4):
        truth, record = simulated(seed, 0.02)
        joint, dual = (assimilate(Wearing(), record, track=TRACK, method=m, gate=0.0) for m in (None, Dual()))
        errors.append([np.mean((t.mean - truth)[60:] ** 2, axis=0) for t in (joint, dual)])
        nis.append(dual.nis[60:].mean() / 2)
    joint, dual = np.sqrt(np.mean(errors, axis=0))
    assert (dual < 1.15 * joint).all()
    assert dual[2] < 0.04, "friction is 0.5, and wanders by 0.2"
    assert abs(np.mean(nis) - 1.0) < 0.15


def test_a_prior_of_states_and_parameters_that_err_together_is_kept():
    _, record = simulated(1, 0.0, T=30)
    g = np.random.default_rng(3)
    A = np.diag([0.3, 2.0, 0.2, 0.6]) @ (np.eye(4) + 0.3 * g.standard_normal((4, 4)))
    joint, dual = (assimilate(Rotor(), record, track=TRACK, method=m, P0=A @ A.T) for m in (None, Dual()))
    np.testing.assert_allclose(dual.mean, joint.mean, rtol=1e-9)
    np.testing.assert_allclose(dual.cov, joint.cov, rtol=1e-6, atol=1e-11)


def test_without_a_tracked_parameter_it_says_so():
    with pytest.raises(InputError, match="track="):
        build_mirror(plants.Cart(), method=Dual())
