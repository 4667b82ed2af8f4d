"""EKF and UKF against a textbook Kalman filter, filterpy and theory."""

import jax
import jax.numpy as jnp
import numpy as np
import plants
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pollux import (
    Cubature,
    Ekf,
    IteratedEkf,
    Readings,
    Record,
    SquareRootEkf,
    SquareRootUkf,
    Ukf,
    assimilate,
    build_fleet,
    build_mirror,
    flatten,
)
from pollux.mirror.scan import compiled
from pollux.mirror.update import threshold
from pollux.model.gaussian import SEQUENTIAL, correct, propagate

METHODS = [Ekf(), Ukf(), SquareRootEkf(), SquareRootUkf(), Cubature(), IteratedEkf()]


def cart_record(T=120, seed=1):
    y, u = plants.drive(T, seed)
    return Record(np.arange(T, dtype=float), u, y, ("a",), ("place", "speed"))


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_linear_twin_equals_the_textbook(method):
    record = cart_record()
    track = assimilate(plants.Cart(), record, method=method, gate=0.0)
    means, covs, logs = plants.textbook(record.y, record.u[:, 0])
    np.testing.assert_allclose(track.mean, means, atol=1e-10)
    np.testing.assert_allclose(track.cov, covs, atol=1e-11)
    np.testing.assert_allclose(track.loglik, logs, atol=1e-9)


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_fold_over_readings_equals_the_scan(method):
    record = cart_record(30)
    track = assimilate(plants.Cart(), record, method=method)
    mirror = build_mirror(plants.Cart(), method=method)
    belief = mirror.start(0.0)
    for k in range(len(record)):
        belief = mirror.update(belief, Readings("Cart", record.t[k], f"r{k}", "", record.y[k], record.u[k]))
        # The same arithmetic in two compiled programs: a compiler may round the last place differently (JAX 0.12 does).
        np.testing.assert_allclose(belief.mean, track.mean[k], rtol=1e-13, atol=1e-15)
        np.testing.assert_allclose(belief.cov, track.cov[k], rtol=1e-13, atol=1e-15)
        assert belief.source == f"r{k}"
        assert belief.id == f"Cart/belief/{k + 1}"


def test_nonlinear_twin_equals_filterpy(tank):
    filterpy = pytest.importorskip("filterpy.kalman")
    space = flatten(tank)
    mirror = build_mirror(space, gate=0.0, dt_max=1e9)
    flow = compiled_flow(space)
    jac = jax.jit(jax.jacfwd(lambda x, u: flow(x, u)))
    ekf = filterpy.ExtendedKalmanFilter(2, 2)
    ekf.x, ekf.P, ekf.R = space.x0[:, None].copy(), np.diag(space.P0), np.diag(space.R)
    half = np.diag(space.Q) * 10.0 / 2
    g = np.random.default_rng(3)
    belief = mirror.start(0.0)
    u = space.u0
    for k in range(1, 20):
        y = np.array([1.0, 293.0]) + g.standard_normal(2) * [0.02, 0.5]
        J = np.asarray(jac(ekf.x[:, 0], u))
        ekf.P = J @ (ekf.P + half) @ J.T + half
        ekf.x = np.asarray(flow(ekf.x[:, 0], u))[:, None]
        ekf.update(y[:, None], lambda x: np.eye(2), lambda x: x)
        new_u = np.array([0.01, 1e4 * k])
        belief = mirror.update(belief, Readings("Tank", 10.0 * k, "r", "", y, new_u))
        u = new_u
        np.testing.assert_allclose(belief.mean, ekf.x[:, 0], rtol=1e-10)
        np.testing.assert_allclose(belief.cov, ekf.P, rtol=1e-8, atol=1e-14)


def compiled_flow(space):
    from pollux.model.rk4 import transition

    flow = transition(space.system, 4)
    return lambda x, u: flow(0.0, 10.0, jnp.asarray(x), jnp.asarray(u), jnp.asarray(space.p0))


@pytest.mark.parametrize("sensors", [2, SEQUENTIAL + 2])
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_order_of_sensors_does_not_matter(sensors, data):
    g = np.random.default_rng(data.draw(st.integers(0, 10_000)))
    order = np.array(data.draw(st.permutations(range(sensors))))
    A = g.standard_normal((3, 3))
    x, P = g.standard_normal(3), A @ A.T + 0.1 * np.eye(3)
    H, nu, R = g.standard_normal((sensors, 3)), g.standard_normal(sensors), g.uniform(0.1, 1.0, sensors)
    used = (g.uniform(size=sensors) > 0.3).astype(float)
    nu[used == 0] = np.nan
    a = correct(*map(jnp.asarray, (x, P, H, nu, R, used)))
    b = correct(*map(jnp.asarray, (x, P, H[order], nu[order], R[order], used[order])))
    for left, right in zip(a, b, strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-9, atol=1e-11)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_one_by_one_equals_jointly(seed):
    from pollux.model import gaussian

    g = np.random.default_rng(seed)
    A = g.standard_normal((3, 3))
    x, P = g.standard_normal(3), A @ A.T + 0.1 * np.eye(3)
    H, nu, R = g.standard_normal((4, 3)), g.standard_normal(4), g.uniform(0.1, 1.0, 4)
    used = (g.uniform(size=4) > 0.3).astype(float)
    args = tuple(map(jnp.asarray, (x, P, H, nu * used, R, used)))
    for left, right in zip(gaussian._one_by_one(*args), gaussian._jointly(*args), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-8, atol=1e-10)


def test_process_noise_is_exact_for_a_random_walk_and_of_third_order_else():
    P, Q = jnp.diag(jnp.array([0.3, 0.1])), jnp.array([0.2, 0.05])
    np.testing.assert_allclose(propagate(P, jnp.eye(2), Q, 7.0, False), P + 7.0 * jnp.diag(Q), rtol=1e-14)
    A = np.array([[0.0, 1.0], [-0.5, -0.2]])

    def error(dt):
        """Against Van Loan's exact integral."""
        M = np.block([[-A, np.diag(Q)], [np.zeros((2, 2)), A.T]]) * dt
        E = np.asarray(jax.scipy.linalg.expm(jnp.asarray(M)))
        Phi = E[2:, 2:].T
        exact = Phi @ np.asarray(P) @ Phi.T + Phi @ E[:2, 2:]
        return np.abs(np.asarray(propagate(P, jnp.asarray(Phi), Q, dt, False)) - exact).max()

    order = np.log2(error(0.4) / error(0.2))
    assert 2.7 < order < 3.3


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_covariance_stays_positive_definite(method):
    """100,000 steps with a precise sensor, a vague start and no process noise on one state."""
    space = flatten(plants.Cart())
    T = 100_000
    g = np.random.default_rng(0)
    y = np.where(g.uniform(size=(T, 2)) < 0.5, np.nan, g.standard_normal((T, 2)) * 1e-6)
    walk = compiled(space.system, method, 1, (-np.inf,) * 2, (np.inf,) * 2, 1)
    dt = np.ones(T)
    out = walk(
        np.arange(T) * 1.0, dt, np.zeros((T, 1)), np.zeros((T, 1)), y, (jnp.zeros(2), jnp.diag(jnp.array([1e8, 1e8]))),
        jnp.asarray(space.p0), jnp.array([0.0, 1e-12]), jnp.array([1e-12, 1e-2]), np.inf, np.inf,
    )  # fmt: skip
    P = np.asarray(out[1])
    assert np.isfinite(P).all()
    assert np.array_equal(P, np.swapaxes(P, 1, 2))
    correlation = P[:, 0, 1] / np.sqrt(P[:, 0, 0] * P[:, 1, 1])
    assert (np.diagonal(P, axis1=1, axis2=2) > 0).all()
    assert (np.abs(correlation) < 1).all()


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_stated_uncertainty_is_true(method):
    """Over 400 independent carts: coverage of the hidden state and mean NIS."""
    N, T = 400, 25
    fleet = build_fleet(plants.Cart(), N, method=method, gate=0.0)
    g = np.random.default_rng(5)
    x = np.array([0.0, 0.5])[:, None] + np.array([1.0, 0.3])[:, None] * g.standard_normal((2, N))
    belief = fleet.start(0.0)
    inside, nis, dof = [], 0.0, 0
    for k in range(1, T + 1):
        x = plants.F @ x + np.sqrt(np.diag(plants.Q))[:, None] * g.standard_normal((2, N))
        y = x + np.sqrt(np.diag(plants.R))[:, None] * g.standard_normal((2, N))
        belief = fleet.update(belief, float(k), y)
        inside.append(np.abs(x - belief.mean) < 1.96 * belief.sd)
        nis, dof = nis + belief.nis.sum(), dof + belief.nis_dof.sum()
    assert abs(np.mean(inside) - 0.95) < 0.01
    assert abs(nis / dof - 1.0) < 0.03


def test_a_gate_refuses_as_many_good_readings_as_stated():
    N = 20_000
    fleet = build_fleet(plants.Cart(), N, gate=0.01)
    g = np.random.default_rng(6)
    x = np.array([0.0, 0.5])[:, None] + np.array([1.0, 0.3])[:, None] * g.standard_normal((2, N))
    y = x + np.sqrt(np.diag(plants.R))[:, None] * g.standard_normal((2, N))
    belief = fleet.update(fleet.start(0.0), 0.0, y)
    assert abs((1 - belief.used.mean()) - 0.01) < 0.002
    assert np.array_equal(belief.used == 0, belief.innovation**2 > threshold(0.01) * belief.innovation_var)


def test_many_sensors_are_fused_jointly():
    mirror = build_mirror(plants.Wall(), gate=0.0)
    belief = mirror.start(0.0)
    y = 1.0 + 0.1 * np.arange(8) + 0.1
    y[3] = np.nan
    belief = mirror.update(belief, Readings("Wall", 0.0, "r", "", y, np.zeros(0)))
    h = np.delete(1.0 + 0.1 * np.arange(8), 3)
    precision = 1 / 0.5**2 + h @ h / 0.3**2
    expected = (1.0 / 0.5**2 + h @ np.delete(y, 3) / 0.3**2) / precision
    assert belief.cov[0, 0] == pytest.approx(1 / precision, rel=1e-12)
    assert belief.mean[0] == pytest.approx(expected, rel=1e-12)
    assert belief.nis_dof == 7
