"""`Riccati` against IPOPT, finite differences and the condensed problem; on other back ends and in other units."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from pollux import Scalar, Signals, Twin, const, var
from pollux.core.errors import ShapeError
from pollux.intervene.mpc import Mpc, build_mpc
from pollux.intervene.mpc_options import MpcOptions, Outcome, Riccati
from pollux.model.backend import Xla
from pollux.model.native import Native, UnsupportedError, machine

N, STEP, LOW, HIGH, ROOF, SOFT, RATE = 20, 5.0, 1.0, 3.4, 1.86, 200.0, 0.1
START, VOLTS, GOAL = np.array([12.4, 12.7, 1.8, 1.4]), np.array([3.0, 3.0]), (16.0, 14.0)
AREA, OUTLET, PUMP = (28.0, 32.0, 28.0, 32.0), (0.071, 0.057, 0.071, 0.057), (3.33, 3.35)


def rates(h, v, sqrt, size: Any = 1.0):
    """Levels in units of `size` cm: Johansson's quadruple tank at its minimum-phase operating point."""
    q = [o * sqrt(2 * 981.0 * size * h[i]) for i, o in enumerate(OUTLET)]
    inflow = (0.7 * PUMP[0] * v[0], 0.6 * PUMP[1] * v[1], 0.4 * PUMP[1] * v[1], 0.3 * PUMP[0] * v[0])
    above = (q[2], q[3], 0.0, 0.0)
    return [(inflow[i] - q[i] + above[i]) / (AREA[i] * size) for i in range(4)]


class Levels(Signals):
    h1: Scalar = var("cm", start=12.4, within=(0.2, 20.0))
    h2: Scalar = var("cm", start=12.7, within=(0.2, 20.0))
    h3: Scalar = var("cm", start=1.8, within=(0.2, 20.0))
    h4: Scalar = var("cm", start=1.4, within=(0.2, 20.0))


class Pumps(Signals):
    v1: Scalar = var("V", start=3.0, within=(LOW, HIGH))
    v2: Scalar = var("V", start=3.0, within=(LOW, HIGH))


class Gauges(Signals):
    y1: Scalar = var("cm", noise=0.02)


class Tanks(Twin[Levels, Pumps, Gauges]):
    """`size`: cm in the unit of the levels."""

    size: Scalar = const("1", 1.0)

    def dynamics(self, t: Scalar, x: Levels, u: Pumps) -> Levels:
        return Levels(*rates((x.h1, x.h2, x.h3, x.h4), (u.v1, u.v2), jnp.sqrt, self.size))

    def observe(self, t: Scalar, x: Levels, u: Pumps) -> Gauges:
        return Gauges(y1=x.h1)

    def margins(self, t: Scalar, x: Levels, u: Pumps) -> dict[str, Scalar]:
        return {"roof": ROOF / self.size - x.h3}


OPTIONS = MpcOptions(
    steps=N, step=STEP, substeps=1, references={"h1": 1.0, "h2": 1.0}, rate=RATE, limit=SOFT, tolerance=1e-6
)


def native_or_xla():
    try:
        machine.host()
    except UnsupportedError:
        return Xla()
    return Native(fallback=None)


@pytest.fixture(scope="module")
def tanks() -> Mpc:
    return build_mpc(Tanks(), OPTIONS, backend=native_or_xla())


@pytest.fixture(scope="module")
def on_xla() -> Mpc:
    return build_mpc(Tanks(), OPTIONS, backend=Xla())


def ask(mpc: Mpc, x: ArrayLike = START, goal: tuple[float, float] = GOAL, before: np.ndarray = VOLTS, **more):
    return mpc.solve(0.0, np.asarray(x, float), before, references=dict(zip(("h1", "h2"), goal, strict=True)), **more)


def ipopt(x, goal, price=0.0):
    """(inputs, violations of the roof, cost) of the same problem: single shooting, a slack for each node."""
    ca = pytest.importorskip("casadi")
    X, U = ca.SX.sym("X", 4), ca.SX.sym("U", 2)
    f = ca.Function("f", [X, U], [ca.vertcat(*rates([X[i] for i in range(4)], [U[0], U[1]], ca.sqrt))])
    opti = ca.Opti()
    V, S, z = opti.variable(2, N), opti.variable(N), ca.DM(list(x))
    cost, before = 0, ca.DM(list(VOLTS))
    for k in range(N):
        v = V[:, k]
        a = f(z, v)
        b = f(z + STEP / 2 * a, v)
        c = f(z + STEP / 2 * b, v)
        z = z + STEP / 6 * (a + 2 * b + 2 * c + f(z + STEP * c, v))
        cost += (z[0] - goal[0]) ** 2 + (z[1] - goal[1]) ** 2 + RATE * ca.sumsqr(v - before)
        cost += SOFT * S[k] ** 2 + price * S[k]
        opti.subject_to(z[2] - S[k] <= ROOF)
        before = v
    opti.subject_to(opti.bounded(LOW, ca.vec(V), HIGH))
    opti.subject_to(S >= 0)
    opti.minimize(cost)
    opti.set_initial(V, 3.0)
    opti.solver("ipopt", {"print_time": False}, {"print_level": 0, "sb": "yes", "tol": 1e-11})
    found = opti.solve()
    return found.value(V).T, found.value(S), float(found.value(cost))


@pytest.mark.parametrize(("x", "goal"), [(START, GOAL), (START, (10.0, 15.0)), ((8.0, 16.0, 2.2, 1.0), (14.0, 11.0))])
def test_agrees_with_ipopt(tanks: Mpc, x, goal):
    inputs, short, cost = ipopt(x, goal)
    plan = ask(tanks, x, goal)
    assert plan.outcome is Outcome.OPTIMAL
    assert plan.cost == pytest.approx(cost, rel=1e-7)
    np.testing.assert_allclose(plan.inputs, inputs, atol=2e-4)
    np.testing.assert_allclose(np.maximum(-plan.margins[:, 0], 0), short, atol=1e-5)


@pytest.mark.parametrize("price", [2.0, 300.0])
def test_an_exact_penalty_agrees_with_ipopt(price):
    """Below the multiplier of the limit the penalty is paid, above it the limit is kept exactly."""
    mpc = build_mpc(Tanks(), replace(OPTIONS, price=price, solver=Riccati()), backend=native_or_xla())
    inputs, short, cost = ipopt(START, GOAL, price)
    plan = ask(mpc)
    assert plan.outcome is Outcome.OPTIMAL
    assert plan.cost == pytest.approx(cost, rel=1e-6)
    np.testing.assert_allclose(plan.inputs, inputs, atol=2e-3)
    np.testing.assert_allclose(np.maximum(-plan.margins[:, 0], 0), short, atol=1e-5)
    assert (plan.penalty > 0.01) == (price == 2.0)
    assert 0 < plan.multipliers.max() < price * (1 + 1e-9) or price == 2.0


def test_limits_are_active_in_what_ipopt_is_asked(tanks: Mpc):
    assert ask(tanks).penalty > 1e-3
    plan = ask(tanks, goal=(10.0, 15.0))
    assert plan.inputs.max() > HIGH - 1e-9
    assert plan.inputs.min() < LOW + 1e-9


def test_stationary_where_it_says_optimal(tanks: Mpc):
    plan = ask(tanks)
    inside = (plan.inputs > LOW + 1e-9) & (plan.inputs < HIGH - 1e-9)
    assert plan.kkt < OPTIONS.tolerance
    assert np.all(np.abs(plan.reduced[inside]) < 1e-3 * np.abs(ask(tanks, iterations=0).reduced).max())
    assert np.all(plan.reduced[plan.inputs >= HIGH - 1e-9] <= 0)
    np.testing.assert_allclose(plan.multipliers, 2 * SOFT * np.maximum(-plan.margins, 0), rtol=1e-12)


def test_reduced_cost_is_the_derivative_of_the_cost(tanks: Mpc):
    rng = np.random.default_rng(1)
    warm = rng.uniform(2.0, 3.0, (N, 2))
    here = ask(tanks, warm=warm, iterations=0)
    np.testing.assert_allclose(here.inputs, warm, rtol=1e-14)
    for k, j in ((0, 0), (3, 1), (11, 0), (19, 1)):
        ahead, behind = warm.copy(), warm.copy()
        ahead[k, j] += 1e-4
        behind[k, j] -= 1e-4
        slope = (ask(tanks, warm=ahead, iterations=0).cost - ask(tanks, warm=behind, iterations=0).cost) / 2e-4
        assert here.reduced[k, j] == pytest.approx(slope, rel=2e-6, abs=1e-6)


def test_the_residual_is_that_of_the_condensed_problem(tanks: Mpc):
    """Scaled by the largest curvature or slope of the smooth part over the range of an input: see `mpc_sqp`."""
    warm, width = np.random.default_rng(2).uniform(2.0, 3.0, (N, 2)), HIGH - LOW
    here = ask(tanks, warm=warm, iterations=0)
    S = np.zeros((N, 2, N, 2))
    for k in range(N):
        for j in range(2):
            ahead, behind = warm.copy(), warm.copy()
            ahead[k, j] += 1e-4 * width
            behind[k, j] -= 1e-4 * width
            there, back = (ask(tanks, warm=w, iterations=0).states[1:, :2] for w in (ahead, behind))
            S[:, :, k, j] = (there - back) / 2e-4
    S = S.reshape(2 * N, 2 * N)
    D = width * np.kron(np.eye(N) - np.eye(N, k=-1), np.eye(2))
    change = (warm - np.concatenate([VOLTS[None], warm[:-1]])).ravel()
    g = 2 * (here.states[1:, :2] - GOAL).ravel() @ S + 2 * RATE * change @ D
    H = 2 * S.T @ S + 2 * RATE * D.T @ D
    sigma = max(np.diagonal(H).max(), np.abs(g).max())
    w = (warm - LOW) / width
    kkt = np.abs(w - np.clip(w - here.reduced * width / sigma, 0, 1)).max()
    assert here.kkt == pytest.approx(kkt, rel=1e-6)


def test_native_code_and_xla_agree(tanks: Mpc, on_xla: Mpc):
    for x, goal in ((START, GOAL), (START, (10.0, 15.0)), ((4.0, 4.0, 3.0, 3.0), (6.0, 9.0))):
        one, two = ask(tanks, x, goal), ask(on_xla, x, goal)
        assert one.iterations == two.iterations
        np.testing.assert_allclose(one.inputs, two.inputs, rtol=1e-9, atol=1e-9)
        assert one.cost == pytest.approx(two.cost, rel=1e-12)


def test_warm_start_needs_fewer_iterations(tanks: Mpc):
    cold = ask(tanks)
    after = cold.states[1]
    warm = ask(tanks, after, before=cold.inputs[0], warm=cold.shifted())
    assert warm.iterations < ask(tanks, after, before=VOLTS).iterations
    again = ask(tanks, warm=cold.inputs)
    assert (again.iterations, again.outcome) == (0, Outcome.OPTIMAL)
    assert again.cost == pytest.approx(cold.cost, rel=1e-12)


def test_the_bound_on_iterations_holds_and_the_cost_only_falls(tanks: Mpc):
    costs = []
    for most in range(5):
        plan = ask(tanks, iterations=most)
        assert plan.iterations <= most
        assert (plan.outcome is Outcome.LIMIT) == (plan.kkt >= OPTIONS.tolerance)
        costs.append(plan.cost)
    assert np.all(np.diff(costs) <= 1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -5.0])
def test_a_state_from_which_the_model_is_not_finite_is_said(tanks: Mpc, bad):
    plan = ask(tanks, (bad, 12.0, 1.8, 1.4))
    assert plan.outcome is Outcome.DIVERGED
    assert np.all((plan.inputs >= LOW) & (plan.inputs <= HIGH))


LEVEL = st.floats(5.0, 18.0)


@settings(max_examples=25, deadline=None)
@given(st.tuples(LEVEL, LEVEL, st.floats(1.0, 2.5), st.floats(1.0, 6.0)), st.tuples(LEVEL, LEVEL))
def test_it_ends_well_from_everywhere(tanks: Mpc, x, goal):
    plan = ask(tanks, x, goal, iterations=60)
    assert plan.cost <= ask(tanks, x, goal, iterations=0).cost
    assert plan.kkt < 1e-3  # Gauss-Newton steps converge linearly, and slowly where the goal is far out of reach
    assert np.all((plan.inputs >= LOW) & (plan.inputs <= HIGH))


def test_the_unit_of_the_states_does_not_matter(on_xla: Mpc):
    size = 100.0  # levels in m
    weights = {"h1": size**2, "h2": size**2}
    metres = build_mpc(Tanks(size=size), replace(OPTIONS, references=weights, limit=SOFT * size**2), backend=Xla())
    one, two = ask(on_xla), ask(metres, START / size, (GOAL[0] / size, GOAL[1] / size))
    assert two.outcome is Outcome.OPTIMAL
    assert two.iterations == one.iterations
    assert two.cost == pytest.approx(one.cost, rel=1e-9)
    np.testing.assert_allclose(two.inputs, one.inputs, atol=1e-7)


def test_a_stage_is_all_that_is_traced(tanks: Mpc):
    """The program of a longer horizon has the same size: nothing is laid out over the stages but the plan itself."""

    def count(jaxpr) -> int:
        inner = [p for e in jaxpr.eqns for p in jax.tree.leaves(list(e.params.values())) if hasattr(p, "eqns")]
        closed = [p.jaxpr for e in jaxpr.eqns for p in jax.tree.leaves(list(e.params.values())) if hasattr(p, "jaxpr")]
        return len(jaxpr.eqns) + sum(map(count, inner + closed))

    def size(steps: int) -> int:
        made = []

        class Take:
            def one(self, program):
                made.append(program)

        mpc = build_mpc(Tanks(), replace(OPTIONS, steps=steps), backend=Take())  # pyright: ignore[reportArgumentType]
        return count(jax.make_jaxpr(made[0].fn)(mpc.packing.template).jaxpr)

    assert size(20) == size(200) > 100


def test_a_wrong_shape_is_named(tanks: Mpc):
    with pytest.raises(ShapeError, match=r"`x` of an MPC has shape \(4,\), received \(3,\)"):
        ask(tanks, START[:3])


class Angle(Signals):
    angle: Scalar = var("rad", start=3.0)
    rate: Scalar = var("rad/s", start=0.0)


class Torque(Signals):
    torque: Scalar = var("N m", start=0.0, within=(-3.0, 3.0))


class AngleSeen(Signals):
    angle: Scalar = var("rad", noise=0.01)


class Pendulum(Twin[Angle, Torque, AngleSeen]):
    def dynamics(self, t: Scalar, x: Angle, u: Torque) -> Angle:
        return Angle(angle=x.rate, rate=9.81 * jnp.sin(x.angle) + u.torque)

    def observe(self, t: Scalar, x: Angle, u: Torque) -> AngleSeen:
        return AngleSeen(angle=x.angle)

    def goal(self, t: Scalar, x: Angle, u: Torque) -> Scalar:
        return 1 - jnp.cos(x.angle) + 0.05 * x.rate**2 + 0.01 * u.torque**2


def test_a_nonconvex_goal_of_exact_curvature_is_swung_up():
    """Curvature made positive by damping alone; inputs that answer to what the linear forecast missed."""
    options = MpcOptions(steps=40, step=0.1, iterations=30, rate=0.001, solver=Riccati())
    mpc = build_mpc(Pendulum(), options, backend=native_or_xla())
    plan = mpc.solve(0.0, np.array([3.0, 0.0]), np.zeros(1))
    assert plan.outcome is Outcome.OPTIMAL
    assert plan.cost == pytest.approx(6.27108069, rel=1e-8)  # of IPOPT, from the same start, see `test_mpc`
    assert abs(np.cos(plan.states[-1, 0]) - 1) < 0.05
