"""Is the fault of a sensor a step or a drift? A straight line through its innovations since it was called.

    r = a + b (t - t0),   b = (n St'r - St Sr) / (n Stt - St^2),   se(b)^2 = S n / (n Stt - St^2)

with S the variance of an innovation. The sensor moves the belief no more, so its innovations show the fault itself.
"""

import math

import numpy as np

SLOPE = 5.0
"""Standard errors by which the slope of a drift differs from zero."""

MOVED = 2.0
"""Standard deviations of an innovation by which a drift has moved since it began."""


BEGAN = 0.25
"""Share of its offset now with which a drift has begun at most."""


def lined(line: np.ndarray, since: np.ndarray, t: float, nu: np.ndarray, called: np.ndarray) -> np.ndarray:
    """The next sums (n, t, tt, r, tr, rr) of the sensors that are `called`; zero for the others. A NaN adds nothing."""
    came = called & ~np.isnan(nu)
    x, r = np.where(came, t - np.where(called, since, t), 0.0), np.where(came, nu, 0.0)
    return np.where(called, line + np.array([came, x, x * x, r, x * r, r * r], dtype=np.float64), 0.0)


def slope(line: np.ndarray, S: float, t: float) -> tuple[float, float] | None:
    """(offset now, change per second) where the sums of one sensor are those of a drift; None where of a step.

    `t` is the time since its fault began.
    """
    n, x, xx, r, xr, _ = line
    spread = n * xx - x * x
    if n < 5 or spread <= 0 or not S > 0:
        return None
    b = (n * xr - x * r) / spread
    first = (r - b * x) / n
    if abs(first) > BEGAN * abs(first + b * t):
        return None  # a step whose first readings were believed grows too, but not from nothing
    if abs(b) < SLOPE * math.sqrt(S * n / spread) or abs(b) * t < MOVED * math.sqrt(S):
        return None
    return float(first + b * t), float(b)
