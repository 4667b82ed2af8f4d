"""What the detector remembers between two beliefs: arrays and numbers only, so that it is kept bit for bit."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from pollux.intervene.detect_watch import Watch, first

ONSETS = 10
"""Onsets that are compared at any time, besides that of the last call."""


@dataclass(frozen=True)
class DetectorState:
    """M faults, k = `ONSETS` + 1 onsets (the last row is that of the last call), n states, ny sensors.

    `E` (2, n) and `B` (2, M): effect on the estimate and sizes of the called faults, and the same before the last call.
    `called`, `since` (M,): when a fault was called and since when it is there, NaN where it is not; `score`, `sure`
    (M,): its score and probability; `rival` (M,): the place of the next best explanation.
    """

    t: float
    mean: np.ndarray
    cov: np.ndarray
    inputs: np.ndarray
    V: np.ndarray
    s: np.ndarray
    J: np.ndarray
    age: np.ndarray
    """Updates since each onset."""
    onset: np.ndarray
    """Time of each onset."""
    E: np.ndarray
    B: np.ndarray
    case: int
    """Place of the fault of the last call, -1 when that is closed."""
    called: np.ndarray
    since: np.ndarray
    score: np.ndarray
    sure: np.ndarray
    rival: np.ndarray
    run: np.ndarray
    """Updates in a row for which a score has been beyond the level, by onset and fault."""
    waited: int
    """Updates for which something has been ready to be called without being clear."""
    young: int
    """Updates for which the last call still settles."""
    level: float
    """Level of the scores at the last update."""
    wild: np.ndarray
    up: np.ndarray
    down: np.ndarray
    odd: np.ndarray
    """Updates for which a chart of the mean has been beyond its threshold."""
    scatter: np.ndarray
    center: np.ndarray
    """Running mean that the scatter is taken about."""
    loud: np.ndarray
    """Updates for which a chart of the scatter has been beyond its threshold."""
    line: np.ndarray
    """Sums (6, ny) of the innovations of a sensor since it was called: is its fault a step or a drift?"""
    watch: Watch
    spent: np.ndarray


def fresh(n: int, ny: int, M: int, bands: int) -> DetectorState:
    """Before the first belief."""
    z, k = np.zeros, ONSETS + 1
    return DetectorState(
        t=math.nan, mean=z(n), cov=z((n, n)), inputs=z(0), V=z((k, n, M)), s=z((k, M)), J=z((k, M, M)), age=z(k),
        onset=z(k), E=z((2, n)), B=z((2, M)), case=-1, called=np.full(M, np.nan), since=np.full(M, np.nan), score=z(M),
        sure=z(M), rival=z(M), run=z((ONSETS, M)), waited=0, young=0, level=0.0, wild=z(ny), up=z(ny), down=z(ny),
        odd=z(ny), scatter=z(ny), center=z(ny), loud=z(ny), line=z((6, ny)), watch=first(ny), spent=z(bands),
    )  # fmt: skip


@dataclass
class Work:
    """A state in the making: the same fields, copied, written in place by the steps of one update."""

    V: np.ndarray
    s: np.ndarray
    J: np.ndarray
    age: np.ndarray
    onset: np.ndarray
    E: np.ndarray
    B: np.ndarray
    case: int
    called: np.ndarray
    since: np.ndarray
    score: np.ndarray
    sure: np.ndarray
    rival: np.ndarray
    run: np.ndarray
    waited: int
    young: int
    level: float

    def restart(self, row: int, t: float) -> None:
        """Begin an onset at time t in `row`."""
        self.V[row], self.s[row], self.J[row], self.age[row], self.onset[row] = 0.0, 0.0, 0.0, 0.0, t
        if row < ONSETS:
            self.run[row] = 0.0

    def restart_all(self, t: float) -> None:
        """Forget every onset but that of the last call."""
        for row in range(ONSETS):
            self.restart(row, t)

    def close(self, t: float) -> None:
        """Take the last call as settled."""
        self.E[1], self.B[1], self.case = self.E[0], self.B[0], -1
        self.restart(ONSETS, t)

    def drop(self, j: int) -> None:
        """Fault j is not there (any more)."""
        self.B[:, j] = 0.0
        self.called[j] = self.since[j] = np.nan
        self.score[j] = self.sure[j] = 0.0


def work(state: DetectorState) -> Work:
    """A writable copy of the part that the calls change."""
    values: dict[str, Any] = {}
    for name in Work.__dataclass_fields__:
        value = getattr(state, name)
        values[name] = value.copy() if isinstance(value, np.ndarray) else value
    return Work(**values)
