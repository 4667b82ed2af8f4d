"""How well a twin of the tanks does on a record: free run, one-step intervals, and what it cannot know."""

from dataclasses import replace

import numpy as np

from pollux import RK4, Readings, Record, build_mirror, calibrate, simulate
from pollux.twins.cascaded_tanks.record import INITIAL
from pollux.twins.cascaded_tanks.twin import CascadedTanks

METHOD = RK4(4)
Z95 = 1.959963984540054


def free_run(twin: CascadedTanks, record: Record) -> np.ndarray:
    """Errors of the simulation in V, from sample 50 on; the first 50 readings give the first state and nothing else."""
    first = calibrate(twin, record[:INITIAL], free=(), starts=4, method=METHOD).initial[0]
    run = simulate(twin, record, x0=first, method=METHOD)
    return run["level"][INITIAL:] - record.y[INITIAL:, 0]


def rmse(errors: np.ndarray) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(errors**2)))


def one_step(twin: CascadedTanks, record: Record, noise: tuple[float, float, float] | None = None) -> np.ndarray:
    """Standardised one-step errors nu / sqrt(S) of the mirror, gates off, from sample 50 on.

    `noise`: (drift of the upper level, of the lower level, sensor noise) instead of the declared ones.
    """
    return innovations(twin, record, noise)[0]


def innovations(
    twin: CascadedTanks, record: Record, noise: tuple[float, float, float] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(nu / sqrt(S), S) from sample 50 on."""
    mirror = build_mirror(twin, gate=0.0, substeps=METHOD.substeps, name="tanks")
    if noise is not None:
        upper, lower, sensor = noise
        mirror = replace(mirror, Q=np.array([upper, lower]) ** 2, R=np.array([sensor**2]))
    belief = mirror.start(float(record.t[0]))
    scores, variances = [], []
    for k in range(len(record)):
        belief = mirror.update(belief, Readings("tanks", float(record.t[k]), f"r/{k}", "", record.y[k], record.u[k]))
        scores.append(belief.innovation[0] / np.sqrt(belief.innovation_var[0]))
        variances.append(belief.innovation_var[0])
    return np.array(scores[INITIAL:]), np.array(variances[INITIAL:])


def coverage(scores: np.ndarray) -> float:
    """Share of readings inside their 95 % one-step interval."""
    return float(np.mean(np.abs(scores) <= Z95))
