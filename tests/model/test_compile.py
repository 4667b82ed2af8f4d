"""Kernels: right, cached by structure, and never compiled twice for another value."""

import jax
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from pollux import compile, flatten
from pollux.core.errors import DefinitionError
from pollux.model.augment import augment, tracked_parameters
from pollux.model.backend import Xla
from pollux.model.compile import programs


def test_flow_against_scipy(tank):
    k = compile(tank, substeps=4)
    s = k.space
    (x,) = k.flow(0.0, 10.0, s.x0, np.array([0.02, 1e5]), s.p0)
    oracle = solve_ivp(
        lambda t, x: np.asarray(s.system.f(t, x, np.array([0.02, 1e5]), s.p0)), (0, 10), s.x0, rtol=1e-11, atol=1e-11
    )
    np.testing.assert_allclose(x, oracle.y[:, -1], rtol=1e-9)


def test_rk4_order_is_four(tank):
    s = flatten(tank)
    exact = compile(tank, substeps=512).flow(0.0, 200.0, s.x0, s.u0, s.p0)[0]
    errors = [
        np.max(np.abs(compile(tank, substeps=n).flow(0.0, 200.0, s.x0, s.u0, s.p0)[0] - exact)) for n in (8, 16, 32)
    ]
    order = np.polyfit(np.log([8, 16, 32]), np.log(errors), 1)[0]
    assert -4.6 < order < -3.6


def test_linearise_against_finite_differences(tank):
    k = compile(tank)
    s = k.space
    A, B, C, D = k.linearise(0.0, s.x0, s.u0, s.p0)
    eps = 1e-6
    for j in range(2):
        dx = np.eye(2)[j] * eps
        central = (s.system.f(0.0, s.x0 + dx, s.u0, s.p0) - s.system.f(0.0, s.x0 - dx, s.u0, s.p0)) / (2 * eps)
        np.testing.assert_allclose(A[:, j], central, rtol=1e-6, atol=1e-9)
    assert B.shape == (2, 2)
    np.testing.assert_array_equal(C, np.eye(2))
    np.testing.assert_array_equal(D, np.zeros((2, 2)))


def test_fleet_equals_loop(tank):
    s = flatten(tank)
    flow, *_ = programs(s.system, 4)
    N = 7
    random = np.random.default_rng(1)
    x = s.x0[:, None] * random.uniform(0.8, 1.2, (2, N))
    u = s.u0[:, None] * random.uniform(0.5, 1.5, (2, N))
    p = s.p0[:, None] * random.uniform(0.9, 1.1, (5, N))
    (fleet,) = Xla().fleet(flow)(0.0, 5.0, x, u, p)
    one = Xla().one(flow)
    for i in range(N):
        np.testing.assert_allclose(fleet[:, i], one(0.0, 5.0, x[:, i], u[:, i], p[:, i])[0], rtol=1e-13)


def test_another_value_compiles_nothing(tank, tank_class):
    compiled: list[str] = []

    def listen(event: str, duration: float, **kwargs) -> None:
        if event.endswith("backend_compile_duration"):
            compiled.append(event)

    k = compile(tank)
    k.flow(0.0, 1.0, k.space.x0, k.space.u0, k.space.p0)
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        for UA in (10.0, 20.0, 40.0):
            space = flatten(tank_class(UA=UA))
            compiled.clear()
            other = compile(tank_class(UA=UA))
            other.flow(1.0, 2.0, other.space.x0 * 1.1, other.space.u0, other.space.p0)
            assert other.flow is k.flow
            kernel_compilations = len(compiled)
            assert space.system == k.space.system
            assert kernel_compilations == 0
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


def test_tracked_parameter_joins_the_state(tank):
    space = augment(flatten(tank), ("k",))
    assert space.system.x_names == ("h", "T", "k")
    assert space.P0[2] == pytest.approx((0.01 * np.sqrt(np.expm1(0.04))) ** 2)
    z = np.array([1.0, 293.15, 0.02])
    want = flatten(tank).system.f(0.0, z[:2], space.u0, np.array([0.5, 0.02, 50.0, 4.18e6, 293.0]))
    np.testing.assert_allclose(space.system.f(0.0, z, space.u0, space.p0), [*want, 0.0])
    assert tracked_parameters(space, z)[1] == 0.02


def test_tracked_parameter_needs_a_prior(tank):
    with pytest.raises(DefinitionError, match="needs a prior"):
        augment(flatten(tank), ("A",))
