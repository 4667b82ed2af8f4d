"""Work item `filter`: EKF (or `method=ukf`) updates per second of a fleet, against filterpy, dynamax and C."""

import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import _tanks
from pollux import Ekf, Ukf, build_fleet
from pollux.model.backend import Backend, default
from pollux.model.native import Native


def run(config: dict[str, Any]) -> dict[str, Any]:
    """Filter the same simulated record with every contender; `twins`, `steps`, `method`, `sizes` may be set.

    Pollux's figure is `Fleet.run`, the whole record in one call, as the peers get it; `tick_by_tick` is `Fleet.update`
    for each reading: host arrays in, checks, kernel, host arrays out. All figures are the best of interleaved repeats,
    and every final mean and covariance must agree. C runs the same equations, compiled here with -O3 -march=native
    -ffast-math, on as many threads, each taking its share of the fleet through the whole record; it knows no gates,
    missing readings or bounds. dynamax filters 1,000 twins under `jit(vmap)`; it adds its process noise after the flow
    and not half before it, so its means are only held to a quarter of a standard deviation. The ratio is to filterpy
    with its model in NumPy.
    """
    name = config.get("method", "ekf")
    twins, steps = int(config.get("twins", 100_000)), int(config.get("steps", 40))
    method = {"ekf": Ekf(), "ukf": Ukf()}[name]
    sizes = sorted({int(s) for s in config.get("sizes", [1, 1000])} - {twins})
    p, y, u = _tanks.record(steps, twins)

    peer = _tanks.filterpy_ekf if name == "ekf" else _tanks.filterpy_ukf
    few = min(10, twins)
    c = _tanks.c_ekf(os.cpu_count() or 1) if name == "ekf" else None
    ours, ticks = _fleet(method, p, y, u)
    single = _fleet(method, p, y, u, Native(threads=1))[0] if isinstance(default(), Native) else None
    answer = ours()
    if not np.array_equal(answer, ticks()):
        raise AssertionError("a run and its ticks must have the same bits")
    reference = np.stack([peer(p[:, i], y[:, i], u) for i in range(few)], axis=-1)
    error = float(np.abs(answer[:, :few] - reference).max())
    many = min(1000, twins)
    dynamax = _tanks.dynamax_ekf(p[:, :many], y[:, :many], u) if name == "ekf" else None
    offset = None
    if c is not None:
        error = max(error, float(np.abs(answer - c(p, y, u)).max()))
    if dynamax is not None:
        sd = np.sqrt(answer[[2, 5], :many])
        offset = float((np.abs(answer[:2, :many] - dynamax()) / sd).max())
        if not offset < 0.25:
            raise AssertionError(f"dynamax ends {offset:.3g} standard deviations away")
    rates: dict[str, float] = {"pollux": 0.0}

    def race(who: str, work: float, fn: Callable[[], Any]) -> None:
        rates[who] = max(rates.get(who, 0.0), work / _seconds(fn))

    for _ in range(int(config.get("repeats", 5))):
        race("pollux", twins * steps, ours)
        race("pollux, tick by tick", twins * steps, ticks)
        if single is not None:
            race("pollux, one thread", twins * steps, single)
        race("filterpy", steps, lambda: peer(p[:, 0], y[:, 0], u))
        if name == "ekf":
            race("filterpy, scalar model", steps, lambda: _tanks.filterpy_ekf(p[:, 0], y[:, 0], u, scalar=True))
        if dynamax is not None:
            race("dynamax", many * steps, dynamax)
        if c is not None:
            race("c", twins * steps, lambda: c(p, y, u))
    by_size = {twins: rates["pollux"]}
    for size in sizes:
        ps, ys, us = _tanks.record(steps, size)
        other = _fleet(method, ps, ys, us)[0]
        other()
        by_size[size] = size * steps / min(_seconds(other) for _ in range(5))
    if not error < 1e-9:
        raise AssertionError(f"the filters disagree by {error:.3g}; a speed without the same answer is not reported")

    def ratio(who: str) -> float | None:
        return rates["pollux"] / rates[who] if who in rates else None

    return {
        "item": "filter",
        "config": {
            "method": name, "twins": twins, "steps": steps, "substeps": _tanks.SUBSTEPS, "dtype": "float64",
            "backend": type(default()).__name__,
        },
        "pollux": rates["pollux"],
        "peers": {k: v for k, v in rates.items() if not k.startswith("pollux")},
        "tick_by_tick": rates["pollux, tick by tick"],
        "one_thread": rates.get("pollux, one thread"),
        "threads": os.cpu_count(),
        "ratio": ratio("filterpy"),
        "unit": "updates/s",
        "error": error,
        "by_size": {str(k): v for k, v in sorted(by_size.items())},
        "ratio_to_c": ratio("c"),
        "ratio_to_dynamax": ratio("dynamax"),
        "dynamax_offset_sd": offset,
    }  # fmt: skip


def _fleet(
    method: Any, p: np.ndarray, y: np.ndarray, u: np.ndarray, backend: Backend | None = None
) -> tuple[Callable[[], np.ndarray], Callable[[], np.ndarray]]:
    """(the whole record in one call, tick by tick): last means and covariances (6, N)."""
    fleet = build_fleet(
        _tanks.Tanks(), p.shape[1], method=method, substeps=_tanks.SUBSTEPS, gate=0.0, dt_max=1e9, backend=backend
    )
    inputs = [np.full((1, p.shape[1]), v) for v in u]
    start = fleet.start(0.0, p)
    start = fleet.update(start, 0.0, np.full((1, p.shape[1]), np.nan), inputs[0])

    times = _tanks.DT * np.arange(1, len(y) + 1)
    readings, held = y[:, None], u[1:, None].copy()

    def last(belief: Any) -> np.ndarray:
        return np.concatenate([belief.mean, belief.cov.reshape(4, -1)])

    def ticks() -> np.ndarray:
        belief, spent = start, None
        for i in range(len(y)):
            after = fleet.update(belief, _tanks.DT * (i + 1), y[i : i + 1], inputs[i + 1], into=spent)
            belief, spent = after, (None if belief is start else belief)
        return last(belief)

    return (lambda: last(fleet.run(start, times, readings, held))), ticks


def _seconds(fn: Callable[[], Any]) -> float:
    start = time.perf_counter()
    fn()
    return time.perf_counter() - start
