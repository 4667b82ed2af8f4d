"""Stuck sensors and states outside their normal band: two counters that need no model of the fault."""

from dataclasses import dataclass

import numpy as np

SAME = 1e-6
"""Two readings that differ by less than this share of the sensor's noise are the same reading."""


def repeats(last: np.ndarray, count: np.ndarray, y: np.ndarray, noise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The next (last reading, number of times that it was repeated); a missing reading (NaN) changes neither.

    A sensor with continuous noise never repeats itself; one that holds its value does so for ever.
    """
    came = ~np.isnan(y)
    same = came & (np.abs(y - last) <= SAME * noise)
    count = np.where(same, count + 1.0, np.where(came, 0.0, count))
    return np.where(came, y, last), count


@dataclass(frozen=True)
class Band:
    """The normal range of a tracked parameter or a state, and how long it may be left (s)."""

    name: str
    index: int
    low: float
    high: float
    hold: float


SURE = 2.0
"""Standard deviations beyond its edge at which a band is left."""


def outside(
    spent: np.ndarray, bands: tuple[Band, ...], mean: np.ndarray, sd: np.ndarray, dt: float
) -> tuple[np.ndarray, np.ndarray]:
    """The next time (s) that each band has been left for, and the side (1 above, -1 below).

    Time inside counts back as fast, so that a short return does not start anew.
    """
    spent, sign = spent.copy(), np.zeros(len(bands))
    for i, band in enumerate(bands):
        m, s = mean[band.index], sd[band.index]
        above, below = (m - band.high) / s, (band.low - m) / s
        out = max(above, below) > SURE
        spent[i] = min(max(spent[i] + (dt if out else -dt), 0.0), 2 * band.hold)
        sign[i] = 1.0 if above > below else -1.0
    return spent, sign
