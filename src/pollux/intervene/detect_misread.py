"""Readings that are right and mean something else: a slipped unit, swapped channels, a sensor that has become noisy.

A hypothesis is a transformation of what was read: it says what each sensor of it *should* have read,

    true_i = scale * y_source + shift        (unit slip: source = i;  swap of i and j: sources j and i)

and is scored by the likelihood of the transformed readings under the mirror's prediction. For the last m readings of
one sensor, none of them fused, the prediction errs by one constant c ~ N(0, S - R) and each reading by v ~ N(0, R),

    log p(r_1..m) = -1/2 [m log 2 pi R + log(1 + m T/R) + sum r^2/R - (sum r)^2/R^2 / (m/R + 1/T)] + m log |scale|

with r = true - predicted and T = S - R. An offset of unknown size is the same with T as wide as the readings are off,
and more noise is r ~ N(0, S + (c^2 - 1) R). The probabilities follow with the prior odds below, so that many units
pay for being many. A value is never converted: what is named is left out until it reads right again.

Sources: Bayes' rule with marginal likelihoods, MacKay (2003), Information Theory, Inference and Learning, ch. 28.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from pollux.core.errors import DefinitionError
from pollux.core.unit_slips import slips
from pollux.core.units import affine, same_dimension
from pollux.model.statespace import StateSpace

OFFSET, UNITS, SWAPS, NOISE = 0.4, 0.3, 0.15, 0.15
"""Prior odds of what three readings far off in a row mean; units and partners share theirs."""

NOISIER = (3.0, 10.0, 30.0, 100.0)
"""Factors of the noise that are compared."""


@dataclass(frozen=True)
class Leg:
    """Sensor `sensor` should have read scale * y[source] + shift."""

    sensor: int
    source: int
    scale: float
    shift: float


@dataclass(frozen=True)
class Misreading:
    """One hypothesis: `unit slip`, `swapped` or `noise`; `name` is the likely unit, and `factor` that of the noise."""

    kind: str
    legs: tuple[Leg, ...]
    prior: float
    name: str = ""
    factor: float = 1.0

    def of(self, sensor: int) -> Leg:
        """Its leg for a sensor."""
        return next(leg for leg in self.legs if leg.sensor == sensor)


def misreadings(space: StateSpace, units: Mapping[str, str]) -> tuple[Misreading, ...]:
    """Every hypothesis about the sensors of a twin; `units` names those on the wire that are not the twin's own."""
    for name in units:
        space.index("y", name)
    wired = [units.get(c.name, c.unit) for c in space.y]
    found: list[Misreading] = []
    for i, c in enumerate(space.y):
        if not same_dimension(wired[i], c.unit):
            raise DefinitionError(f"`units` gives {c.name!r} in {wired[i]!r}, which cannot be converted to {c.unit!r}")
        each = slips(wired[i], c.unit)
        found += [Misreading("unit slip", (Leg(i, i, s.scale, s.shift),), UNITS / len(each), s.unit) for s in each]
        found += [
            Misreading("noise", (Leg(i, i, 1.0, 0.0),), NOISE / len(NOISIER), factor=factor) for factor in NOISIER
        ]
    pairs = [(i, j) for i, j in combinations(range(len(space.y)), 2) if same_dimension(wired[i], wired[j])]
    partners = [max(sum(i in pair for pair in pairs), 1) for i in range(len(space.y))]
    for i, j in pairs:
        legs = (_crossed(space, wired, i, j), _crossed(space, wired, j, i))
        found.append(Misreading("swapped", legs, SWAPS / max(partners[i], partners[j])))
    return tuple(found)


def _crossed(space: StateSpace, wired: list[str], i: int, j: int) -> Leg:
    """What sensor i should have read, given the number that came in for j."""
    out, shift = affine(space.y[j].unit, wired[j])
    scale, offset = affine(wired[i], space.y[i].unit)
    return Leg(i, j, scale * out, scale * shift + offset)


def judge_readings(
    i: int, bank: tuple[Misreading, ...], y: np.ndarray, mu: np.ndarray, S: np.ndarray, R: np.ndarray
) -> tuple[int, float]:
    """(place in the bank, probability) of the best hypothesis for sensor i; place -1 where an offset is likelier.

    y, mu, S (m, ny): the last readings with their predictions and innovation variances; NaN where none came. R (ny,).
    """
    weights = {-1: math.log(OFFSET) + _offset(i, y, mu, S, R)}
    for k, misreading in enumerate(bank):
        if any(leg.sensor == i for leg in misreading.legs):
            weights[k] = math.log(misreading.prior) + _likelihood(misreading, y, mu, S, R)
    # a swap explains its partner's readings too, so it is held against the best that explains those without it
    for k, w in weights.items():
        if k >= 0 and bank[k].kind == "swapped":
            weights[k] = w - _alone(next(leg.sensor for leg in bank[k].legs if leg.sensor != i), bank, y, mu, S, R)
    finite = {k: w for k, w in weights.items() if math.isfinite(w)}
    if not finite:
        return -1, 0.0
    best = max(finite, key=lambda k: finite[k])
    odds = {k: math.exp(w - finite[best]) for k, w in finite.items()}
    total = sum(odds.values())
    if best < 0:
        return -1, odds[best] / total
    named = [k for k in odds if k >= 0 and (bank[k].kind, bank[k].name) == (bank[best].kind, bank[best].name)]
    return best, sum(odds[k] for k in named) / total if bank[best].kind == "noise" else odds[best] / total


def likely(i: int, misreading: Misreading, y: np.ndarray, mu: np.ndarray, S: np.ndarray, R: np.ndarray) -> float:
    """log p of the one reading of sensor i under the hypothesis; NaN where it did not come. y, mu, S, R (ny,)."""
    leg = misreading.of(i)
    var = S[i] + (misreading.factor**2 - 1) * R[i]
    r = leg.scale * y[leg.source] + leg.shift - mu[i]
    return float(-0.5 * (r * r / var + np.log(2 * np.pi * var)) + np.log(abs(leg.scale)))


def healthy(i: int, y: np.ndarray, mu: np.ndarray, S: np.ndarray) -> float:
    """log p of the one reading of sensor i when nothing is wrong."""
    r = y[i] - mu[i]
    return float(-0.5 * (r * r / S[i] + np.log(2 * np.pi * S[i])))


def _likelihood(m: Misreading, y: np.ndarray, mu: np.ndarray, S: np.ndarray, R: np.ndarray) -> float:
    total = 0.0
    for leg in m.legs:
        r = leg.scale * y[:, leg.source] + leg.shift - mu[:, leg.sensor]
        known = np.isfinite(r)
        if not known.any():
            return -math.inf
        if m.factor != 1.0:
            if np.all(r[known] > 0) or np.all(r[known] < 0):
                return -math.inf  # all off to one side: rather something that moves
            var = S[known, leg.sensor] + (m.factor**2 - 1) * R[leg.sensor]
            total += float(-0.5 * np.sum(r[known] ** 2 / var + np.log(2 * np.pi * var)))
        else:
            state = max(float(np.mean(S[known, leg.sensor])) - R[leg.sensor], 0.0)
            total += _marginal(r[known], R[leg.sensor], state) + known.sum() * math.log(abs(leg.scale))
    return total


def _offset(i: int, y: np.ndarray, mu: np.ndarray, S: np.ndarray, R: np.ndarray) -> float:
    r = y[:, i] - mu[:, i]
    r, state = r[np.isfinite(r)], max(float(np.nanmean(S[:, i])) - R[i], 0.0)
    # a size that is as likely as not: as wide as the readings are off, for each power of ten that may have been
    return _marginal(r, R[i], state + float(np.mean(r)) ** 2) - math.log(10.0)


def _alone(j: int, bank: tuple[Misreading, ...], y: np.ndarray, mu: np.ndarray, S: np.ndarray, R: np.ndarray) -> float:
    """log p of the readings of sensor j, whatever is wrong with it alone or nothing."""
    r = y[:, j] - mu[:, j]
    known = np.isfinite(r)
    if not known.any():
        return 0.0
    state = max(float(np.mean(S[known, j])) - R[j], 0.0)
    each = [_marginal(r[known], R[j], state), math.log(OFFSET) + _offset(j, y, mu, S, R)]
    each += [
        math.log(m.prior) + _likelihood(m, y, mu, S, R) for m in bank if m.kind != "swapped" and m.legs[0].sensor == j
    ]
    return max(each)


def _marginal(r: np.ndarray, R: float, T: float) -> float:
    """log p of r_n = c + v_n with c ~ N(0, T), v ~ N(0, R)."""
    m, total = len(r), float(np.sum(r))
    shared = 0.0 if T <= 0 else total * total / R**2 / (m / R + 1 / T)
    return -0.5 * (m * math.log(2 * math.pi * R) + math.log1p(m * T / R) + float(np.sum(r * r)) / R - shared)
