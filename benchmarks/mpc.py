"""Work item `mpc`: the quadruple tank under nonlinear MPC, against do-mpc, IPOPT and FATROP (both through CasADi)."""

import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from benchmarks import _quadruple as q
from pollux import MpcOptions, build_mpc
from pollux.intervene.mpc import Mpc
from pollux.intervene.mpc_options import Outcome, Plan
from pollux.model.native import Lowered


def run(config: dict[str, Any]) -> dict[str, Any]:
    """Close the loop on the same plant with the same gauge noise for each contender; `seeds` may be set.

    The figure is the median time of one solve in ms, host arrays in and out, over all ticks and seeds after one run to
    warm up; the runs of the contenders alternate. `closed_loop_cost` is the sum over 120 ticks of
    (h1 - r1)^2 + (h2 - r2)^2 + 0.1 dv^2 on the plant; all contenders must agree on it within 0.1 %. `error` is the
    largest relative difference in cost to a contender. `kkt` is the largest scaled residual over all solves. `kernel`
    is the compiled program alone: median time in us of one call on bound arrays, iterations, size and time to compile.
    The peers evaluate the model in CasADi's virtual machine, as they do by default.
    """
    seeds = [int(s) for s in config.get("seeds", [0, 1, 2])]
    mpc, plans = _mpc(), list[Plan]()
    contenders = {
        "pollux": _pollux(mpc, plans),
        "do-mpc": q.do_mpc_controller(),
        "ipopt": q.ipopt_controller(),
        "fatrop": q.fatrop_controller(),
    }
    runs: dict[str, list[q.Run]] = {name: [] for name in contenders}
    for name, fresh in contenders.items():
        runs[name].append(q.close_the_loop(fresh(), seeds[0]))  # warms up; compiles
    plans.clear()
    for name in contenders:
        runs[name].clear()
    for seed in seeds:
        for name, fresh in contenders.items():
            runs[name].append(q.close_the_loop(fresh(), seed))
    median = {n: 1e3 * float(np.median(np.concatenate([r.seconds for r in rs]))) for n, rs in runs.items()}
    slow = {n: 1e3 * float(np.quantile(np.concatenate([r.seconds for r in rs]), 0.99)) for n, rs in runs.items()}
    cost = {n: [r.cost for r in rs] for n, rs in runs.items()}
    peers = [n for n in contenders if n != "pollux"]
    apart = {n: float(np.max(np.abs(np.array(cost[n]) / cost["pollux"] - 1))) for n in peers}
    error = max(apart.values())
    if not error < 1e-3:
        raise AssertionError(f"closed-loop costs differ by {error:.2%}: {cost}; a speed is not reported")
    return {
        "item": "mpc",
        "config": {
            "plant": "quadruple tank, minimum phase, outlets 3 % smaller", "step_s": q.STEP, "horizon": q.HORIZON,
            "ticks": q.TICKS, "substeps": q.SUBSTEPS, "seeds": seeds, "dtype": "float64",
        },
        "pollux": median["pollux"],
        "peers": {n: median[n] for n in peers},
        "ratio": median["do-mpc"] / median["pollux"],
        "unit": "ms/solve (median)",
        "error": error,
        "p99_ms": slow,
        "closed_loop_cost": {n: [round(c, 4) for c in v] for n, v in cost.items()},
        "limit_penalty": {n: [round(r.penalty, 3) for r in rs] for n, rs in runs.items()},
        "volts_apart": {
            n: float(max(np.abs(a.volts - b.volts).max() for a, b in zip(runs[n], runs["pollux"], strict=True)))
            for n in peers
        },
        "kkt": max(plan.kkt for plan in plans),
        "optimal": sum(plan.outcome is Outcome.OPTIMAL for plan in plans) / len(plans),
        "kernel": _kernel(mpc, plans),
    }  # fmt: skip


def _mpc() -> Mpc:
    levels = ("h1", "h2", "h3", "h4")
    options = MpcOptions(
        steps=q.HORIZON, step=q.STEP, substeps=q.SUBSTEPS, references={"h1": 1.0, "h2": 1.0}, rate=q.RATE,
        limit=q.SOFT, bounds=levels,
    )  # fmt: skip
    return build_mpc(q.Quadruple(), options)


def _pollux(mpc: Mpc, plans: list[Plan]) -> Callable[[], q.Controller]:
    def fresh() -> q.Controller:
        warm: list[np.ndarray | None] = [None]

        def controller(k: int, y: np.ndarray, before: np.ndarray) -> np.ndarray:
            r1, r2 = q.set_points(k)
            plan = mpc.solve(q.STEP * k, y, before, warm=warm[0], references={"h1": r1, "h2": r2})
            warm[0] = plan.shifted()
            plans.append(plan)
            return plan.inputs[0]

        return controller

    return fresh


def _kernel(mpc: Mpc, plans: list[Plan]) -> dict[str, Any]:
    kernel = mpc.kernel
    about: dict[str, Any] = {"iterations": {n: sum(p.iterations == n for p in plans) for n in range(5)}}
    if not isinstance(kernel, Lowered) or kernel.reason is not None:
        return about | {"backend": "xla"}
    report = kernel.reports[0]
    seconds, flat = [], mpc.packing.template
    bound = kernel.bind(flat)
    for before, plan in pairwise(plans[: q.TICKS]):
        flat = flat.copy()
        for name, value in (("x", plan.states[0]), ("before", before.inputs[0]), ("start", before.shifted())):
            mpc.packing.put(flat, name, value)
        mpc.packing.view(flat, "reference")[:] = q.set_points(round(plan.t / q.STEP))
        bound.inputs[0][:] = flat
        begun = time.perf_counter()
        bound()
        seconds.append(time.perf_counter() - begun)
    return about | {
        "backend": "native", "us": 1e6 * float(np.median(seconds)), "operations": report.operations,
        "code_bytes": report.code_bytes, "compile_s": report.lower_s + report.compile_s + report.link_s,
        "cached": report.cached,
    }  # fmt: skip
