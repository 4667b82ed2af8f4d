"""The embedded schemes against theory, SciPy and the reference solutions of the literature."""

from dataclasses import replace
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from pollux.model.adaptive import Adaptive
from pollux.model.backend import Program, Xla
from pollux.model.bounded import repeat_while
from pollux.model.control import Tolerance
from pollux.model.dop853 import DOP853
from pollux.model.embedded import march
from pollux.model.integrate import OUTCOMES, Leg, Outcome, march_of, readings, trajectory
from pollux.model.lu import DENSE
from pollux.model.native import Native, NoCache
from pollux.model.rodas5p import rodas5p
from pollux.model.statespace import System
from pollux.model.stiff import Stiff
from pollux.model.tridiagonal import TRIDIAGONAL
from pollux.model.tsit5 import TSIT5

RODAS5P = rodas5p(DENSE)
SCHEMES = {"tsit5": (TSIT5, 5, 4), "dop853": (DOP853, 8, 7), "rodas5p": (RODAS5P, 5, 4)}
"""Scheme, order of the method, order of its continuous extension."""


def system(f, n, m=0, k=0):
    """A continuous system from dx/dt = f(t, x, u, p) alone."""
    names = tuple(f"x{i}" for i in range(n))
    return System(
        key=("test", f.__name__), name=f.__name__, x_names=names, u_names=tuple(f"u{i}" for i in range(m)),
        y_names=names, p_names=tuple(f"p{i}" for i in range(k)), margin_names=(), f=f, h=lambda t, x, u, p: x,
        goal=lambda t, x, u, p: jnp.float64(0), margins=lambda t, x, u, p: jnp.zeros(0),
    )  # fmt: skip


NATIVE = Native(fallback=None, cache=NoCache())


def native(fn):
    """`fn` as machine code for one twin: faster to compile than XLA, and the default of the product."""
    program = Program("test", object(), lambda *a: tuple(jax.tree.leaves(fn(*a))), ())

    def call(*args):
        args = tuple(np.asarray(a) for a in args)
        own = replace(program, fleet=(True,) * len(args))
        return jax.tree.unflatten(jax.tree.structure(jax.eval_shape(fn, *args)), NATIVE.one(own)(*args))

    return call


def swing(t, x, u, p):
    """Nonlinear and explicit in time."""
    return jnp.stack([x[1], -4.0 * jnp.sin(x[0]) + jnp.cos(1.3 * t) - 0.2 * x[1]])


def exact_swing(times):
    return solve_ivp(
        lambda t, x: [x[1], -4.0 * np.sin(x[0]) + np.cos(1.3 * t) - 0.2 * x[1]], (0.0, 2.0), [1.2, 0.3],
        method="DOP853", rtol=1e-13, atol=1e-14, t_eval=times,
    ).y.T  # fmt: skip


def robertson(t, x, u, p):
    r1, r2, r3 = p[0] * x[0], p[1] * x[1] ** 2, p[2] * x[1] * x[2]
    return jnp.stack([-r1 + r3, r1 - r2 - r3, r2])


def van_der_pol(t, x, u, p):
    return jnp.stack([x[1], p[0] * ((1 - x[0] ** 2) * x[1] - x[0])])


def hires(t, x, u, p):
    a, b, c, d, e, f, g, h = x
    bound = 280.0 * f * h
    return jnp.stack([
        -1.71 * a + 0.43 * b + 8.32 * c + 0.0007,
        1.71 * a - 8.75 * b,
        -10.03 * c + 0.43 * d + 0.035 * e,
        8.32 * b + 1.71 * c - 1.12 * d,
        -1.745 * e + 0.43 * f + 0.43 * g,
        -bound + 0.69 * d + 1.71 * e - 0.43 * f + 0.69 * g,
        bound - 1.81 * g,
        -bound + 1.81 * g,
    ])  # fmt: skip


RATES = np.array([0.04, 3e7, 1e4])


@lru_cache
def marched(f, n, k, scheme):
    """(end, x0, p, rtol, atol) -> (x at the end of one interval from zero, what it cost), compiled once."""

    def run(end, x0, p, rtol, atol):
        m = march(system(f, n, k=k), scheme, Tolerance(rtol, atol), 10_000, "forward")
        zero, u = jnp.float64(0), jnp.zeros(0)
        _, x, info = m.advance(m.begin(zero, end, x0, u, p), x0, Leg(zero, zero, end, end, jnp.bool_(False), u, p))
        return x, info

    return native(run)


def stiff(f, end, x0, p, rtol, atol):
    x, info = marched(f, len(x0), len(p), RODAS5P)(end, jnp.asarray(x0), jnp.asarray(p, dtype=float), rtol, atol)
    assert OUTCOMES[int(info.code)] is Outcome.SUCCESS
    return np.asarray(x), info


@pytest.mark.parametrize("name", SCHEMES)
def test_method_estimate_and_extension_have_their_orders(name):
    """Slope of log error over log step: the method with fixed steps, its error estimate and its extension in one."""
    scheme, order, extension = SCHEMES[name]

    def f(s, x):
        return swing(s, x, None, None)

    @native
    def fixed(steps):
        h = 2.0 / steps
        x0 = jnp.asarray([1.2, 0.3])

        def turn(i, carry):
            x, slope, _ = carry
            trial = scheme.step(f, i * h, h, x, slope)
            middle = scheme.extend(f, 0.4, i * h, h, x, trial.x, trial.slope, trial.stages)
            return trial.x, trial.slope, jnp.where(i == steps // 2, middle, carry[2])

        slope = scheme.slope(f, 0.0, x0)
        trial = scheme.step(f, 0.0, h, x0, slope)
        x, _, middle = jax.lax.fori_loop(0, steps, turn, (x0, slope, x0))
        square = scheme.square(*(jnp.sum(e * e) for e in trial.errors))
        return x, middle, jnp.sqrt(square)

    n = np.array([8, 12, 16, 24]) if order == 8 else np.array([20, 32, 48, 64])
    runs = [[np.asarray(v) for v in fixed(k)] for k in n]
    inside = exact_swing([*(2.0 / n * (n // 2 + 0.4))[::-1]])[::-1]
    errors = [np.linalg.norm(x - exact_swing([2.0])[0]) for x, _, _ in runs]
    middles = [np.linalg.norm(m - e) for (_, m, _), e in zip(runs, inside, strict=True)]
    estimates = [e for _, _, e in runs]

    def slope(values):
        return -np.polyfit(np.log(n), np.log(values), 1)[0]

    assert order - 0.4 < slope(errors) < order + 1.2
    assert extension - 0.4 < slope(middles) < order + 1.5
    assert scheme.order - 0.4 < slope(estimates) < scheme.order + 1.3


@pytest.mark.parametrize("name", SCHEMES)
def test_the_error_is_proportional_to_the_tolerance(name):
    run = marched(swing, 2, 0, SCHEMES[name][0])
    tolerances = np.array([1e-4, 1e-6, 1e-8, 1e-10])
    exact = exact_swing([2.0])[0]
    errors = [
        np.linalg.norm(run(2.0, jnp.asarray([1.2, 0.3]), jnp.zeros(0), tol, tol)[0] - exact) for tol in tolerances
    ]
    slope = np.polyfit(np.log(tolerances), np.log(errors), 1)[0]
    assert 0.75 < slope < 1.25
    assert np.all(np.array(errors) < 30 * tolerances)


@pytest.mark.parametrize("method", [Adaptive(1e-9, 1e-9), Adaptive(1e-9, 1e-9, order=8), Stiff(1e-9, 1e-9)], ids=str)
def test_a_fine_grid_costs_no_steps_and_is_read_to_the_tolerance(method):
    run = native(trajectory(system(swing, 2), method))

    def solve(times):
        X, info = run(jnp.asarray(times), jnp.zeros((len(times), 0)), jnp.asarray([1.2, 0.3]), jnp.zeros(0))
        return np.asarray(X), int(info.steps) + int(info.rejected)

    fine = np.linspace(0.0, 2.0, 1001)
    X, cost = solve(fine)
    ends, alone = solve([0.0, *np.full(1000, 2.0)])  # one interval, padded
    assert cost == alone < 300
    np.testing.assert_array_equal(X[-1], ends[-1])
    np.testing.assert_allclose(X, exact_swing(fine), atol=3e-7)


@pytest.mark.parametrize("method", [Adaptive(1e-8, 1e-10), Stiff(1e-8, 1e-10)], ids=str)
def test_a_step_never_crosses_a_change_of_the_input_and_outlives_it(method):
    """dx/dt = u - x with a square wave: SciPy from jump to jump."""

    def lag(t, x, u, p):
        return u - x

    times = np.linspace(0.0, 12.0, 601)
    U = np.where(np.arange(601) // 150 % 2 == 0, 1.0, -2.0)[:, None]
    exact, x = [0.0], 0.0
    for dt, u in zip(np.diff(times), U[:-1, 0], strict=True):
        x = u + (x - u) * np.exp(-dt)
        exact.append(x)
    X, info = native(trajectory(system(lag, 1, m=1), method))(
        jnp.asarray(times), jnp.asarray(U), jnp.zeros(1), jnp.zeros(0)
    )
    np.testing.assert_allclose(X[:, 0], exact, atol=1e-7)
    assert int(info.steps) < 200  # fewer than the intervals


def test_robertson_to_the_reference_solution_and_mass_to_rounding():
    """Mazzia and Magherini, Test Set for IVP Solvers (2008), problem ROBER at t = 1e11."""
    x, info = stiff(robertson, 1e11, [1.0, 0.0, 0.0], RATES, 1e-9, 1e-15)
    np.testing.assert_allclose(x, [0.2083340149701255e-07, 0.8333360770334713e-13, 0.9999999791665050], rtol=1e-7)
    assert int(info.steps) < 1500
    loose, info = stiff(robertson, 1e4, [1.0, 0.0, 0.0], RATES, 1e-4, 1e-8)
    assert abs(loose.sum() - 1.0) < 1e-13
    assert int(info.steps) < 100


def test_van_der_pol_to_the_reference_solution():
    """Hairer and Wanner II, sec. IV.10, eq. 10.1, epsilon = 1e-6, at x = 2; all digits of the Test Set."""
    x, info = stiff(van_der_pol, 2.0, [2.0, 0.0], [1e6], 1e-9, 1e-9)
    np.testing.assert_allclose(x, [0.1706167732170483e1, -0.8928097010247975], rtol=1e-8)
    assert int(info.rejected) < 0.1 * int(info.steps)


def test_hires_to_the_reference_solution():
    """Schäfer (1975); Hairer and Wanner II, sec. IV.10, eq. 10.4, at t = 321.8122."""
    x0 = [1.0, 0, 0, 0, 0, 0, 0, 0.0057]
    x, _ = stiff(hires, 321.8122, x0, [], 1e-9, 1e-12)
    expected = [
        0.7371312573325668e-3, 0.1442485726316185e-3, 0.5888729740967575e-4, 0.1175651343283149e-2,
        0.2386356198831331e-2, 0.6238968252742796e-2, 0.2849998395185769e-2, 0.2850001604814231e-2,
    ]  # fmt: skip
    np.testing.assert_allclose(x, expected, rtol=1e-6)


@pytest.mark.parametrize("rate", [1e2, 1e6, 1e12])
def test_a_stiff_mode_is_damped_at_once_and_the_slow_solution_kept(rate):
    """Prothero and Robinson (1974): x' = -rate (x - cos t) - sin t; L-stable and stiffly accurate."""

    def f(s, x):
        return -rate * (x - jnp.cos(s)) - jnp.sin(s)

    step = native(lambda x: RODAS5P.step(f, 0.0, 0.1, x, ()).x)
    decayed = 1.0 / (0.2 * rate * 0.1)  # R(z) -> 0 as 1/z
    np.testing.assert_allclose(step([2.0])[0], np.cos(0.1), atol=5 * decayed + 1e-6)
    np.testing.assert_allclose(step([1.0])[0], np.cos(0.1), atol=1e-7)


def test_a_state_without_end_or_without_a_value_stops_by_itself():
    """Infinity in finite time, a slope that is not a number, and a jump that no step is small enough for."""

    def lost(t, x, u, p):
        return jnp.select([p == 0, p == 1], [x * x, jnp.sqrt(0.5 - t) * x], jnp.exp(1e3 * x))

    times = jnp.linspace(0.0, 2.0, 5)
    for method in (Adaptive(1e-6, 1e-8), Adaptive(1e-6, 1e-8, order=8), Stiff(1e-6, 1e-8)):
        run = native(trajectory(system(lost, 1, k=1), method))
        for kind in (0.0, 1.0, 2.0):
            X, info = run(times, jnp.zeros((5, 0)), jnp.ones(1), jnp.asarray([kind]))
            assert OUTCOMES[int(info.code)] in (Outcome.DIVERGED, Outcome.STEP_SIZE)
            assert int(info.steps) + int(info.rejected) < 5_000
            assert X[0, 0] == 1.0
            assert np.isnan(X[-1, 0])
        _, info = run(times, jnp.zeros((5, 0)), jnp.asarray([np.nan]), jnp.zeros(1))
        assert OUTCOMES[int(info.code)] is Outcome.DIVERGED
        assert int(info.steps) == 0


def test_sensitivities_to_parameters_and_first_state():
    """Forward tangents against central differences of the same map, on Robertson's reaction."""
    times = jnp.asarray([0.0, 1.0, 10.0])
    run = trajectory(system(robertson, 3, k=3), Stiff(1e-9, 1e-14))

    def map_(z):
        p = jnp.asarray([0.04, 300.0, 10.0]) * jnp.exp(z[:3])
        return run(times, jnp.zeros((3, 0)), jnp.asarray([1.0, 0.0, 0.0]) + z[3:], p)[0][1:]

    J = native(jax.jacfwd(map_))(np.zeros(6))
    fn, step = native(map_), 1e-3
    steps = step * np.eye(6)
    fd = [(8 * (fn(e) - fn(-e)) - (fn(2 * e) - fn(-2 * e))) / (12 * step) for e in steps]
    np.testing.assert_allclose(J, np.moveaxis(np.array(fd), 0, -1), rtol=1e-5, atol=1e-6)


def test_reverse_and_forward_agree():
    times = jnp.asarray([0.0, 0.4, 0.7])

    def loss(x0, gradient):
        method = Stiff(rtol=1e-5, atol=1e-8, max_steps=40, gradient=gradient)
        X, _ = trajectory(system(swing, 2), method)(times, jnp.zeros((3, 0)), x0, jnp.zeros(0))
        return jnp.sum(X**2)

    x0 = jnp.asarray([1.2, 0.3])
    forward = native(jax.jacfwd(lambda x: loss(x, "forward")))(x0)
    reverse = jax.jit(jax.grad(lambda x: loss(x, "reverse")))(x0)
    np.testing.assert_allclose(forward, reverse, rtol=1e-12)


@pytest.mark.parametrize("gradient", ["forward", "reverse"])
@pytest.mark.parametrize("most", [1, 2, 7, 100])
def test_a_bounded_loop_takes_as_many_turns_as_needed(gradient, most):
    turns, total = jax.jit(
        lambda n: repeat_while(lambda c: c[0] < n, lambda c: (c[0] + 1, c[1] + c[0]), (0, 0), most, gradient)
    )(min(most, 6))
    assert (int(turns), int(total)) == (min(most, 6), sum(range(min(most, 6))))


@pytest.mark.parametrize("backend", [NATIVE, Xla()], ids=["native", "xla"])
def test_a_fleet_keeps_a_step_size_and_a_time_for_each_twin(backend):
    """Rates over four decades, 9 twins in lock step: every lane equals the same twin alone."""
    s = system(robertson, 3, k=3)
    run = readings(s, Stiff(1e-6, 1e-10), lambda t, x, u, p: x)

    def fn(t, U, x0, p):
        X, info = run(t, U, x0, p)
        return X, *info

    program = Program("lanes", s, fn, (False, False, False, True))
    scales = 10.0 ** np.linspace(-2, 2, 9)
    args = np.array([0.0, 5.0, 50.0]), np.zeros((3, 0)), np.array([1.0, 0.0, 0.0])
    X, steps, _, code = backend.fleet(program)(*args, RATES[:, None] * scales)
    assert np.all(code == 0)
    assert len(set(steps.tolist())) > 3
    one = backend.one(program)
    same = 0.0 if backend is NATIVE else 1e-9  # native lanes are bit for bit those of one twin
    for i, scale in enumerate(scales):
        np.testing.assert_allclose(X[..., i], one(*args, RATES * scale)[0], rtol=same, atol=same * 1e-5)
    poisoned = RATES[:, None] * scales
    poisoned[1, 4] = np.nan
    Y, _, _, code = backend.fleet(program)(*args, poisoned)
    assert np.flatnonzero(code).tolist() == [4]
    assert np.isnan(Y[1:, :, 4]).all()
    np.testing.assert_array_equal(np.delete(Y, 4, axis=-1), np.delete(X, 4, axis=-1))


@pytest.mark.parametrize("name", SCHEMES)
def test_native_steps_are_those_of_xla(name):
    """One step, its error, its extension and their tangents."""
    scheme = SCHEMES[name][0]

    def f(s, x):
        return swing(s, x, None, None)

    def fn(x):
        def step(x):
            trial = scheme.step(f, 0.3, 0.1, x, scheme.slope(f, 0.3, x))
            inside = scheme.extend(f, 0.3, 0.3, 0.1, x, trial.x, trial.slope, trial.stages)
            return trial.x, jnp.stack(trial.errors), inside

        values, tangents = jax.jvp(step, (x,), (jnp.ones(2),))
        return *values, *tangents

    x = np.array([1.2, -0.4])
    for a, b in zip(native(fn)(x), jax.jit(fn)(x), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from([0.0, 0.05, 0.3, 1.7]), min_size=6, max_size=6), st.integers(0, 63))
def test_any_grid_with_repeated_instants_gives_the_solution(gaps, bits):
    """x' = u - x in closed form; intervals of length zero leave the state bit for bit."""
    times = np.concatenate([[3.0], 3.0 + np.cumsum(gaps)])
    U = np.array([float(bits >> i & 1) for i in range(6)] + [0.0])[:, None]
    X, info = _lag()(jnp.asarray(times), jnp.asarray(U), jnp.asarray([0.7]), jnp.zeros(0))
    x = 0.7
    for k, (dt, u) in enumerate(zip(gaps, U[:-1, 0], strict=True)):
        x = u + (x - u) * np.exp(-dt)
        assert abs(float(X[k + 1, 0]) - x) < 1e-6
        if dt == 0.0:
            assert X[k + 1, 0] == X[k, 0]
    assert int(info.code) == 0


@lru_cache
def _lag():
    def follow(t, x, u, p):
        return u - x

    return native(trajectory(system(follow, 1, m=1), Adaptive(1e-8, 1e-8)))


def test_a_jump_of_the_state_restarts_without_a_new_search_for_the_step():
    """What a roll-out with process noise does: `fresh` with another state."""
    m = march_of(system(swing, 2), Adaptive(1e-8, 1e-8))

    @native
    def run(x0, other):
        zero, u, p = jnp.float64(0), jnp.zeros(0), jnp.zeros(0)
        memory = m.begin(zero, zero + 2, x0, u, p)
        memory, _, _ = m.advance(memory, x0, Leg(zero, zero, zero + 1, zero + 1, jnp.bool_(False), u, p))
        return m.advance(memory, other, Leg(zero, zero + 1, zero + 2, zero + 2, jnp.bool_(True), u, p))[1]

    exact = solve_ivp(lambda t, x: np.asarray(swing(t, x, None, None)), (1, 2), [0.5, -1.0], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(run(jnp.asarray([1.2, 0.3]), jnp.asarray([0.5, -1.0])), exact.y[:, -1], atol=1e-6)


def test_a_tridiagonal_jacobian_gives_the_dense_steps_and_the_closed_form():
    """Heat equation on 30 cells: the semidiscrete solution is a sum of decaying sines."""
    n = 30

    def heat(t, x, u, p):
        wide = jnp.pad(x, 1)
        return p[0] * (n + 1) ** 2 * (wide[:-2] - 2 * x + wide[2:]) + jnp.sin(t) * 0.0

    place = np.arange(1, n + 1) / (n + 1)
    x0 = np.minimum(place, 0.5)
    k = np.arange(1, n + 1)
    V = np.sqrt(2 / (n + 1)) * np.sin(np.pi * np.outer(place, k))
    decay = -0.1 * (2 * (n + 1) * np.sin(np.pi * k / (2 * (n + 1)))) ** 2
    times = np.array([0.0, 0.01, 0.3, 1.0])
    exact = np.stack([V @ (np.exp(decay * t) * (V.T @ x0)) for t in times])
    for jacobian in ("dense", "tridiagonal"):
        run = jax.jit(trajectory(system(heat, n, k=1), Stiff(1e-7, 1e-9, jacobian=jacobian)))
        X, info = run(jnp.asarray(times), jnp.zeros((4, 0)), jnp.asarray(x0), jnp.asarray([0.1]))
        np.testing.assert_allclose(X, exact, atol=1e-7)
        assert int(info.steps) < 100


@pytest.mark.parametrize("n", [1, 2, 7])
def test_bands_are_those_of_the_whole_jacobian_with_tangents(n):
    def chain(s, x):
        wide = jnp.pad(x, 1)
        return jnp.sin(wide[:-2] * x) + x**2 * wide[2:] + s * x

    @jax.jit
    def both(x):
        def solved(linear, x):
            f_t, J = linear.slopes(chain, 0.3, x)
            return f_t, J, linear.solve(linear.factor(J, 5.0), x)

        return [jax.jvp(lambda x, a=a: solved(a, x), (x,), (jnp.ones(n),)) for a in (DENSE, TRIDIAGONAL)]

    for (t_dense, J, x_dense), (t, bands, x) in zip(*both(np.random.default_rng(n).standard_normal(n)), strict=True):
        np.testing.assert_allclose(t, t_dense, atol=1e-15)
        np.testing.assert_allclose(x, x_dense, rtol=1e-10)
        whole = np.diag(bands.diagonal) + np.diag(bands.upper[:-1], 1) + np.diag(bands.lower[1:], -1)
        np.testing.assert_allclose(whole, J, atol=1e-14)
