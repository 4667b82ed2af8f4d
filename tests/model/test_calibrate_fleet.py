"""`calibrate_fleet` against `calibrate` on each twin alone, and with twins that cannot be calibrated among them."""

import jax.numpy as jnp
import numpy as np
import pytest

from pollux import RK4, LogNormal, Record, Scalar, Signals, Twin, calibrate, calibrate_fleet, param, simulate, var
from pollux.core.errors import DefinitionError, InputError
from pollux.model.backend import Xla
from pollux.model.identify import Verdict
from pollux.model.leastsquares import FitOutcome
from pollux.model.native import Native
from pollux.model.rounds import WORTH

TIMES = 4.0 * np.arange(120)
METHOD = RK4(1)
TWINS = 11


class Levels(Signals):
    a: Scalar = var("m", start=1.0, within=(0.0, 5.0))
    b: Scalar = var("m", start=1.0, within=(0.0, 5.0))


class Pump(Signals):
    q: Scalar = var("m/s", start=0.03)


class Gauges(Signals):
    a: Scalar = var("m", noise=0.01)
    b: Scalar = var("m", noise=0.01)


class Tanks(Twin[Levels, Pump, Gauges]):
    k1: Scalar = param("m^1/2/s", 0.04, within=(1e-4, 0.045))
    k2: Scalar = param("m^1/2/s", 0.015, within=(1e-4, 1.0), prior=LogNormal(1.0))
    gain: Scalar = param("1", 1.0)

    def dynamics(self, t: Scalar, x: Levels, u: Pump) -> Levels:
        out = self.k1 * jnp.sqrt(jnp.maximum(x.a, 1e-9))
        return Levels(a=self.gain * u.q - out, b=out - self.k2 * jnp.sqrt(jnp.maximum(x.b, 1e-9)))

    def observe(self, t: Scalar, x: Levels, u: Pump) -> Gauges:
        return Gauges(a=x.a, b=x.b)


def pumped(seed: int) -> np.ndarray:
    return np.repeat(np.random.default_rng(seed).uniform(0.01, 0.04, 12), 10)


@pytest.fixture(scope="module")
def fleet():
    """Readings (T, ny, N), inputs (T, m, N) and what each twin starts from (n_p, N)."""
    rng = np.random.default_rng(0)
    y, u = np.empty((120, 2, TWINS)), np.empty((120, 1, TWINS))
    for i in range(TWINS):
        u[:, 0, i] = pumped(i)
        truth = Tanks(k1=rng.uniform(0.02, 0.05), k2=rng.uniform(0.01, 0.03))
        y[:, :, i] = simulate(truth, {"q": u[:, 0, i]}, times=TIMES, method=METHOD).y
    y += 0.01 * rng.standard_normal(y.shape)
    y[60:, 1, 2] = np.nan
    y[rng.random(y.shape) < 0.1] = np.nan
    start = np.stack([rng.uniform(0.025, 0.04, TWINS), rng.uniform(0.01, 0.03, TWINS), np.ones(TWINS)])
    return y, u, start


def fitted(fleet, **options):
    y, u, start = fleet
    options = {"inputs": u, "parameters": start, "free": ("k1", "k2")} | options
    return calibrate_fleet(Tanks(), y, times=TIMES, method=METHOD, **options)


def alone(fleet, i, **options):
    y, u, start = fleet
    twin = Tanks(k1=start[0, i], k2=start[1, i], gain=start[2, i])
    record = Record(TIMES, u[:, :, i], y[:, :, i], ("q",), ("a", "b"))
    return calibrate(twin, record, free=("k1", "k2"), method=METHOD, starts=1, **options)


@pytest.mark.parametrize("initial", ["free", "prior", "fixed"])
def test_every_twin_is_fitted_as_it_would_be_alone(fleet, initial):
    fit = fitted(fleet, initial=initial)
    assert fit.ok.all()
    for i in range(TWINS):
        one = alone(fleet, i, initial=initial)
        assert fit.names == tuple(e.name for e in one.estimates)
        np.testing.assert_allclose(fit.values[:, i], [e.value for e in one.estimates], rtol=1e-7)
        np.testing.assert_allclose(fit.errors[:, i], [e.plain_error for e in one.estimates], rtol=1e-6)
        np.testing.assert_array_equal(fit.at_bound[:, i], [e.at_bound for e in one.estimates])
        assert fit.loss[i] == pytest.approx(one.loss, rel=1e-9)
        assert fit.chi2[i] == pytest.approx(one.chi2, rel=1e-9)
        assert fit.autocorrelation[i] == pytest.approx(one.autocorrelation, abs=1e-9)
        np.testing.assert_allclose(fit.rmse[:, i], list(one.rmse.values()), rtol=1e-9)
        assert fit.outcomes[i] is one.outcome
        assert fit.passes[i] == one.trials[0].iterations
        assert fit.identifiable[i] == one.identifiability.ok
        assert fit.member(i).k1 == pytest.approx(one.twin.k1, rel=1e-7)
        assert fit.initial(i).a == pytest.approx(one.initial[0].a, rel=1e-7)
    assert fit.at_bound[0].any()


def test_native_and_xla_agree(fleet):
    ours = fitted(fleet, initial="fixed", backend=Native(fallback=None))
    peer = fitted(fleet, initial="fixed", backend=Xla())
    np.testing.assert_allclose(ours.values, peer.values, rtol=1e-8)
    np.testing.assert_allclose(ours.errors, peer.errors, rtol=1e-7)
    np.testing.assert_array_equal(ours.passes, peer.passes)


def test_a_large_fleet_gives_the_same_bits_as_small_ones(fleet):
    """In a large fleet the twins that take longer move together, in several rounds."""
    y, u, _ = fleet
    rng = np.random.default_rng(7)
    size = 50 * TWINS
    assert size > 2 * WORTH
    start = np.stack([rng.uniform(5e-3, 0.044, size), rng.uniform(2e-3, 0.1, size), rng.uniform(0.7, 1.3, size)])
    whole = fitted((np.tile(y, 50), np.tile(u, 50), start))
    assert np.median(whole.passes) < 0.6 * whole.passes.max()
    for i in range(0, size, 10 * TWINS):
        part = fitted((y, u, start[:, i : i + TWINS]))
        for name in ("values", "errors", "loss", "passes"):
            np.testing.assert_array_equal(getattr(whole, name)[..., i : i + TWINS], getattr(part, name))


def test_twins_that_cannot_be_calibrated_are_said_and_change_no_other(fleet):
    y, u, start = fleet
    whole = fitted(fleet)
    spoiled, stranger = y.copy(), start.copy()
    spoiled[:, 1, 3] = np.nan  # nothing sees b any more, so nothing sees k2 and b(0)
    spoiled[:, :, 5] = np.nan
    stranger[2, 7] = np.nan
    fit = fitted((spoiled, u, stranger))
    others = [i for i in range(TWINS) if i not in (3, 5, 7)]
    for name in ("values", "errors", "loss", "chi2", "autocorrelation", "rmse", "passes", "identifiable"):
        np.testing.assert_array_equal(getattr(fit, name)[..., others], getattr(whole, name)[..., others])
    assert fit.identifiable[others].all()
    assert not fit.identifiable[[3, 5, 7]].any()
    assert fit.identifiability(3).verdict is Verdict.STRUCTURAL
    assert {n for d in fit.identifiability(3).directions for n in d.weights} == {"k2", "b(0)"}
    assert np.isfinite(fit.error("a(0)")[3])
    assert np.isinf(fit.error("b(0)")[3])
    assert np.isfinite(fit.error("k2")[3])  # by its prior
    assert fit.loss[5] == 0
    assert np.isnan(fit.rmse[:, 5]).all()
    assert fit.identifiability(5).rank == fit.identifiability(7).rank == 0
    assert fit.outcomes[7] is FitOutcome.NOT_FINITE
    assert np.isinf(fit.loss[7])
    assert not fit.ok[7]
    text = repr(fit)
    for word in (f"{TWINS} x Tanks", "10 converged", "1 the model is not finite at the start", "3 not identifiable"):
        assert word in text


def test_identifiability_of_one_is_that_of_its_fit(fleet):
    fit = fitted(fleet, free=("k1", "k2", "gain"))
    one = calibrate(
        Tanks(k1=fleet[2][0, 4], k2=fleet[2][1, 4]),
        Record(TIMES, fleet[1][:, :, 4], fleet[0][:, :, 4], ("q",), ("a", "b")),
        free=("k1", "k2", "gain"), method=METHOD, starts=1,
    )  # fmt: skip
    ours = fit.identifiability(4)
    assert ours.verdict is one.identifiability.verdict
    np.testing.assert_allclose(ours.singular_values, one.identifiability.singular_values, rtol=1e-5)


def test_one_input_for_all_and_readings_by_name(fleet):
    y, u, start = fleet
    same = np.repeat(u[:, :, :1], TWINS, axis=2)
    named = {"a": y[:, 0], "b": y[:, 1]}
    one = calibrate_fleet(Tanks(), named, times=TIMES, inputs={"q": u[:, 0, 0]}, parameters=start, method=METHOD)
    many = calibrate_fleet(Tanks(), y, times=TIMES, inputs=same, parameters=start, method=METHOD)
    np.testing.assert_allclose(one.values, many.values, rtol=1e-12)


def test_inputs_that_are_missing_hold_their_last_value(fleet):
    y, u, start = fleet
    held, holes = u.copy(), u.copy()
    held[40:45] = held[39]
    holes[40:45] = np.nan
    holes[0, 0, 6] = np.nan  # nothing to hold
    fit, peer = fitted((y, holes, start)), fitted((y, held, start))
    others = [i for i in range(TWINS) if i != 6]
    np.testing.assert_array_equal(fit.values[:, others], peer.values[:, others])
    assert fit.outcomes[6] is FitOutcome.NOT_FINITE


def test_without_declared_noise_each_twin_is_weighed_by_its_own_scatter(fleet):
    class Plain(Signals):
        a: Scalar = var("m")
        b: Scalar = var("m")

    class Quiet(Twin[Levels, Pump, Plain]):
        k1: Scalar = param("1/s", 0.03)
        k2: Scalar = param("1/s", 0.02)

        def dynamics(self, t: Scalar, x: Levels, u: Pump) -> Levels:
            return Levels(a=u.q - self.k1 * x.a, b=self.k1 * x.a - self.k2 * x.b)

        def observe(self, t: Scalar, x: Levels, u: Pump) -> Plain:
            return Plain(a=x.a, b=x.b)

    y, u, _ = fleet
    fit = calibrate_fleet(Quiet(), y, times=TIMES, inputs=u, method=METHOD)
    record = Record(TIMES, u[:, :, 1], y[:, :, 1], ("q",), ("a", "b"))
    one = calibrate(Quiet(), record, method=METHOD, starts=1)
    np.testing.assert_allclose(fit.errors[:, 1], [e.plain_error for e in one.estimates], rtol=1e-6)


def test_refusals(fleet):
    y, u, start = fleet
    with pytest.raises(InputError, match=r"shape \(120, 2, N\), received \(120, 2\)"):
        fitted((y[..., 0], u, start))
    with pytest.raises(InputError, match=r"received \{'level'"):
        fitted(({"level": y[:, 0]}, u, start))
    with pytest.raises(InputError, match="inputs of 3"):
        fitted((y, u[..., :3], start))
    with pytest.raises(InputError, match=r"`parameters` of 11"):
        fitted((y, u, start[:2]))
    with pytest.raises(InputError, match=r"`x0` of 11"):
        fitted(fleet, x0=np.ones((2, 3)))
    with pytest.raises(InputError, match="Nothing is free"):
        fitted(fleet, free=(), initial="fixed")
    with pytest.raises(DefinitionError, match="no parameter 'k9'"):
        fitted(fleet, free=("k9",))
    with pytest.raises(DefinitionError, match="No unknown 'k9'"):
        fitted(fleet)["k9"]
