"""Work item `simulate`: time to a true error at the end of the horizon, alone and for 1,000 parameter sets.

Each contender gets the loosest tolerance of one ladder with which its true error, over the sets on which it is
calibrated, is no larger than the target; so the times compare equal accuracy, not equal settings.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks._ode_solvers import Contender, contenders
from benchmarks._odes import PROBLEMS, Problem, reference

LADDER = 10.0 ** -np.arange(1.0, 12.01, 1 / 3)
"""Relative tolerances, from loose to tight."""
BUDGET = 60.0
"""Seconds after which a contender's search ends; it is then left out, and named."""


def run(config: dict[str, Any]) -> dict[str, Any]:
    """Time every contender on every case; `problems`, `targets`, `sets` and `repeats` may be set.

    The figure is the time for the whole batch of Robertson's reaction to 1e-3; `cases` holds all of them. SciPy's
    batches are timed on four sets and scaled, which `scaled` says. `error` is the largest true error of ours as a part
    of its target. The end states of all contenders are compared with one reference (`_odes.reference`).
    """
    names = config.get("problems", list(PROBLEMS))
    targets = [float(t) for t in config.get("targets", [1e-3, 1e-5])]
    sets, repeats = int(config.get("sets", 1000)), int(config.get("repeats", 5))
    cases, worst = [], 0.0
    alone: dict[tuple[str, str, float], float] = {}
    for name in names:
        problem = PROBLEMS[name]
        for n in (1, sets):
            p = problem.sets(n)
            exact = reference(problem, p)
            for target in targets:
                case = _case(problem, p, exact, target, repeats, alone)
                cases.append(case)
                worst = max(worst, case["contenders"][case["method"]]["error"] / target)
                print(f"# {_line(case)}", flush=True)
    chosen = [c for c in cases if c["problem"] == "robertson" and c["sets"] > 1] or cases
    head = chosen[0]
    return {
        "item": "simulate",
        "config": {"sets": sets, "targets": targets, "problems": list(names), "figure": _title(head)},
        "pollux": head["pollux"],
        "peers": head["peers"],
        "ratio": head["ratio"],
        "unit": "s",
        "error": worst,
        "cases": cases,
    }


def _case(
    problem: Problem,
    p: np.ndarray,
    exact: np.ndarray,
    target: float,
    repeats: int,
    alone: dict[tuple[str, str, float], float],
) -> dict[str, Any]:
    """All contenders to one target. A batch holds the nominal set, so its search starts where that of one ended."""
    found: dict[str, dict[str, Any]] = {}
    for c in contenders(problem):
        tried = p[:, : min(c.most, 50 if c.name == "CVODES" else p.shape[1], p.shape[1])]
        start = alone.get((problem.name, c.name, target), float(LADDER[0]))
        rtol = _loosest(problem, c, tried, exact[:, : tried.shape[1]], target, start)
        if rtol is None:
            continue
        if p.shape[1] == 1:
            alone[problem.name, c.name, target] = rtol
        timed = p[:, : min(c.most, p.shape[1])]
        answer: list[np.ndarray] = []

        def solve(c: Contender = c, timed: np.ndarray = timed, rtol: float = rtol, answer: Any = answer) -> None:
            answer[:] = [c.solve(problem, timed, rtol)]

        seconds = _best(solve, repeats) * p.shape[1] / timed.shape[1]
        found[c.name] = {
            "seconds": seconds,
            "rtol": rtol,
            "error": problem.error(answer[0], exact[:, : timed.shape[1]]),
            "scaled": timed.shape[1] < p.shape[1],
        }
    times = {k: v["seconds"] for k, v in found.items()}
    ours = min((k for k in times if k.startswith("pollux")), key=times.__getitem__)
    pollux = times[ours]
    peers = {k: v for k, v in times.items() if not k.startswith("pollux")}
    return {
        "problem": problem.name,
        "sets": p.shape[1],
        "target": target,
        "pollux": pollux,
        "method": ours,
        "peers": peers,
        "ratio": min(peers.values()) / pollux,
        "left_out": [c.name for c in contenders(problem) if c.name not in found],
        "contenders": found,
    }


def _loosest(
    problem: Problem, c: Contender, p: np.ndarray, exact: np.ndarray, target: float, start: float
) -> float | None:
    """The loosest tolerance that reaches the target, and with which the next tighter one does too (no lucky hit)."""
    began, reached = time.perf_counter(), None
    for rtol in LADDER[start >= LADDER]:
        good = problem.error((c.search or c.solve)(problem, p, float(rtol)), exact) <= target
        if good and reached is not None:
            return reached
        reached = float(rtol) if good else None
        if time.perf_counter() - began > BUDGET and reached is None:
            return None
    return reached


def _best(fn: Callable[[], None], repeats: int) -> float:
    """Least seconds of one call, after a warm one; short calls are repeated more often."""
    began = time.perf_counter()
    fn()
    once = time.perf_counter() - began
    best = once
    for _ in range(repeats * (20 if once < 0.02 else 1)):
        began = time.perf_counter()
        fn()
        best = min(best, time.perf_counter() - began)
        if best > 2.0:
            break
    return best


def _title(case: dict[str, Any]) -> str:
    return f"{case['problem']} x{case['sets']} to {case['target']:g}"


def _line(case: dict[str, Any]) -> str:
    figures = ", ".join(
        f"{k} {1e3 * v['seconds']:.4g} ms (rtol {v['rtol']:.1e}, error {v['error']:.1e})"
        for k, v in case["contenders"].items()
    )
    return f"{_title(case)}: ratio {case['ratio']:.3g}; {figures}; left out: {case['left_out']}"
