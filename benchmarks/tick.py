"""Work item `tick`: one twin, one reading, from readings to belief; against filterpy."""

import time
from typing import Any

import numpy as np

from benchmarks import _tanks
from pollux import Readings, build_mirror


def run(config: dict[str, Any]) -> dict[str, Any]:
    """Time of one update in microseconds, from Python: the kernel bound to its arrays, called, and the whole mirror.

    Pollux's figure is the median over the record of one reading written into the bound kernel, the kernel run and its
    belief fed back; beside it the kernel as a function (new arrays in, new arrays out) and `Mirror.update` with its
    checks and records. filterpy's figure is the mean over the same record.
    """
    steps = int(config.get("steps", 400))
    p, y, u = _tanks.record(steps, 1)
    mirror = build_mirror(_tanks.Tanks(), substeps=_tanks.SUBSTEPS, gate=0.0, dt_max=1e9, name="tanks")
    belief = mirror.start(0.0)
    object.__setattr__(mirror, "params", p[:, 0])
    none, values = np.full(1, np.nan), [np.array([v]) for v in y[:, 0]]
    inputs = [np.array([v]) for v in u]
    belief = mirror.update(belief, Readings("tanks", 0.0, "r", "", none, inputs[0]))
    whole, x = [], belief
    for i in range(steps):
        readings = Readings("tanks", _tanks.DT * (i + 1), f"r{i}", "", values[i], inputs[i + 1])
        start = time.perf_counter()
        x = mirror.update(x, readings)
        whole.append(time.perf_counter() - start)
    start = time.perf_counter()
    reference = _tanks.filterpy_ekf(p[:, 0], y[:, 0], u)
    peer = (time.perf_counter() - start) / steps
    error = float(np.abs(np.concatenate([x.mean, x.cov.ravel()]) - reference).max())
    use, gate = np.ones(1), np.full(1, np.inf)
    kernel = []
    for i in range(steps):
        start = time.perf_counter()
        mirror.kernel(
            0.0, _tanks.DT, x.mean, x.cov, inputs[0], inputs[0], values[i], use, gate, p[:, 0], mirror.Q, mirror.R
        )
        kernel.append(time.perf_counter() - start)
    bound, last = _bound(mirror, belief, p[:, 0], values, inputs)
    error = max(error, float(np.abs(last - reference).max()))
    if not error < 1e-9:
        raise AssertionError(f"the filters disagree by {error:.3g}; a speed without the same answer is not reported")
    figure = float(np.median(bound)) * 1e6
    return {
        "item": "tick",
        "config": {"method": "ekf", "steps": steps, "substeps": _tanks.SUBSTEPS, "dtype": "float64"},
        "pollux": figure,
        "peers": {"filterpy": peer * 1e6},
        "ratio": peer * 1e6 / figure,
        "unit": "us per update",
        "error": error,
        "bound_p99_us": float(np.quantile(bound, 0.99)) * 1e6,
        "kernel_us": float(np.median(kernel)) * 1e6,
        "kernel_p99_us": float(np.quantile(kernel, 0.99)) * 1e6,
        "mirror_update_us": float(np.median(whole)) * 1e6,
        "mirror_update_p99_us": float(np.quantile(whole, 0.99)) * 1e6,
    }


def _bound(mirror: Any, first: Any, p: np.ndarray, values: list[np.ndarray], inputs: list[np.ndarray]):
    """(seconds of each update, last mean and covariance): one kernel on fixed arrays, its belief fed back in place."""
    none, use, gate = values[0], np.ones(1), np.full(1, np.inf)
    args = (0.0, _tanks.DT, first.mean, first.cov, inputs[0], inputs[0], none, use, gate, p, mirror.Q, mirror.R)
    step = mirror.kernel.bind(*args, feed={0: 2, 1: 3})
    rooms: list[Any] = [memoryview(step.inputs[k]) for k in (4, 5, 6)]
    u, v, y = rooms
    held, readings = [float(a[0]) for a in inputs], [float(a[0]) for a in values]
    took = []
    for i in range(len(readings)):
        start = time.perf_counter()
        u[0] = held[i]
        v[0] = held[i + 1]
        y[0] = readings[i]
        step()
        took.append(time.perf_counter() - start)
    return took, np.concatenate([step.outputs[0], step.outputs[1].ravel()])
