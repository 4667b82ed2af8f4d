"""Work item `calibrate`: four parameters and the first state of the tanks from 1,024 samples, to the same loss.

Peers solve the same least-squares problem from the same start, 30 % off, within the same bounds: SciPy's
`least_squares` on a residual in plain Python floats (the fastest way without a compiler), and Gauss-Newton on CasADi's
exact Jacobian. Then a fleet: as many twins, each with its own parameters and record, in one call.
"""

import math
import time
from collections.abc import Callable
from typing import Any

import casadi as ca
import jax.numpy as jnp
import numpy as np
from scipy.optimize import least_squares

from benchmarks import _tanks
from pollux import RK4, Record, Scalar, Signals, Twin, calibrate, calibrate_fleet, param, rollout, var
from pollux.model.backend import Xla

OFF, LEAST = 1.3, 1e-6
METHOD = RK4(_tanks.SUBSTEPS)


class State(Signals):
    x1: Scalar = var("m", start=1.0, spread=_tanks.SPREAD, within=(LEAST, math.inf))
    x2: Scalar = var("m", start=1.0, spread=_tanks.SPREAD, within=(LEAST, math.inf))


class Tanks(Twin[State, _tanks.Input, _tanks.Sensors]):
    """The tanks of `filter`, with the bounds of the fit."""

    k1: Scalar = param("m^1/2/s", _tanks.K[0], within=(LEAST, math.inf))
    k2: Scalar = param("m^1/2/s", _tanks.K[1], within=(LEAST, math.inf))
    k3: Scalar = param("m^1/2/s", _tanks.K[2], within=(LEAST, math.inf))
    k4: Scalar = param("m/s/V", _tanks.K[3], within=(LEAST, math.inf))

    def dynamics(self, t: Scalar, x: State, u: _tanks.Input) -> State:
        """Torricelli outflow."""
        a, b = jnp.sqrt(x.x1), jnp.sqrt(x.x2)
        return State(x1=-self.k1 * a + self.k4 * u.u, x2=self.k2 * a - self.k3 * b)

    def observe(self, t: Scalar, x: State, u: _tanks.Input) -> _tanks.Sensors:
        """The lower level."""
        return _tanks.Sensors(y=x.x2)


START = Tanks(*(OFF * k for k in _tanks.K))
FIRST = np.array([OFF, OFF])


def run(config: dict[str, Any]) -> dict[str, Any]:
    """Seconds for one calibration, warm, everything included (errors, correlations and verdict too).

    `samples`, `repeats`, `seed`, `twins` (of the fleet; 0: none) and `checked` (twins that SciPy fits too) may be set.
    `compile` is the first call less a warm one. The error is the largest relative difference of a loss from the least.
    """
    samples, repeats = int(config.get("samples", 1024)), int(config.get("repeats", 5))
    seed, twins = int(config.get("seed", 0)), int(config.get("twins", 10_000))
    record, truth_loss = _record(samples, seed)

    def ours() -> float:
        return calibrate(START, record, x0=FIRST, starts=1, method=METHOD).loss

    def xla() -> float:
        return calibrate(START, record, x0=FIRST, starts=1, method=METHOD, backend=Xla()).loss

    cold, _ = _seconds(ours)
    xla()
    casadi, build = _casadi(record)
    contenders: dict[str, Callable[[], float]] = {
        "pollux": ours, "pollux on XLA": xla, "scipy": lambda: _scipy(record), "casadi": casadi,
    }  # fmt: skip
    best = dict.fromkeys(contenders, math.inf)
    losses = dict.fromkeys(contenders, math.inf)
    for _ in range(repeats):
        for name, solve in contenders.items():
            if name == "scipy" and math.isfinite(best[name]) and best[name] > 2.0:
                continue
            for _ in range(5 if name == "pollux" else 1):  # a few milliseconds: another process easily hides them
                spent, losses[name] = _seconds(solve)
                best[name] = min(best[name], spent)
    least = min(losses.values())
    error = max(abs(v - least) / least for v in losses.values())
    if not error < 1e-6 or not least < truth_loss:
        raise AssertionError(f"the fits disagree: losses {losses}, at the truth {truth_loss:.6g}")
    peers = {k: v for k, v in best.items() if not k.startswith("pollux")}
    return {
        "item": "calibrate",
        "config": {"samples": samples, "substeps": _tanks.SUBSTEPS, "unknowns": 6, "start": "30 % off", "starts": 1},
        "pollux": best["pollux"],
        "peers": peers,
        "ratio": min(peers.values()) / best["pollux"],
        "unit": "s",
        "error": error,
        "xla": best["pollux on XLA"],
        "compile": {"pollux": cold - best["pollux"], "casadi": build},
        "losses": losses,
        "fleet": _fleet(samples, seed, twins, int(config.get("checked", 3))) if twins else None,
    }


def _fleet(samples: int, seed: int, twins: int, checked: int) -> dict[str, Any]:
    """Seconds for a fleet of twins within 25 % of the definition, and SciPy's for the first few of them, each.

    Processor seconds add up over the cores; they are what is left of the figure on a machine that has other work.
    """
    g = np.random.default_rng([seed, 1])
    u, t = _inputs(samples, g), _tanks.DT * np.arange(samples)
    parameters = np.array(_tanks.K)[:, None] * g.uniform(0.8, 1.25, (4, twins))
    y = rollout(Tanks(), {"u": u}, times=t, parameters=parameters, process_noise=False, method=METHOD).y
    y = y + _tanks.NOISE * g.standard_normal(y.shape)

    def ours(count: int) -> Any:
        return calibrate_fleet(START, y[..., :count], times=t, inputs={"u": u}, x0=FIRST, method=METHOD)

    ours(1)
    began, busy = time.perf_counter(), time.process_time()
    fit = ours(twins)
    spent, busy = time.perf_counter() - began, time.process_time() - busy
    scipy, error = math.inf, 0.0
    for i in range(min(checked, twins)):
        record = Record(t, u[:, None], y[:, :, i], ("u",), ("y",))
        one, loss = _seconds(lambda record=record: _scipy(record))
        scipy = min(scipy, one)
        error = max(error, (fit.loss[i] - loss) / loss)
    if not error < 1e-6:
        raise AssertionError(f"SciPy fits a twin of the fleet better, by {error:.3g} of its loss")
    return {
        "twins": twins,
        "seconds": spent,
        "processor seconds": busy,
        "converged": int(fit.ok.sum()),
        "passes": {"median": float(np.median(fit.passes)), "most": int(fit.passes.max())},
        "scipy, one twin": scipy,
        "ratio": scipy * twins / spent,
    }


def _inputs(samples: int, g: np.random.Generator) -> np.ndarray:
    return np.repeat(g.uniform(0.6, 1.6, -(-samples // 16)), 16)[:samples]


def _record(samples: int, seed: int) -> tuple[Record, float]:
    """A simulated record and its loss at the true parameters."""
    g = np.random.default_rng(seed)
    u = _inputs(samples, g)
    clean = np.array(_simulate([*_tanks.K, 1.0, 1.0], u))
    y = clean + _tanks.NOISE * g.standard_normal(samples)
    t = _tanks.DT * np.arange(samples)
    loss = 0.5 * float(np.sum(((clean - y) / _tanks.NOISE) ** 2))
    return Record(t, u[:, None], y[:, None], ("u",), ("y",)), loss


def _simulate(theta: Any, u: np.ndarray) -> list[float]:
    """Lower level at every sample, RK4 in plain floats."""
    k1, k2, k3, k4, x1, x2 = map(float, theta)
    h, sqrt, out = _tanks.DT / _tanks.SUBSTEPS, math.sqrt, []
    for drive in u.tolist():
        out.append(x2)
        q = k4 * drive
        for _ in range(_tanks.SUBSTEPS):
            r1, r2 = sqrt(x1), sqrt(x2)
            a1, b1 = q - k1 * r1, k2 * r1 - k3 * r2
            r1, r2 = sqrt(x1 + h / 2 * a1), sqrt(x2 + h / 2 * b1)
            a2, b2 = q - k1 * r1, k2 * r1 - k3 * r2
            r1, r2 = sqrt(x1 + h / 2 * a2), sqrt(x2 + h / 2 * b2)
            a3, b3 = q - k1 * r1, k2 * r1 - k3 * r2
            r1, r2 = sqrt(x1 + h * a3), sqrt(x2 + h * b3)
            x1 += h / 6 * (a1 + 2 * a2 + 2 * a3 + q - k1 * r1)
            x2 += h / 6 * (b1 + 2 * b2 + 2 * b3 + k2 * r1 - k3 * r2)
    return out


def _start() -> np.ndarray:
    return OFF * np.array([*_tanks.K, 1.0, 1.0])


def _scipy(record: Record) -> float:
    u, y = record.u[:, 0], record.y[:, 0]

    def residual(theta: np.ndarray) -> np.ndarray:
        return (np.array(_simulate(theta, u)) - y) / _tanks.NOISE

    low = np.full(6, LEAST)
    return float(least_squares(residual, _start(), bounds=(low, np.inf), x_scale=_start()).cost)


def _casadi(record: Record) -> tuple[Callable[[], float], float]:
    """A Gauss-Newton solver on CasADi's exact Jacobian, and the seconds that it took to build."""
    began = time.perf_counter()
    x, u, p = ca.MX.sym("x", 2), ca.MX.sym("u"), ca.MX.sym("p", 4)

    def f(x: Any) -> Any:
        r1, r2 = ca.sqrt(x[0]), ca.sqrt(x[1])
        return ca.vertcat(p[3] * u - p[0] * r1, p[1] * r1 - p[2] * r2)

    h, z = _tanks.DT / _tanks.SUBSTEPS, x
    for _ in range(_tanks.SUBSTEPS):
        a = f(z)
        b = f(z + h / 2 * a)
        c = f(z + h / 2 * b)
        d = f(z + h * c)
        z = z + h / 6 * (a + 2 * b + 2 * c + d)
    step = ca.Function("step", [x, u, p], [z]).expand()
    n = len(record)
    over = step.mapaccum("over", n - 1)
    theta = ca.MX.sym("theta", 6)
    X = over(theta[4:], ca.DM(record.u[:-1, 0]).T, ca.repmat(theta[:4], 1, n - 1))
    seen = ca.horzcat(theta[5], X[1, :]).T
    r = (seen - ca.DM(record.y[:, 0])) / _tanks.NOISE
    residual = ca.Function("r", [theta], [r])
    both = ca.Function("rJ", [theta], [r, ca.jacobian(r, theta)])
    build = time.perf_counter() - began

    def solve() -> float:
        theta = _start()
        r, J = (np.array(v) for v in both(theta))
        loss = 0.5 * float(np.sum(r**2))
        for _ in range(50):
            move = -np.linalg.lstsq(J, r[:, 0], rcond=1e-10)[0]
            size = 1.0
            while True:
                trial = theta + size * move
                new = np.array(residual(trial)) if np.all(trial > 0) else np.array([np.nan])
                value = 0.5 * float(np.sum(new**2))
                if value < loss or size < 1e-6:
                    break
                size /= 2
            done = not value < loss * (1 - 1e-8)
            if value < loss:
                theta, loss = trial, value
            if done:
                return loss
            r, J = (np.array(v) for v in both(theta))
        return loss

    return solve, build


def _seconds(fn: Callable[[], float]) -> tuple[float, float]:
    began = time.perf_counter()
    value = fn()
    return time.perf_counter() - began, value
