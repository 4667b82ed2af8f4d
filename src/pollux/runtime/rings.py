"""Ring buffer of what was measured and believed, for charts. A cache: the journal is the truth."""

from dataclasses import dataclass

import numpy as np

from pollux.core.signals import Belief, Readings

Z95 = 1.959963984540054
"""Half width of a 95 % interval in standard deviations."""


@dataclass(frozen=True)
class Span:
    """A stretch of history, oldest first. Rows are times; columns follow the twin's own order."""

    t: np.ndarray
    measured: np.ndarray
    predicted: np.ndarray
    predicted_sd: np.ndarray
    mean: np.ndarray
    sd: np.ndarray
    inputs: np.ndarray


class Ring:
    """The last `capacity` steps of one twin with `n` estimates, `ny` sensors and `nu` inputs."""

    def __init__(self, capacity: int, n: int, ny: int, nu: int):
        self._widths = (1, ny, ny, ny, n, n, nu)
        self._rows = np.full((max(2, capacity), sum(self._widths)), np.nan)
        self._count = 0

    def add(self, readings: Readings, belief: Belief) -> None:
        """Append one step."""
        sd = np.sqrt(np.maximum(np.diag(belief.cov), 0.0))
        spread = np.sqrt(np.maximum(belief.innovation_var, 0.0))
        row = (
            [belief.t],
            readings.values,
            belief.predicted,
            spread,
            belief.mean,
            sd,
            belief.inputs,
        )
        self._rows[self._count % len(self._rows)] = np.concatenate(row)
        self._count += 1

    def span(self, start: float, end: float, points: int) -> Span:
        """At most `points` steps with start <= t <= end; the newest and the most surprising of each stretch stay."""
        rows = self.rows()
        t = rows[:, 0]
        rows = rows[(t >= start) & (t <= end)]
        edges = np.cumsum(self._widths)[:-1]
        if len(rows) > points:
            _, measured, predicted, spread, *_ = np.split(rows, edges, axis=1)
            rows = rows[_chosen(_surprise(measured, predicted, spread), points)]
        parts = np.split(rows, edges, axis=1)
        return Span(parts[0][:, 0], *parts[1:])

    def rows(self) -> np.ndarray:
        """All rows, oldest first; a copy that may be kept."""
        size = len(self._rows)
        if self._count <= size:
            return self._rows[: self._count].copy()
        return np.roll(self._rows, -(self._count % size), axis=0)

    def load(self, rows: np.ndarray) -> None:
        """Replace the content by what `rows()` gave; rows of another width are ignored, because it is a cache."""
        if rows.ndim != 2 or rows.shape[1] != self._rows.shape[1]:
            return
        kept = rows[-len(self._rows) :]
        self._rows[: len(kept)] = kept
        self._count = len(kept)


def _surprise(measured: np.ndarray, predicted: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Largest |measured - predicted| of each row in standard deviations, 0 where nothing was measured."""
    with np.errstate(invalid="ignore", divide="ignore"):
        z = np.abs(measured - predicted) / spread
    return np.nan_to_num(z, nan=0.0, posinf=0.0).max(axis=1, initial=0.0)


def _chosen(surprise: np.ndarray, points: int) -> np.ndarray:
    """Indices of the last and of the most surprising row of each of points/2 equal stretches, in order."""
    n = len(surprise)
    stretch = np.arange(n) * max(points // 2, 1) // n
    last = np.flatnonzero(np.r_[stretch[1:] != stretch[:-1], True])
    order = np.lexsort((surprise, stretch))  # by stretch, then by surprise: the last of each stretch is its largest
    return np.unique(np.r_[last, order[last]])
