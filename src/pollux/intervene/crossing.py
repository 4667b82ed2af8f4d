"""What an ensemble says: quantiles, and when its members violate a limit for the first time."""

import numpy as np
from jaxtyping import Float

from pollux.core.signals import Crossing

EARLY = 0.05
"""Quantile of the first violations that is reported as early."""


def quantiles(values: Float[np.ndarray, "... N"], levels: tuple[float, ...]) -> Float[np.ndarray, "q ..."]:
    """Sample quantiles over the last axis; members that are not finite are left out.

    The position of level q among N ordered members is q (N + 1), so that an interval between two levels covers a new
    draw with exactly their difference in the mean, whatever the distribution; the usual (N - 1) q + 1 makes 92 % of
    95 % at N = 64. Source: Hyndman and Fan, Sample quantiles in statistical packages (1996), definition 6.
    """
    ordered = np.sort(np.where(np.isfinite(values), values, np.inf), axis=-1)
    count = np.isfinite(ordered).sum(axis=-1)
    out = []
    for level in levels:
        position = np.clip(level * (count + 1) - 1, 0, np.maximum(count - 1, 0))
        below = np.floor(position).astype(int)
        above = np.minimum(below + 1, np.maximum(count - 1, 0))
        low = np.take_along_axis(ordered, below[..., None], -1)[..., 0]
        high = np.take_along_axis(ordered, above[..., None], -1)[..., 0]
        with np.errstate(invalid="ignore"):
            out.append(np.where(count > 0, low + (position - below) * (high - low), np.nan))
    return np.stack(out)


def crossings(names: tuple[str, ...], first: Float[np.ndarray, "m N"]) -> tuple[Crossing, ...]:
    """Probability and times of the first violation; `first` is infinite for members that keep the limit."""
    found = []
    for name, times in zip(names, first, strict=True):
        hit = times[np.isfinite(times)]
        middle, early = np.quantile(hit, [0.5, EARLY]) if hit.size else (np.nan, np.nan)
        found.append(Crossing(name, hit.size / times.size, float(middle), float(early)))
    return tuple(found)
