"""Work item `lorenz`: DAPPER's documented tables for Lorenz-63 and Lorenz-96, by Pollux and by DAPPER.

Both see the same truths and readings, with the settings that DAPPER's modules document (sakov2008, sakov2012). The
error is the time average of the root mean square error of the analysis after the burn-in, its `rmse.a`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks import _lorenz
from pollux import Enkf, Etkf, Ienkf, Letkf, ParticleFilter, localisation, var3d

DIVERGED = 1.5
"""An error above this many times the documented one counts as a divergence."""


@dataclass(frozen=True)
class Row:
    """One line of a table: Pollux's method for a seed, DAPPER's own, and the error that DAPPER documents."""

    name: str
    model: str
    documented: float
    ours: Callable[[_lorenz.Case, int], Any]
    theirs: Callable[[Any], Any]


def rows() -> tuple[Row, ...]:
    """The table."""
    ring = np.arange(float(_lorenz.SITES))
    near = localisation(ring, ring, 4.0, around=_lorenz.SITES)

    def background(case: _lorenz.Case, share: float) -> Any:
        return var3d(share * np.cov(case.xx.T))

    return (
        Row(
            "l96 enkf 40", "96", 0.22, lambda c, s: Enkf(40, 1.06, seed=s),
            lambda d: d.EnKF("PertObs", N=40, infl=1.06),
        ),
        Row(
            "l96 etkf 24", "96", 0.18, lambda c, s: Etkf(24, 1.013, seed=s),
            lambda d: d.EnKF("Sqrt", N=24, infl=1.013, rot=True),
        ),
        Row(
            "l96 letkf 7", "96", 0.22, lambda c, s: Letkf(7, near, 1.04, seed=s),
            lambda d: d.LETKF(N=7, rot=True, infl=1.04, loc_rad=4),
        ),
        Row("l96 3d-var", "96", 0.41, lambda c, s: background(c, 0.02), lambda d: d.Var3D(xB=0.02)),
        Row(
            "l63 etkf 10", "63", 0.60, lambda c, s: Etkf(10, 1.02, seed=s),
            lambda d: d.EnKF("Sqrt", N=10, infl=1.02, rot=True),
        ),
        Row(
            "l63 iterated 10", "63", 0.31, lambda c, s: Ienkf(10, 1.02, seed=s),
            lambda d: d.iEnKS("Sqrt", N=10, Lag=1, nIter=10, infl=1.02, rot=True),
        ),
        Row(
            "l63 particles 800", "63", 0.28, lambda c, s: ParticleFilter(800, resample=0.2, jitter=0.9, seed=s),
            lambda d: d.PartFilt(N=800, reg=0.9, NER=0.2),
        ),
        Row("l63 3d-var", "63", 1.04, lambda c, s: background(c, 0.1), lambda d: d.Var3D(xB=0.1)),
    )  # fmt: skip


def run(config: dict[str, Any]) -> dict[str, Any]:
    """Errors over `seeds` truths of `cycles` readings; `names` picks rows.

    The figure is the largest ratio of a row's mean error to DAPPER's of the same run, over the seeds on which DAPPER
    does not diverge. Raises `AssertionError` where Pollux diverges, or is worse by more than the sampling error.
    """
    import threadpoolctl

    cycles, seeds = int(config.get("cycles", 1000)), int(config.get("seeds", 4))
    wanted = config.get("names")
    peer = _lorenz.dapper().da_methods
    cases = {model: [_lorenz.case(model, cycles, seed) for seed in range(seeds)] for model in ("63", "96")}
    table: dict[str, dict[str, Any]] = {}
    worse: list[str] = []
    with threadpoolctl.threadpool_limits(1):
        for row in rows():
            if wanted and row.name not in wanted:
                continue
            a = np.array(
                [_lorenz.rmse(c, _lorenz.ours(c, row.ours(c, i)).mean) for i, c in enumerate(cases[row.model])]
            )
            b = np.array([_lorenz.theirs(c, row.theirs(peer), i) for i, c in enumerate(cases[row.model])])
            sound = b < DIVERGED * row.documented
            lost = a > DIVERGED * row.documented
            gap = a[sound] - b[sound]
            spread = float(gap.std(ddof=1)) / math.sqrt(len(gap)) if len(gap) > 1 else 0.1 * row.documented
            ratio = float(a[sound].mean() / b[sound].mean()) if sound.any() else math.nan
            table[row.name] = {
                "documented": row.documented,
                "pollux": a.tolist(),
                "dapper": b.tolist(),
                "mean": {"pollux": float(a.mean()), "dapper, where it holds": float(b[sound].mean())},
                "ratio": ratio,
                "diverged": {"pollux": int(lost.sum()), "dapper": int((~sound).sum())},
            }
            if lost.any() or (sound.any() and gap.mean() > 3 * spread + 0.02 * row.documented):
                worse.append(row.name)
    if worse:
        raise AssertionError(f"worse than DAPPER in {worse}: { ({k: table[k] for k in worse}) }")
    ratios = {k: v["ratio"] for k, v in table.items()}
    return {
        "item": "lorenz",
        "config": {"cycles": cycles, "seeds": seeds},
        "pollux": max(ratios.values()),
        "peers": {"dapper": 1.0},
        "ratio": 1 / max(ratios.values()),
        "unit": "x DAPPER's analysis error, worst row",
        "error": max(v["mean"]["pollux"] / v["documented"] for v in table.values()),
        "table": table,
    }
