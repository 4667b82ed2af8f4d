"""Ring buffer of what was measured and believed, for charts. A cache: the journal is the truth."""

from dataclasses import dataclass

import numpy as np

from pollux.core.signals import Belief, Health, Readings

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
    used: np.ndarray
    """Of each reading: 1 fused, 0 outside the gate, -1 of a sensor under suspicion, NaN where none came."""
    nis: np.ndarray
    dof: np.ndarray
    """(T,): as in `Belief`; NaN where unknown."""


class Ring:
    """The last `capacity` steps of one twin with `n` estimates, `ny` sensors and `nu` inputs."""

    def __init__(self, capacity: int, n: int, ny: int, nu: int):
        self._widths = (1, ny, ny, ny, n, n, nu, ny, 1, 1)
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
            _used(readings, belief),
            [belief.nis],
            [belief.nis_dof],
        )
        self._rows[self._count % len(self._rows)] = np.concatenate(row)
        self._count += 1

    def span(self, start: float, end: float, points: int) -> Span:
        """At most `points` steps with start <= t <= end; the newest and the most surprising of each stretch stay."""
        rows = self.rows()
        t = rows[:, 0]
        rows = rows[(t >= start) & (t <= end)]
        if len(rows) > points:
            whole = self._split(rows)
            rows = rows[_chosen(_surprise(whole.measured, whole.predicted, whole.predicted_sd), points)]
        return self._split(rows)

    def last(self, steps: int) -> Span:
        """The newest `steps` steps, none left out."""
        size = len(self._rows)
        n = min(steps, self._count, size)
        return self._split(self._rows[np.arange(self._count - n, self._count) % size])

    def rows(self) -> np.ndarray:
        """All rows, oldest first; a copy that may be kept."""
        size = len(self._rows)
        if self._count <= size:
            return self._rows[: self._count].copy()
        return np.roll(self._rows, -(self._count % size), axis=0)

    def _split(self, rows: np.ndarray) -> Span:
        parts = np.split(rows, np.cumsum(self._widths)[:-1], axis=1)
        t, *wide, nis, dof = parts
        return Span(t[:, 0], *wide, nis=nis[:, 0], dof=dof[:, 0])

    def load(self, rows: np.ndarray) -> None:
        """Replace the content by what `rows()` gave; rows of another width are ignored, because it is a cache."""
        if rows.ndim != 2 or rows.shape[1] != self._rows.shape[1]:
            return
        kept = rows[-len(self._rows) :]
        self._rows[: len(kept)] = kept
        self._count = len(kept)


def _used(readings: Readings, belief: Belief) -> np.ndarray:
    means = {Health.GOOD: 1.0, Health.SUSPECT: -1.0}
    used = np.array([means.get(h, 0.0) for h in belief.health])
    return np.where(np.isnan(readings.values), np.nan, used)


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
