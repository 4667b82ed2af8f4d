"""Fewer points for a chart, without losing what matters: peaks of measurements stay, estimates are sampled.

Buckets are equal spans of time, so that a gap stays a gap. The bucket of an instant is `floor(t / width)` with
`width = count * 2^level` seconds: it does not depend on where the chart begins, and buckets of a fine level lie whole
inside those of a coarse one. So the extremes of extremes are the extremes, which is what `chunks` keeps for long spans.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from pollux.runtime.store.base import Rows, Track
from pollux.runtime.store.layout import runs_of, take

FINE = 16
"""A width is about this many of its finest units, so that it can be close to what is asked."""

LARGEST = 2.0**62
"""Bucket numbers are 64-bit integers."""


@dataclass(frozen=True)
class Width:
    """Buckets of `count * 2^level` seconds."""

    count: int
    level: int

    def bucket(self, t: Float[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        """The number of the bucket of each instant."""
        return bucket(t, self.level) // self.count

    def number(self, start: float, end: float) -> int:
        """How many buckets start .. end touches."""
        first, last = self.bucket(np.array([start, end]))
        return int(last - first) + 1

    @property
    def seconds(self) -> float:
        """Their length."""
        return float(np.ldexp(float(self.count), self.level))


def bucket(t: Float[np.ndarray, " n"], level: int) -> Int[np.ndarray, " n"]:
    """`floor(t / 2^level)`, exact; instants beyond 2^62 buckets share the last."""
    return np.clip(np.floor(np.ldexp(t, -level)), -LARGEST, LARGEST).astype(np.int64)


def width_of(start: float, end: float, points: int, levels: tuple[int, ...] = ()) -> Width:
    """The narrowest that touches start .. end in at most points / 2 buckets (at least 2).

    Where one of `levels` is no longer than what is asked, the width is a multiple of the longest such.
    """
    wanted = max(points // 2, 2) - 1
    smallest = np.spacing(max(abs(start), abs(end), np.finfo(float).tiny / np.finfo(float).eps))
    seconds = max((end - start) / wanted, float(smallest))
    fitting = [level for level in levels if np.ldexp(1.0, level) <= seconds]
    level = max(fitting) if fitting else int(np.floor(np.log2(seconds / FINE)))
    width = Width(max(int(np.ceil(np.ldexp(seconds, -level))), 1), level)
    while width.number(start, end) > wanted + 1:
        width = Width(width.count + 1, level)
    return width


def extremes(starts: Int[np.ndarray, " groups"], value: Float[np.ndarray, " n"]) -> Int[np.ndarray, " kept"]:
    """Places of the smallest and the largest value of each group, of equal ones the first; NaN only where a group has
    nothing else. `starts`: where the groups begin."""
    if not len(value):
        return np.empty(0, np.int64)
    sizes = np.diff(np.r_[starts, len(value)])
    group = np.repeat(np.arange(len(starts)), sizes)
    keep = np.zeros(len(value), bool)
    for best in (np.fmin.reduceat(value, starts), np.fmax.reduceat(value, starts)):
        hit = np.flatnonzero(value == best[group])
        keep[hit[runs_of(group[hit])]] = True
        keep[starts[np.isnan(best)]] = True
    return np.flatnonzero(keep)


def thin_rows(rows: Rows, level: int) -> Rows:
    """Of each tag and each bucket of 2^level s the smallest and the largest reading; `rows` sorted by (tag, t)."""
    return take(rows, extremes(runs_of(rows.tag, bucket(rows.t, level)), rows.value))


def thin_channel(
    t: Float[np.ndarray, " n"], value: Float[np.ndarray, " n"], points: int
) -> tuple[np.ndarray, np.ndarray]:
    """At most `points` of the readings (`t` sorted): of each of points/2 buckets the smallest and the largest.

    A spike of one sample stays visible. Missing values (NaN) are left out, except where a bucket has nothing else.
    """
    if len(t) <= max(points, 2):
        return t, value
    if points < 4:  # buckets that begin at multiples of their width: even a short span may touch two
        keep = extremes(np.zeros(1, np.int64), value)
        return t[keep], value[keep]
    return thin_to(t, value, width_of(float(t[0]), float(t[-1]), points))


def thin_to(t: Float[np.ndarray, " n"], value: Float[np.ndarray, " n"], width: Width) -> tuple[np.ndarray, np.ndarray]:
    """Of each bucket the smallest and the largest reading; `t` sorted."""
    keep = extremes(runs_of(width.bucket(t)), value)
    return t[keep], value[keep]


def thin_track(track: Track, points: int) -> Track:
    """At most `points` of the estimates: the last of each bucket, so the newest always stays."""
    if len(track) <= points:
        return track
    span = track.t[-1] - track.t[0]
    part = (track.t - track.t[0]) / span * points if span > 0 else np.zeros(len(track))
    keep = np.r_[runs_of(np.minimum(part, max(points, 1) - 1).astype(np.int64))[1:] - 1, len(track) - 1]
    return Track(track.t[keep], track.mean[keep], track.sd[keep])
