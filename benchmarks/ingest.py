"""`ingest`: durable append of readings, then the last hour of one channel.

Work: `rows` readings of `channels` channels at 1 Hz, `batch` readings an append, each append acknowledged when it is
on the disk. Pollux: `StoreWriter.append` with `in_flight` appends at a time (as connectors do; they share commits) and,
for comparison, one at a time. Peer: SQLite through the standard library, WAL and synchronous=FULL as in Pollux, one
transaction an append, `executemany` into a plain table; and the same with the index (tag, t) that a query needs.
Both get their input in their own form before the clock starts. Rounds alternate; the median counts. The answers of the
query must be equal in every bit: `error` is the largest difference.

`fleet` is a tick of `fleet` channels as one block (see `_store_wide`), `hour` the last hour of one of `hour` channels
at 1 Hz, `year` a chart of one channel, a reading each `year_period` s, and what dropping most of it costs, `year_tenth`
the same with a tenth of the readings, beside its peer (see `_store_year`).
"""

import asyncio
import gc
import sqlite3
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks import _store_wide, _store_year
from pollux.runtime.clock import SystemClock
from pollux.runtime.store.base import Rows
from pollux.runtime.store.sqlite import SqliteStore
from pollux.runtime.store.writer import StoreWriter

DEFAULTS = {
    "rows": 1_000_000, "channels": 100, "batch": 1000, "in_flight": 32, "rounds": 3, "indexed_rows": 300_000,
    "fleet": 100_000, "fleet_ticks": 200, "hour": 10_000, "hour_ticks": 3700, "peer_ticks": 10,
    "year_period": 1, "year_points": 2000,
}  # fmt: skip
START = 1.7e9
HOUR = 3600.0
Answer = tuple[np.ndarray, np.ndarray]


def run(config: dict[str, Any]) -> dict[str, Any]:
    """Run Pollux and the peers on the same readings."""
    c = {**DEFAULTS, **{k: int(v) for k, v in config.items() if k in DEFAULTS}}
    rates: dict[str, list[float]] = {}
    queries: dict[str, list[float]] = {}
    answers: dict[str, list[Answer]] = {}
    contenders: dict[str, Callable[[Path, dict[str, int]], tuple[float, list[float], list[Answer]]]] = {
        "pollux": lambda folder, c: asyncio.run(_pollux(folder, c, c["in_flight"])),
        "pollux_one_at_a_time": lambda folder, c: asyncio.run(_pollux(folder, c, 1)),
        "sqlite_plain_table": lambda folder, c: _sqlite(folder, c, index=False),
        "sqlite_with_index": lambda folder, c: _sqlite(folder, {**c, "rows": c["indexed_rows"]}, index=True),
    }
    for _ in range(c["rounds"]):
        for name, contender in contenders.items():
            gc.collect()
            with tempfile.TemporaryDirectory() as folder:
                rate, ms, found = contender(Path(folder), c)
            rates.setdefault(name, []).append(rate)
            queries.setdefault(name, []).extend(ms)
            answers[name] = found
    reference = answers["sqlite_plain_table"]
    error = max(_difference(a, b) for name in ("pollux", "pollux_one_at_a_time") for a, b in zip(
        answers[name], reference, strict=True))  # fmt: skip
    figure = {name: median(values) for name, values in rates.items()}
    query = {name: round(median(values), 3) for name, values in queries.items()}
    return {
        "item": "ingest",
        "config": c,
        "pollux": round(figure["pollux"]),
        "peers": {name: round(figure[name]) for name in ("sqlite_plain_table", "sqlite_with_index")},
        "ratio": round(figure["pollux"] / figure["sqlite_plain_table"], 2),
        "ratio_with_index": round(figure["pollux"] / figure["sqlite_with_index"], 2),
        "unit": "durable readings/s",
        "error": error,
        "one_at_a_time": round(figure["pollux_one_at_a_time"]),
        "query_last_hour_ms": {**query, "pollux_worst": round(max(queries["pollux"]), 3)},
        "fleet": _apart(lambda f: _store_wide.measure(f, c["fleet"], c["fleet_ticks"], c["peer_ticks"])),
        "hour": _apart(lambda f: _store_wide.measure(f, c["hour"], c["hour_ticks"], c["peer_ticks"])),
        "year": _apart(lambda f: _store_year.measure(f, c["year_period"], c["year_points"], peer=False)),
        "year_tenth": _apart(lambda f: _store_year.measure(f, 10.0 * c["year_period"], c["year_points"], peer=True)),
    }


def _apart(measure: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    """In a folder of its own that is gone afterwards."""
    gc.collect()
    with tempfile.TemporaryDirectory() as folder:
        return measure(Path(folder))


def _columns(c: dict[str, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(t, channel, value) of all readings: every channel once a second, values of a random walk."""
    i = np.arange(c["rows"])
    value = np.random.default_rng(1).standard_normal(c["rows"]).cumsum()
    return START + (i // c["channels"]), i % c["channels"], value


async def _pollux(folder: Path, c: dict[str, int], in_flight: int) -> tuple[float, list[float], list[Answer]]:
    store = SqliteStore(folder / "store.db")
    names = [f"c{k}" for k in range(c["channels"])]
    ids = store.tag_ids("twin", names)
    t, channel, value = _columns(c)
    tag, n = ids[channel], c["batch"]
    batches = [Rows(t[k : k + n], tag[k : k + n], value[k : k + n]) for k in range(0, c["rows"], n)]
    writer = StoreWriter(store, SystemClock())
    waiting = iter(batches)

    async def client() -> None:
        for rows in waiting:
            await writer.append(rows)

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(in_flight)))
    rate = c["rows"] / (time.perf_counter() - began)
    ms, answers, end = [], [], float(t[-1])
    for name in names[:20]:
        began = time.perf_counter()
        answers.append(store.history("twin", name, end - HOUR, end))
        ms.append(1e3 * (time.perf_counter() - began))
    await writer.close()
    return rate, ms, answers


def _sqlite(folder: Path, c: dict[str, int], *, index: bool) -> tuple[float, list[float], list[Answer]]:
    connection = sqlite3.connect(folder / "peer.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE reading(t REAL, tag INTEGER, value REAL)")
    if index:
        connection.execute("CREATE INDEX by_tag ON reading(tag, t)")
    t, channel, value = _columns(c)
    rows, n = list(zip(t.tolist(), channel.tolist(), value.tolist(), strict=True)), c["batch"]
    batches = [rows[k : k + n] for k in range(0, len(rows), n)]
    began = time.perf_counter()
    for batch in batches:
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO reading VALUES(?,?,?)", batch)
        connection.execute("COMMIT")
    rate = len(rows) / (time.perf_counter() - began)
    ms, answers, end = [], [], float(t[-1])
    for k in range(min(20, c["channels"])):
        began = time.perf_counter()
        found = connection.execute(
            "SELECT t, value FROM reading WHERE tag=? AND t>=? AND t<=? ORDER BY t", (k, end - HOUR, end)
        ).fetchall()
        ms.append(1e3 * (time.perf_counter() - began))
        answers.append((np.array([r[0] for r in found]), np.array([r[1] for r in found])))
    connection.close()
    return rate, ms, answers


def _difference(a: Answer, b: Answer) -> float:
    if len(a[0]) != len(b[0]):
        return float("inf")
    return float(max(np.abs(a[0] - b[0]).max(initial=0.0), np.abs(a[1] - b[1]).max(initial=0.0)))
