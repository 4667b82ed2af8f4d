"""A synthetic experiment on a twin: lively inputs inside their bounds, long enough to see its slowest mode.

For questions that need a record when there is none: what can these sensors tell at all?
"""

import math

import numpy as np

from pollux.core.time import rng
from pollux.core.twin import Twin
from pollux.model.integrate import Method
from pollux.model.linearise import Linear, linearise
from pollux.model.results import Run
from pollux.model.rk4 import RK4
from pollux.model.simulate import simulate
from pollux.model.statespace import StateSpace
from pollux.model.stiff import Stiff

SAMPLES = 300
HOLD = 15
"""Samples for which one input level is held."""
CONSTANTS = 8.0
"""Slowest time constants that the experiment lasts."""


def time_constants(at: Linear) -> tuple[float, float]:
    """(fastest, slowest) in seconds at the operating point; modes that integrate do not count. (1, 1) if none does."""
    period = at.space.system.period
    poles = at.poles.astype(complex)
    if period is not None:
        with np.errstate(divide="ignore"):
            poles = np.log(poles[np.abs(poles) > 1e-12]) / period
    speed = np.abs(poles)
    speed = speed[speed > 1e-12 * max(float(speed.max(initial=0.0)), 1e-300)]
    if not len(speed):
        return 1.0, 1.0
    return 1 / float(speed.max()), 1 / float(speed.min())


def method_for(fastest: float, step: float) -> Method:
    """RK4 with enough substeps to stay well inside its stability region, `Stiff` where that would take too many."""
    substeps = math.ceil(step / fastest)
    return RK4(max(substeps, 1)) if substeps <= 50 else Stiff()


def experiment(twin: Twin, space: StateSpace, seed: int = 0) -> Run:
    """Random input levels inside the bounds (or around the start values), gentler until the model stays finite."""
    at = linearise(twin)
    fastest, slowest = time_constants(at)
    period = space.system.period
    step = period if period is not None else min(CONSTANTS * slowest, 1e4 * fastest) / SAMPLES
    times = step * np.arange(SAMPLES)
    low, high = space.bounds("u")
    method = RK4(1) if period is not None else method_for(fastest, step)
    for reach in (0.6, 0.3, 0.1, 0.0):
        levels = rng(seed).uniform(-1.0, 1.0, (math.ceil(SAMPLES / HOLD), len(space.u)))
        width = np.where(np.isfinite(high - low), 0.5 * (high - low), np.maximum(np.abs(space.u0), 1.0))
        U = np.clip(space.u0 + reach * width * np.repeat(levels, HOLD, axis=0)[:SAMPLES], low, high)
        run = simulate(twin, U, times=times, method=method)
        if run.ok and np.all(np.isfinite(run.y)):
            break
    return run
