"""The quadruple tank of work item `mpc`: Pollux's twin, the peers' controllers, and the plant that all of them face.

Source: Johansson, The quadruple-tank process, IEEE Trans. Control Systems Technology 8 (2000), table 1 and the minimum-
phase operating point P-: levels 12.4, 12.7, 1.8, 1.4 cm at 3 V.
"""

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from pollux import Scalar, Signals, Twin, const, param, var

A1, A2, A3, A4 = 28.0, 32.0, 28.0, 32.0
O1, O2, O3, O4 = 0.071, 0.057, 0.071, 0.057
K1, K2, G1, G2, GRAVITY = 3.33, 3.35, 0.70, 0.60, 981.0
START, VOLTS = np.array([12.4, 12.7, 1.8, 1.4]), np.array([3.0, 3.0])
STEP, HORIZON, TICKS, SUBSTEPS = 5.0, 20, 120, 4
LOW, HIGH, HIGH3, SOFT, RATE = 0.2, 20.0, 1.89, 200.0, 0.1


def set_points(k: int) -> tuple[float, float]:
    """(r1, r2) in cm at tick k."""
    return (16.0, 14.0) if k < TICKS // 2 else (10.0, 15.0)


class Levels(Signals):
    """Levels of the four tanks."""

    h1: Scalar = var("cm", start=12.4, within=(LOW, HIGH))
    h2: Scalar = var("cm", start=12.7, within=(LOW, HIGH))
    h3: Scalar = var("cm", start=1.8, within=(LOW, HIGH))
    h4: Scalar = var("cm", start=1.4, within=(LOW, HIGH))


class Pumps(Signals):
    """Voltages of the two pumps."""

    v1: Scalar = var("V", start=3.0, within=(0.0, 6.0))
    v2: Scalar = var("V", start=3.0, within=(0.0, 6.0))


class Gauges(Signals):
    """Level gauges."""

    y1: Scalar = var("cm", noise=0.02)
    y2: Scalar = var("cm", noise=0.02)
    y3: Scalar = var("cm", noise=0.02)
    y4: Scalar = var("cm", noise=0.02)


class Quadruple(Twin[Levels, Pumps, Gauges]):
    """Four tanks, two pumps, two splitting valves."""

    o1: Scalar = param("cm^2", O1)
    o2: Scalar = param("cm^2", O2)
    o3: Scalar = param("cm^2", O3)
    o4: Scalar = param("cm^2", O4)
    k1: Scalar = param("cm^3/V/s", K1)
    k2: Scalar = param("cm^3/V/s", K2)
    a1: Scalar = const("cm^2", A1)
    a2: Scalar = const("cm^2", A2)
    a3: Scalar = const("cm^2", A3)
    a4: Scalar = const("cm^2", A4)
    g: Scalar = const("cm/s^2", GRAVITY)

    def dynamics(self, t: Scalar, x: Levels, u: Pumps) -> Levels:
        """Torricelli outflow of each tank."""
        out1, out2 = self.o1 * jnp.sqrt(2 * self.g * x.h1), self.o2 * jnp.sqrt(2 * self.g * x.h2)
        out3, out4 = self.o3 * jnp.sqrt(2 * self.g * x.h3), self.o4 * jnp.sqrt(2 * self.g * x.h4)
        return Levels(
            h1=(-out1 + out3 + G1 * self.k1 * u.v1) / self.a1,
            h2=(-out2 + out4 + G2 * self.k2 * u.v2) / self.a2,
            h3=(-out3 + (1 - G2) * self.k2 * u.v2) / self.a3,
            h4=(-out4 + (1 - G1) * self.k1 * u.v1) / self.a4,
        )

    def observe(self, t: Scalar, x: Levels, u: Pumps) -> Gauges:
        """All four levels."""
        return Gauges(y1=x.h1, y2=x.h2, y3=x.h3, y4=x.h4)

    def margins(self, t: Scalar, x: Levels, u: Pumps) -> dict[str, Scalar]:
        """The soft limit of tank 3."""
        return {"h3": HIGH3 - x.h3}


def plant(x: np.ndarray, v: np.ndarray) -> np.ndarray:
    """The true levels after one step: outlets 3 % smaller, ten Runge-Kutta steps, plain NumPy."""
    areas, outlets = np.array([A1, A2, A3, A4]), 0.97 * np.array([O1, O2, O3, O4])
    inflow = np.array([G1 * K1 * v[0], G2 * K2 * v[1], (1 - G2) * K2 * v[1], (1 - G1) * K1 * v[0]])

    def rate(h):
        q = outlets * np.sqrt(2 * GRAVITY * np.maximum(h, 0.0))
        return (inflow - q + np.array([q[2], q[3], 0.0, 0.0])) / areas

    h = STEP / 10
    for _ in range(10):
        a = rate(x)
        b = rate(x + h / 2 * a)
        c = rate(x + h / 2 * b)
        x = x + h / 6 * (a + 2 * b + 2 * c + rate(x + h * c))
    return x


Controller = Callable[[int, np.ndarray, np.ndarray], np.ndarray]
"""(tick, measured levels (4,), voltages in force (2,)) -> voltages (2,)"""


@dataclass(frozen=True)
class Run:
    """One closed loop: cost (tracking and moves), soft-limit penalty, voltages (ticks, 2), seconds of each solve."""

    cost: float
    penalty: float
    volts: np.ndarray
    seconds: np.ndarray


def close_the_loop(controller: Controller, seed: int) -> Run:
    """120 ticks against the plant; the noise of the gauges depends on the seed alone."""
    noise = 0.02 * np.random.default_rng(seed).standard_normal((TICKS, 4))
    x, v, cost, penalty = START.copy(), VOLTS.copy(), 0.0, 0.0
    volts, seconds = np.zeros((TICKS, 2)), np.zeros(TICKS)
    for k in range(TICKS):
        begun = time.perf_counter()
        chosen = controller(k, x + noise[k], v)
        seconds[k] = time.perf_counter() - begun
        change, v = chosen - v, chosen
        x = plant(x, v)
        r1, r2 = set_points(k)
        cost += (x[0] - r1) ** 2 + (x[1] - r2) ** 2 + RATE * change @ change
        penalty += SOFT * max(0.0, x[2] - HIGH3) ** 2
        volts[k] = v
    return Run(cost, penalty, volts, seconds)


def _rates(h, v, sqrt):
    q = [o * sqrt(2 * GRAVITY * h[i]) for i, o in enumerate((O1, O2, O3, O4))]
    return [
        (-q[0] + q[2] + G1 * K1 * v[0]) / A1,
        (-q[1] + q[3] + G2 * K2 * v[1]) / A2,
        (-q[2] + (1 - G2) * K2 * v[1]) / A3,
        (-q[3] + (1 - G1) * K1 * v[0]) / A4,
    ]


def do_mpc_controller() -> Callable[[], Controller]:
    """A fresh do-mpc controller for each run: continuous model, its default collocation, IPOPT with MUMPS."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import casadi as ca
        import do_mpc

    def fresh() -> Controller:
        model = do_mpc.model.Model("continuous", "SX")
        h = [model.set_variable("_x", f"h{i + 1}") for i in range(4)]
        v = [model.set_variable("_u", f"v{i + 1}") for i in range(2)]
        for i in range(2):
            model.set_variable("_tvp", f"r{i + 1}")
        for i, rate in enumerate(_rates(h, v, ca.sqrt)):
            model.set_rhs(f"h{i + 1}", rate)
        model.setup()
        miss = [model.x[f"h{i}"] - model.tvp[f"r{i}"] for i in (1, 2)]
        cost = miss[0] ** 2 + miss[1] ** 2 + SOFT * ca.fmax(model.x["h3"] - HIGH3, 0) ** 2
        mpc = do_mpc.controller.MPC(model)
        mpc.settings.n_horizon = HORIZON
        mpc.settings.t_step = STEP
        mpc.settings.store_full_solution = False
        mpc.settings.supress_ipopt_output()
        mpc.set_objective(lterm=cost, mterm=cost)
        mpc.set_rterm(v1=RATE, v2=RATE)
        for i in range(4):
            mpc.bounds["lower", "_x", f"h{i + 1}"], mpc.bounds["upper", "_x", f"h{i + 1}"] = LOW, HIGH
        for i in range(2):
            mpc.bounds["lower", "_u", f"v{i + 1}"], mpc.bounds["upper", "_u", f"v{i + 1}"] = 0.0, 6.0
        template = mpc.get_tvp_template()
        now = [0]

        def tvp(_):
            r1, r2 = set_points(now[0])
            for k in range(HORIZON + 1):
                template["_tvp", k, "r1"], template["_tvp", k, "r2"] = r1, r2
            return template

        mpc.set_tvp_fun(tvp)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            mpc.setup()
        mpc.x0, mpc.u0 = START, VOLTS
        mpc.set_initial_guess()

        def controller(k: int, y: np.ndarray, before: np.ndarray) -> np.ndarray:
            now[0] = k
            return mpc.make_step(y.reshape(-1, 1)).ravel()

        return controller

    return fresh


def _casadi_step() -> Any:
    """(levels, voltages) -> levels one step later: the same Runge-Kutta steps as Pollux."""
    import casadi as ca

    x, u = ca.SX.sym("x", 4), ca.SX.sym("u", 2)
    f = ca.Function("f", [x, u], [ca.vertcat(*_rates([x[i] for i in range(4)], [u[0], u[1]], ca.sqrt))])
    z, s = x, STEP / SUBSTEPS
    for _ in range(SUBSTEPS):
        a = f(z, u)
        b = f(z + s / 2 * a, u)
        c = f(z + s / 2 * b, u)
        z = z + s / 6 * (a + 2 * b + 2 * c + f(z + s * c, u))
    return ca.Function("step", [x, u], [z])


def fatrop_controller() -> Callable[[], Controller]:
    """FATROP through CasADi: its structure of stages (the voltages in force are states of a stage), warm-started."""
    import casadi as ca

    def fresh() -> Controller:
        step, P = _casadi_step(), ca.SX.sym("P", 8)
        X = [ca.SX.sym(f"X{k}", 6) for k in range(HORIZON + 1)]
        U = [ca.SX.sym(f"U{k}", 2) for k in range(HORIZON)]
        rows, cost = [], 0
        for k in range(HORIZON):
            after = X[k + 1]
            rows.append((after - ca.vertcat(step(X[k][:4], U[k]), U[k]), 0.0, 0.0))
            rows.append((X[0] - P[:6], 0.0, 0.0) if k == 0 else (X[k][:4], LOW, HIGH))
            rows.append((U[k], 0.0, 6.0))
            cost += (after[0] - P[6]) ** 2 + (after[1] - P[7]) ** 2 + SOFT * ca.fmax(after[2] - HIGH3, 0) ** 2
            cost += RATE * ca.sumsqr(U[k] - X[k][4:])
        rows.append((X[-1][:4], LOW, HIGH))
        w = ca.vertcat(*(part for pair in zip(X, U, strict=False) for part in pair), X[-1])
        low = np.concatenate([np.full(g.numel(), least) for g, least, _ in rows])
        high = np.concatenate([np.full(g.numel(), most) for g, _, most in rows])
        options = {
            "structure_detection": "auto", "equality": (low == high).tolist(), "print_time": False,
            "fatrop": {"print_level": 0},
        }  # fmt: skip
        problem = {"x": w, "f": cost, "g": ca.vertcat(*(g for g, _, _ in rows)), "p": P}
        solver = ca.nlpsol("s", "fatrop", problem, options)
        guess = [np.concatenate([np.tile(np.concatenate([START, VOLTS, VOLTS]), HORIZON), START, VOLTS])]

        def controller(k: int, y: np.ndarray, before: np.ndarray) -> np.ndarray:
            found = solver(x0=guess[0], p=np.concatenate([y, before, set_points(k)]), lbg=low, ubg=high)["x"]
            plan = found.full().ravel()
            guess[0] = np.concatenate([plan[8:], plan[-8:]])
            return plan[6:8]

        return controller

    return fresh


def ipopt_controller() -> Callable[[], Controller]:
    """IPOPT through CasADi alone: multiple shooting, the same Runge-Kutta step as Pollux, warm-started."""
    import casadi as ca

    def fresh() -> Controller:
        step = _casadi_step()
        X, U, P = ca.SX.sym("X", 4, HORIZON + 1), ca.SX.sym("U", 2, HORIZON), ca.SX.sym("P", 8)
        cost, before, ties = 0, P[4:6], [X[:, 0] - P[:4]]
        for k in range(HORIZON):
            ties.append(X[:, k + 1] - step(X[:, k], U[:, k]))
            miss = (X[0, k + 1] - P[6]) ** 2 + (X[1, k + 1] - P[7]) ** 2
            cost += miss + SOFT * ca.fmax(X[2, k + 1] - HIGH3, 0) ** 2 + RATE * ca.sumsqr(U[:, k] - before)
            before = U[:, k]
        w = ca.vertcat(ca.vec(X), ca.vec(U))
        quiet = {"print_time": False, "ipopt": {"print_level": 0, "sb": "yes"}}
        solver = ca.nlpsol("s", "ipopt", {"x": w, "f": cost, "g": ca.vertcat(*ties), "p": P}, quiet)
        free = np.full(4, np.inf)
        low = np.concatenate([-free, np.full(4 * HORIZON, LOW), np.zeros(2 * HORIZON)])
        high = np.concatenate([free, np.full(4 * HORIZON, HIGH), np.full(2 * HORIZON, 6.0)])
        guess = [np.concatenate([np.tile(START, HORIZON + 1), np.tile(VOLTS, HORIZON)])]

        def controller(k: int, y: np.ndarray, before: np.ndarray) -> np.ndarray:
            given = np.concatenate([y, before, set_points(k)])
            found = solver(x0=guess[0], p=given, lbx=low, ubx=high, lbg=0, ubg=0)["x"].full().ravel()
            states, moves = found[: 4 * (HORIZON + 1)].reshape(-1, 4), found[4 * (HORIZON + 1) :].reshape(-1, 2)
            guess[0] = np.concatenate([states[1:].ravel(), states[-1], moves[1:].ravel(), moves[-1]])
            return moves[0]

        return controller

    return fresh
