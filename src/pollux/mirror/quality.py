"""Is the filter consistent, and are the data good? Verdicts from innovations.

Consistency: when the noise levels are right, the sum of nis over a window is chi-square with as many degrees of freedom
as readings were fused, so mean nis per reading must lie within its quantiles (Bar-Shalom, Li and Kirubarajan (2001),
sec. 5.4.2). Above: the filter is too sure of itself; below: too cautious.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy.special import chdtri

from pollux.core.signals import Belief, Health


class Verdict(StrEnum):
    """What the innovations say about the stated uncertainty."""

    CONSISTENT = "consistent"
    OVERCONFIDENT = "overconfident"
    """Innovations are larger than stated: noise levels are too small, or the model is wrong."""
    CAUTIOUS = "cautious"
    """Innovations are smaller than stated: noise levels are too large."""
    UNKNOWN = "unknown"
    """Too few readings."""


@dataclass(frozen=True)
class Consistency:
    """Mean nis per reading with the interval that it lies in with probability `level` when all is right."""

    ratio: float
    low: float
    high: float
    level: float
    readings: int
    verdict: Verdict

    def __str__(self) -> str:
        """One line."""
        return (
            f"{self.verdict}: NIS per reading {self.ratio:.3f}, expected {self.low:.3f} to {self.high:.3f} "
            f"({self.level:.0%}, {self.readings} readings)"
        )


def consistency(nis: np.ndarray, dof: np.ndarray, level: float = 0.99) -> Consistency:
    """The verdict over a window of updates with these nis (T,) and numbers of fused readings (T,)."""
    total, k = float(np.sum(nis)), int(np.sum(dof))
    if k < 10 or not math.isfinite(total):
        verdict = Verdict.UNKNOWN if k < 10 else Verdict.OVERCONFIDENT
        return Consistency(total / max(k, 1), 0.0, math.inf, level, k, verdict)
    tail = (1 - level) / 2
    low, high = float(chdtri(k, 1 - tail)) / k, float(chdtri(k, tail)) / k
    ratio = total / k
    verdict = Verdict.CONSISTENT if low <= ratio <= high else Verdict.CAUTIOUS if ratio < low else Verdict.OVERCONFIDENT
    return Consistency(ratio, low, high, level, k, verdict)


@dataclass(frozen=True)
class SensorQuality:
    """One sensor over a window: how often it spoke, how often it was refused, and how its innovations behave.

    `bias` and `spread` are the mean and the standard deviation of the innovations in stated standard deviations (0 and
    1 when all is right); `memory` is their correlation from one reading to the next (0).
    """

    name: str
    availability: float
    refused: float
    bias: float
    spread: float
    memory: float
    good: bool
    remarks: tuple[str, ...]


def sensor_quality(
    names: tuple[str, ...], innovation: np.ndarray, variance: np.ndarray, used: np.ndarray
) -> tuple[SensorQuality, ...]:
    """Data quality of each sensor from innovations (T, ny), NaN where none came, their variances, what was fused."""
    return tuple(_one(name, innovation[:, i] / np.sqrt(variance[:, i]), used[:, i] > 0) for i, name in enumerate(names))


def window(beliefs: list[Belief]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(innovations, variances, fused) of a run of beliefs, for `sensor_quality`."""
    used = np.array([[h is Health.GOOD for h in b.health] for b in beliefs], dtype=np.float64)
    return np.array([b.innovation for b in beliefs]), np.array([b.innovation_var for b in beliefs]), used


def _one(name: str, e: np.ndarray, used: np.ndarray) -> SensorQuality:
    came = ~np.isnan(e)
    n = int(came.sum())
    availability = n / max(len(e), 1)
    refused = float((came & ~used).sum() / max(n, 1))
    z = e[came & used]
    if len(z) < 10:
        return SensorQuality(name, availability, refused, math.nan, math.nan, math.nan, False, ("too few readings",))
    bias, spread = float(z.mean()), float(z.std())
    memory = float(np.corrcoef(z[:-1], z[1:])[0, 1]) if spread > 0 else 1.0
    sure = 4.0 / math.sqrt(len(z))  # four standard errors of a mean or a correlation
    remarks = []
    if availability < 0.9:
        remarks.append(f"{1 - availability:.0%} of its readings are missing")
    if refused > 0.01:
        remarks.append(f"{refused:.1%} of its readings lie outside the gate")
    if abs(bias) > sure and abs(bias) > 0.2:
        remarks.append(f"its readings lie {bias:+.2g} standard deviations off the prediction on average")
    if spread > 1.0 + sure and spread > 1.2:
        remarks.append(f"its innovations scatter {spread:.2g} times as much as stated")
    if spread < 1.0 - sure and spread < 0.8:
        remarks.append(f"its innovations scatter only {spread:.2g} times what is stated")
    if abs(memory) > sure and abs(memory) > 0.2:
        remarks.append(f"its innovations are correlated in time ({memory:+.2g}): the model misses something")
    return SensorQuality(name, availability, refused, bias, spread, memory, not remarks, tuple(remarks))
