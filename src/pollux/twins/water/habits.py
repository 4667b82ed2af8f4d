"""What the station does by itself, as the twin expects it: level control under the usual demand. Plain NumPy."""

import numpy as np

from . import fitted
from .clairvoyant import AREA
from .fit import BILLED, GROUPS
from .station import OFF_ABOVE, ON_BELOW

_HABITS = np.array(fitted.HABITS)
_BASE = np.array([sum(BILLED[n] for n in nodes) for nodes in GROUPS.values()]) * 1e-3
_RELIEF = float(np.dot(fitted.RELIEF, list(BILLED.values())) / sum(BILLED.values()))
MEMORY = 43200.0
"""s; how long a day that is not as usual stays so."""


def usual_demand(t: np.ndarray) -> np.ndarray:
    """Total demand (k,) in m^3/s at times `t`, by habit."""
    k = np.arange(1, (_HABITS.shape[2] - 1) // 2 + 1)
    angle = 2 * np.pi * np.multiply.outer(t / 86400.0 % 1.0, k)
    wave = np.concatenate([np.ones((len(t), 1)), np.cos(angle), np.sin(angle)], axis=1)
    curves = wave @ np.moveaxis(_HABITS, 2, 0).reshape(wave.shape[1], -1)
    curves = curves.reshape(len(t), *_HABITS.shape[:2])
    weekend = np.isin((t // 86400.0).astype(int) % 7, (2, 3)).astype(int)
    return np.take_along_axis(curves, weekend[:, None, None], axis=2)[:, :, 0] @ _BASE


def level_control(times: np.ndarray, t: float, level: float, day: float, running: bool) -> np.ndarray:
    """Pump (k,), 1 or 0, from each of `times` on: Net1's own rule on a tank that follows the usual demand.

    `level` (m), `day` (share by which today differs) and `running` hold at time `t`.
    """
    demand = usual_demand(times) * (1 + day * np.exp(-(times - t) / MEMORY))
    out = np.empty(len(times))
    steps = np.diff(times, append=2 * times[-1] - times[-2] if len(times) > 1 else times[-1] + 900.0)
    for k, (d, dt) in enumerate(zip(demand, steps, strict=True)):
        running = True if level < ON_BELOW else False if level > OFF_ABOVE else running
        out[k] = float(running)
        pumped = np.sqrt(max((fitted.H0 - level + fitted.r * _RELIEF * d) / fitted.K, 0.0)) if running else 0.0
        level += (pumped - d) * dt / AREA
    return out
