"""Which parameters can a record determine at all? The verdict, with the direction that cannot be seen in words.

S is the sensitivity of all readings, in units of their noise, to the unknowns, in natural units (log theta for what
is positive), *without* priors. With S = W diag(sigma) V', the direction V_i is determined to a standard deviation
1/sigma_i. Two ways to fail:

- structural: sigma_i < 1e-8 sigma_max: moving along V_i changes no sensor at all, whatever is measured;
- practical: the record leaves the direction open by more than `OPEN` (a factor e^0.5 at one standard deviation).

The null space of the structural case is rotated to a basis with as many zeros as possible, and read as exponents:
log k1 : log k4 = 1/2 : 1 means that k1 grows as the square root of k4.
Source: Miao, Xia, Perelson and Wu, On identifiability of nonlinear ODE models, SIAM Review 53 (2011), sec. 3.3-3.4.
"""

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from itertools import combinations
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

STRUCTURAL = 1e-8
"""Singular values below this part of the largest are zero: exact derivatives leave about 1e-13."""
OPEN = 0.5
"""A direction known to no better than this standard deviation (of a logarithm, or of a natural unit) is open."""
_SHOWN = 0.05
_TRIED = 20_000


class Verdict(StrEnum):
    """What the record can say about the unknowns."""

    IDENTIFIABLE = "identifiable"
    PRACTICAL = "practically unidentifiable"
    STRUCTURAL = "structurally unidentifiable"


@dataclass(frozen=True)
class Direction:
    """Unknowns that can change together unseen: their exponents (or natural units), and how far."""

    weights: dict[str, float]
    logarithmic: dict[str, bool]
    deviation: float
    """Standard deviation to which the record knows the direction; inf when it does not at all."""

    @property
    def structural(self) -> bool:
        """Whether no record of these sensors could tell."""
        return not np.isfinite(self.deviation)

    def ratio(self) -> str:
        """As 'log k1 : log k4 = 1/2 : 1'."""
        names = [f"log {n}" if self.logarithmic[n] else n for n in self.weights]
        return f"{' : '.join(names)} = {' : '.join(_exponent(w, self.structural) for w in self.weights.values())}"

    def __str__(self) -> str:
        """One sentence, and the way out."""
        names = _listed(list(self.weights))
        if self.structural and len(self.weights) == 1:
            return f"{names} moves no sensor: fix it, or add a sensor that sees it"
        if self.structural:
            return (
                f"{names} can change together and no sensor would show it ({self.ratio()}): "
                "fix one of them, give one a prior, or measure one"
            )
        spread = f"{self.deviation:.3g}"
        if all(self.logarithmic.values()):
            spread = f"a factor {np.exp(self.deviation):.3g}" if self.deviation < 7 else "nothing: any factor fits"
        together = "are known together only" if len(self.weights) > 1 else "is known only"
        return f"{names} {together} to {spread} ({self.ratio()}): a longer or livelier record would help, or a prior"


@dataclass(frozen=True, eq=False)
class Identifiability:
    """The verdict over all unknowns of a fit."""

    verdict: Verdict
    names: tuple[str, ...]
    rank: int
    condition: float
    """sigma_max / sigma_min of the scaled sensitivities; inf when structural."""
    singular_values: Float[np.ndarray, " k"]
    directions: tuple[Direction, ...]

    @property
    def ok(self) -> bool:
        """Whether the record determines every unknown."""
        return self.verdict is Verdict.IDENTIFIABLE

    def __str__(self) -> str:
        """Verdict, figures, and one line for each open direction."""
        head = f"{self.verdict.value}: rank {self.rank} of {len(self.names)}, condition {self.condition:.3g}"
        return "\n".join([head, *(f"  - {d}" for d in self.directions)])

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "verdict": self.verdict.value,
            "rank": self.rank,
            "unknowns": list(self.names),
            "condition": self.condition if np.isfinite(self.condition) else None,
            "directions": [
                {
                    "weights": d.weights,
                    "ratio": d.ratio(),
                    "structural": d.structural,
                    "deviation": None if d.structural else d.deviation,
                    "text": str(d),
                }
                for d in self.directions
            ],
        }


def identify(S: Float[np.ndarray, "N k"], names: tuple[str, ...], log: Bool[np.ndarray, " k"]) -> Identifiability:
    """Verdict from the noise-scaled sensitivities S in natural units; see the module docstring."""
    k = len(names)
    if k == 0:
        return Identifiability(Verdict.IDENTIFIABLE, names, 0, 1.0, np.zeros(0), ())
    _, sigma, Vt = np.linalg.svd(S, full_matrices=True) if len(S) < k else np.linalg.svd(S, full_matrices=False)
    sigma = np.concatenate([sigma, np.zeros(k - len(sigma))])
    null = sigma <= STRUCTURAL * max(sigma[0], 1e-300)
    rank = int(k - null.sum())
    directions = [_direction(v, names, log, np.inf) for v in sparse_basis(Vt[null])]
    for s, v in zip(sigma[~null], Vt[~null], strict=True):
        largest = np.max(np.abs(v))
        if largest / s > OPEN:
            directions.append(_direction(v / largest, names, log, largest / s))
    structural = bool(null.any())
    verdict = Verdict.STRUCTURAL if structural else Verdict.PRACTICAL if directions else Verdict.IDENTIFIABLE
    condition = np.inf if structural else float(sigma[0] / sigma[-1])
    return Identifiability(verdict, names, rank, condition, sigma, tuple(directions))


def sparse_basis(null: Float[np.ndarray, "d k"]) -> list[np.ndarray]:
    """A basis of the row space of `null` with few entries: the reduced echelon form over the best choice of pivots.

    Every vector of a d-dimensional space can be made zero in d - 1 places; which ones is searched exhaustively for
    small problems. Each is scaled so that its largest entry is one.
    """
    d, k = null.shape
    if d == 0:
        return []
    best: tuple[float, list[np.ndarray]] = (np.inf, list(null))
    for count, pivots in enumerate(combinations(range(k), d)):
        block = null[:, pivots]
        if count >= _TRIED or np.linalg.cond(block) > 1e6:
            continue
        rows = np.linalg.solve(block, null)
        rows = rows / np.max(np.abs(rows), axis=1, keepdims=True)
        rows[np.abs(rows) < 1e-6] = 0.0
        cost = np.count_nonzero(rows) + 0.01 * np.sum([not _simple(w) for w in rows.ravel()])
        if cost < best[0]:
            best = (cost, [_upright(row) for row in rows])
    return best[1]


def _direction(v: np.ndarray, names: tuple[str, ...], log: np.ndarray, deviation: float) -> Direction:
    shown = np.abs(v) >= (1e-6 if not np.isfinite(deviation) else _SHOWN * np.max(np.abs(v)))
    v = _upright(v)
    return Direction(
        {n: float(w) for n, w, s in zip(names, v, shown, strict=True) if s},
        {n: bool(flag) for n, flag, s in zip(names, log, shown, strict=True) if s},
        float(deviation),
    )


def _upright(v: np.ndarray) -> np.ndarray:
    """The sign in which most of the weight is positive."""
    return v * (np.sign(np.sum(v)) if abs(np.sum(v)) > 1e-6 else np.sign(v[np.argmax(np.abs(v))]))


def _simple(w: float) -> bool:
    return abs(w - float(Fraction(float(w)).limit_denominator(6))) < 1e-5


def _exponent(w: float, exact: bool) -> str:
    if exact and _simple(w):
        return str(Fraction(float(w)).limit_denominator(6))
    return f"{w:.3g}"


def _listed(names: list[str]) -> str:
    quoted = [f"`{n}`" for n in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"
