"""Nonlinear MPC against least squares, linear programming, dynamic programming and IPOPT."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import linprog, lsq_linear

from pollux import Scalar, Signals, Twin, const, var
from pollux.core.errors import DefinitionError
from pollux.intervene.mpc import Mpc, build_mpc
from pollux.intervene.mpc_options import InteriorPoint, MpcOptions, Outcome, Riccati

HOUR = 3600.0


class Level(Signals):
    level: Scalar = var("m", start=3.0, within=(0.0, 10.0))


class Pump(Signals):
    pump: Scalar = var("1", start=0.0, within=(0.0, 1.0))


class Gauge(Signals):
    gauge: Scalar = var("m", noise=0.02)


class Store(Twin[Level, Pump, Gauge]):
    """Elevated tank, a pump whose flow falls with the head, a two-rate tariff and a daily demand."""

    area: Scalar = const("m^2", 100.0)
    flow: Scalar = const("m^3/s", 0.05)
    power: Scalar = const("kW", 30.0)
    sag: Scalar = const("1/m", 0.0)
    price: Scalar = const("EUR/kW/s", 1e-5)

    def demand(self, t):
        return 0.02 * (1 + 0.5 * jnp.sin(2 * jnp.pi * (t / HOUR - 8) / 24))

    def tariff(self, t):
        hour = (t / HOUR) % 24
        return self.price * jnp.where((hour >= 7) & (hour < 22), 3.0, 1.0)

    def dynamics(self, t: Scalar, x: Level, u: Pump) -> Level:
        return Level(level=(self.flow * (1 - self.sag * x.level) * u.pump - self.demand(t)) / self.area)

    def observe(self, t: Scalar, x: Level, u: Pump) -> Gauge:
        return Gauge(gauge=x.level)

    def goal(self, t: Scalar, x: Level, u: Pump) -> Scalar:
        return self.tariff(t) * self.power * u.pump

    def margins(self, t: Scalar, x: Level, u: Pump) -> dict[str, Scalar]:
        return {"low": x.level - 2.0, "high": 6.0 - x.level}


class Cart(Signals):
    place: Scalar = var("m", start=0.0)
    speed: Scalar = var("m/s", start=0.0)


class Force(Signals):
    push: Scalar = var("N", start=0.0, within=(-1.0, 1.0))


class Seen(Signals):
    place: Scalar = var("m", noise=0.01)


class Trolley(Twin[Cart, Force, Seen]):
    """A double integrator with a wall at 0.8 m."""

    mass: Scalar = const("kg", 1.0)

    def dynamics(self, t: Scalar, x: Cart, u: Force) -> Cart:
        return Cart(place=x.speed, speed=u.push / self.mass)

    def observe(self, t: Scalar, x: Cart, u: Force) -> Seen:
        return Seen(place=x.place)

    def margins(self, t: Scalar, x: Cart, u: Force) -> dict[str, Scalar]:
        return {"wall": 0.8 - x.place}


class Angle(Signals):
    angle: Scalar = var("rad", start=3.0)
    rate: Scalar = var("rad/s", start=0.0)


class Torque(Signals):
    torque: Scalar = var("N m", start=0.0, within=(-3.0, 3.0))


class AngleSeen(Signals):
    angle: Scalar = var("rad", noise=0.01)


class Pendulum(Twin[Angle, Torque, AngleSeen]):
    """Swing up with too little torque to lift it at once: a nonconvex problem with a nonconvex goal."""

    g: Scalar = const("1/s^2", 9.81)
    inertia: Scalar = const("kg m^2", 1.0)

    def dynamics(self, t: Scalar, x: Angle, u: Torque) -> Angle:
        return Angle(angle=x.rate, rate=self.g * jnp.sin(x.angle) + u.torque / self.inertia)

    def observe(self, t: Scalar, x: Angle, u: Torque) -> AngleSeen:
        return AngleSeen(angle=x.angle)

    def goal(self, t: Scalar, x: Angle, u: Torque) -> Scalar:
        return 1 - jnp.cos(x.angle) + 0.05 * x.rate**2 + 0.01 * u.torque**2


WALL = {"steps": 20, "step": 0.3, "references": {"place": 1.0}, "rate": 0.01, "substeps": 1}
ECONOMIC = {"limit": 10.0, "price": 10.0, "floor": {"level": 10.0}}


@pytest.fixture(scope="module", params=[InteriorPoint(), Riccati()], ids=["interior_point", "riccati"])
def pumping(request) -> Mpc:
    return build_mpc(Store(), MpcOptions(steps=48, step=1800.0, solver=request.param, **ECONOMIC))


@pytest.fixture(scope="module")
def trolley() -> Mpc:
    weights = {"place": 1.0, "speed": 0.1}
    options = MpcOptions(steps=25, step=0.2, references=weights, rate=0.02, limit=0.0, substeps=1, tolerance=1e-9)
    return build_mpc(Trolley(), options)


def prediction(N: int, dt: float) -> tuple[np.ndarray, np.ndarray]:
    """Exact places and speeds of a double integrator as matrices on the inputs."""
    k = np.arange(1, N + 1)[:, None] - np.arange(N)[None]
    place = np.where(k > 0, dt**2 * (k - 0.5), 0.0)
    return place, np.where(k > 0, dt, 0.0)


@pytest.mark.parametrize("start", [(0.0, 0.0), (-2.0, 1.0), (3.0, -0.5)])
def test_tracking_is_bounded_least_squares(trolley: Mpc, start):
    N, dt = 25, 0.2
    place, speed = prediction(N, dt)
    times = dt * np.arange(1, N + 1)
    D = np.eye(N) - np.eye(N, k=-1)
    A = np.concatenate([place, np.sqrt(0.1) * speed, np.sqrt(0.02) * D])
    free = np.concatenate([0.5 - start[0] - start[1] * times, np.sqrt(0.1) * (0 - start[1] * np.ones(N))])
    first = np.zeros(N)
    first[0] = np.sqrt(0.02) * 0.3
    oracle = lsq_linear(A, np.concatenate([free, first]), (-1, 1), tol=1e-14, max_iter=1000)
    plan = trolley.solve(0.0, np.array(start), np.array([0.3]), references={"place": 0.5, "speed": 0.0})
    assert plan.outcome is Outcome.OPTIMAL
    np.testing.assert_allclose(plan.inputs[:, 0], oracle.x, atol=2e-4)
    assert plan.cost == pytest.approx(2 * oracle.cost, rel=1e-8)


@pytest.mark.parametrize("weights", [{"limit": 50.0}, {"limit": 5.0, "price": 90.0}])
def test_both_subproblem_solvers_agree(weights):
    base = WALL | weights | {"tolerance": 1e-6}
    x, u, to = np.array([0.0, 0.5]), np.zeros(1), {"place": 1.5}
    one, two = (
        build_mpc(Trolley(), MpcOptions(solver=s, **base)).solve(0.0, x, u, references=to)
        for s in (Riccati(), InteriorPoint())
    )
    assert one.outcome is two.outcome is Outcome.OPTIMAL
    assert one.cost == pytest.approx(two.cost, rel=1e-7)
    np.testing.assert_allclose(one.inputs, two.inputs, atol=1e-3)
    np.testing.assert_allclose(one.multipliers, two.multipliers, atol=1e-3)
    if "price" not in weights:
        assert one.penalty > 0
        np.testing.assert_allclose(one.multipliers, 2 * 50.0 * np.maximum(-one.margins, 0), atol=1e-6)


@pytest.mark.parametrize("solver", [InteriorPoint(), Riccati()])
def test_exact_penalty_keeps_the_limit(solver):
    options = MpcOptions(limit=0.0, price=50.0, solver=solver, **WALL)
    plan = build_mpc(Trolley(), options).solve(0.0, np.zeros(2), np.zeros(1), references={"place": 1.5})
    assert plan.outcome is Outcome.OPTIMAL
    assert plan.margins.min() > -1e-6
    assert plan.margins.min() < 1e-3
    assert plan.multipliers.max() > 0


@pytest.mark.parametrize(("x0", "hour"), [(3.0, 0.0), (2.1, 9.0), (5.9, 20.0), (4.0, 13.0)])
def test_pump_schedule_is_the_linear_program(pumping: Mpc, x0, hour):
    twin, N, dt, t0 = Store(), 48, 1800.0, hour * HOUR
    nodes = t0 + dt / 16 * np.arange(16 * N + 1)
    tariff = np.asarray(twin.tariff(nodes[:-1] + 1.0)).reshape(N, 16).mean(1)  # constant within each half hour
    demand = np.asarray(twin.demand(nodes))
    used = np.cumsum((demand[:-1:2] + 4 * demand[1::2] + demand[2::2]).reshape(N, 8).sum(1) * dt / 16 / 3 / twin.area)
    lift = np.tril(np.full((N, N), twin.flow * dt / twin.area))
    A = np.concatenate([lift, -lift, -lift[-1:]])
    b = np.concatenate([6 - x0 + used, x0 - 2 - used, [-used[-1]]])
    oracle = linprog(tariff * dt * twin.power, A, b, bounds=(0, 1))
    plan = pumping.solve(t0, np.array([x0]), np.zeros(1), floor={"level": x0})
    assert plan.outcome is Outcome.OPTIMAL
    assert plan.penalty < 1e-6
    assert plan.cost == pytest.approx(oracle.fun, rel=1e-5)
    assert plan.states[-1, 0] > x0 - 1e-5


def dynamic_programme(twin: Store, N: int, dt: float, x0: float, grid: np.ndarray, choices: np.ndarray) -> float:
    """Least cost over on/off-and-between choices by backward recursion on a fine grid of levels."""
    value = np.where(grid >= x0, 0.0, 10.0 * (x0 - grid))
    tariff = np.array([float(twin.tariff(k * dt + 1.0)) for k in range(N)])
    for k in reversed(range(N)):
        x = np.repeat(grid[:, None], len(choices), 1)
        for i in range(4):
            t, h = k * dt + i * dt / 4, dt / 4
            f = lambda s, x: (twin.flow * (1 - twin.sag * x) * choices - np.asarray(twin.demand(s))) / twin.area  # noqa: E731
            mid = x + h / 2 * f(t, x)
            x = x + h * f(t + h / 2, mid)
        out = (
            10 * (np.maximum(2 - x, 0) + np.maximum(x - 6, 0)) + 10 * (np.maximum(2 - x, 0) + np.maximum(x - 6, 0)) ** 2
        )
        value = np.min(tariff[k] * dt * twin.power * choices + out + np.interp(x, grid, value), axis=1)
    return float(np.interp(x0, grid, value))


def test_nonlinear_pump_schedule_matches_dynamic_programming(pumping: Mpc):
    p = pumping.space.p0
    p[pumping.space.index("p", "sag")] = 0.05
    plan = pumping.solve(0.0, np.array([3.0]), np.zeros(1), p=p, floor={"level": 3.0})
    oracle = dynamic_programme(Store(sag=0.05), 48, 1800.0, 3.0, np.linspace(1.5, 6.5, 2001), np.linspace(0, 1, 61))
    assert plan.outcome is Outcome.OPTIMAL
    assert plan.cost == pytest.approx(oracle, rel=3e-3)
    assert plan.cost < oracle * 1.001


def test_reduced_cost_is_the_gradient(pumping: Mpc):
    """Stationarity of the reported plan in each input, by its limit."""
    plan = pumping.solve(7 * HOUR, np.array([3.5]), np.zeros(1), floor={"level": 2.5})
    inside = (plan.inputs[:, 0] > 1e-4) & (plan.inputs[:, 0] < 1 - 1e-4)
    scale = 1e-5 * 30.0 * 1800.0  # cost of one step at full power and the low rate
    assert np.all(np.abs(plan.reduced[inside]) < 1e-4 * scale)
    assert np.all(plan.reduced[plan.inputs[:, 0] <= 1e-4] > -1e-4 * scale)
    assert np.all(plan.reduced[plan.inputs[:, 0] >= 1 - 1e-4] < 1e-4 * scale)
    assert inside.any()


@pytest.fixture(scope="module")
def swing() -> Mpc:
    return build_mpc(Pendulum(), MpcOptions(steps=40, step=0.1, iterations=100, rate=0.001))


def test_swing_up_never_gets_worse_and_converges(swing: Mpc):
    controller = swing
    x, before = np.array([3.0, 0.0]), np.zeros(1)
    cut = [replace(controller, options=replace(controller.options, iterations=n)) for n in (0, 3, 25)]
    costs = [c.solve(0.0, x, before).cost for c in cut]
    plan = controller.solve(0.0, x, before)
    assert costs[0] > costs[1] > costs[2] > plan.cost
    assert plan.outcome is Outcome.OPTIMAL
    assert abs(np.cos(plan.states[-1, 0]) - 1) < 0.05


def test_agrees_with_ipopt(swing: Mpc):
    ca = pytest.importorskip("casadi")
    N, h = 40, 0.1
    plan = swing.solve(0.0, np.array([3.0, 0.0]), np.zeros(1))
    z, u = ca.MX.sym("z", 3), ca.MX.sym("u")
    rate = ca.vertcat(z[1], 9.81 * ca.sin(z[0]) + u, 1 - ca.cos(z[0]) + 0.05 * z[1] ** 2 + 0.01 * u**2)
    f = ca.Function("f", [z, u], [rate])
    opti = ca.Opti()
    U, Z = opti.variable(N), ca.vertcat(3.0, 0.0, 0.0)
    before, change = 0.0, 0.0
    for k in range(N):
        for _ in range(4):
            s = h / 4
            k1 = f(Z, U[k])
            k2 = f(Z + s / 2 * k1, U[k])
            k3 = f(Z + s / 2 * k2, U[k])
            k4 = f(Z + s * k3, U[k])
            Z = Z + s / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        change, before = change + 0.001 * (U[k] - before) ** 2, U[k]
    opti.minimize(Z[2] + change)
    opti.subject_to(opti.bounded(-3, U, 3))
    opti.set_initial(U, plan.inputs[:, 0] + 0.05)
    opti.solver("ipopt", {"print_time": False}, {"print_level": 0, "sb": "yes", "tol": 1e-10})
    found = opti.solve()
    assert plan.cost == pytest.approx(float(found.value(Z[2] + change)), rel=1e-6)
    np.testing.assert_allclose(plan.inputs[:, 0], found.value(U), atol=5e-3)


def test_a_solve_is_pure_and_never_recompiles(pumping: Mpc):
    x, before = np.array([3.0]), np.zeros(1)
    first = pumping.solve(0.0, x, before, floor={"level": 3.0})
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, *_, **__: compiled.append(event) if "backend_compile" in event else None
    )
    again = pumping.solve(0.0, x, before, floor={"level": 3.0})
    pumping.solve(
        900.0, np.array([4.0]), np.ones(1), p=pumping.space.p0 * 1.1,
        floor={"level": 2.0}, warm=first.shifted(), limits={"pump": (0.1, 0.7)},
    )  # fmt: skip
    assert compiled == []
    assert first.inputs.tobytes() == again.inputs.tobytes()


def test_warm_start_needs_fewer_iterations(swing: Mpc):
    cold = swing.solve(0.0, np.array([2.0, 0.0]), np.zeros(1))
    warm = swing.solve(0.0, np.array([2.0, 0.0]), np.zeros(1), warm=cold.inputs)
    assert warm.iterations < cold.iterations
    assert abs(warm.promised) < 1e-4 * cold.cost
    assert warm.cost <= cold.cost * (1 + 1e-9)


def test_narrower_limits_and_held_inputs_are_kept(pumping: Mpc):
    plan = pumping.solve(0.0, np.array([3.0]), np.zeros(1), floor={"level": 2.0}, limits={"pump": (0.2, 0.6)})
    assert plan.inputs.min() >= 0.2 - 1e-12
    assert plan.inputs.max() <= 0.6 + 1e-12


def test_an_impossible_limit_gives_a_finite_plan_with_its_penalty(pumping: Mpc):
    plan = pumping.solve(0.0, np.array([0.5]), np.zeros(1), floor={"level": 9.0})
    assert plan.outcome is Outcome.OPTIMAL
    assert plan.penalty > 10
    assert np.all(plan.inputs[:2] > 1 - 1e-4)  # it pumps at full speed out of the violation
    assert np.all(plan.margins[2:] > -1e-5)
    assert plan.states[-1, 0] == pytest.approx(6.0, abs=1e-4)  # as near to the floor as the upper limit allows


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_state_that_is_not_finite_is_said(pumping: Mpc, bad):
    plan = pumping.solve(0.0, np.array([bad]), np.zeros(1), floor={"level": 3.0})
    assert plan.outcome is Outcome.DIVERGED
    assert np.isfinite(plan.inputs).all()


class Unlimited(Signals):
    push: Scalar = var("N", start=0.0)


class Runaway(Twin[Cart, Unlimited, Seen]):
    def dynamics(self, t: Scalar, x: Cart, u: Unlimited) -> Cart:
        return Cart(place=x.speed, speed=u.push / 1.0)

    def observe(self, t: Scalar, x: Cart, u: Unlimited) -> Seen:
        return Seen(place=x.place)


@pytest.mark.parametrize(
    ("twin", "options", "word"),
    [
        (Trolley(), {}, "Nothing to optimise"),
        (Runaway(), {"references": {"place": 1.0}}, "finite limits"),
        (Trolley(), {"references": {"plaice": 1.0}}, "plaice"),
        (Trolley(), {"references": {"place": 1.0}, "limit": {"roof": 1.0}}, "roof"),
        (Trolley(), {"references": {"place": 1.0}, "controls": ()}, "an input to decide"),
    ],
)
def test_mistakes_are_named(twin, options, word):
    with pytest.raises(DefinitionError, match=word):
        build_mpc(twin, MpcOptions(steps=5, step=0.1, **options))
