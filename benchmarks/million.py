"""Work item `million`: one tick of 1,000,000 live twins in one process, and the memory it takes."""

import os
import resource
import time
from typing import Any

import numpy as np

from benchmarks import _tanks
from pollux import build_fleet


def run(config: dict[str, Any]) -> dict[str, Any]:
    """Median of `steps` ticks of `twins` twins, each with its own parameters and reading, and the peak memory.

    The peer is the same filter in C on as many threads, holding the state alone.
    """
    twins, steps = int(config.get("twins", 1_000_000)), int(config.get("steps", 12))
    p, y, u = _tanks.record(steps, twins)
    fleet = build_fleet(_tanks.Tanks(), twins, substeps=_tanks.SUBSTEPS, gate=0.0)
    inputs = [np.full((1, twins), v) for v in u[:2]]
    belief = fleet.update(fleet.start(0.0, p), 0.0, np.full((1, twins), np.nan), np.full((1, twins), u[0]))
    spent, took = None, []
    for i in range(steps):
        room = inputs[i % 2]
        room[...] = u[i + 1]
        begin = time.perf_counter()
        after = fleet.update(belief, _tanks.DT * (i + 1), y[i : i + 1], room, into=spent)
        took.append(time.perf_counter() - begin)
        belief, spent = after, belief
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    c = _tanks.c_ekf(os.cpu_count() or 1)
    peers, error = {}, 0.0
    if c is not None:
        begin = time.perf_counter()
        reference = c(p, y, u)
        peers["c"] = (time.perf_counter() - begin) / steps * 1e3
        error = float(np.abs(np.concatenate([belief.mean, belief.cov.reshape(4, -1)]) - reference).max())
    if not error < 1e-9:
        raise AssertionError(f"the filters disagree by {error:.3g}")
    figure = float(np.median(took[2:])) * 1e3
    return {
        "item": "million",
        "config": {"twins": twins, "steps": steps, "dtype": "float64"},
        "pollux": figure,
        "peers": peers,
        "ratio": peers["c"] / figure if peers else None,
        "unit": "ms a tick",
        "error": error,
        "peak_memory_GiB": peak,
        "bytes_a_twin": sum(a.nbytes for a in vars(belief).values()) / twins,
    }
