"""`calibrate` against SciPy, against theory, and on records that cannot determine what is asked."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import least_squares

from pollux import RK4, Adaptive, LogNormal, Normal, Scalar, Signals, Twin, calibrate, param, simulate, var
from pollux.core.errors import DefinitionError, InputError, NumericalError
from pollux.model.identify import Verdict
from pollux.model.leastsquares import FitOutcome

TIMES = 4.0 * np.arange(200)
METHOD = RK4(1)


class Levels(Signals):
    a: Scalar = var("m", start=1.0, within=(0.0, 5.0))
    b: Scalar = var("m", start=1.0, within=(0.0, 5.0))


class Pump(Signals):
    q: Scalar = var("m/s", start=0.03)


class Gauges(Signals):
    a: Scalar = var("m", noise=0.01)
    b: Scalar = var("m", noise=0.01)


class Tanks(Twin[Levels, Pump, Gauges]):
    """Two tanks in a row, both gauged: everything is identifiable."""

    k1: Scalar = param("m^1/2/s", 0.03, within=(1e-4, 1.0))
    k2: Scalar = param("m^1/2/s", 0.02, within=(1e-4, 1.0))

    def dynamics(self, t: Scalar, x: Levels, u: Pump) -> Levels:
        out = self.k1 * jnp.sqrt(jnp.maximum(x.a, 1e-9))
        return Levels(a=u.q - out, b=out - self.k2 * jnp.sqrt(jnp.maximum(x.b, 1e-9)))

    def observe(self, t: Scalar, x: Levels, u: Pump) -> Gauges:
        return Gauges(a=x.a, b=x.b)


def pumped() -> np.ndarray:
    return np.repeat(np.random.default_rng(5).uniform(0.01, 0.04, 20), 10)


@pytest.fixture(scope="module")
def run():
    return simulate(Tanks(), {"q": pumped()}, times=TIMES, method=METHOD)


@pytest.fixture(scope="module")
def fit(run):
    return calibrate(Tanks(k1=0.04, k2=0.015), run.as_record(1), method=METHOD, starts=4)


def test_it_finds_what_scipy_finds(run, fit):
    record = run.as_record(1)

    def residual(v):
        twin = Tanks(k1=v[0], k2=v[1])
        y = simulate(twin, {"q": pumped()}, times=TIMES, x0=v[2:], method=METHOD).y
        return ((y - record.y) / 0.01).ravel()

    peer = least_squares(residual, [0.04, 0.015, 1.0, 1.0], x_scale=[0.04, 0.015, 1.0, 1.0], xtol=1e-12, ftol=1e-12)
    assert fit.outcome is FitOutcome.CONVERGED
    assert fit.agreeing == 4
    assert fit.loss == pytest.approx(peer.cost, rel=1e-9)
    np.testing.assert_allclose([e.value for e in fit.estimates], peer.x, rtol=1e-5)
    cov = np.linalg.inv(peer.jac.T @ peer.jac) * max(1.0, fit.chi2)
    np.testing.assert_allclose([e.plain_error for e in fit.estimates], np.sqrt(np.diag(cov)), rtol=1e-3)
    expected = cov / np.sqrt(np.outer(np.diag(cov), np.diag(cov)))
    np.testing.assert_allclose(fit.correlations, expected, atol=2e-3)


def test_the_result_is_complete(fit):
    assert [e.name for e in fit.estimates] == ["k1", "k2", "a(0)", "b(0)"]
    assert fit.identifiability.verdict is Verdict.IDENTIFIABLE
    assert fit.twin.k1 == pytest.approx(0.03, rel=0.02)
    assert fit.initial[0].a == pytest.approx(fit["a(0)"].value)
    assert fit.rmse["a"] == pytest.approx(0.01, rel=0.2)
    assert not fit.robust
    assert fit.chi2 == pytest.approx(1.0, abs=0.2)
    assert fit.predicted[0].shape == (200, 2)
    text = repr(fit)
    for word in ("k1", "m^1/2/s", "converged", "4 of 4 starts", "identifiable"):
        assert word in text
    plain = fit.to_dict()
    assert plain["estimates"]["k2"]["value"] == fit["k2"].value
    assert plain["identifiability"]["verdict"] == "identifiable"


def test_errors_have_the_size_that_they_claim(run):
    """Over 40 noise draws, (estimate - truth) / error is standard normal."""
    scores = []
    for seed in range(40):
        fit = calibrate(Tanks(), run.as_record(100 + seed), method=METHOD, starts=1)
        scores.append([(fit["k1"].value - 0.03) / fit["k1"].error, (fit["k2"].value - 0.02) / fit["k2"].error])
    spread = np.std(scores, axis=0)
    assert ((spread > 0.7) & (spread < 1.35)).all()
    assert (np.abs(np.mean(scores, axis=0)) < 0.6).all()


def test_missing_readings_count_for_nothing(run):
    record = run.as_record(2)
    holes = record.y.copy()
    rng = np.random.default_rng(0)
    holes[rng.random(holes.shape) < 0.5] = np.nan
    holes[:, 1][100:] = np.nan
    full = {"t": record.t, "u.q": record.u[:, 0], "a": holes[:, 0], "b": holes[:, 1]}
    fit = calibrate(Tanks(k1=0.04), full | {"q": record.u[:, 0]}, method=METHOD, starts=1)
    assert fit.ok
    assert fit.identifiability.ok
    assert abs(fit["k1"].value - 0.03) < 4 * fit["k1"].error
    assert fit["k1"].error > calibrate(Tanks(k1=0.04), record, method=METHOD, starts=1)["k1"].error


def test_several_records_share_parameters_and_have_their_own_start(run):
    other = simulate(Tanks(), {"q": 0.02}, times=TIMES[:80], x0=[2.0, 0.5], method=METHOD)
    fit = calibrate(Tanks(k1=0.04), [run.as_record(1), other.as_record(2)], method=METHOD, starts=2)
    assert [e.name for e in fit.estimates] == ["k1", "k2", "a(0)[0]", "b(0)[0]", "a(0)[1]", "b(0)[1]"]
    np.testing.assert_allclose([fit.initial[1].a, fit.initial[1].b], [2.0, 0.5], atol=0.03)
    assert [len(p) for p in fit.predicted] == [200, 80]
    assert fit["k1"].value == pytest.approx(0.03, rel=0.01)


def test_bounds_hold_and_are_named(run):
    class Narrow(Tanks):
        k1: Scalar = param("m^1/2/s", 0.027, within=(0.026, 0.028))

    fit = calibrate(Narrow(), run.as_record(1), free=("k1",), method=METHOD, starts=3)
    assert fit["k1"].value == pytest.approx(0.028)
    assert fit["k1"].at_bound
    assert "at its bound" in repr(fit)


def test_a_prior_pulls_by_its_precision():
    """One reading of a constant: posterior mean and deviation are those of two Gaussians."""

    class Value(Signals):
        v: Scalar = var("1", start=0.0)

    class Read(Signals):
        v: Scalar = var("1", noise=0.5)

    class Nothing(Signals):
        pass

    class Constant(Twin[Value, Nothing, Read]):
        c: Scalar = param("1", 1.0, prior=Normal(1.0))

        def dynamics(self, t: Scalar, x: Value, u: Nothing) -> Value:
            return Value(v=0.0 * x.v)

        def observe(self, t: Scalar, x: Value, u: Nothing) -> Read:
            return Read(v=self.c + x.v)

    fit = calibrate(Constant(), {"t": [0.0], "v": [2.0]}, initial="fixed", starts=1)
    precision = 1 / 0.25 + 1.0
    assert fit["c"].value == pytest.approx((2.0 / 0.25 + 1.0) / precision, rel=1e-6)
    assert fit["c"].plain_error == pytest.approx(precision**-0.5, rel=1e-6)


def test_autocorrelated_residuals_widen_the_errors(run):
    record = run.as_record()
    walk = np.zeros_like(record.y)
    noise = np.random.default_rng(3).standard_normal(walk.shape)
    for k in range(1, len(walk)):
        walk[k] = 0.9 * walk[k - 1] + 0.01 * np.sqrt(1 - 0.81) * noise[k]
    y = record.y + walk
    data = {"t": record.t, "q": record.u[:, 0], "a": y[:, 0], "b": y[:, 1]}
    fit = calibrate(Tanks(), data, method=METHOD, starts=1)
    assert fit.robust
    assert fit["k1"].error > 1.5 * fit["k1"].plain_error
    assert "robust error" in repr(fit)


def test_through_an_adaptive_method(run, fit):
    other = calibrate(Tanks(k1=0.04, k2=0.015), run.as_record(1), method=Adaptive(1e-7, 1e-9), starts=1)
    assert other.ok
    assert other["k1"].value == pytest.approx(fit["k1"].value, rel=1e-3)


def test_the_first_state_alone(run):
    fit = calibrate(Tanks(), run.as_record(1)[:50], free=(), method=METHOD, starts=1)
    assert [e.name for e in fit.estimates] == ["a(0)", "b(0)"]
    assert fit["a(0)"].value == pytest.approx(1.0, abs=0.02)


def test_outcomes_and_refusals(run):
    record = run.as_record(1)
    short = calibrate(Tanks(k1=0.08), record, method=METHOD, starts=1, tolerances=(1e-12, 1e-12, 2))
    assert short.outcome is FitOutcome.MAX_STEPS
    with pytest.raises(NumericalError, match="iteration limit"):
        calibrate(Tanks(k1=0.08), record, method=METHOD, starts=1, tolerances=(1e-12, 1e-12, 2), throw=True)
    with pytest.raises(DefinitionError, match="no parameter 'k9'"):
        calibrate(Tanks(), record, free=("k9",))
    with pytest.raises(InputError, match="column 'q'"):
        calibrate(Tanks(), {"t": record.t, "y.a": record.y[:, 0]})
    with pytest.raises(InputError, match="at least one reading"):
        calibrate(Tanks(), {"t": record.t, "q": record.u[:, 0], "level": record.y[:, 0]})
    with pytest.raises(InputError, match="Nothing is free"):
        calibrate(Tanks(), record, free=(), initial="fixed")


def test_a_start_at_which_the_model_is_not_finite_is_told():
    class Blind(Tanks):
        def observe(self, t: Scalar, x: Levels, u: Pump) -> Gauges:
            return Gauges(a=jnp.log(x.a - 0.9), b=x.b)

    t = TIMES[:50]
    record = {"t": t, "q": 0.0, "y.a": np.zeros(50), "y.b": np.ones(50)}
    fit = calibrate(Blind(), record, method=METHOD, starts=1)
    assert fit.outcome is FitOutcome.NOT_FINITE
    with pytest.raises(NumericalError, match="not finite at the start"):
        calibrate(Blind(), record, method=METHOD, starts=1, throw=True)


def test_default_choice_is_what_has_a_prior(run):
    class Known(Tanks):
        k2: Scalar = param("m^1/2/s", 0.015, prior=LogNormal(0.5))

    fit = calibrate(Known(), run.as_record(1), method=METHOD, starts=1)
    assert [e.name for e in fit.estimates] == ["k2", "a(0)", "b(0)"]
    assert fit["k2"].value == pytest.approx(0.02, rel=0.02)
