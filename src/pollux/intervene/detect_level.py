"""The level of the scores: how often chance alone exceeds it, so that every update spends the same small chance.

A score z that gathers information J is, when nothing is wrong, a Gaussian walk with corr(z, z') = sqrt(J / J'). Near a
high level u it is, in units of 1/u, a random walk with steps N(-theta^2/2, theta^2), theta^2 = u^2 log(J'/J), that
starts an excess Exp(1) above the level with probability phi(u)/u. So a score begins to lie beyond u for `m` updates in
a row, for the first time in a while, with probability

    phi(u)/u * begun(theta)         begun = P(two more beyond, and never so before)      (an older onset)
    phi(u)/u * stays(theta)         stays = P(m - 1 more beyond)                         (at the first look)

per update, onset, fault and side. What two correlated scores do together is counted once (the bound of Hunter and
Worsley, with P(one beyond | the other) ~ 2 Phi(-u sqrt((1 - r) / (1 + r))) at correlation r). The sum over everything
that is compared is set equal to the chance that one update may spend. The level of one fault is higher where its size
must reach `least`, or where a prior on its size shrinks it.

For m = 1 and small steps, begun(theta) -> theta^2/2 exp(-0.583 theta): the overshoot of Siegmund (1985), Sequential
Analysis, ch. 4 and 8. For clumps of Gaussian walks see Aldous (1989), Probability Approximations via the Poisson
Clumping Heuristic, ch. C; both functions are computed here by quadrature, once. Worsley (1982), An improved Bonferroni
inequality and applications, Biometrika 69.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.special import ndtr

from pollux.intervene.detect_bank import FLOOR

STEPS = 5
"""Points of quadrature to one standard deviation of a step."""

DEEP = 9.0
"""Below the level by this many units a walk comes back with probability exp(-9)."""

LOW, HIGH = 3.0, 37.0
"""Bounds of the level."""

CLOSE = 0.02
"""A Newton step below this is the last."""


@lru_cache(maxsize=8)
def run_factors(m: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """log of (theta, begun(theta), stays(theta)) for runs of m updates, on a grid of theta."""
    theta = np.geomspace(0.15, 12.0, 24)
    pairs = [_factors(float(x), m) for x in theta]
    return np.log(theta), np.log([b for b, _ in pairs]), np.log([s for _, s in pairs])


def _factors(theta: float, m: int) -> tuple[float, float]:
    """(begun, stays) by quadrature on a grid of heights y from -`DEEP` to a few steps above the level."""
    d = min(theta / STEPS, 0.25)
    high = (np.arange(math.ceil((6.0 + theta) / d)) + 0.5) * d
    low = -(np.arange(math.ceil(DEEP / d)) + 0.5) * d
    start = np.exp(-high + d / 2) - np.exp(-high - d / 2)  # excess Exp(1), by cell

    def move(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        gap = b[None, :] - a[:, None] + theta**2 / 2
        return ndtr((gap + d / 2) / theta) - ndtr((gap - d / 2) / theta)

    hh, hl, lh, ll = move(high, high), move(high, low), move(low, high), move(low, low)
    last = start
    for _ in range(m - 1):
        last = last @ hh
    stays = float(last.sum())
    # backwards from the m-th beyond: first below, then never m in a row beyond again
    leaves = ndtr((-DEEP - high + theta**2 / 2) / theta)  # to the depth, from where nothing comes back
    a, B = np.zeros(len(high)), np.zeros((len(high), len(low)))
    for _ in range(m - 1):
        a, B = leaves + hh @ a, hl + hh @ B
    safe = np.linalg.solve(np.eye(len(low)) - ll - lh @ B, ndtr((-DEEP - low + theta**2 / 2) / theta) + lh @ a)
    begun = float(last @ (hl @ safe + leaves))
    return max(begun, 1e-300), max(stays, 1e-300)


@dataclass(frozen=True)
class Compared:
    """What is compared at one update, flat over onsets and faults of which something is known.

    `grown` = log(J'/J) since the last update; the level in standard deviations is max(level * stretch, floor).
    """

    grown: np.ndarray
    stretch: np.ndarray
    floor: np.ndarray
    sides: np.ndarray
    first: np.ndarray
    """Whether it is looked at for the first time."""
    apart: np.ndarray
    """sqrt((1 - r) / (1 + r)) with r the correlation with its nearest neighbour that is counted besides."""


def compared(
    J: np.ndarray, before: np.ndarray, known: np.ndarray, least: np.ndarray, sides: np.ndarray, first: np.ndarray
) -> Compared:
    """From the information J (k, M, M) of each onset and its faults now, and `before` one update ago; first (k,).

    known (M,) is the prior's information, least (M,) the smallest size that counts. Zero rows are not compared.
    """
    own, old = np.diagonal(J, axis1=1, axis2=2), np.diagonal(before, axis1=1, axis2=2)
    there = (own > FLOOR) & (old > FLOOR)
    k, m = np.nonzero(there)
    now, prior = own[k, m], known[m]
    r = _nearest(J, own, there)[k, m]
    return Compared(
        np.log(np.maximum(now / old[k, m], 1.0)),
        np.sqrt((now + prior) / now),
        least[m] * (now + prior) / np.sqrt(now),
        sides[m],
        first[k],
        np.sqrt((1 - r) / (1 + r)),
    )


def _nearest(J: np.ndarray, own: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Largest correlation (k, M) of each score with one before it: the same fault since the next onset, or, since the
    same onset, a fault of a lower place. Each score has one such neighbour at most, so the neighbours form a tree.
    """
    size = np.sqrt(np.where(there, own, 1.0))
    r = np.abs(J) / (size[:, :, None] * size[:, None, :])
    r = np.where(there[:, :, None] & there[:, None, :], r, 0.0)
    nearest = np.tril(r, -1).max(axis=2, initial=0.0)
    for m in range(own.shape[1]):
        rows = np.flatnonzero(there[:, m])
        rows = rows[np.argsort(own[rows, m])]
        nested = np.sqrt(own[rows[:-1], m] / own[rows[1:], m])
        nearest[rows[:-1], m] = np.maximum(nearest[rows[:-1], m], nested)
    return np.minimum(nearest, 1.0 - 1e-9)


def chance(level: float, c: Compared, settle: int) -> float:
    """Mean number of false calls that begin at this update with this level."""
    if len(c.grown) == 0:
        return 0.0
    u = np.maximum(level * c.stretch, c.floor)
    theta, begun, stays = run_factors(settle)
    x = np.log(np.maximum(u * np.sqrt(c.grown), 1e-9))
    small = 2 * np.minimum(x - theta[0], 0.0)  # below the grid it falls with the square of the step
    log = np.where(c.first, np.interp(x, theta, stays), np.interp(x, theta, begun) + small)
    alone = 1 - 2 * ndtr(-u * c.apart)  # the share whose neighbour is not beyond as well
    each = np.exp(np.maximum(log - u * u / 2, -700.0)) / u * alone
    return float(c.sides @ each) / math.sqrt(2 * math.pi)


def solve(start: float, spend: float, c: Compared, settle: int) -> float:
    """The level at which `chance` is `spend`, by Newton steps on its logarithm from a level nearby."""
    level = start
    for _ in range(3):
        now = chance(level, c, settle)
        if now <= 0.0:
            return LOW
        step = math.log(now / spend) / (level + 1.0 / level)
        level = min(max(level + step, LOW), HIGH)
        if abs(step) < CLOSE:
            break
    return level
