"""One parametrised set of checks over every integration method."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from pollux import RK4, Adaptive, Scalar, Signals, Stiff, Twin, flatten, param, simulate, var
from pollux.core.errors import NumericalError
from pollux.model.integrate import Outcome, trajectory

METHODS = [RK4(16), Adaptive(1e-9, 1e-12), Adaptive(1e-9, 1e-12, order=8), Stiff(1e-8, 1e-11)]


class PendulumState(Signals):
    a: Scalar = var("rad", start=1.5)
    w: Scalar = var("rad/s", start=0.0)


class Torque(Signals):
    m: Scalar = var("1/s^2", start=0.0)


class Angle(Signals):
    a: Scalar = var("rad", noise=0.01)


class Pendulum(Twin[PendulumState, Torque, Angle]):
    """Damped pendulum, forced; time-dependent on purpose, so that the local time of a method is checked."""

    rate: Scalar = param("1/s", 2.0)
    damping: Scalar = param("1/s", 0.1)

    def dynamics(self, t: Scalar, x: PendulumState, u: Torque) -> PendulumState:
        swing = -(self.rate**2) * jnp.sin(x.a) - self.damping * x.w + u.m * jnp.cos(0.5 * t)
        return PendulumState(a=x.w, w=swing)

    def observe(self, t: Scalar, x: PendulumState, u: Torque) -> Angle:
        return Angle(a=x.a)


class Concentrations(Signals):
    a: Scalar = var("1", start=1.0)
    b: Scalar = var("1", start=0.0)
    c: Scalar = var("1", start=0.0)


class Nothing(Signals):
    pass


class Product(Signals):
    c: Scalar = var("1", noise=0.01)


class Robertson(Twin[Concentrations, Nothing, Product]):
    """Robertson (1966): the classical stiff test."""

    k1: Scalar = param("1/s", 0.04)
    k2: Scalar = param("1/s", 3e7)
    k3: Scalar = param("1/s", 1e4)

    def dynamics(self, t: Scalar, x: Concentrations, u: Nothing) -> Concentrations:
        r1, r2, r3 = self.k1 * x.a, self.k2 * x.b**2, self.k3 * x.b * x.c
        return Concentrations(a=-r1 + r3, b=r1 - r2 - r3, c=r2)

    def observe(self, t: Scalar, x: Concentrations, u: Nothing) -> Product:
        return Product(c=x.c)


class Runaway(Twin[Product, Nothing, Product]):
    """dc/dt = c^2: reaches infinity at t = 1/c0."""

    rate: Scalar = param("1/s", 1.0)

    def dynamics(self, t: Scalar, x: Product, u: Nothing) -> Product:
        return Product(c=self.rate * x.c * x.c)

    def observe(self, t: Scalar, x: Product, u: Nothing) -> Product:
        return Product(c=x.c)


def oracle(times: np.ndarray, m: np.ndarray) -> np.ndarray:
    """SciPy, interval by interval, because the input jumps at each."""
    x, out = np.array([1.5, 0.0]), [np.array([1.5, 0.0])]
    for t0, t1, force in zip(times[:-1], times[1:], m[:-1], strict=True):

        def f(t, x, force=force):
            return [x[1], -4.0 * np.sin(x[0]) - 0.1 * x[1] + force * np.cos(0.5 * t)]

        x = solve_ivp(f, (t0, t1), x, method="DOP853", rtol=1e-12, atol=1e-13).y[:, -1]
        out.append(x)
    return np.array(out)


@pytest.fixture(scope="module")
def forced():
    times = 5.0 + np.cumsum(np.array([0.0, 0.1, 0.3, 0.05, 0.2, 0.25, 0.1, 0.4]))  # irregular, not from zero
    m = np.array([1.0, -2.0, 0.5, 3.0, -1.0, 0.0, 2.0, 0.0])
    return times, m, oracle(times, m)


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_agrees_with_scipy_under_irregular_times_and_a_jumping_input(method, forced):
    times, m, expected = forced
    run = simulate(Pendulum(), {"m": m}, times=times, method=method)
    assert run.outcome is Outcome.SUCCESS
    np.testing.assert_allclose(run.x, expected, atol=2e-7)
    assert run.stats.steps >= len(times) - 1


def test_rk4_is_of_fourth_order():
    """Slope of log error over log step, by regression."""
    times = np.array([0.0, 3.0])
    exact = simulate(Pendulum(), None, times=times, method=Adaptive(1e-12, 1e-13, order=8)).x[-1]
    n = np.array([16, 32, 64, 128, 256])
    errors = [np.linalg.norm(simulate(Pendulum(), None, times=times, method=RK4(k)).x[-1] - exact) for k in n]
    slope = np.polyfit(np.log(3.0 / n), np.log(errors), 1)[0]
    assert 3.8 < slope < 4.3


def test_error_follows_the_tolerance():
    times = np.array([0.0, 4.0])
    exact = solve_ivp(
        lambda t, x: [x[1], -4.0 * np.sin(x[0]) - 0.1 * x[1]], (0, 4), [1.5, 0.0],
        method="DOP853", rtol=1e-13, atol=1e-13,
    ).y[:, -1]  # fmt: skip
    error = [
        np.linalg.norm(simulate(Pendulum(), None, times=times, method=Adaptive(tol, tol)).x[-1] - exact)
        for tol in (1e-4, 1e-8)
    ]
    assert error[0] > 10 * error[1]
    assert error[1] < 1e-6


def test_stiff_solves_robertson_where_explicit_gives_up():
    times = np.array([0.0, 0.4, 4.0, 40.0, 400.0, 4000.0])
    run = simulate(Robertson(), None, times=times, method=Stiff(1e-8, 1e-12))
    exact = solve_ivp(
        lambda t, x: [
            -0.04 * x[0] + 1e4 * x[1] * x[2],
            0.04 * x[0] - 3e7 * x[1] ** 2 - 1e4 * x[1] * x[2],
            3e7 * x[1] ** 2,
        ],
        (0.0, 4000.0),
        [1.0, 0.0, 0.0],
        method="Radau",
        t_eval=times,
        rtol=1e-10,
        atol=1e-14,
    ).y
    np.testing.assert_allclose(run.x.T, exact, rtol=1e-6, atol=1e-10)
    np.testing.assert_allclose(run.x.sum(axis=1), 1.0, atol=1e-9)  # mass
    explicit = simulate(Robertson(), None, times=times, method=Adaptive(max_steps=200))
    assert explicit.outcome is Outcome.MAX_STEPS
    assert np.isnan(explicit.x[-1]).all()


@pytest.mark.parametrize("method", [RK4(8), Adaptive(max_steps=300), Stiff(max_steps=300)], ids=str)
def test_a_blow_up_is_an_outcome_and_raises_only_on_request(method):
    times = np.linspace(0.0, 3.0, 7)
    run = simulate(Runaway(), None, times=times, x0={"c": 1.0}, method=method)
    assert not run.ok
    assert run.outcome in (Outcome.DIVERGED, Outcome.MAX_STEPS, Outcome.STEP_SIZE)
    np.testing.assert_allclose(run["state.c"][1], 2.0, rtol=2e-3)  # 1/(1 - t) before it happens
    assert not np.isfinite(run["state.c"][-1])
    with pytest.raises(NumericalError, match="Runaway"):
        simulate(Runaway(), None, times=times, x0={"c": 1.0}, method=method, throw=True)


def sensitivity(method, forced):
    """d x(end) / d p by forward differentiation, and the map itself."""
    times, m, _ = forced
    space = flatten(Pendulum())
    run = trajectory(space.system, method)

    def end(p):
        return run(jnp.asarray(times), jnp.asarray(m)[:, None], jnp.asarray(space.x0), p)[0][-1]

    return np.asarray(jax.jit(jax.jacfwd(end))(jnp.asarray(space.p0))), jax.jit(end), space.p0


@pytest.fixture(scope="module")
def exact_sensitivity(forced):
    J, end, p = sensitivity(RK4(16), forced)
    h = 1e-5
    fd = [(end(p + h * e) - end(p - h * e)) / (2 * h) for e in np.eye(2)]
    np.testing.assert_allclose(J, np.array(fd).T, rtol=1e-6, atol=1e-8)
    return J


@pytest.mark.parametrize("method", [Adaptive(1e-9, 1e-12), Stiff(1e-8, 1e-11)], ids=str)
def test_sensitivities_agree_with_finite_differences(method, forced, exact_sensitivity):
    J, _, _ = sensitivity(method, forced)
    np.testing.assert_allclose(J, exact_sensitivity, rtol=1e-4, atol=1e-5)


def test_reverse_mode_on_request(forced):
    times, m = forced[0][:3], forced[1][:3]
    space = flatten(Pendulum())

    def end(method):
        run = trajectory(space.system, method)
        return lambda p: run(jnp.asarray(times), jnp.asarray(m)[:, None], jnp.asarray(space.x0), p)[0][-1, 0]

    forward = jax.jit(jax.jacfwd(end(RK4(64))))(jnp.asarray(space.p0))
    reverse = jax.jit(jax.grad(end(Adaptive(1e-8, 1e-10, gradient="reverse"))))(jnp.asarray(space.p0))
    np.testing.assert_allclose(forward, reverse, rtol=1e-6)


@pytest.mark.parametrize("method", [RK4(4), Adaptive()], ids=str)
def test_an_interval_of_length_zero_changes_nothing(method):
    space = flatten(Pendulum())
    times = jnp.asarray([0.0, 0.5, 0.5, 0.5])
    X, info = trajectory(space.system, method)(times, jnp.zeros((4, 1)), jnp.asarray(space.x0), jnp.asarray(space.p0))
    np.testing.assert_array_equal(X[1], X[3])
    assert int(info.code) == 0


def test_one_member_of_a_batch_may_fail_alone():
    system = flatten(Runaway()).system
    run = jax.vmap(trajectory(system, Adaptive(max_steps=300)), (None, None, 0, None))
    X, info = run(jnp.linspace(0.0, 3.0, 7), jnp.zeros((7, 0)), jnp.asarray([[1.0], [0.1]]), jnp.asarray([1.0]))
    assert int(info.code[0]) != 0
    assert int(info.code[1]) == 0
    np.testing.assert_allclose(X[1, -1, 0], 0.1 / (1 - 0.3), rtol=1e-5)


def test_methods_are_values_and_refuse_nonsense():
    assert RK4(4) == RK4(4) != RK4(5)
    assert hash(Adaptive(1e-6)) == hash(Adaptive(1e-6))
    with pytest.raises(ValueError, match="at least one substep"):
        RK4(0)
    for bad in (lambda: Adaptive(0.0), lambda: Stiff(atol=-1.0), lambda: Stiff(max_steps=0)):
        with pytest.raises(ValueError, match="received"):
            bad()
    with pytest.raises(ValueError, match="orders 5 and 8"):
        Adaptive(order=6)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="tridiagonal"):
        Stiff(jacobian="banded")  # pyright: ignore[reportArgumentType]
