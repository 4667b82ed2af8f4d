"""How every twin of a fleet is doing: silent sensors, closed gates, a filter that is too sure of itself.

The consistency of a twin is its mean nis per reading with forgetting, M/D, where after each update

    M' = l M + nis,   D' = l D + dof,   V' = l^2 V + dof,   l = 1 - 1/memory

When all noise levels are right, M/D is a weighted mean of chi-squares with mean 1 and variance 2 V/D^2, close to
chi-square with nu = D^2/V degrees of freedom over nu (Satterthwaite (1946), Biometrics Bulletin 2). It is called
overconfident beyond the quantile at which a good twin is called with probability `rate` (Wilson and Hilferty (1931),
PNAS 17).
"""

from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float

if TYPE_CHECKING:
    from pollux.mirror.fleet import Fleet, FleetBelief

ENOUGH = 10.0
"""Readings (in effect) before a twin is judged."""


@dataclass(frozen=True, eq=False)
class FleetWatch:
    """What is remembered of N twins; the fleet axis is last."""

    fused: Float[np.ndarray, "ny N"]
    """Time of the last reading that was fused, of the start before the first."""
    seen: Float[np.ndarray, "ny N"]
    """The last reading that came, NaN before the first."""
    nis: Float[np.ndarray, " N"]
    dof: Float[np.ndarray, " N"]
    square: Float[np.ndarray, " N"]
    """M, D, V of the module docstring."""


def start(belief: "FleetBelief") -> FleetWatch:
    """Before the first reading."""
    ny, N = belief.predicted.shape
    return FleetWatch(np.tile(belief.t, (ny, 1)), np.full((ny, N), np.nan), np.zeros(N), np.zeros(N), np.zeros(N))


def follow(watch: FleetWatch, belief: "FleetBelief", values: Float[np.ndarray, "ny N"], memory: float) -> FleetWatch:
    """After an update that gave `belief` from the readings `values`; `memory` is in updates."""
    l, dof = 1.0 - 1.0 / memory, belief.used.sum(axis=0)  # noqa: E741 (the letter of the module docstring)
    judged = np.isfinite(belief.nis)
    nis, dof = np.where(judged, belief.nis, 0.0), np.where(judged, dof, 0.0)
    return FleetWatch(
        np.where(belief.used > 0, belief.t, watch.fused),
        np.where(np.isnan(values), watch.seen, values),
        l * watch.nis + nis,
        l * watch.dof + dof,
        l * l * watch.square + dof,
    )


def renew(watch: FleetWatch, slots: np.ndarray, t: float) -> FleetWatch:
    """Slots begin anew at time t, as twins that come."""
    fused, seen, *sums = (a.copy() for a in (watch.fused, watch.seen, watch.nis, watch.dof, watch.square))
    fused[:, slots], seen[:, slots] = t, np.nan
    for a in sums:
        a[slots] = 0.0
    return FleetWatch(fused, seen, *sums)


@dataclass(frozen=True, eq=False)
class Doing:
    """The judgement of one moment, per twin; every flag false is good."""

    ratio: Float[np.ndarray, " N"]
    """Mean nis per reading; 1 when all is right, NaN before `ENOUGH` readings."""
    overconfident: Bool[np.ndarray, " N"]
    blown: Bool[np.ndarray, " N"]
    """The last step was not finite: the twin keeps its last good belief."""
    stale: Bool[np.ndarray, "ny N"]
    gated: Bool[np.ndarray, "ny N"]
    """The last reading lay outside the gate."""
    health: Float[np.ndarray, " N"]
    """Share of the sensors that are neither stale nor gated."""


def judge(fleet: "Fleet", belief: "FleetBelief", watch: FleetWatch, stale_after: float, rate: float) -> Doing:
    """How all twins are doing. A sensor is stale `stale_after` seconds after its last fused reading."""
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = watch.nis / watch.dof
        nu = np.square(watch.dof) / watch.square
        z, a = NormalDist().inv_cdf(1.0 - rate), 2.0 / (9.0 * nu)
        high = (1.0 - a + z * np.sqrt(a)) ** 3
        enough = nu >= ENOUGH
        overconfident = belief.active & enough & (ratio > high)
    stale = belief.active & (belief.t - watch.fused > stale_after)
    gated = belief.active & (belief.refused > 0)
    return Doing(
        np.where(enough, ratio, np.nan),
        overconfident,
        belief.active & ~np.isfinite(belief.nis),
        stale,
        gated,
        1.0 - (stale | gated).mean(axis=0) if len(fleet.space.y) else np.ones(fleet.capacity),
    )
