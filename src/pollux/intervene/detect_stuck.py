"""Counters that need no model of the fault: repeated readings, edges, silence, and states outside their band."""

from dataclasses import dataclass

import numpy as np

from pollux.model.statespace import Channel

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


EDGE = 2
"""Times that a reading at the edge of the declared range is repeated before the sensor is called saturated."""

BEYOND = 2.0
"""Standard deviations by which the model says that the truth lies beyond a repeated extreme."""

PAST = 0.5
"""The same at the edge of the declared range: less, since the edge is known; more than nothing, since an idle flow
meter reads exactly zero."""


def at_edge(
    edge: np.ndarray,
    count: np.ndarray,
    y: np.ndarray,
    mu: np.ndarray,
    S: np.ndarray,
    channels: tuple[Channel, ...],
    least: np.ndarray,
    most: np.ndarray,
    stuck: np.ndarray,
) -> np.ndarray:
    """1 or -1 (ny,) where a repeated reading is an edge of what the sensor can say; 0 elsewhere.

    At the edge of its declared range (`within`) two repetitions are enough when the model says beyond. Elsewhere half
    of the repetitions that make a sensor stuck, of the largest or the smallest value ever accepted (`most`, `least`),
    when the model says well beyond. Once called, it lasts as long as the repetition.
    """
    found = np.zeros(len(edge))
    for i in np.flatnonzero((count > 0) & (stuck > 0)):
        if edge[i] != 0 or np.isnan(y[i]):
            found[i] = edge[i]
            continue
        noise, sd = SAME * max(channels[i].noise, 1e-300), np.sqrt(S[i])
        for side, bound, extreme in ((1.0, channels[i].high, most[i]), (-1.0, channels[i].low, least[i])):
            beyond = side * (mu[i] - y[i]) / sd
            declared = side * (y[i] - bound) >= -noise and count[i] >= min(EDGE, stuck[i]) and beyond > PAST
            extreme_held = side * (y[i] - extreme) >= -noise and count[i] >= max(stuck[i] // 2, EDGE)
            if declared or (extreme_held and beyond > BEYOND):
                found[i] = side
    return found


DROPPED = 3.0
"""A sensor has dropped out when it is silent for this many times its longest usual gap."""

LEARNT = 5
"""Values that a sensor must have given before its silence means anything."""

FORGET = 0.999
"""What is left of the longest gap after each value, so that a long silence long ago is forgotten."""


def usual_gap(usual: np.ndarray, gap: np.ndarray, came: np.ndarray) -> np.ndarray:
    """The longest usual gap (s) after a value came `gap` seconds after the one before; NaN: it was the first.

    One gap can raise it threefold at most: the end of a dropout does not make dropouts usual.
    """
    bounded = np.where(usual > 0, np.minimum(gap, DROPPED * usual), gap)
    return np.where(came & ~np.isnan(gap), np.maximum(bounded, FORGET * usual), usual)


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
