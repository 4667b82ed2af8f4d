"""Exact confidence bounds for a probability of which only a count is known (Clopper and Pearson, 1934)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
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


def binomial_cdf(k: int, n: int, p: float) -> float:
    """P(X <= k) for X ~ Binomial(n, p), 0 < p < 1, summed in logarithms."""
    total, front = 0.0, lgamma(n + 1)
    for i in range(k + 1):
        total += exp(front - lgamma(i + 1) - lgamma(n - i + 1) + i * log(p) + (n - i) * log1p(-p))
    return min(total, 1.0)


def upper_bound(k: int, n: int, confidence: float) -> float:
    """Largest p with P(X <= k) >= 1 - confidence: P(violation) is below it with this confidence."""
    if k >= n:
        return 1.0
    low, high = k / n, 1.0
    for _ in range(60):
        p = 0.5 * (low + high)
        low, high = (p, high) if binomial_cdf(k, n, p) > 1 - confidence else (low, p)
    return high


def lower_bound(k: int, n: int, confidence: float) -> float:
    """Smallest p with P(X >= k) >= 1 - confidence, by symmetry of the binomial."""
    return 1.0 - upper_bound(n - k, n, confidence)


def risk(k: int, n: int, confidence: float, limits: Mapping[str, float] | None = None) -> Risk:
    """The record of one twin check."""
    return Risk(n, k, lower_bound(k, n, confidence), upper_bound(k, n, confidence), dict(limits or {}))
