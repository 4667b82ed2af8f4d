"""The sums over a record, against residuals and finite differences made by `simulate`, an independent loop."""

import jax.numpy as jnp
import numpy as np
import pytest

from pollux import RK4, Adaptive, Record, Scalar, Signals, Twin, flatten, param, simulate, var
from pollux.model.backend import Xla, default
from pollux.model.coordinates import unknowns
from pollux.model.fitting import frame_arrays, gather, grid, rows_of, sensing, solving
from pollux.model.leastsquares import Descent, Tolerances, begin
from pollux.model.stream import Problem, sums

TIMES = np.cumsum(np.r_[0.0, np.tile([2.0, 3.0, 1.0], 13)])
SIGMA = np.array([0.02, 0.5])


class Levels(Signals):
    a: Scalar = var("m", start=1.0)
    b: Scalar = var("m", start=1.0)


class Pump(Signals):
    q: Scalar = var("m/s", start=0.03)


class Gauges(Signals):
    b: Scalar = var("m", noise=0.02)
    product: Scalar = var("m^2", noise=0.5)


class Tanks(Twin[Levels, Pump, Gauges]):
    k1: Scalar = param("m^1/2/s", 0.04)
    unused: Scalar = param("1", 2.0)
    k2: Scalar = param("m^1/2/s", 0.03)

    def dynamics(self, t: Scalar, x: Levels, u: Pump) -> Levels:
        out = self.k1 * jnp.sqrt(jnp.maximum(x.a, 1e-9))
        return Levels(a=u.q - out, b=out - self.k2 * jnp.sqrt(jnp.maximum(x.b, 1e-9)))

    def observe(self, t: Scalar, x: Levels, u: Pump) -> Gauges:
        return Gauges(b=x.b, product=x.a * x.b * (1 + u.q) * self.k1 / 0.04)


class Steps(Tanks):
    """A discrete twin."""

    period = 2.0

    def step(self, t: Scalar, x: Levels, u: Pump) -> Levels:
        d = self.dynamics(t, x, u)
        return Levels(a=x.a + 2.0 * d.a, b=x.b + 2.0 * d.b)


def pumped(size: int) -> np.ndarray:
    return np.repeat(np.random.default_rng(5).uniform(0.01, 0.05, -(-size // 6)), 6)[:size]


CASES = {
    "rk4": (Tanks, RK4(3), TIMES),
    "adaptive": (Tanks, Adaptive(1e-10, 1e-12), TIMES),
    "discrete": (Steps, RK4(1), 2.0 * np.arange(40)),
}


@pytest.mark.parametrize("case", CASES)
def test_sums_are_those_of_the_residuals(case):
    kind, method, times = CASES[case]
    u = pumped(len(times))
    theta = np.array([0.04, 0.03, 1.2, 0.9])

    def residuals(v: np.ndarray, y: np.ndarray) -> np.ndarray:
        run = simulate(kind(k1=v[0], k2=v[1]), {"q": u}, times=times, x0=v[2:], method=method)
        return np.where(np.isfinite(y), (run.y - y) / SIGMA, 0.0).ravel()

    y = np.random.default_rng(0).normal(1.0, 0.1, (len(times), 2))
    y[np.random.default_rng(1).random(y.shape) < 0.3] = np.nan
    y[7] = np.nan
    space = flatten(kind())
    problem = Problem(space.system, method, (0, 2), (0, 1))
    p = np.array([theta[0], 2.0, theta[1]])
    loss, g, H = sums(problem)(jnp.array(p), jnp.array(theta[2:]), 1 / SIGMA, *grid(times, u[:, None], y))

    r = residuals(theta, y)
    J = np.empty((r.size, 4))
    for i, h in enumerate(1e-4 * theta):
        up, down = theta.copy(), theta.copy()
        up[i] += h
        down[i] -= h
        J[:, i] = (residuals(up, y) - residuals(down, y)) / (2 * h)
    assert float(loss) == pytest.approx(0.5 * r @ r, rel=1e-9)
    scale = np.sqrt(np.diag(J.T @ J))
    np.testing.assert_allclose(g / scale, J.T @ r / scale, atol=float(1e-5 * np.linalg.norm(r)))
    np.testing.assert_allclose(H / np.outer(scale, scale), J.T @ J / np.outer(scale, scale), atol=3e-6)


def test_rows_and_sums_agree_over_several_records():
    """The same derivatives handed out row by row; a shorter record is padded."""
    space = flatten(Tanks())
    problem = Problem(space.system, RK4(2), (0,), (1,))
    rng = np.random.default_rng(3)
    records = tuple(
        Record(TIMES[:n], pumped(n)[:, None], rng.normal(1.0, 0.1, (n, 2)), ("q",), ("b", "product")) for n in (40, 25)
    )
    data = gather(records, SIGMA)
    X0 = np.array([[1.0, 1.0], [2.0, 0.5]])
    theta = np.array([0.05, 0.9, 0.6])
    seen, V = default().one(sensing(problem))(theta, space.p0, X0, *data.arrays())
    assert seen.shape == (2, 40, 2)
    assert V.shape == (2, 40, 2, 2)
    p = space.p0
    p[0] = theta[0]
    for r, record in enumerate(records):
        x0 = np.array([X0[r, 0], theta[1 + r]])
        alone = gather((record,), SIGMA)
        loss, g, H = sums(problem)(p, jnp.array(x0), 1 / SIGMA, alone.origin, alone.rows)
        n = len(record)
        res = ((seen[r, :n] - record.y) / SIGMA).ravel()
        J = np.moveaxis(V[r, :n] / SIGMA, 1, 2).reshape(-1, 2)
        np.testing.assert_allclose([loss, *g], [0.5 * res @ res, *(J.T @ res)], rtol=1e-10)
        np.testing.assert_allclose(H, J.T @ J, rtol=1e-10)


def test_several_records_put_their_sums_together():
    """One pass of the solver gives the J'J that the rows give, each first state in its own block."""
    space = flatten(Tanks())
    problem = Problem(space.system, RK4(1), (0, 2), (0, 1))
    rng = np.random.default_rng(4)
    records = tuple(
        Record(TIMES[:n], pumped(n)[:, None], rng.normal(1.0, 0.1, (n, 2)), ("q",), ("b", "product"))
        for n in (40, 25, 33)
    )
    data = gather(records, SIGMA)
    X0 = rng.uniform(0.8, 1.2, (3, 2))
    frame = unknowns(space, problem.free, problem.states, space.p0, X0, True)
    z = 0.1 * rng.standard_normal(8)
    once = Tolerances(0.0, 0.0, 1)
    arrays = (*frame_arrays(frame), space.p0, X0, 1 / SIGMA, *data.arrays())
    seen, V = default().one(sensing(problem))(frame.value(z), space.p0, X0, *data.arrays())
    r, J, _ = rows_of(problem, data, seen, V, frame.slope(z))
    for back in (default(), Xla()):
        at = begin(z, frame.low, frame.high)
        solved = Descent(*back.one(solving(problem))(*at, *arrays, *once))
        assert solved.loss == pytest.approx(0.5 * r @ r + 0.5 * np.sum(z[2:] ** 2), rel=1e-12)
        np.testing.assert_allclose(solved.H, J.T @ J, rtol=1e-10, atol=1e-12 * np.abs(J).max() ** 2)
    np.testing.assert_array_equal((J.T @ J)[2:4, 4:], 0.0)


def test_a_grid_knows_until_when_inputs_stay():
    t = 100.0 + np.array([0.0, 1.0, 2.0, 4.0, 5.0])
    origin, rows = grid(t, np.array([[1.0], [1.0], [2.0], [2.0], [2.0]]), np.zeros((5, 1)))
    assert (origin.base, origin.span) == (100.0, 5.0)
    np.testing.assert_array_equal(rows.start, [0, 0, 1, 2, 4])
    np.testing.assert_array_equal(rows.end, [0, 1, 2, 4, 5])
    np.testing.assert_array_equal(rows.stop, [0, 2, 2, 5, 5])
    np.testing.assert_array_equal(rows.fresh, [False, False, False, True, False])
    two = np.stack([[[1.0], [1.0], [2.0], [2.0], [2.0]], [[1.0], [1.0], [1.0], [1.0], [3.0]]], axis=-1)
    np.testing.assert_array_equal(grid(t, two, np.zeros((5, 1, 2)))[1].stop, [0, 2, 2, 5, 5])
