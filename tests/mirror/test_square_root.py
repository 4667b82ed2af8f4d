"""Filters on factors: the algebra against NumPy and mpmath, the methods against theory."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import plants
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import least_squares

from pollux import (
    Cubature,
    Ekf,
    IteratedEkf,
    NoInput,
    Readings,
    Scalar,
    Signals,
    SquareRootEkf,
    SquareRootUkf,
    Twin,
    Ukf,
    build_mirror,
    flatten,
    var,
)
from pollux.core.errors import InputError
from pollux.mirror.scan import compiled, filtered
from pollux.model.backend import Xla
from pollux.model.gaussian import correct
from pollux.model.squareroot import covariance, factor, triangular, update

TRIANGULAR, FACTOR, UPDATE, CORRECT = map(jax.jit, (triangular, factor, update, correct))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([(1, 1), (3, 3), (4, 9)]), st.floats(0, 9))
def test_triangular_is_the_factor_of_qr(seed, shape, badness):
    g = np.random.default_rng(seed)
    A = g.standard_normal(shape) * 10.0 ** -g.uniform(0, badness, (shape[0], 1))
    L = np.asarray(TRIANGULAR(jnp.asarray(A)))
    R = np.linalg.qr(A.T, mode="r")
    R = R * np.where(np.diag(R) < 0, -1.0, 1.0)[:, None]
    scale = np.linalg.norm(A, axis=1)[:, None]
    assert np.array_equal(L, np.tril(L))
    assert (np.diag(L) >= 0).all()
    error = L - R.T
    assert np.abs(error / scale).max() < 1e-13 * np.linalg.cond(A / scale)
    np.testing.assert_allclose(L @ L.T / (scale * scale.T), A @ A.T / (scale * scale.T), atol=1e-13)


def test_triangular_survives_dependent_rows_and_zeros():
    a = np.array([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [0.0, 0.0, 0.0]])
    L = np.asarray(TRIANGULAR(jnp.asarray(a)))
    np.testing.assert_allclose(L @ L.T, a @ a.T, atol=1e-14)
    slope = jax.jacfwd(TRIANGULAR)(jnp.zeros((2, 2)))
    assert np.isfinite(slope).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([1, 3, 7]))
def test_factor_is_cholesky_and_mends_what_rounding_broke(seed, n):
    g = np.random.default_rng(seed)
    A = g.standard_normal((n, n)) * 10.0 ** g.uniform(-6, 6, (n, 1))
    P = A @ A.T
    d = np.sqrt(np.diag(P))
    L = np.asarray(FACTOR(jnp.asarray(P)))
    np.testing.assert_allclose(L @ L.T / np.outer(d, d), P / np.outer(d, d), atol=1e-13)
    rank_one = np.outer(d, d) * (1 + 1e-16 * g.standard_normal((n, n)))
    L = np.asarray(FACTOR(jnp.asarray(rank_one)))
    assert np.isfinite(L).all()
    np.testing.assert_allclose(L @ L.T / np.outer(d, d), 1.0, atol=1e-13)
    again = np.asarray(FACTOR(covariance(jnp.asarray(L))))
    assert (np.diag(again) > 0).all()
    P[0, :] = P[:, 0] = 0.0
    assert np.isfinite(np.asarray(FACTOR(jnp.asarray(P)))).all()


def test_a_missing_number_stays_missing():
    assert np.isnan(np.asarray(FACTOR(jnp.asarray([[np.nan, 0.0], [0.0, 1.0]])))[0, 0])
    assert np.isnan(np.asarray(TRIANGULAR(jnp.asarray([[np.nan, 1.0], [0.0, 1.0]])))).any()


def relative_error(delta: float, form: str) -> float:
    """Grewal and Andrews (2015), Kalman Filtering, example 7.2: two almost equal, almost perfect sensors."""
    H = np.array([[1.0, 1.0, 1.0], [1.0, 1.0, 1.0 + delta]])
    mp = mpmath.matrix(H.tolist())
    with mpmath.workdps(80):
        S = mp * mp.T + mpmath.mpf(delta) ** 2 * mpmath.eye(2)
        exact = np.array((mpmath.eye(3) - mp.T * mpmath.inverse(S) * mp).tolist(), dtype=float)
    zero, R, used = jnp.zeros(2), jnp.full(2, delta**2), jnp.ones(2)
    if form == "joseph":
        P = CORRECT(jnp.zeros(3), jnp.eye(3), jnp.asarray(H), zero, R, used)[1]
    else:
        L = UPDATE(jnp.zeros(3), jnp.eye(3), jnp.asarray(H), None, zero, R, used)[1]
        P = L @ L.T
    return float(np.abs(np.asarray(P) - exact).max())


def test_an_ill_conditioned_update_keeps_its_digits():
    """Near delta = sqrt(eps) the conventional update fails; the array form degrades no faster than eps / delta."""
    for delta in (1e-3, 1e-5, 1e-7, 1e-9, 1e-11):
        assert relative_error(delta, "array") < 50 * np.finfo(float).eps / delta
    assert relative_error(1e-7, "array") < 0.01 * relative_error(1e-7, "joseph")


def test_a_perfect_sensor_on_a_vague_state_keeps_its_variance():
    """Where the prior is 1e20 times the posterior, `Ekf` states the rounding of the prior; factors hold all digits."""
    args = jnp.zeros(1), jnp.asarray([[1.0]]), jnp.zeros(1), jnp.asarray([1e-12]), jnp.ones(1)
    x, H, nu, R, used = args
    _, L, _, _ = UPDATE(x, jnp.asarray([[1e4]]), H * 1e4, None, nu, R, used)
    assert float(covariance(L)[0, 0]) == pytest.approx(1e-12, rel=1e-10)
    assert float(CORRECT(x, jnp.asarray([[1e8]]), H, nu, R, used)[1][0, 0]) > 1e-8


class Place(Signals):
    x: Scalar = var("m", start=3.0, spread=2.0)
    y: Scalar = var("m", start=1.0, spread=0.5)


class Range(Signals):
    r: Scalar = var("m", noise=0.01)


class Beacon(Twin[Place, NoInput, Range]):
    """A strongly curved sensor: the distance from the origin."""

    def dynamics(self, t: Scalar, x: Place, u: NoInput) -> Place:
        return Place(x=0.0 * x.x, y=0.0 * x.y)

    def observe(self, t: Scalar, x: Place, u: NoInput) -> Range:
        return Range(r=jnp.sqrt(x.x**2 + x.y**2))


def first_update(method, value):
    mirror = build_mirror(Beacon(), method=method, gate=0.0)
    return mirror.update(mirror.start(0.0), Readings("Beacon", 0.0, "r", "", np.array([value]), np.zeros(0)))


@pytest.mark.parametrize("value", [1.0, 2.0, 6.0])
def test_iterations_end_at_the_mode_with_the_curvature_there(value):
    belief = first_update(IteratedEkf(30), value)
    prior, sd = np.array([3.0, 1.0]), np.array([2.0, 0.5])
    best = least_squares(
        lambda x: np.r_[(x - prior) / sd, (np.hypot(*x) - value) / 0.01], prior, xtol=1e-15, ftol=1e-15, gtol=1e-15
    )
    np.testing.assert_allclose(belief.mean, best.x, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(belief.cov, np.linalg.inv(best.jac.T @ best.jac), rtol=1e-3, atol=1e-7)


def test_iterating_beats_one_linearisation():
    def misfit(method):
        return abs(np.hypot(*first_update(method, 1.0).mean) - 1.0)

    assert misfit(IteratedEkf()) < 0.05 * misfit(Ekf())


@pytest.mark.parametrize(
    ("root", "plain"), [(SquareRootEkf(), Ekf()), (SquareRootUkf(), Ukf()), (Cubature(), Ukf(0.0))]
)
def test_a_nonlinear_twin_equals_the_plain_form(tank, root, plain):
    a, b = (build_mirror(tank, method=m, gate=0.0) for m in (root, plain))
    left, right = a.start(0.0), b.start(0.0)
    g = np.random.default_rng(3)
    for k in range(1, 12):
        y = np.array([1.0, 293.0]) + g.standard_normal(2) * [0.02, 0.5]
        y[k % 5 == 0] = np.nan
        reading = Readings(left.twin, 10.0 * k, "r", "", y, np.array([0.01, 1e4 * k]))
        left, right = a.update(left, reading), b.update(right, reading)
        np.testing.assert_allclose(left.mean, right.mean, rtol=1e-9)
        np.testing.assert_allclose(left.cov, right.cov, rtol=1e-7, atol=1e-14)
        assert left.nis == pytest.approx(right.nis, rel=1e-7)


@pytest.mark.parametrize("method", [SquareRootUkf(), Cubature()])
def test_sigma_points_integrate_a_square_exactly(method):
    """E[x^2] and its variance for a Gaussian, with kappa = 2; the mean alone is exact for the cubature rule."""

    class Bent(Twin[plants.One, NoInput, Range]):
        def dynamics(self, t: Scalar, x: plants.One, u: NoInput) -> plants.One:
            return plants.One(x=0.0 * x.x)

        def observe(self, t: Scalar, x: plants.One, u: NoInput) -> Range:
            return Range(r=x.x**2)

    mirror = build_mirror(Bent(), method=method, gate=0.0)
    belief = mirror.update(mirror.start(0.0), Readings("Bent", 0.0, "r", "", np.array([1.3]), np.zeros(0)))
    m, v = 1.0, 0.25
    assert belief.predicted[0] == pytest.approx(m * m + v, rel=1e-12)
    if isinstance(method, SquareRootUkf):
        assert belief.innovation_var[0] == pytest.approx(4 * m * m * v + 2 * v * v + 0.01**2, rel=1e-10)


@pytest.mark.parametrize("method", [SquareRootEkf(), SquareRootUkf(), Cubature(), IteratedEkf(2)])
def test_a_fleet_equals_its_members(method):
    space = flatten(plants.Cart())
    from pollux.mirror.method import program

    low, high = space.bounds("x")
    step = program(method, space.system, 4, low, high)
    g = np.random.default_rng(0)
    N = 5
    A = g.standard_normal((2, 2, N))
    P = np.einsum("ijn,kjn->ikn", A, A)
    args = [np.zeros(N), np.ones(N), g.standard_normal((2, N)), P, np.zeros((1, N)), np.zeros((1, N)),
            g.standard_normal((2, N)), np.ones((2, N)), np.full((2, N), np.inf), np.full((1, N), 0.1)]  # fmt: skip
    together = Xla().fleet(step)(*args, space.Q, space.R)
    for i in range(N):
        alone = Xla().one(step)(*(a[..., i] for a in args), space.Q, space.R)
        for a, b in zip(together, alone, strict=True):
            np.testing.assert_allclose(a[..., i], b, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("method", [SquareRootEkf(), SquareRootUkf(), Cubature(), IteratedEkf(2)])
def test_native_kernels_equal_xla(method):
    from pollux.mirror.method import program
    from pollux.model.native import Native

    space = flatten(plants.Cart())
    step = program(method, space.system, 4, *space.bounds("x"))
    g = np.random.default_rng(1)
    N = 19
    A = g.standard_normal((2, 2, N))
    y = g.standard_normal((2, N))
    y[0, ::5] = np.nan
    args = [np.zeros(N), np.ones(N), g.standard_normal((2, N)), np.einsum("ijn,kjn->ikn", A, A), np.zeros((1, N)),
            np.zeros((1, N)), y, np.ones((2, N)), np.full((2, N), np.inf), np.full((1, N), 0.1)]  # fmt: skip
    pairs = zip(Native().fleet(step)(*args, space.Q, space.R), Xla().fleet(step)(*args, space.Q, space.R), strict=True)
    for native, xla in pairs:
        np.testing.assert_allclose(native, xla, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("method", [SquareRootEkf(), SquareRootUkf(), Cubature()])
def test_positive_definite_over_a_hundred_thousand_harsh_steps(method):
    """Condition up to 1e20, far beyond what float64 can hold in a covariance; every posterior can be factorised."""
    space = flatten(plants.Cart())
    T = 100_000
    g = np.random.default_rng(0)
    y = np.where(g.uniform(size=(T, 2)) < 0.9, np.nan, g.standard_normal((T, 2)) * 1e-6)
    walk = compiled(space.system, method, 1, (-np.inf,) * 2, (np.inf,) * 2, 1)
    P = walk(
        np.arange(T) * 1.0, np.ones(T), np.zeros((T, 1)), np.zeros((T, 1)), y,
        (jnp.zeros(2), jnp.diag(jnp.array([1e8, 1e-2]))), jnp.asarray(space.p0), jnp.array([0.0, 1e-14]),
        jnp.array([1e-12, 1e2]), np.inf, np.inf,
    )[1]  # fmt: skip
    P = np.asarray(P)
    assert np.isfinite(P).all()
    np.linalg.cholesky(P)
    assert np.array_equal(P, np.swapaxes(P, 1, 2))


@pytest.mark.parametrize("method", [SquareRootEkf(), SquareRootUkf()], ids=repr)
def test_the_likelihood_can_be_differentiated(method):
    """By both noises, although the first interval has no length."""
    y, u = plants.drive(30, 1)
    space = flatten(plants.Cart())
    walk = filtered(space.system, method, 1, (-np.inf,) * 2, (np.inf,) * 2, 1)
    t = np.arange(30.0)
    dt = np.r_[0.0, np.ones(29)]

    def loss(levels):
        *_, nis, logdet = walk(
            t, dt, u, u, y, (jnp.asarray(space.x0), jnp.diag(space.P0)), jnp.asarray(space.p0),
            space.Q * jnp.exp(levels[0]), space.R * jnp.exp(levels[1]), np.inf, np.inf,
        )  # fmt: skip
        return jnp.sum(nis + logdet)

    h, at = 1e-5, jnp.array([0.1, 0.1])
    slope = [float(loss(at + e) - loss(at - e)) / (2 * h) for e in h * jnp.eye(2)]
    np.testing.assert_allclose(jax.jit(jax.grad(loss))(at), slope, rtol=1e-6)


def test_settings_are_checked():
    with pytest.raises(InputError, match="kappa"):
        SquareRootUkf(-1.0)
    with pytest.raises(InputError, match="iteration"):
        IteratedEkf(0)
