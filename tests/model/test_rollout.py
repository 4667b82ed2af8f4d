"""`rollout`: statistics against theory, and randomness that is a function of its key alone."""

import numpy as np
import pytest

from pollux import RK4, NoInput, Scalar, Signals, Twin, param, rollout, simulate, var
from pollux.core.errors import DefinitionError
from pollux.core.priors import LogNormal
from pollux.model.backend import Xla

TIMES = np.arange(0.0, 20.0, 0.1)


class Level(Signals):
    x: Scalar = var("1", start=1.0, drift=0.3)


class Reading(Signals):
    y: Scalar = var("1", noise=0.1)


class Relax(Twin[Level, NoInput, Reading]):
    """Ornstein-Uhlenbeck: dx = -a x dt + 0.3 dW."""

    a: Scalar = param("1/s", 0.5, prior=LogNormal(0.3))

    def dynamics(self, t: Scalar, x: Level, u: NoInput) -> Level:
        return Level(x=-self.a * x.x)

    def observe(self, t: Scalar, x: Level, u: NoInput) -> Reading:
        return Reading(y=x.x)

    def margins(self, t: Scalar, x: Level, u: NoInput) -> dict[str, Scalar]:
        return {"low": x.x + 1.0}


def test_spread_is_that_of_theory():
    """Stationary variance of x' = phi x + w is drift^2 dt / (1 - phi^2), phi = exp(-a dt)."""
    ensemble = rollout(Relax(), None, times=TIMES, samples=4000, seed=3)
    assert ensemble.ok
    late = ensemble["x"][-1]
    variance = 0.09 * 0.1 / (1 - np.exp(-0.1))
    assert late.var() == pytest.approx(variance, rel=0.1)
    assert abs(late.mean()) < 4 * np.sqrt(variance / 4000)
    low, mid, high = ensemble.quantiles("y")
    assert (low <= mid).all()
    assert (mid <= high).all()


def test_without_noise_it_is_the_simulation(tank):
    times = np.arange(0.0, 100.0, 4.0)
    ensemble = rollout(tank, {"q_in": 0.012}, times=times, samples=3, process_noise=False)
    run = simulate(tank, {"q_in": 0.012}, times=times, method=RK4(4))
    for i in range(3):
        np.testing.assert_allclose(ensemble.x[..., i], run.x, rtol=1e-12)
    np.testing.assert_allclose(ensemble.g[..., 0], run.g, rtol=1e-9)


def test_a_larger_ensemble_contains_the_smaller_and_a_seed_repeats():
    small = rollout(Relax(), None, times=TIMES, samples=5, parameters="prior", seed=1)
    large = rollout(Relax(), None, times=TIMES, samples=50, parameters="prior", seed=1)
    other = rollout(Relax(), None, times=TIMES, samples=5, parameters="prior", seed=2)
    np.testing.assert_array_equal(small.x, large.x[..., :5])
    assert not np.allclose(small.x, other.x)


def test_parameters_follow_their_prior():
    ensemble = rollout(Relax(), None, times=TIMES[:3], samples=5000, parameters="prior")
    log = np.log(ensemble.p[0])
    assert log.mean() == pytest.approx(np.log(0.5), abs=0.02)
    assert log.std() == pytest.approx(0.3, rel=0.05)


def test_noise_never_crosses_a_bound(tank):
    """The tank's level is declared within (0.1, 2.0); a draining one is kept there by no noise."""
    noisy = rollout(tank, {"q_in": 0.02}, times=np.arange(0.0, 2000.0, 20.0), samples=50)
    assert noisy["h"].max() <= max(2.0, simulate(tank, {"q_in": 0.02}, times=np.arange(0.0, 2000.0, 20.0))["h"].max())


def test_ensembles_of_states_and_parameters():
    x0 = np.array([[0.0, 1.0, 2.0]])
    ensemble = rollout(Relax(), None, times=TIMES, x0=x0, parameters=np.array([[0.1, 0.2, 0.3]]), process_noise=False)
    np.testing.assert_allclose(ensemble["x"][-1], x0[0] * np.exp(-np.array([0.1, 0.2, 0.3]) * TIMES[-1]), rtol=1e-6)
    with pytest.raises(DefinitionError, match="received"):
        rollout(Relax(), None, times=TIMES, x0=x0, parameters=np.ones((1, 2)))


def test_a_member_that_fails_does_so_alone():
    x0 = np.array([[1.0, np.nan]])
    ensemble = rollout(Relax(), None, times=TIMES, x0=x0)
    assert [o.name for o in ensemble.outcomes] == ["SUCCESS", "DIVERGED"]
    assert not ensemble.ok
    assert np.isfinite(ensemble.quantiles("x")).all()


def test_back_ends_agree():
    here, xla = (
        rollout(Relax(), None, times=TIMES, samples=20, parameters="prior", seed=4, backend=b) for b in (None, Xla())
    )
    for field in ("x", "y", "g", "p"):
        np.testing.assert_allclose(getattr(here, field), getattr(xla, field), rtol=1e-12, atol=1e-14)
