"""Moving-horizon estimation against the Kalman filter, SciPy, IPOPT and 4D-Var."""

import jax
import jax.numpy as jnp
import numpy as np
import plants
import pytest
from scipy.optimize import least_squares, nnls

from pollux import (
    Ekf,
    IteratedEkf,
    LogNormal,
    Mhe,
    NoInput,
    Readings,
    Record,
    Scalar,
    Signals,
    Twin,
    assimilate,
    build_mirror,
    flatten,
    param,
    var,
    variational,
)
from pollux.core.errors import InputError
from pollux.model.rk4 import rk4
from pollux.runtime.records import codec


def cart_record(T=40, seed=1):
    y, u = plants.drive(T, seed)
    return Record(np.arange(float(T)), u, y, ("a",), ("place", "speed"))


def live(twin, record, method, gate=0.0, **options):
    """Means (T, n), covariances (T, n, n) and fused sensors of a mirror fed with a record."""
    mirror = build_mirror(twin, method=method, gate=gate, dt_max=9.0, **options)
    belief, beliefs = mirror.start(record.t[0]), []
    for t, u, y in zip(record.t, record.u, record.y, strict=True):
        belief = mirror.update(belief, Readings(mirror.name, float(t), "r", "", y, u))
        beliefs.append(belief)
    return np.array([b.mean for b in beliefs]), np.array([b.cov for b in beliefs]), beliefs


@pytest.mark.parametrize("method", [Mhe(1), Mhe(8), Mhe(8, iterations=1)], ids=repr)
def test_a_linear_twin_is_the_kalman_filter_at_any_horizon(method):
    record = cart_record()
    mean, cov, beliefs = live(plants.Cart(), record, method)
    means, covs, _ = plants.textbook(record.y, record.u[:, 0])
    np.testing.assert_allclose(mean, means, atol=1e-11)
    np.testing.assert_allclose(cov, covs, atol=1e-12)
    ekf = live(plants.Cart(), record, Ekf())[2]
    np.testing.assert_allclose([b.nis for b in beliefs], [b.nis for b in ekf], atol=1e-10)


class Range(Signals):
    r: Scalar = var("m", noise=0.05)


class Passing(Twin[plants.Motion, plants.Force, Range]):
    """A linear cart that is seen from the side, one metre off its track."""

    period = 1.0

    def step(self, t: Scalar, x: plants.Motion, u: plants.Force) -> plants.Motion:
        return plants.Motion(s=x.s + x.v, v=0.9 * x.v + u.a)

    def observe(self, t: Scalar, x: plants.Motion, u: plants.Force) -> Range:
        return Range(r=jnp.sqrt(1.0 + x.s**2))


def test_a_window_of_one_step_is_the_iterated_filter():
    """Where the flow is linear and the sensor is not. Longer windows weigh old readings by what was learned since."""
    g = np.random.default_rng(6)
    s = 0.5 + 0.5 * np.arange(10.0)
    record = Record(np.arange(10.0), np.full((10, 1), 0.05), np.sqrt(1 + s**2)[:, None], ("a",), ("r",))
    record.y[:] += 0.05 * g.standard_normal((10, 1))
    mean, cov, _ = live(Passing(), record, Mhe(1, iterations=100))
    means, covs, _ = live(Passing(), record, IteratedEkf(200))
    np.testing.assert_allclose(mean, means, atol=1e-6)
    np.testing.assert_allclose(cov, covs, atol=1e-6)
    assert np.abs(live(Passing(), record, Ekf())[0] - mean).max() > 1e-2


class Braked(plants.Cart):
    """A cart that air resists, so that the window matters."""

    def step(self, t: Scalar, x: plants.Motion, u: plants.Force) -> plants.Motion:
        return plants.Motion(s=x.s + x.v, v=x.v - 0.3 * x.v * jnp.abs(x.v) + u.a)


class Charge(Signals):
    a: Scalar = var("bar", start=2.0, drift=0.01, spread=0.5)
    b: Scalar = var("bar", start=1.0, drift=0.01, spread=0.3)


class Gauge(Signals):
    p: Scalar = var("bar", noise=0.05)


class Batch(Twin[Charge, NoInput, Gauge]):
    """2 a -> b in a closed vessel, of which the total pressure is seen."""

    k: Scalar = param("1/bar/s", 0.16)

    def dynamics(self, t: Scalar, x: Charge, u: NoInput) -> Charge:
        return Charge(a=-2 * self.k * x.a**2, b=self.k * x.a**2)

    def observe(self, t: Scalar, x: Charge, u: NoInput) -> Gauge:
        return Gauge(p=x.a + x.b)


def charge(t, a=2.3, b=0.9, k=0.16):
    """The pressure, in closed form."""
    left = a / (1 + 2 * k * a * t)
    return left + b + (a - left) / 2


class Whole:
    """The batch problem over a record of `Batch` in its whitened unknowns c, written at once."""

    def __init__(self, y, dt):
        space = flatten(Batch())
        flow = rk4(space.system.f, 4)
        root = np.sqrt(dt / 2 * space.Q)
        T = len(y)
        self.size = 2 + 4 * (T - 1)

        def path(c):
            def step(x, w):
                a = x + root * w[0]
                x = flow(0.0, dt, a, jnp.zeros(0), space.p0) + root * w[1]
                return x, (a, x)

            first = space.x0 + jnp.sqrt(space.P0) * c[:2]
            _, (a, x) = jax.lax.scan(step, first, c[2:].reshape(T - 1, 2, 2))
            return jnp.concatenate([first[None], x]), a

        def residual(c):
            e = (np.nan_to_num(y[:, 0]) - path(c)[0].sum(1)) / 0.05
            return jnp.concatenate([c, jnp.where(np.isnan(y[:, 0]), 0.0, e)])

        self.path, self.residual = jax.jit(path), jax.jit(residual)
        self.jacobian = jax.jit(jax.jacfwd(residual))
        self.last_jacobian = jax.jit(jax.jacfwd(lambda c: path(c)[0][-1]))


def test_a_horizon_as_long_as_the_record_is_batch_least_squares():
    g = np.random.default_rng(2)
    t = 0.5 * np.arange(9)
    y = charge(t)[:, None] + 0.05 * g.standard_normal((9, 1))
    y[4] = np.nan
    record = Record(t, np.zeros((9, 0)), y, (), ("p",))
    mean, cov, _ = live(Batch(), record, Mhe(12))
    whole = Whole(y, 0.5)
    best = least_squares(
        lambda c: np.asarray(whole.residual(c)), np.zeros(whole.size), lambda c: np.asarray(whole.jacobian(c)),
        xtol=1e-15, ftol=1e-15, gtol=1e-13,
    )  # fmt: skip
    np.testing.assert_allclose(mean[-1], whole.path(best.x)[0][-1], atol=1e-7)
    J, D = np.asarray(whole.jacobian(best.x)), np.asarray(whole.last_jacobian(best.x))
    np.testing.assert_allclose(cov[-1], D @ np.linalg.solve(J.T @ J, D.T), rtol=1e-5)
    assert np.abs(live(Batch(), record, Ekf())[0][-1] - mean[-1]).max() > 3e-5


class Rated(Batch):
    k: Scalar = param("1/bar/s", 0.13, prior=LogNormal(0.3))


def test_it_is_4d_var_over_a_window_with_a_constant_that_is_learned():
    """A tracked parameter without drift: noise of zero is no special case."""
    t = np.array([0.0, 0.5, 1.0, 1.7, 2.6, 4.0])
    y = charge(t)[:, None] + 0.05 * np.random.default_rng(1).standard_normal((6, 1))
    record = Record(t, np.zeros((6, 0)), y, (), ("p",))
    mean, cov, _ = live(Rated(), record, Mhe(8), track=("k",))
    best = variational(Rated(), record, track=("k",), dt_max=9.0)
    assert best.converged
    np.testing.assert_allclose(mean[-1], best.mean[-1], rtol=1e-6)
    np.testing.assert_allclose(cov[-1], best.cov_last, rtol=1e-4, atol=1e-9)


class Stock(Signals):
    s: Scalar = var("m", start=0.5, drift=0.3, spread=0.5, within=(0.0, 1.0))
    v: Scalar = var("m/s", start=0.0, drift=0.2, spread=0.5, within=(-0.4, np.inf))


class Scale(Signals):
    y: Scalar = var("m", noise=0.2)


class Bin(Twin[Stock, NoInput, Scale]):
    """Linear with bounds, sampled every second: one best trajectory, found by any solver of quadratic programs."""

    period = 1.0

    def step(self, t: Scalar, x: Stock, u: NoInput) -> Stock:
        return Stock(s=x.s + x.v, v=0.8 * x.v)

    def observe(self, t: Scalar, x: Stock, u: NoInput) -> Scale:
        return Scale(y=x.s)


def nearest(J, e, G, room):
    """min |J c - e| with G c + room >= 0: Lawson and Hanson (1974), ch. 23, by non-negative least squares (SciPy)."""
    Q, Rt = np.linalg.qr(J)
    E = np.linalg.solve(Rt.T, G.T).T  # in v = Rt c - Q'e: min |v|, E v >= -room - E Q'e
    f = -room - E @ (Q.T @ e)
    m = len(e[: Q.shape[1]])
    u, _ = nnls(np.vstack([E.T, f]), np.r_[np.zeros(m), 1.0], maxiter=10_000)
    r = np.vstack([E.T, f]) @ u - np.r_[np.zeros(m), 1.0]
    return np.linalg.solve(Rt, -r[:-1] / r[-1] + Q.T @ e)


def bin_by_program(y):
    """(last state, number of bounds that hold) of the best path of `Bin` through readings y, as a quadratic program."""
    T, A, root = len(y), np.array([[1.0, 1.0], [0.0, 0.8]]), np.diag([0.3, 0.2])
    maps, shift = [np.eye(2, 2 * T) * 0.5], [np.array([0.5, 0.0])]
    for k in range(1, T):
        maps.append(A @ maps[-1])
        maps[-1][:, 2 * k : 2 * k + 2] += root
        shift.append(A @ shift[-1])
    M, b = np.array(maps), np.array(shift)
    G = np.concatenate([M[:, 0], -M[:, 0], M[:, 1]])
    room = np.concatenate([b[:, 0], 1.0 - b[:, 0], b[:, 1] + 0.4])
    J = np.concatenate([np.eye(2 * T), M[:, 0] / 0.2])
    best = nearest(J, np.concatenate([np.zeros(2 * T), (y - b[:, 0]) / 0.2]), G, room)
    return M[-1] @ best + b[-1], (G @ best + room < 1e-9).sum()


def bin_record(y):
    return Record(np.arange(float(len(y))), np.zeros((len(y), 0)), y[:, None], (), ("y",))


def test_active_bounds_are_the_quadratic_program():
    y = np.array([0.6, 0.2, -0.3, -0.5, -0.2, 0.3, 1.2, 1.5, 1.3, 0.9, 0.2, -0.4])
    mean, _, _ = live(Bin(), bin_record(y), Mhe(20))
    for end in (4, 9, 12):
        best, held = bin_by_program(y[:end])
        assert held >= 2, "the bounds must matter"
        np.testing.assert_allclose(mean[end - 1], best, atol=1e-7)


@pytest.mark.parametrize("seed", [0, 32, 55, 59, 156, 170])
def test_readings_far_outside_the_bounds_do_no_harm(seed):
    """Up to 150 standard deviations, with the gate open; the last five once made the iteration diverge."""
    g = np.random.default_rng(seed)
    y = 0.5 + g.choice([0.3, 1.0, 3.0, 10.0]) * g.standard_normal(14)
    mean, _, _ = live(Bin(), bin_record(y), Mhe(20))
    np.testing.assert_allclose(mean[-1], bin_by_program(y)[0], atol=1e-7)


class Feared(Signals):
    a: Scalar = var("bar", start=0.1, spread=6.0, drift=0.003, within=(0.0, np.inf))
    b: Scalar = var("bar", start=4.5, spread=6.0, drift=0.003, within=(0.0, np.inf))


class Vague(Signals):
    p: Scalar = var("bar", noise=0.1)


class Haseltine(Twin[Feared, NoInput, Vague]):
    """Haseltine and Rawlings (2005), Critical evaluation of extended Kalman filtering and moving-horizon estimation."""

    k: Scalar = param("1/bar/s", 0.16)

    def dynamics(self, t: Scalar, x: Feared, u: NoInput) -> Feared:
        return Feared(a=-2 * self.k * x.a**2, b=self.k * x.a**2)

    def observe(self, t: Scalar, x: Feared, u: NoInput) -> Vague:
        return Vague(p=x.a + x.b)


def test_bounds_lead_to_the_truth_where_the_extended_kalman_filter_is_lost():
    t = 0.5 * np.arange(14)
    y = charge(t, 3.0, 1.0)[:, None] + 0.1 * np.random.default_rng(3).standard_normal((14, 1))
    record = Record(t, np.zeros((14, 0)), y, (), ("p",))
    mean, cov, _ = live(Haseltine(), record, Mhe(20))
    truth = 3.0 / (1 + 2 * 0.16 * 3.0 * t[-1])
    assert abs(mean[-1, 0] - truth) < 3 * np.sqrt(cov[-1, 0, 0]) < 0.3
    assert abs(live(Haseltine(), record, Ekf())[0][-1, 0] - truth) > 0.4
    assert (mean >= 0).all()


class Kept(Signals):
    a: Scalar = var("bar", start=2.0, drift=0.2, spread=0.5, within=(1.2, np.inf))
    b: Scalar = var("bar", start=1.0, drift=0.2, spread=0.3)


class Fed(Twin[Kept, NoInput, Gauge]):
    """`Batch`, whose level of `a` is kept above a bound that the model alone would cross."""

    k: Scalar = param("1/bar/s", 0.16)

    def dynamics(self, t: Scalar, x: Kept, u: NoInput) -> Kept:
        return Kept(a=-2 * self.k * x.a**2, b=self.k * x.a**2)

    def observe(self, t: Scalar, x: Kept, u: NoInput) -> Gauge:
        return Gauge(p=x.a + x.b)


def test_bounds_of_a_nonlinear_twin_are_met_as_by_ipopt():
    ca = pytest.importorskip("casadi")
    T = 8
    t = 0.5 * np.arange(T)
    record = Record(t, np.zeros((T, 0)), charge(t)[:, None], (), ("p",))
    mean, _, _ = live(Fed(), record, Mhe(10))

    def slope(x):
        return ca.vertcat(-2 * 0.16 * x[0] ** 2, 0.16 * x[0] ** 2)

    c = ca.SX.sym("c", 2 + 4 * (T - 1))
    root = np.sqrt(0.25) * 0.2
    x = ca.vertcat(2.0 + 0.5 * c[0], 1.0 + 0.3 * c[1])
    cost, held = ca.sumsqr(c) + ((record.y[0, 0] - x[0] - x[1]) / 0.05) ** 2, [x[0]]
    for k in range(1, T):
        w = c[4 * k - 2 : 4 * k + 2]
        x = x + root * w[:2]
        held.append(x[0])
        for _ in range(4):
            h = 0.125
            k1 = slope(x)
            k2 = slope(x + h / 2 * k1)
            k3 = slope(x + h / 2 * k2)
            x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + slope(x + h * k3))
        x = x + root * w[2:]
        held.append(x[0])
        cost = cost + ((record.y[k, 0] - x[0] - x[1]) / 0.05) ** 2
    problem = {"x": c, "f": cost / 2, "g": ca.vertcat(*held)}
    quiet = {"print_time": 0, "ipopt": {"print_level": 0, "sb": "yes", "tol": 1e-12, "mu_target": 0.0}}
    found = ca.nlpsol("s", "ipopt", problem, quiet)(x0=np.zeros(c.shape[0]), lbg=1.2, ubg=np.inf)
    assert (np.asarray(found["g"]) < 1.2 + 1e-6).sum() >= 3, "the bound must matter"
    last = ca.Function("last", [c], [x])(found["x"])
    np.testing.assert_allclose(mean[-1], np.asarray(last)[:, 0], atol=1e-6)


def test_a_refused_reading_never_enters_the_window():
    record = cart_record(20)
    spiked = Record(record.t, record.u, record.y.copy(), ("a",), ("place", "speed"))
    spiked.y[9, 0] = 80.0
    silent = Record(record.t, record.u, record.y.copy(), ("a",), ("place", "speed"))
    silent.y[9, 0] = np.nan
    a, b = (live(plants.Cart(), r, Mhe(8), gate=1e-6)[0] for r in (spiked, silent))
    np.testing.assert_allclose(a, b, atol=1e-12)


def test_live_it_is_the_same_as_over_a_record_and_after_a_restart():
    """The discrete twin's record pads short gaps with pieces of length zero, which take no room in the window."""
    record = cart_record(12)
    kept = [0, 1, 2, 3, 4, 6, 7, 8, 11]
    record = Record(record.t[kept], record.u[kept], record.y[kept], ("a",), ("place", "speed"))
    track = assimilate(Braked(), record, method=Mhe(5))
    mirror = build_mirror(Braked(), method=Mhe(5))
    store, belief = codec(), mirror.start(0.0)
    for k in range(len(kept)):
        belief = store.decode(store.encode(belief))
        belief = mirror.update(belief, Readings("Braked", record.t[k], f"r{k}", "", record.y[k], record.u[k]))
        np.testing.assert_allclose(belief.mean, track.mean[k], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(belief.cov, track.cov[k], rtol=1e-9, atol=1e-12)


def test_readings_of_one_instant_that_come_apart_are_one_step():
    record = cart_record(15)
    y = np.where(np.isnan(record.y), 0.3, record.y)
    first, second = y * [1.0, np.nan], y * [np.nan, 1.0]
    apart = Record(
        np.repeat(record.t, 2), np.repeat(record.u, 2, axis=0), np.stack([first, second], 1).reshape(-1, 2), ("a",),
        ("place", "speed"),
    )  # fmt: skip
    whole = Record(record.t, record.u, y, ("a",), ("place", "speed"))
    a, b = live(Braked(), whole, Mhe(5)), live(Braked(), apart, Mhe(5))
    np.testing.assert_allclose(b[0][1::2], a[0], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(b[1][1::2], a[1], rtol=1e-9, atol=1e-12)


def test_settings_are_checked():
    with pytest.raises(InputError, match="horizon"):
        Mhe(0)
    with pytest.raises(InputError, match="tolerance"):
        Mhe(5, tolerance=0.0)
