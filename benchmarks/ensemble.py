"""Work item `ensemble`: Lorenz-96 with 40 states by ETKF (24 members), LETKF (7) and EnKF (40), beside DAPPER.

DAPPER's statistics are off while it is timed, and both use one BLAS thread. Both assimilate the same readings of the
same truth; DAPPER's error is its own `rmse.a` from a run with its statistics on. Pollux is timed twice, warm: `means`,
which like DAPPER hands back no statistics, and `assimilate` with everything that it returns (covariances, innovations,
likelihoods).

Timings are paired: in each of `repeats` rounds every contender runs once in turn, Pollux `CALLS` times as it is short;
a ratio is the median over the rounds of DAPPER's time over Pollux's of the same round, wall and processor time alike.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks import _lorenz
from pollux import Enkf, Etkf, Letkf, localisation

CALLS = 5
"""Runs of Pollux in a round."""
DIVERGED = 1.5
"""An error above this many times the documented one counts as a divergence."""


@dataclass(frozen=True)
class Contest:
    """Pollux's method for a seed, DAPPER's own, the error that DAPPER documents, and the ratio that is the goal."""

    ours: Callable[[int], Any]
    theirs: Callable[[], Any]
    documented: float
    goal: float


def contests() -> dict[str, Contest]:
    """The three rows."""
    peer = _lorenz.dapper().da_methods
    ring = np.arange(float(_lorenz.SITES))
    near = localisation(ring, ring, 4.0, around=_lorenz.SITES)
    return {
        "etkf": Contest(
            lambda seed: Etkf(24, 1.013, seed=seed),
            lambda: peer.EnKF("Sqrt", N=24, infl=1.013, rot=True), 0.18, 40.0,
        ),
        "letkf": Contest(
            lambda seed: Letkf(7, near, 1.04, seed=seed),
            lambda: peer.LETKF(N=7, infl=1.04, rot=True, loc_rad=4), 0.22, 15.0,
        ),
        "enkf": Contest(
            lambda seed: Enkf(40, 1.06, seed=seed),
            lambda: peer.EnKF("PertObs", N=40, infl=1.06), 0.22, 10.0,
        ),
    }  # fmt: skip


def run(config: dict[str, Any]) -> dict[str, Any]:
    """Seconds for `cycles` updates (medians of `repeats` rounds) and errors over `seeds` truths; `names` picks rows.

    The figure and the ratio are the first row's, by wall time. Raises `AssertionError` where Pollux diverges, or its
    mean error over the seeds on which DAPPER holds is above DAPPER's by more than their joint sampling error.
    """
    import threadpoolctl

    cycles, repeats, seeds = (int(config.get(k, d)) for k, d in (("cycles", 1000), ("repeats", 7), ("seeds", 4)))
    wanted = config.get("names")
    cases = [_lorenz.case("96", cycles, seed) for seed in range(seeds)]
    rows: dict[str, dict[str, Any]] = {}
    with threadpoolctl.threadpool_limits(1):
        for name, contest in contests().items():
            if not wanted or name in wanted:
                rows[name] = {"goal": contest.goal, **_times(cases[0], contest, repeats), **_errors(cases, contest)}
    for name, row in rows.items():
        if row["diverged"]["pollux"] or not row["gap"] <= row["slack"]:
            raise AssertionError(f"{name}: errors {row['rmse']}; a speed at a worse error does not count")
    first = next(iter(rows.values()))
    return {
        "item": "ensemble",
        "config": {"cycles": cycles, "states": _lorenz.SITES, "repeats": repeats, "seeds": seeds, "threads": 1},
        "pollux": first["wall"]["means"],
        "peers": {"dapper": first["wall"]["dapper"]},
        "ratio": first["ratio"]["wall"],
        "unit": "s",
        "error": float(np.mean(first["rmse"]["pollux"])),
        **rows,
    }


def _times(case: _lorenz.Case, contest: Contest, repeats: int) -> dict[str, Any]:
    ours = contest.ours(0)
    contenders: dict[str, tuple[Callable[[], Any], int]] = {
        "means": (lambda: _lorenz.bare_ours(case, ours), CALLS),
        "assimilate": (lambda: _lorenz.ours(case, ours), CALLS),
        "dapper": (lambda: _lorenz.bare(case, contest.theirs()), 1),
    }
    cold = _lorenz.timed(contenders["means"][0], 1)
    _lorenz.timed(contenders["assimilate"][0], 1)
    spent = np.array([[_lorenz.timed(fn, calls) for fn, calls in contenders.values()] for _ in range(repeats)])
    wall, processor = (dict(zip(contenders, np.median(spent[:, :, i], axis=0).tolist(), strict=True)) for i in (0, 1))
    ratios = np.median(spent[:, 2:3] / spent[:, :2], axis=0)  # (means or assimilate, wall or processor)
    return {
        "wall": wall,
        "processor": processor,
        "ratio": {"wall": float(ratios[0, 0]), "processor": float(ratios[0, 1])},
        "ratio of assimilate": {"wall": float(ratios[1, 0]), "processor": float(ratios[1, 1])},
        "first call": cold[0],
    }


def _errors(cases: list[_lorenz.Case], contest: Contest) -> dict[str, Any]:
    a = np.array([_lorenz.rmse(c, _lorenz.bare_ours(c, contest.ours(i))) for i, c in enumerate(cases)])
    b = np.array([_lorenz.theirs(c, contest.theirs(), i) for i, c in enumerate(cases)])
    limit = DIVERGED * contest.documented
    sound = b < limit
    gap = a[sound] - b[sound]
    spread = float(gap.std(ddof=1)) / math.sqrt(len(gap)) if len(gap) > 1 else 0.1 * contest.documented
    return {
        "rmse": {"pollux": a.tolist(), "dapper": b.tolist()},
        "diverged": {"pollux": int((~(a < limit)).sum()), "dapper": int((~sound).sum())},
        "gap": float(gap.mean()) if len(gap) else 0.0,
        "slack": 3 * spread + 0.02 * contest.documented,
    }
