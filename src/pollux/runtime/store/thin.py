"""Fewer points for a chart, without losing what matters: peaks of measurements stay, estimates are sampled.

Buckets are equal spans of time, so that a gap stays a gap.
"""

import numpy as np
from jaxtyping import Float

from pollux.runtime.store.base import Track


def thin_channel(
    t: Float[np.ndarray, " n"], value: Float[np.ndarray, " n"], points: int
) -> tuple[np.ndarray, np.ndarray]:
    """At most `points` of the readings (`t` sorted): of each of points/2 buckets the smallest and the largest.

    A spike of one sample stays visible. Missing values (NaN) are left out, except where a bucket has nothing else.
    """
    n = len(t)
    if n <= max(points, 2):
        return t, value
    bucket = _buckets(t, max(points // 2, 1))
    low, high = np.where(np.isnan(value), np.inf, value), np.where(np.isnan(value), -np.inf, value)
    starts = np.flatnonzero(np.r_[True, bucket[1:] != bucket[:-1]])
    by_low, by_high = np.lexsort((low, bucket)), np.lexsort((-high, bucket))
    keep = np.unique(np.r_[by_low[starts], by_high[starts]])
    return t[keep], value[keep]


def thin_track(track: Track, points: int) -> Track:
    """At most `points` of the estimates: the last of each bucket, so the newest always stays."""
    if len(track) <= points:
        return track
    bucket = _buckets(track.t, max(points, 1))
    keep = np.flatnonzero(np.r_[bucket[1:] != bucket[:-1], True])
    return Track(track.t[keep], track.mean[keep], track.sd[keep])


def _buckets(t: np.ndarray, count: int) -> np.ndarray:
    span = t[-1] - t[0]
    if not span > 0:
        return np.zeros(len(t), np.int64)
    return np.minimum((t - t[0]) / span * count, count - 1).astype(np.int64)
