"""Exact confidence bounds for a probability of which only a count is known.

    upper(k, n, c): the p with P(X <= k) = 1 - c for X ~ Binomial(n, p), that is I_p(k + 1, n - k) = c
    lower(k, n, c) = 1 - upper(n - k, n, c)

I is the regularised incomplete beta function. Source: Clopper and Pearson, Biometrika 26 (1934); the continued
fraction of I by Lentz's method as in DLMF 8.17.22.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from math import exp, lgamma, log, log1p


@dataclass(frozen=True)
class Risk:
    """Violations counted among posterior samples, with exact one-sided bounds of the probability."""

    samples: int
    violations: int
    lower: float
    upper: float
    limits: Mapping[str, float] = field(default_factory=dict)
    """Share of samples that violate each margin."""


def beta_cdf(x: float, a: float, b: float) -> float:
    """I_x(a, b) for 0 < x < 1, relative error about 1e-12."""
    front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x))
    if x < (a + 1) / (a + b + 2):
        return front * fraction(x, a, b) / a
    return 1.0 - front * fraction(1.0 - x, b, a) / b


def fraction(x: float, a: float, b: float) -> float:
    """The continued fraction of I_x(a, b), DLMF 8.17.22."""
    tiny = 1e-300
    c, d = 1.0, 1.0 - (a + b) * x / (a + 1)
    d = 1.0 / (d if abs(d) > tiny else tiny)
    value = d
    for m in range(1, 10_000):
        for top in (m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
                    -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))):  # fmt: skip
            d = 1.0 + top * d
            d = 1.0 / (d if abs(d) > tiny else tiny)
            c = 1.0 + top / c
            c = c if abs(c) > tiny else tiny
            value *= c * d
        if abs(c * d - 1.0) < 1e-15:
            break
    return value


@lru_cache(maxsize=4096)
def upper_bound(k: int, n: int, confidence: float) -> float:
    """P(violation) is below it with this confidence, k violations having been seen among n samples."""
    if k >= n:
        return 1.0
    if k == 0:
        return -(exp(log1p(-confidence) / n) - 1.0)
    low, high = k / n, 1.0
    while high - low > 1e-15 + 1e-13 * high:
        p = 0.5 * (low + high)
        if not low < p < high:
            break
        low, high = (p, high) if beta_cdf(p, k + 1, n - k) < confidence else (low, p)
    return high


def lower_bound(k: int, n: int, confidence: float) -> float:
    """P(violation) is above it with this confidence."""
    return 1.0 - upper_bound(n - k, n, confidence)


def risk(k: int, n: int, confidence: float, limits: Mapping[str, float] | None = None) -> Risk:
    """The record of one twin check."""
    return Risk(n, k, lower_bound(k, n, confidence), upper_bound(k, n, confidence), dict(limits or {}))
