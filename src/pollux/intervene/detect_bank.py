"""Generalised likelihood ratios over a bank of faults and onsets: which fault, since when, how large.

`s` (k, M) and `J` (k, M, M) come from `detect_signature` for M faults and k onsets. A fault of the size that fits best
gains log-likelihood z^2/2, so the probability that fault j is the one cause, with equal priors, is proportional to
exp(z_j^2/2). Onsets are kept at ages in roughly geometric steps: near ones finely, far ones coarsely. Plain NumPy.
"""

import numpy as np

FLOOR = 1e-12
"""Information (per unit^2) below which a fault has no score."""


def scores(s: np.ndarray, J: np.ndarray, known: np.ndarray) -> np.ndarray:
    """z of every fault (last axis), 0 where nothing can be seen of it; `known` (M,) = 1 / scale^2 of each fault.

    With b ~ N(0, scale^2) beforehand, z = s / sqrt(J + known): a fault of an absurd size scores less.
    """
    info = np.diagonal(J, axis1=-2, axis2=-1)
    return np.where(info > FLOOR, s / np.sqrt(np.maximum(info, FLOOR) + known), 0.0)


def size(s: np.ndarray, J: np.ndarray, known: np.ndarray, j: int) -> float:
    """Best size of fault j alone, in its own unit."""
    return float(s[j] / (max(J[j, j], FLOOR) + known[j]))


def probabilities(gain: np.ndarray) -> np.ndarray:
    """Probability (M,) of each fault being the one cause, given that one of them is; `gain` = z^2/2 and prior odds."""
    weight = np.exp(gain - gain.max())
    return weight / weight.sum()


def thinned(ages: np.ndarray, longest: float) -> int:
    """Which onset to give up for a new one, given the ages in updates: one beyond `longest`, else the least missed."""
    order = np.argsort(ages)
    if ages[order[-1]] > longest or len(ages) < 3:
        return int(order[-1])
    a = ages[order]
    spread = (a[2:] + 1.0) / (a[:-2] + 1.0)
    return int(order[1 + int(spread.argmin())])
