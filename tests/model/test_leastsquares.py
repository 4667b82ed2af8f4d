"""Levenberg-Marquardt on sums, against SciPy: bounds, priors, walls at which the residual is not finite."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import least_squares, lsq_linear

from pollux.model.leastsquares import FIT_OUTCOMES, FitOutcome, Tolerances, begin, levenberg_marquardt
from pollux.model.stream import Sums

TIGHT = Tolerances(1e-14, 1e-12, 200)


def sums(residual):
    def evaluate(z):
        r, J = residual(z), jax.jacfwd(residual)(z)
        return Sums(0.5 * r @ r, J.T @ r, J.T @ J)

    return evaluate


def solved(residual, z0, low=-np.inf, high=np.inf, precision=0.0, tol=TIGHT):
    z0 = np.asarray(z0, np.float64)
    low, high, precision = (np.broadcast_to(np.asarray(v, np.float64), z0.shape) for v in (low, high, precision))
    run = jax.jit(lambda *a: levenberg_marquardt(sums(residual), *a))
    out = run(begin(z0, low, high), low, high, precision, tol)
    return out, FIT_OUTCOMES[int(out.code)]


def rosenbrock(z):
    return jnp.stack([10 * (z[1] - z[0] ** 2), 1 - z[0]])


def test_rosenbrock():
    out, outcome = solved(rosenbrock, [-1.2, 1.0])
    assert outcome is FitOutcome.CONVERGED
    np.testing.assert_allclose(out.z, 1.0, rtol=1e-8)
    assert out.iterations < 40
    J = np.array([[-20.0, 10.0], [-1.0, 0.0]])
    np.testing.assert_allclose(out.H, J.T @ J, rtol=1e-8)


@pytest.mark.parametrize("box", [([-2.0, -1.0], [0.5, 2.0]), ([-2.0, 1.5], [3.0, 3.0]), ([1.2, -5.0], [2.0, 1.0])])
def test_active_bounds_as_scipy(box):
    z0 = np.clip([-1.2, 1.0], *box)
    out, outcome = solved(rosenbrock, z0, *box)
    peer = least_squares(
        rosenbrock, z0 + 1e-9 * (np.mean(box, axis=0) - z0), bounds=box, xtol=1e-15, ftol=1e-15, gtol=1e-15
    )
    assert outcome is FitOutcome.CONVERGED
    np.testing.assert_allclose(out.z, peer.x, rtol=1e-6)
    assert float(out.loss) == pytest.approx(peer.cost, rel=1e-9)


SHAPE = (12, 4)
BOXED = jax.jit(
    lambda A, b, at, low, high, precision: levenberg_marquardt(
        sums(lambda z: A @ z - b), at, low, high, precision, TIGHT
    )
)


@given(seed=st.integers(0, 10_000), width=st.floats(0.1, 3.0), pull=st.sampled_from([0.0, 1.0, 30.0]))
@settings(max_examples=40, deadline=None)
def test_linear_problems_in_any_box_as_scipy(seed, width, pull):
    """A prior is a row of the residual."""
    rng = np.random.default_rng(seed)
    A, b = rng.standard_normal(SHAPE), 3 * rng.standard_normal(SHAPE[0])
    middle = rng.standard_normal(4)
    low, high = middle - width, middle + width
    out = BOXED(A, b, begin(middle, low, high), low, high, np.full(4, pull))
    peer = lsq_linear(
        np.vstack([A, np.sqrt(pull) * np.eye(4)]), np.append(b, np.zeros(4)), (low, high), method="bvls", tol=1e-14
    )
    assert float(out.loss) == pytest.approx(peer.cost, rel=1e-9)
    np.testing.assert_allclose(out.z, peer.x, atol=1e-5)


def test_a_start_that_is_not_finite_is_told():
    out, outcome = solved(lambda z: jnp.log(z), [-1.0])
    assert outcome is FitOutcome.NOT_FINITE
    assert out.iterations == 1
    assert np.isinf(out.loss)
    np.testing.assert_array_equal(out.z, [-1.0])


def test_a_wall_that_is_not_finite_is_stepped_back_from():
    """From 4 the first step of log z = 0 lands below zero."""
    out, outcome = solved(lambda z: jnp.log(z), [4.0])
    assert outcome is FitOutcome.CONVERGED
    np.testing.assert_allclose(out.z, 1.0, rtol=1e-9)


def test_an_island_is_not_called_a_minimum():
    """Finite at the start alone."""
    _, outcome = solved(lambda z: jnp.where(z == 2.0, z, jnp.nan), [2.0])
    assert outcome is FitOutcome.STUCK


def test_a_limit_of_passes_is_told():
    out, outcome = solved(rosenbrock, [-1.2, 1.0], tol=Tolerances(1e-14, 1e-12, 3))
    assert outcome is FitOutcome.MAX_STEPS
    assert out.iterations == 3


def test_going_on_is_as_if_nothing_had_been():
    low, high, none = np.full(2, -np.inf), np.full(2, np.inf), np.zeros(2)
    evaluate = sums(rosenbrock)
    run = jax.jit(lambda at, n: levenberg_marquardt(evaluate, at, low, high, none, Tolerances(1e-14, 1e-12, n)))
    start = begin(np.array([-1.2, 1.0]), low, high)
    whole, part = run(start, 200), start
    for limit in range(3, 60, 3):
        part = run(part, limit)
        if not part.running:
            break
    assert not part.running
    for a, b in zip(part, whole, strict=True):
        np.testing.assert_array_equal(a, b)


def test_lanes_do_not_see_each_other():
    z0 = np.array([[-1.2, np.nan, 0.3], [1.0, 0.0, -2.0]])
    wide = np.full(2, np.inf)
    run = jax.vmap(lambda at: levenberg_marquardt(sums(rosenbrock), at, -wide, wide, np.zeros(2), TIGHT), -1, -1)
    out = run(begin(z0, -wide[:, None], wide[:, None]))
    assert [FIT_OUTCOMES[int(c)] for c in out.code] == [
        FitOutcome.CONVERGED, FitOutcome.NOT_FINITE, FitOutcome.CONVERGED,
    ]  # fmt: skip
    np.testing.assert_allclose(out.z[:, ::2], 1.0, rtol=1e-7)
