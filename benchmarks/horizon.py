"""Work item `horizon`: one update of moving-horizon estimation with bounds, against IPOPT on the same problem."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import pollux
from pollux import Mhe, NoInput, Readings, Scalar, Signals, Twin, param, var
from pollux.model.backend import Xla

DT, SUBSTEPS = 0.5, 4


class Gas(Signals):
    a: Scalar = var("bar", start=2.0, spread=0.5, drift=0.05, within=(0.4, np.inf))
    b: Scalar = var("bar", start=1.0, spread=0.3, drift=0.05, within=(0.0, np.inf))


class Gauge(Signals):
    p: Scalar = var("bar", noise=0.05)


class Vessel(Twin[Gas, NoInput, Gauge]):
    """2 A -> B in a closed vessel, of which the total pressure is seen; A is known never to fall below 0.4 bar."""

    k: Scalar = param("1/bar/s", 0.16)

    def dynamics(self, t: Scalar, x: Gas, u: NoInput) -> Gas:
        return Gas(a=-2 * self.k * x.a**2, b=self.k * x.a**2)

    def observe(self, t: Scalar, x: Gas, u: NoInput) -> Gauge:
        return Gauge(p=x.a + x.b)


def run(config: dict[str, Any]) -> dict[str, Any]:
    """The last update of a record that fills the window; `horizon`, `repeats` and `xla=0` (to leave it out) may be set.

    Before it, A has met its bound, which holds several states of the window. A mirror's update is a pure function, so
    the same one is repeated: `Mirror.update` from Python, with all its checks. IPOPT (through CasADi, multiple
    shooting, exact derivatives, CasADi's virtual machine) starts at its own solution without the last reading. Both
    minimise the same cost, and the states they end in must agree to 1e-5.
    """
    horizon, repeats = int(config.get("horizon", 20)), int(config.get("repeats", 30))
    t = DT * np.arange(horizon + 1)
    truth = 2.3 / (1 + 2 * 0.16 * 2.3 * t)
    y = truth + 0.9 + (2.3 - truth) / 2 + 0.05 * np.random.default_rng(1).standard_normal(horizon + 1)
    peer = _ipopt(y)
    warm = peer(np.append(y[:-1], np.nan), None)
    answer = peer(y, warm)
    figures, ends = {}, {}
    for name, backend in {"pollux": None, **({"pollux, XLA": Xla()} if config.get("xla", 1) else {})}.items():
        mirror = pollux.build_mirror(
            Vessel(), method=Mhe(horizon), gate=0.0, dt_max=DT, substeps=SUBSTEPS, backend=backend
        )
        belief = mirror.start(0.0)
        readings = [
            Readings("Vessel", float(s), "r", "", np.array([v]), np.zeros(0)) for s, v in zip(t, y, strict=True)
        ]
        for reading in readings[:-1]:
            belief = mirror.update(belief, reading)
        last = partial(mirror.update, belief, readings[-1])
        figures[name], ends[name] = 1e6 * _best(repeats, last), last().mean
    figures["casadi, IPOPT"] = 1e6 * _best(repeats, lambda: peer(y, warm))
    error = max(float(np.abs(end - answer[-2:]).max()) for end in ends.values())
    if not error < 1e-5:
        raise AssertionError(f"IPOPT ends {error:.3g} bar away")
    pollux_figure = figures.pop("pollux")
    held = int(np.sum(answer[::2] < 0.4 + 1e-6))
    return {
        "item": "horizon",
        "config": {"horizon": horizon, "repeats": repeats},
        "pollux": pollux_figure,
        "peers": figures,
        "ratio": figures["casadi, IPOPT"] / pollux_figure,
        "unit": "us per update",
        "error": error,
        "bounds_held": held,
    }


def _ipopt(y: np.ndarray) -> Callable[[np.ndarray, np.ndarray | None], np.ndarray]:
    """(readings, first guess) -> (x_0, a_0, x_1, a_1, ...), flat; a reading that is NaN is missing."""
    import casadi as ca

    N = len(y) - 1
    root, R = 0.05 * np.sqrt(DT / 2), 0.05
    X, seen, weight = ca.SX.sym("X", 2, 2 * N + 1), ca.SX.sym("y", N + 1), ca.SX.sym("w", N + 1)

    def slope(x: Any) -> Any:
        return ca.vertcat(-2 * 0.16 * x[0] ** 2, 0.16 * x[0] ** 2)

    cost = ca.sumsqr((X[:, 0] - ca.DM([2.0, 1.0])) / ca.DM([0.5, 0.3]))
    for k in range(N):
        start, x, h = X[:, 2 * k], X[:, 2 * k + 1], DT / SUBSTEPS
        cost += ca.sumsqr((x - start) / root)
        for _ in range(SUBSTEPS):
            k1 = slope(x)
            k2 = slope(x + h / 2 * k1)
            k3 = slope(x + h / 2 * k2)
            x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + slope(x + h * k3))
        cost += ca.sumsqr((X[:, 2 * k + 2] - x) / root)
    for k in range(N + 1):
        cost += weight[k] * ((seen[k] - X[0, 2 * k] - X[1, 2 * k]) / R) ** 2
    problem = {"x": ca.vec(X), "f": cost / 2, "p": ca.vertcat(seen, weight)}
    quiet = {"print_time": 0, "ipopt": {"print_level": 0, "sb": "yes", "tol": 1e-10}}
    solver = ca.nlpsol("mhe", "ipopt", problem, quiet)
    low, guess = np.tile([0.4, 0.0], 2 * N + 1), np.tile([2.0, 1.0], 2 * N + 1)

    def solve(y: np.ndarray, first: np.ndarray | None) -> np.ndarray:
        p = np.concatenate([np.nan_to_num(y), (~np.isnan(y)).astype(float)])
        found = solver(x0=guess if first is None else first, lbx=low, ubx=np.inf, p=p)
        return np.asarray(found["x"])[:, 0]

    return solve


def _best(repeats: int, fn: Callable[[], Any]) -> float:
    """Seconds of the fastest of so many calls."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        fn()
        times.append(time.perf_counter() - start)
    return min(times)
