"""Control charts with a stated false-alarm rate: the two-sided CUSUM, and the level of a likelihood-ratio test.

Two-sided CUSUM of standardised innovations e ~ N(0, 1), tuned to a shift of `shift` standard deviations:

    up' = max(0, up + e - shift/2),   down' = max(0, down - e - shift/2),   alarm when either exceeds h

Its mean number of samples between false alarms (average run length) follows Siegmund (1985), Sequential Analysis,
eq. 2.57:

    ARL_one ~ (exp(2 k b) - 2 k b - 1) / (2 k^2),   k = shift/2,   b = h + 1.166,   ARL_two = ARL_one / 2

The largest score |z| over all onsets of a change of unknown size first exceeds h by chance after (Siegmund and
Venkatraman (1995), Annals of Statistics 23, theorem 1; the integral of x nu(x)^2 is 0.7355 with nu(x) ~ exp(-0.583 x))

    ARL ~ sqrt(2 pi) exp(h^2/2) / (0.7355 h)

samples for one fault on one side; the rates of several faults and sides add. Fewer onsets make alarms rarer.

Sources besides: Page (1954), Biometrika 41; Basseville and Nikiforov (1993), Detection of Abrupt Changes, ch. 5.
"""

import math
from collections.abc import Callable

import numpy as np

CLIP = 6.0
"""A standardised innovation beyond this counts as this much in a chart: one wild value is no trend."""


def cusum(up: np.ndarray, down: np.ndarray, e: np.ndarray, shift: float, cap: float) -> tuple[np.ndarray, np.ndarray]:
    """The next (up, down) after standardised innovations e; NaN leaves them, and `cap` bounds them."""
    came = ~np.isnan(e)
    e = np.clip(e, -CLIP, CLIP)
    k = shift / 2
    higher = np.clip(up + e - k, 0.0, cap)
    lower = np.clip(down - e - k, 0.0, cap)
    return np.where(came, higher, up), np.where(came, lower, down)


def run_length(h: float, shift: float) -> float:
    """Mean number of samples between false alarms of the two-sided CUSUM with threshold h."""
    k, b = shift / 2, h + 1.166
    return (math.exp(min(2 * k * b, 700.0)) - 2 * k * b - 1) / (2 * k * k) / 2


def cusum_threshold(samples: float, shift: float) -> float:
    """Threshold h at which false alarms come once in `samples` samples on average."""
    return _where(lambda h: run_length(h, shift), samples, 0.0, 700.0 / shift)


def score_length(h: float, sides: float) -> float:
    """Mean number of samples until a score of `sides` one-sided hypotheses first exceeds h by chance."""
    return math.sqrt(2 * math.pi) * math.exp(min(h * h / 2, 700.0)) / (0.7355 * h * sides)


def score_threshold(samples: float, sides: float) -> float:
    """Level h of the scores at which false alarms come once in `samples` samples on average."""
    return _where(lambda h: score_length(h, sides), samples, 1.5, 37.0)


def _where(fn: Callable[[float], float], target: float, low: float, high: float) -> float:
    """Where an increasing function reaches `target`."""
    for _ in range(60):
        mid = (low + high) / 2
        low, high = (mid, high) if fn(mid) < target else (low, mid)
    return high
