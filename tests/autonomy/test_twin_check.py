"""The twin check against the same experiment written plainly in NumPy, and against a probability known exactly."""

from math import sqrt

import jax
import numpy as np
import pytest

from pollux.autonomy.twin_check import build_twin_check
from pollux.core.errors import DefinitionError
from pollux.core.signals import Belief, Health
from pollux.intervene.forecast import build_forecaster
from pollux.model.augment import augment
from pollux.model.backend import Xla
from pollux.model.random import Stream, normal
from pollux.model.statespace import flatten


def belief(space, mean, sd, t=1000.0):
    y = len(space.y)
    return Belief(
        "tank", t, "b/1", "r/1", np.array(mean), np.diag(np.square(sd)), space.u0, np.zeros(y), np.zeros(y), np.ones(y),
        (Health.GOOD,) * y, 1.0, y, np.zeros(y),
    )  # fmt: skip


@pytest.fixture(scope="module")
def space(tank):
    return flatten(tank)


@pytest.fixture(scope="module")
def check(space):
    return build_twin_check(space, longest_step=5.0)


def reference(space, b, edges, plan, samples, seed, longest, prior_share=1.0):
    """Tank of the README, written out: same draws, own Runge-Kutta, one sample at a time."""
    n = int(np.ceil((edges[-1] - edges[0]) / longest - 1e-9))
    h = (edges[-1] - edges[0]) / n

    def drawn(stream, steps):
        of_member = jax.vmap(lambda i, k: normal(seed, stream, i, k, 2), (None, 0))
        return np.asarray(jax.jit(jax.vmap(of_member, (0, None)))(np.arange(samples), steps))

    X = b.mean + np.sqrt(np.diag(b.cov)) * drawn(Stream.CHECK_START, np.zeros(1, int))[:, 0]
    z = drawn(Stream.CHECK_PARAMETERS, np.zeros(1, int))[:, 0]
    w = drawn(Stream.CHECK_NOISE, np.arange(n))
    p = {c.name: c.start for c in space.p}
    low, high = space.bounds("x")
    out = np.zeros((samples, 2))
    for s in range(samples):
        k = p["k"] * np.exp(0.2 * prior_share * z[s, 0])
        UA = p["UA"] * np.exp(0.5 * prior_share * z[s, 1])

        def f(x, u, k=k, UA=UA):
            level, T = x
            dh = (u[0] - k * np.sqrt(level)) / p["A"]
            dT = (u[1] - UA * (T - p["ambient"])) / (p["rho_c"] * p["A"] * level)
            return np.array([dh, dT + u[0] * (p["ambient"] - T) / (p["A"] * level)])

        x = np.clip(X[s], low, high)
        short = [np.maximum([0.2 - x[0], x[1] - 350.0], 0)]
        for i in range(n):
            u = plan[max(j for j in range(len(plan)) if edges[j] <= edges[0] + h * (i + 0.5))]
            k1 = f(x, u)
            k2 = f(x + h / 2 * k1, u)
            k3 = f(x + h / 2 * k2, u)
            k4 = f(x + h * k3, u)
            x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4) + np.sqrt(space.Q * h) * w[s, i]
            x = np.clip(x, low, high)
            short.append(np.maximum([0.2 - x[0], x[1] - 350.0], 0))
        out[s] = np.mean(short, axis=0)
    return out


def test_equals_the_plain_experiment(space, check):
    b = belief(space, [1.6, 340.0], [0.02, 2.0])
    edges = np.array([1000.0, 1012.0, 1050.0, 1080.0])
    plan = np.array([[0.0, 2e5], [0.001, 1e5], [0.0, 0.0]])
    found = check(b, edges, plan, 40, 7)
    expected = reference(space, b, edges, plan, 40, 7, 5.0)
    assert found.shape == (40, 3)
    assert 0 < (expected[:, 0] > 0).sum() < 40
    # The eigenvectors of a diagonal covariance may be ordered by size; sd is ascending here, so the draws agree.
    np.testing.assert_allclose(found[:, 1:], expected, rtol=1e-9, atol=1e-13)
    assert np.all(found[:, 0] == 0)


def test_a_probability_that_is_known(space, check):
    """h at time 0 is below 0.2 with P = Phi(-1); the outflow cannot raise it. The exact interval must hold it."""
    b = belief(space, [0.25, 300.0], [0.05, 0.01])
    edges, plan = np.array([1000.0, 1001.0]), np.array([[0.05, 0.0]])
    n = 4000
    found = check(b, edges, plan, n, 3)
    p = 0.15865525393145707
    assert abs((found[:, 1] > 0).mean() - p) < 4 * sqrt(p * (1 - p) / n)


def test_same_seed_same_samples_whatever_the_plan(space, check):
    b = belief(space, [1.0, 300.0], [0.05, 1.0])
    edges = np.array([1000.0, 1100.0])
    dry = check(b, edges, np.array([[0.0, 0.0]]), 50, 1)
    same = check(b, np.array([1000.0, 1050.0, 1100.0]), np.zeros((2, 2)), 50, 1)
    np.testing.assert_array_equal(dry, same)
    assert not np.array_equal(check(b, edges, np.array([[0.0, 0.0]]), 50, 2), dry)
    wet = check(b, edges, np.array([[0.05, 0.0]]), 50, 1)
    assert np.all(wet[:, 1] <= dry[:, 1])


def test_no_schedule_compiles_anything_new(space, check):
    b = belief(space, [1.0, 300.0], [0.05, 1.0])
    check(b, np.array([1000.0, 1100.0]), np.zeros((1, 2)), 50, 1)
    native = [len(getattr(kernel, "reports", ())) for kernel in (check.draw, check.kernel)]
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda name, *_, **__: compiled.append(name) if "backend_compile" in name else None
    )
    for end, rows in ((1001.0, 1), (1500.0, 3), (4600.0, 7)):
        check(b, np.linspace(1000.0, end, rows + 1), np.zeros((rows, 2)), 50, 1)
    again = build_twin_check(space, longest_step=9.0)
    again(b, np.array([1000.0, 1100.0]), np.zeros((1, 2)), 50, 1)
    assert compiled == []
    assert (again.draw, again.kernel) == (check.draw, check.kernel)
    assert native == [len(getattr(kernel, "reports", ())) for kernel in (again.draw, again.kernel)]


def test_more_samples_contain_the_fewer(space, check):
    b = belief(space, [1.0, 300.0], [0.05, 1.0])
    edges, plan = np.array([1000.0, 1300.0]), np.zeros((1, 2))
    np.testing.assert_array_equal(check(b, edges, plan, 459, 4)[:50], check(b, edges, plan, 50, 4))


def test_back_ends_agree(space, check):
    b = belief(space, [1.6, 340.0], [0.02, 2.0])
    edges, plan = np.array([1000.0, 1050.0, 1300.0]), np.array([[0.0, 2e5], [0.001, 1e5]])
    xla = build_twin_check(space, longest_step=5.0, backend=Xla())(b, edges, plan, 100, 3)
    np.testing.assert_allclose(check(b, edges, plan, 100, 3), xla, rtol=1e-12, atol=1e-14)
    assert xla[:, 1].any()


def test_the_planner_has_not_met_its_disturbances(space, check):
    """A forecast with the guard's own seed draws other states from the same belief."""
    b = belief(space, [1.6, 340.0], [0.02, 2.0])
    forecaster = build_forecaster(space, horizon=5.0, step=5.0, samples=400)
    planned = forecaster.ensemble(b, seed=7).states[0]
    common = space.p0, check.wide.widths, np.int64(7), np.arange(400)
    guarded = check.draw(b.mean, np.diag([0.02, 2.0]), *common)[0]
    for i in range(2):
        assert abs(np.corrcoef(planned[i], guarded[i])[0, 1]) < 4 / sqrt(400)


def test_tracked_parameters_come_from_the_belief(tank, space):
    tracked = augment(space, ("k",))
    check = build_twin_check(tracked, longest_step=5.0, prior_share=0.0)
    b = belief(space, [0.5, 300.0, 0.01], [1e-6, 1e-6, 1e-9])
    edges, plan = np.array([1000.0, 1060.0]), np.zeros((1, 2))
    slow = check(b, edges, plan, 20, 1)
    fast = check(belief(space, [0.5, 300.0, 0.03], [1e-6, 1e-6, 1e-9]), edges, plan, 20, 1)
    assert np.all(slow[:, 1] < fast[:, 1])


def test_a_trajectory_that_is_not_finite_is_infinitely_short(space, check):
    b = belief(space, [1.0, 300.0], [0.01, 0.1])
    found = check(b, np.array([1000.0, 1100.0]), np.array([[np.inf, 0.0]]), 10, 1)
    assert np.all(np.isinf(found[:, 0]))


def test_refuses_what_it_cannot_do(space, check):
    with pytest.raises(DefinitionError, match="longest_step"):
        build_twin_check(space, longest_step=0.0)
    b = belief(space, [1.0, 300.0], [0.01, 0.1])
    with pytest.raises(DefinitionError, match="at most"):
        check(b, np.array([1000.0, 1e9]), np.zeros((1, 2)), 10, 1)
