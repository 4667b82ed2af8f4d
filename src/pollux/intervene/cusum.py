"""Control charts with a stated false-alarm rate: CUSUM charts of the mean and of the scatter of innovations.

For standardised innovations e ~ N(0, 1):

    up'      = max(0, up + e - shift/2),  down' = max(0, down - e - shift/2)                 a shift of the mean
    scatter' = max(0, scatter + (e - m)^2 (1 - 1/ratio^2) / 2 - log ratio)                   more scatter, by `ratio`

with m a running mean, so that an offset is no scatter. A chart speaks after it has been beyond its threshold h for
`lasting` updates in a row. The mean number of samples between false alarms (average run length) is that of a Markov
chain over the value of the chart, cut into cells, and the updates spent beyond h (Brook and Evans):

    L = 1 + Q L,    Q_ij = P(from the middle of cell i into cell j)

Sources: Page (1954), Biometrika 41; Brook and Evans (1972), An approach to the probability distribution of cusum run
length, Biometrika 59; Basseville and Nikiforov (1993), Detection of Abrupt Changes, ch. 2 and 5.
"""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Literal

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr

CLIP = 6.0
"""A standardised innovation beyond this counts as this much in a chart: one wild value is no trend."""

FAR_OUT = 3.5
"""The same in the chart of the scatter, after the running mean is taken off."""

RATIO = 2.0
"""The scatter that the scatter chart is made for, times that stated."""

MEMORY = 0.1
"""Weight of the newest innovation in the running mean of the scatter chart."""

CELLS = 60
"""Cells below the threshold; as wide ones lie beyond it."""


LEAST, MOST = 1.0, 200.0
"""Bounds of a threshold."""

RAREST = 1e11
"""Most samples between false alarms, three years at 1 kHz: beyond, I - Q is singular in float64."""


def cap(h: float) -> float:
    """Bound of a chart with threshold h, so that it comes back soon."""
    return 2 * h + 4.0


def cusum(up: np.ndarray, down: np.ndarray, e: np.ndarray, shift: float, most: float) -> tuple[np.ndarray, np.ndarray]:
    """The next (up, down) after standardised innovations e; NaN leaves them, and `most` bounds them."""
    came = ~np.isnan(e)
    e = np.clip(e, -CLIP, CLIP)
    k = shift / 2
    higher = np.clip(up + e - k, 0.0, most)
    lower = np.clip(down - e - k, 0.0, most)
    return np.where(came, higher, up), np.where(came, lower, down)


def scatter(chart: np.ndarray, mean: np.ndarray, e: np.ndarray, most: float) -> tuple[np.ndarray, np.ndarray]:
    """The next (chart, running mean) of the scatter after standardised innovations e; NaN leaves both."""
    came = ~np.isnan(e)
    e = np.clip(e, -CLIP, CLIP)
    w = np.clip((e - mean) / math.sqrt(1 + MEMORY / (2 - MEMORY)), -FAR_OUT, FAR_OUT)
    gain = 0.5 * w * w * (1 - 1 / RATIO**2) - math.log(RATIO)
    return (
        np.where(came, np.clip(chart + gain, 0.0, most), chart),
        np.where(came, mean + MEMORY * (e - mean), mean),
    )


def run_length(h: float, shift: float, lasting: int = 1) -> float:
    """Mean number of samples between false alarms of the two-sided CUSUM with threshold h."""
    k = shift / 2
    return _length(lambda x: ndtr(x + k), h, lasting) / 2


def cusum_threshold(samples: float, shift: float, lasting: int = 1) -> float:
    """Threshold h at which false alarms of the two-sided CUSUM come once in `samples` samples on average."""
    return _inverse("mean", shift, lasting, 2 * samples)


def scatter_length(h: float, lasting: int = 1) -> float:
    """Mean number of samples between false alarms of the scatter chart with threshold h."""
    return _length(_scatter_step, h, lasting)


def scatter_threshold(samples: float, lasting: int = 1) -> float:
    """Threshold h at which false alarms of the scatter chart come once in `samples` samples on average."""
    return _inverse("scatter", RATIO, lasting, samples)


def _scatter_step(x: np.ndarray) -> np.ndarray:
    """P(one step of the scatter chart <= x)."""
    square = np.maximum((x + math.log(RATIO)) * 2 / (1 - 1 / RATIO**2), 0.0)
    return np.where(square >= FAR_OUT**2, 1.0, 2 * ndtr(np.sqrt(square)) - 1)


@lru_cache(maxsize=4096)
def _inverse(kind: Literal["mean", "scatter"], shift: float, lasting: int, samples: float) -> float:
    """Threshold at which a one-sided chart speaks once in `samples` samples; the least where it is rarer even so."""
    samples = min(samples, RAREST)
    step = _scatter_step if kind == "scatter" else (lambda x: ndtr(x + shift / 2))

    def rarity(h: float) -> float:
        return math.log(_length(step, h, lasting) / samples)

    low, high = LEAST, 1.0
    if rarity(low) >= 0:
        return low
    while rarity(high) < 0 and high < MOST:
        low, high = high, 1.5 * high
    return float(brentq(rarity, low, high, xtol=1e-9)) if high < MOST else high  # pyright: ignore[reportArgumentType]


def _length(step: Callable[[np.ndarray], np.ndarray], h: float, lasting: int) -> float:
    """Mean samples until a one-sided chart with steps of distribution `step` has been beyond h `lasting` times."""
    width = h / CELLS
    edges = width * np.arange(math.ceil(cap(h) / width) + 1)
    middle = np.concatenate([[0.0], (edges[:-1] + edges[1:]) / 2])  # the first state is zero itself
    up = step(edges[None, :] - middle[:, None])
    move = np.diff(up, axis=1)
    move[:, -1] += 1.0 - up[:, -1]
    move = np.concatenate([up[:, :1], move], axis=1)
    low = CELLS + 1
    # beyond the threshold for c updates already: L_c = a_c + B_c L_low, from the last c backwards
    a, B = np.zeros(len(middle) - low), np.zeros((len(middle) - low, low))
    for _ in range(lasting - 1):
        a, B = 1.0 + move[low:, low:] @ a, move[low:, :low] + move[low:, low:] @ B
    ahead = move[:low, low:]
    return float(np.linalg.solve(np.eye(low) - move[:low, :low] - ahead @ B, 1.0 + ahead @ a)[0])
