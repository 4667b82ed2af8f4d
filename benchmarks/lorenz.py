"""Work item `lorenz`: DAPPER's documented tables for Lorenz-63 and Lorenz-96, by Pollux and by DAPPER.

Both see the same truths and readings, with the settings that DAPPER's modules document (sakov2008, sakov2012). The
error is the time average of the root mean square error of the analysis after the burn-in, its `rmse.a`.
"""

import math
import time
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
    """Errors over `seeds` truths of `cycles` readings, the first of them `first`; `names` picks rows.

    The figure is the largest ratio of a row's mean error to DAPPER's of the same run, over the seeds on which DAPPER
    does not diverge. A row's `gap` is the mean of the paired differences there and `standard error` that of the gap;
    an error of None is a run that failed. Raises `AssertionError` where Pollux diverges, or is worse by more than three
    standard errors and 2 % of the documented error.
    """
    import threadpoolctl

    cycles, seeds, first = (int(config.get(k, d)) for k, d in (("cycles", 1000), ("seeds", 4), ("first", 0)))
    wanted = config.get("names")
    chosen = [row for row in rows() if not wanted or row.name in wanted]
    numbers = range(first, first + seeds)
    cases = {model: [_lorenz.case(model, cycles, seed) for seed in numbers] for model in {row.model for row in chosen}}
    table: dict[str, dict[str, Any]] = {}
    with threadpoolctl.threadpool_limits(1):
        for row in chosen:
            table[row.name] = _compared(row, cases[row.model])
    worse = {k: v for k, v in table.items() if v["diverged"]["pollux"] or v["worse"]}
    if worse:
        raise AssertionError(f"worse than DAPPER in {list(worse)}: {worse}")
    ratios = {k: v["ratio"] for k, v in table.items()}
    return {
        "item": "lorenz",
        "config": {"cycles": cycles, "seeds": seeds, "first": first},
        "pollux": max(ratios.values()),
        "peers": {"dapper": 1.0},
        "ratio": 1 / max(ratios.values()),
        "unit": "x DAPPER's analysis error, worst row",
        "error": max(v["mean"]["pollux"] / v["documented"] for v in table.values()),
        "table": table,
    }


def _compared(row: Row, cases: list[_lorenz.Case]) -> dict[str, Any]:
    peer = _lorenz.dapper().da_methods
    begin = time.perf_counter()
    a = np.array([_lorenz.rmse(c, _lorenz.bare_ours(c, row.ours(c, i))) for i, c in enumerate(cases)])
    middle = time.perf_counter()
    b = np.array([_lorenz.theirs(c, row.theirs(peer), i) for i, c in enumerate(cases)])
    end = time.perf_counter()
    limit = DIVERGED * row.documented
    sound = b < limit
    gap = a[sound] - b[sound]
    error = float(gap.std(ddof=1)) / math.sqrt(len(gap)) if len(gap) > 1 else 0.1 * row.documented
    return {
        "documented": row.documented,
        "pollux": [x if math.isfinite(x) else None for x in a.tolist()],
        "dapper": [x if math.isfinite(x) else None for x in b.tolist()],
        "mean": {"pollux": float(a.mean()), "dapper, where it holds": float(b[sound].mean()) if sound.any() else None},
        "ratio": float(a[sound].mean() / b[sound].mean()) if sound.any() else 1.0,
        "gap": float(gap.mean()) if sound.any() else None,
        "standard error": error,
        "worse": bool(sound.any() and gap.mean() > 3 * error + 0.02 * row.documented),
        "diverged": {"pollux": int((~(a < limit)).sum()), "dapper": int((~sound).sum())},
        "seconds": {"pollux": middle - begin, "dapper": end - middle},
    }
