"""Work item `late`: a value that comes two hours late beside one that comes every second, through the whole fold.

Work: a tank whose level comes once a second, and whose flow a slow source tells once in `every` seconds, `lag` seconds
late. Pollux: `Fold.feed` second by second, which settles a tick and brings the present up to date: border and store are
left out. Figures: the time of a second without a late value, of one with, and the steps that a late value makes again.
Peer: the same present without kept estimates, every open tick fused again at every second (what a filter with a buffer
of readings does); both are compared in every bit with the in-order filter (`error` is 0 or the run fails). `batched` is
the rate at which a twin without lag takes the same seconds, in parts of 1,000 rows; all with the default detector.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any, cast

import numpy as np

from pollux.core.time import ManualClock
from pollux.runtime import build
from pollux.runtime.align import Aligner, Cursor
from pollux.runtime.binding import Binding, bind
from pollux.runtime.estimate import advance
from pollux.runtime.fold import Fold
from pollux.runtime.intake import Delivery
from pollux.runtime.lane import Lane
from pollux.runtime.live import LiveTwin
from pollux.runtime.store.writer import StoreWriter
from pollux.runtime.wiring import SourceWiring, read_wiring

DEFAULTS = {"seconds": 9000, "lag": 7200, "every": 300, "peer": 20}
PROJECT = Path(__file__).parent / "_projects" / "tank"
Row = tuple[int, float, float]


class _Nowhere:
    """A journal and a store's writer that keep nothing."""

    async def append(self, events: Any) -> None: ...

    async def do(self, work: Callable[[Any], Any]) -> Any: ...


def run(config: dict[str, Any]) -> dict[str, Any]:
    """Run the item."""
    c = {**DEFAULTS, **{k: int(v) for k, v in config.items() if k in DEFAULTS}}
    wiring = read_wiring(PROJECT).twins[0]
    level, flow = wiring.tags
    wiring = replace(
        wiring, tags=(level, replace(flow, authority="slow", period=float(c["every"]))), jump=1e6,
        sources=(SourceWiring("slow", lag=float(c["lag"])),),
    )  # fmt: skip
    base = build.foundation(wiring, build.blueprint_of(wiring, PROJECT))
    build.warm(base)
    binding = bind(wiring, base.space.y, base.space.u)
    return asyncio.run(_measure(c, base, binding))


async def _measure(c: dict[str, int], base: build.Foundation, binding: Binding) -> dict[str, Any]:
    seconds, lag, every = c["seconds"], c["lag"], c["every"]
    rng = np.random.default_rng(1)
    levels = 1.0 + 0.05 * np.sin(np.arange(seconds) / 300) + 0.01 * rng.standard_normal(seconds)
    flows = 0.01 + 0.001 * rng.standard_normal(seconds // every + 1)
    came: list[Row] = []
    fold = _fold(base, binding)
    plain, late, again = [], [], []
    for k in range(1, seconds):
        rows: list[Row] = [(0, float(k), float(levels[k]))]
        slow = k - lag + 60
        if slow > 0 and slow % every == 0:
            rows.append((1, float(slow), float(flows[slow // every])))
        came += rows
        steps, began = fold.present.steps, time.perf_counter()
        await fold.feed(Delivery(binding.twin, k, tuple(rows)))
        while fold.present.behind:
            fold.present.refresh()
        took = time.perf_counter() - began
        if fold.aligner.open >= 0.9 * lag:
            (late if len(rows) > 1 else plain).append(took)
            again += [fold.present.steps - steps] if len(rows) > 1 else []
    now = fold.lane.live.view.belief
    began = time.perf_counter()
    for _ in range(max(1, c["peer"] // 10)):
        _again(fold)
    naive = (time.perf_counter() - began) / max(1, c["peer"] // 10)
    ordered = _fold(base, binding)
    rows = sorted(came, key=lambda row: (row[1], row[0]))
    for i in range(0, len(rows), 1000):
        await ordered.feed(Delivery(binding.twin, i, tuple(rows[i : i + 1000])))
    while ordered.present.behind:
        ordered.present.refresh()
    same = ordered.lane.live.view.belief
    if now.t != same.t or now.mean.tobytes() != same.mean.tobytes() or now.cov.tobytes() != same.cov.tobytes():
        raise AssertionError(f"the present at {now.t} is not the in-order answer at {same.t}")
    prompt = _fold(base, replace(binding, sources=tuple(replace(s, lag=0.0) for s in binding.sources)))
    began, cpu = time.perf_counter(), time.process_time()
    for i in range(0, len(rows), 1000):
        await prompt.feed(Delivery(binding.twin, i, tuple(rows[i : i + 1000])))
    took, cpu = time.perf_counter() - began, time.process_time() - cpu
    return {
        "item": "late",
        "config": c,
        "pollux": 1e3 * median(plain),
        "peers": {"all open ticks again": 1e3 * naive},
        "ratio": naive / median(plain),
        "unit": "ms a second of data",
        "error": 0.0,
        "late_value_ms": 1e3 * median(late),
        "steps_again": median(again),
        "open_ticks": fold.aligner.open,
        "batched_steps_per_s": seconds / took,
        "batched_steps_per_cpu_s": seconds / cpu,
    }


def _fold(base: build.Foundation, binding: Binding) -> Fold:
    live = LiveTwin(
        base.face, ManualClock(1e6), settings=base.settings, mirror=base.mirror, detector=base.detector,
    )  # fmt: skip
    nowhere = _Nowhere()
    return Fold(base, binding, Lane(live, nowhere), cast(StoreWriter, nowhere), lambda binding, outcome: None)


def _again(fold: Fold) -> None:
    """Every open tick, from the settled estimate on."""
    live = fold.lane.live
    aligner: Aligner = fold.aligner
    cursor: Cursor = aligner.cursor
    now: Any = live.state
    for _, readings in aligner.ahead(cursor):
        now, _ = advance(live.parts, live.sensor_names, now, readings)
