"""Sums over stages, as a Runge-Kutta tableau asks for them."""

from collections.abc import Sequence
from typing import Any

from jax import Array


def combine(weights: Sequence[Any], stages: Sequence[Array]) -> Array:
    """sum_i weights[i] stages[i] from left to right; a weight that is the number zero costs nothing."""
    total = None
    for w, k in zip(weights, stages, strict=True):
        if isinstance(w, float) and w == 0.0:
            continue
        total = w * k if total is None else total + w * k
    if total is None:
        raise ValueError("a sum over stages needs at least one weight that is not zero")
    return total
