"""Work item `fleet`: 100,000 twins in one process, end to end: columns in, journal durable, history kept, beliefs out.

Each tick brings a level and a flow of every member (200,000 readings), checked, appended to the journal at full
synchronisation and acknowledged, aligned, filtered by one kernel, judged, and kept as history by channel. The time of
a tick runs from the push to the moment that the beliefs of all members have moved. A tick comes every `pace` seconds;
with `pace=0` they come back to back, and now and then one waits for the history to catch up.

The peer does the same work with filterpy and a plain SQLite table, on `sample` twins, scaled up.
"""

import asyncio
import resource
import sqlite3
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import _tanks
from pollux.core.time import ManualClock
from pollux.runtime.connect.memory import MemoryConnector
from pollux.runtime.connect.wire import Columns
from pollux.runtime.engine import Engine
from pollux.runtime.roster import View
from pollux.runtime.wiring import read_wiring

WIRING = """
[project]
name = "fleet"
[connector.plant]
kind = "memory"
[[fleet]]
name = "tanks"
definition = "benchmarks._tanks:Tanks"
members = "members.csv"
period = 4.0
lag = 0.0
mirror = {{ substeps = {substeps} }}
[[fleet.tag]]
tag = "level"
field = "y"
[[fleet.tag]]
tag = "voltage"
field = "u"
"""


def run(config: dict[str, Any]) -> dict[str, Any]:
    """Median, 90 % and longest of `steps` ticks of `twins` twins, and where the time of a tick goes."""
    twins, steps = int(config.get("twins", 100_000)), int(config.get("steps", 80))
    sample, pace = int(config.get("sample", 300)), float(config.get("pace", 0.25))
    p, y, u = _tanks.record(steps, twins)
    before = _resident()
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(_live(Path(folder), p, y, u, pace, before))
    peer = _peer(p[:, :sample], y[:8, :sample], u[:8]) * twins / sample
    took = found.pop("took")[4:]  # the first ticks compile and fill the caches
    figure = float(np.median(took))
    return {
        "item": "fleet",
        "config": {"twins": twins, "steps": steps, "readings": 2 * twins, "pace": pace, "dtype": "float64"},
        "pollux": figure,
        "peers": {"filterpy and sqlite3, scaled": peer},
        "ratio": peer / figure,
        "unit": "ms a tick, end to end",
        "p90": float(np.quantile(took, 0.9)),
        "longest": float(np.max(took)),
        **found,
    }


async def _live(
    folder: Path, p: np.ndarray, y: np.ndarray, u: np.ndarray, pace: float, before: float
) -> dict[str, Any]:
    steps, twins = y.shape
    (folder / "pollux.toml").write_text(WIRING.format(substeps=_tanks.SUBSTEPS))
    lines = (f"t{i},{','.join(map(repr, row))}" for i, row in enumerate(p.T.tolist()))
    (folder / "members.csv").write_text("name,k1,k2,k3,k4\n" + "\n".join(lines) + "\n")
    begin = time.perf_counter()
    engine, field = Engine(read_wiring(folder), folder / "state", ManualClock(1e9)), MemoryConnector("plant")
    task = asyncio.create_task(engine.run(lambda wired, after: field))
    await asyncio.wait([task, asyncio.create_task(engine.live.wait())], return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        await task
    started = time.perf_counter() - begin
    took: list[float] = []
    durable: list[float] = []
    for k in range(steps):
        columns = Columns(
            "plant", "tanks", _tanks.DT * k, 0, ("level", "voltage"), np.array([y[k], np.full(twins, u[k])])
        )  # fmt: skip
        begin = time.perf_counter()
        await field.push([columns])
        durable.append(1e3 * (time.perf_counter() - begin))
        await engine.settled()
        took.append(1e3 * (time.perf_counter() - begin))
        await asyncio.sleep(max(0.0, begin + pace - time.perf_counter()))
    fold = engine.fleets["tanks"].fold
    belief = fold.belief
    assert belief is not None
    error = _error(p, y, u, belief)
    kernel = _kernel(fold, y[-1])
    begin = time.perf_counter()
    page = engine.roster.page(View(), 0, 50)
    table = 1e3 * (time.perf_counter() - begin)
    writer = engine._writer
    assert writer is not None
    begin = time.perf_counter()
    _, value = await asyncio.to_thread(writer.store.history, "t77", "level", 0.0, np.inf)
    history = 1e3 * (time.perf_counter() - begin)
    if not np.array_equal(value, y[:, 77]):
        raise AssertionError("the history of a member is not what was sent")
    begin = time.perf_counter()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return {
        "took": took,
        "error": error,
        "durable_ms": float(np.median(durable[4:])),
        "kernel_ms": kernel,
        "table_of_all_ms": table,
        "history_of_one_ms": history,
        "readings_a_second": 2 * twins / (float(np.median(took[4:])) * 1e-3),
        "first_start_s": started,
        "stop_s": time.perf_counter() - begin,
        "memory_a_twin_bytes": (_resident() - before) / twins,
        "counts": page["counts"],
    }


def _error(p: np.ndarray, y: np.ndarray, u: np.ndarray, belief: Any) -> float:
    """Largest difference of some members from the same filter run alone."""
    from pollux import build_fleet

    some = [0, 1, 77, p.shape[1] - 1]
    alone = build_fleet(_tanks.Tanks(), len(some), substeps=_tanks.SUBSTEPS)
    b = alone.start(0.0, p[:, some])
    for k in range(len(y)):
        b = alone.update(b, _tanks.DT * k, y[k : k + 1, some], np.full((1, len(some)), u[k]))
    return float(np.abs(b.mean - belief.mean[:, some]).max())


def _kernel(fold: Any, y: np.ndarray) -> float:
    """Median time of the update of all members alone."""
    fleet, belief, spare, took = fold.fleet, fold.belief, None, []
    inputs = belief.inputs.copy()
    for _ in range(12):
        begin = time.perf_counter()
        after = fleet.update(belief, belief.t.max() + _tanks.DT, y[None], inputs, into=spare)
        took.append(1e3 * (time.perf_counter() - begin))
        belief, spare = after, (belief if belief is not fold.belief else None)
    return float(np.median(took[3:]))


def _peer(p: np.ndarray, y: np.ndarray, u: np.ndarray) -> float:
    """One tick in ms: every reading into a plain table at full synchronisation, every twin through filterpy."""
    steps, twins = y.shape
    with tempfile.TemporaryDirectory() as folder:
        db = sqlite3.connect(f"{folder}/plain.db")
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute("CREATE TABLE reading(t REAL, tag INTEGER, value REAL)")
        begin = time.perf_counter()
        for k in range(steps):
            rows = [(4.0 * k, i, v) for i, v in enumerate([*y[k].tolist(), *([u[k]] * twins)])]
            with db:
                db.executemany("INSERT INTO reading VALUES(?,?,?)", rows)
        stored = time.perf_counter() - begin
        db.close()
    few = min(twins, 40)
    begin = time.perf_counter()
    for i in range(few):
        _tanks.filterpy_ekf(p[:, i], y[:, i], u)
    filtered = (time.perf_counter() - begin) * twins / few
    return 1e3 * (stored + filtered) / steps


def _resident() -> float:
    """Peak resident memory of this process, bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0
