"""The identifiability verdict, against symmetries that are known on paper."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pollux import RK4, Scalar, Signals, Twin, calibrate, param, simulate, var
from pollux.model.identify import Verdict, identify, sparse_basis


class Levels(Signals):
    a: Scalar = var("V", start=5.0, within=(0.0, 15.0))
    b: Scalar = var("V", start=5.0, within=(0.0, 15.0))


class Pump(Signals):
    u: Scalar = var("V", start=3.0)


class Gauge(Signals):
    y: Scalar = var("V", noise=0.05)


class Textbook(Twin[Levels, Pump, Gauge]):
    """Cascaded tanks of the textbook; a free scale between level and sensor."""

    k1: Scalar = param("V^1/2/s", 0.05, within=(0.0, 1.0))
    k2: Scalar = param("V^1/2/s", 0.05, within=(0.0, 1.0))
    k3: Scalar = param("V^1/2/s", 0.05, within=(0.0, 1.0))
    k4: Scalar = param("1/s", 0.04, within=(0.0, 1.0))
    s: Scalar = param("1", 1.0, within=(0.0, 10.0))

    def dynamics(self, t: Scalar, x: Levels, u: Pump) -> Levels:
        a, b = jnp.sqrt(jnp.maximum(x.a, 1e-9)), jnp.sqrt(jnp.maximum(x.b, 1e-9))
        return Levels(a=self.k4 * u.u - self.k1 * a, b=self.k2 * a - self.k3 * b)

    def observe(self, t: Scalar, x: Levels, u: Pump) -> Gauge:
        return Gauge(y=self.s * x.b)


@pytest.fixture(scope="module")
def record():
    u = np.repeat(np.random.default_rng(5).uniform(1.0, 5.0, 15), 20)
    return simulate(Textbook(), {"u": u}, times=4.0 * np.arange(300), method=RK4(1)).as_record(1)


def directions(fit):
    return [d.weights for d in fit.identifiability.directions if d.structural]


def test_the_free_scale_of_the_textbook_tanks_is_named(record):
    """By hand: (a, k1, k4, k2) -> (c a, c^1/2 k1, c k4, c^-1/2 k2) and (b, k2, k3, s) -> (c b, c k2, c^1/2 k3, s/c)."""
    fit = calibrate(Textbook(k1=0.06), record, method=RK4(1), starts=2)
    verdict = fit.identifiability
    assert verdict.verdict is Verdict.STRUCTURAL
    assert verdict.rank == 5
    assert np.isinf(verdict.condition)
    first, second = directions(fit)
    assert first == pytest.approx({"k1": 0.5, "k2": -0.5, "k4": 1.0, "a(0)": 1.0}, abs=1e-4)
    assert second == pytest.approx({"k2": 1.0, "k3": 0.5, "s": -1.0, "b(0)": 1.0}, abs=1e-4)
    assert "log k1 : log k2 : log k4 : log a(0) = 1/2 : -1/2 : 1 : 1" in str(verdict)
    assert "no sensor would show it" in str(verdict)
    for name in ("k1", "k2", "k4", "s"):
        assert np.isinf(fit[name].error)
    assert "undetermined" in repr(fit)


def test_fixing_one_of_each_makes_it_identifiable(record):
    fit = calibrate(Textbook(), record, free=("k2", "k3", "k4"), method=RK4(1), starts=1)
    assert fit.identifiability.ok
    assert np.isfinite(fit.identifiability.condition)
    assert all(np.isfinite(e.error) for e in fit.estimates)


def test_a_prior_does_not_hide_it(record):
    """The verdict is about the data; the prior only makes the errors finite."""
    from pollux import LogNormal

    class Believed(Textbook):
        k1: Scalar = param("V^1/2/s", 0.05, within=(0.0, 1.0), prior=LogNormal(0.1))

    fit = calibrate(Believed(), record, free=("k1", "k2", "k3", "k4"), method=RK4(1), starts=1)
    assert fit.identifiability.verdict is Verdict.STRUCTURAL
    assert np.isfinite(fit["k1"].error)
    assert np.isfinite(fit["k4"].error)


def test_a_still_record_leaves_it_open(record):
    """At rest only ratios show: k4 u = k1 sqrt(a), k2 sqrt(a) = k3 sqrt(b)."""
    still = simulate(Textbook(), {"u": 2.795}, times=4.0 * np.arange(300), method=RK4(1)).as_record(1)
    fit = calibrate(Textbook(), still, free=("k2", "k3", "k4"), method=RK4(1), starts=1)
    assert fit.identifiability.verdict is not Verdict.IDENTIFIABLE
    assert "livelier record" in str(fit.identifiability)


def test_a_parameter_that_no_sensor_sees(record):
    class Idle(Textbook):
        idle: Scalar = param("1", 2.0, within=(0.0, 5.0))

    fit = calibrate(Idle(), record, free=("k2", "k3", "k4", "idle"), method=RK4(1), starts=1)
    assert directions(fit) == [{"idle": 1.0}]
    assert "`idle` moves no sensor" in str(fit.identifiability)


@given(seed=st.integers(0, 10_000), k=st.integers(2, 7), lost=st.integers(1, 2))
@settings(max_examples=40, deadline=None)
def test_rank_and_null_space_are_right_for_any_matrix(seed, k, lost):
    rng = np.random.default_rng(seed)
    lost = min(lost, k - 1)
    hidden = rng.integers(-2, 3, (lost, k)).astype(float)
    hidden[np.arange(lost), np.arange(lost)] = 3.0
    S = rng.standard_normal((40, k)) * 100
    Q, _ = np.linalg.qr(hidden.T)
    S -= S @ Q @ Q.T
    names = tuple(f"p{i}" for i in range(k))
    found = identify(S, names, np.ones(k, bool))
    assert found.rank == k - lost
    basis = np.array([[d.weights.get(n, 0.0) for n in names] for d in found.directions if d.structural])
    assert np.linalg.matrix_rank(basis) == lost
    np.testing.assert_allclose(S @ basis.T, 0.0, atol=1e-6 * np.abs(S).max())


def test_the_basis_is_sparse():
    hidden = np.array([[1.0, 0.5, 0.0, 0.0, -1.0], [0.0, 0.0, 1.0, 2.0, 0.0]])
    mixed = np.array([[1.0, 2.0], [3.0, -1.0]]) @ hidden
    basis = sparse_basis(mixed)
    assert sorted(np.count_nonzero(v) for v in basis) == [2, 3]
