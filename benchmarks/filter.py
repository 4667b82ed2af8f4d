"""Work item `filter`: EKF (or `method=ukf`) updates per second of a fleet, against filterpy and vectorised C."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import _tanks
from pollux import Ekf, Ukf, build_fleet


def run(config: dict[str, Any]) -> dict[str, Any]:
    """Filter the same simulated record with every contender; `twins`, `steps`, `method`, `sizes` may be set.

    Pollux's figure is `Fleet.update` at `twins`: host arrays in, checks, kernel, host arrays out. The peers' figures
    are the best of interleaved repeats, like Pollux's own, and every final mean and covariance must agree. The ratio
    is to filterpy with its model in NumPy; the figure for a model hand-written in plain floats is given too.
    """
    name = config.get("method", "ekf")
    twins, steps = int(config.get("twins", 1000)), int(config.get("steps", 40))
    method = {"ekf": Ekf(), "ukf": Ukf()}[name]
    sizes = sorted({int(s) for s in config.get("sizes", [1, twins, 100_000])} | {twins})
    p, y, u = _tanks.record(steps, twins)

    peer = _tanks.filterpy_ekf if name == "ekf" else _tanks.filterpy_ukf
    few = min(10, twins)
    c = _tanks.c_ekf() if name == "ekf" else None
    ours = _fleet(method, p, y, u)
    answer = ours()
    reference = np.stack([peer(p[:, i], y[:, i], u) for i in range(few)], axis=-1)
    error = float(np.abs(answer[:, :few] - reference).max())
    rates = {"pollux": 0.0, "filterpy": 0.0, "filterpy, scalar model": 0.0, "c": 0.0}
    if c is not None:
        error = max(error, float(np.abs(answer - c(p, y, u)).max()))
    for _ in range(int(config.get("repeats", 5))):
        rates["pollux"] = max(rates["pollux"], twins * steps / _seconds(ours))
        rates["filterpy"] = max(rates["filterpy"], steps / _seconds(lambda: peer(p[:, 0], y[:, 0], u)))
        if name == "ekf":
            scalar = _seconds(lambda: peer(p[:, 0], y[:, 0], u, scalar=True))  # pyright: ignore[reportCallIssue]
            rates["filterpy, scalar model"] = max(rates["filterpy, scalar model"], steps / scalar)
        if c is not None:
            rates["c"] = max(rates["c"], twins * steps / _seconds(lambda: c(p, y, u)))
    by_size = {twins: rates["pollux"]}
    for size in sizes:
        if size != twins:
            few_steps = min(steps, 10) if size > 10_000 else steps
            ps, ys, us = _tanks.record(few_steps, size)
            other = _fleet(method, ps, ys, us)
            other()
            by_size[size] = size * few_steps / min(_seconds(other) for _ in range(3))
    if not error < 1e-9:
        raise AssertionError(f"the filters disagree by {error:.3g}; a speed without the same answer is not reported")
    peers = {k: v for k, v in rates.items() if k != "pollux" and v > 0}
    return {
        "item": "filter",
        "config": {"method": name, "twins": twins, "steps": steps, "substeps": _tanks.SUBSTEPS, "dtype": "float64"},
        "pollux": rates["pollux"],
        "peers": peers,
        "ratio": rates["pollux"] / rates["filterpy"],
        "unit": "updates/s",
        "error": error,
        "by_size": {str(k): v for k, v in sorted(by_size.items())},
        "ratio_to_c": rates["pollux"] / rates["c"] if rates["c"] else None,
    }


def _fleet(method: Any, p: np.ndarray, y: np.ndarray, u: np.ndarray) -> Callable[[], np.ndarray]:
    fleet = build_fleet(_tanks.Tanks(), p.shape[1], method=method, substeps=_tanks.SUBSTEPS, gate=0.0)
    inputs = np.ones((len(u), 1, p.shape[1])) * u[:, None, None]

    def go() -> np.ndarray:
        belief = fleet.start(0.0, p)
        belief = fleet.update(belief, 0.0, np.full((1, p.shape[1]), np.nan), inputs[0])
        for i in range(len(y)):
            belief = fleet.update(belief, _tanks.DT * (i + 1), y[i : i + 1], inputs[i + 1])
        return np.concatenate([belief.mean, belief.cov.reshape(4, -1)])

    return go


def _seconds(fn: Callable[[], Any]) -> float:
    start = time.perf_counter()
    fn()
    return time.perf_counter() - start
