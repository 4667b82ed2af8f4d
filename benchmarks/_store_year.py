"""Part of `ingest`: a year of one channel as a chart of 2000 points, and dropping eleven months of it.

A chart has, of each of 1000 spans, the smallest and the largest reading. Peer: an SQLite table with the index (tag, t),
and the same spans by `GROUP BY`. `error` is the largest difference between the two, and to NumPy over all readings.
"""

import sqlite3
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from pollux.runtime.store.base import Rows, Snapshot
from pollux.runtime.store.chunks import LEVELS
from pollux.runtime.store.retain import Retention
from pollux.runtime.store.sqlite import SqliteStore
from pollux.runtime.store.thin import thin_to, width_of

START = 1.7e9
DAY = 86_400.0
BATCH = 20_000
REPEATS = 10


def measure(folder: Path, period: float, points: int, peer: bool) -> dict[str, Any]:
    """Milliseconds of the chart, readings dropped a second, and the longest step of dropping."""
    t = START + period * np.arange(int(365 * DAY / period))
    value = np.random.default_rng(1).standard_normal(len(t)).cumsum()
    path = folder / f"year{period:g}.db"
    store = SqliteStore(path)
    tag = store.tag_ids("twin", ["x"])
    began = time.perf_counter()
    for at in range(0, len(t), BATCH):
        part = slice(at, at + BATCH)
        with store.transaction():
            store.append(Rows(t[part], np.repeat(tag, len(t[part])), value[part]), float(t[part][-1]))
        while store.maintain():
            pass
    filled = len(t) / (time.perf_counter() - began)
    ms, chart = [], (t, value)
    for _ in range(REPEATS):
        began = time.perf_counter()
        chart = store.chart("twin", "x", float(t[0]), float(t[-1]), points)
        ms.append(1e3 * (time.perf_counter() - began))
    width = width_of(float(t[0]), float(t[-1]), points, LEVELS)
    error = _difference(chart, thin_to(t, value, width))
    with store.transaction():
        for _ in range(2):
            store.save_snapshot(Snapshot("twin", store.next_seq, float(t[-1]), "model", b"state"))
    store.close()
    found = {
        "readings": len(t),
        "points": len(chart[0]),
        "chart_ms": round(median(ms), 2),
        "chart_worst_ms": round(max(ms), 2),
        "readings_per_s_while_filling": round(filled),
        "retention": _retain(path, float(t[-1])),
        "error": error,
    }
    return {**found, "sqlite_group_by": _peer(folder, t, value, width.seconds, chart)} if peer else found


def _retain(path: Path, now: float) -> dict[str, float]:
    """Keep the newest 30 days of all readings."""
    store = SqliteStore(path, retention=Retention(30 * DAY))
    before, steps, more = store.next_seq, [], True
    while more:
        began = time.perf_counter()
        more = store.retain(now, ["twin"])
        steps.append(time.perf_counter() - began)
    dropped = store.first_seq
    store.close()
    return {
        "dropped": dropped,
        "kept": before - dropped,
        "dropped_per_s": round(dropped / sum(steps)),
        "step_worst_ms": round(1e3 * max(steps), 1),
    }


def _peer(
    folder: Path, t: np.ndarray, value: np.ndarray, width: float, chart: tuple[np.ndarray, np.ndarray]
) -> dict[str, Any]:
    connection = sqlite3.connect(folder / "year_peer.db", isolation_level=None)
    connection.execute("CREATE TABLE reading(t REAL, tag INTEGER, value REAL)")
    connection.execute("CREATE INDEX by_tag ON reading(tag, t)")
    connection.execute("BEGIN")
    connection.executemany("INSERT INTO reading VALUES(?,1,?)", zip(t.tolist(), value.tolist(), strict=True))
    connection.execute("COMMIT")
    ms, rows = [], []
    for _ in range(3):
        began = time.perf_counter()
        rows = connection.execute(
            "SELECT min(value), max(value) FROM reading WHERE tag=1 AND t>=? AND t<=? GROUP BY CAST(t / ? AS INTEGER)",
            (float(t[0]), float(t[-1]), width),
        ).fetchall()
        ms.append(1e3 * (time.perf_counter() - began))
    connection.close()
    bucket = (chart[0] // width).astype(np.int64)
    starts = np.flatnonzero(np.r_[True, bucket[1:] != bucket[:-1]])
    low, high = np.minimum.reduceat(chart[1], starts), np.maximum.reduceat(chart[1], starts)
    return {"chart_ms": round(median(ms), 2), "error": _difference((low, high), tuple(np.array(rows).T))}


def _difference(a: tuple[np.ndarray, ...], b: tuple[np.ndarray, ...]) -> float:
    if len(a[0]) != len(b[0]):
        return float("inf")
    return float(max(np.abs(x - y).max(initial=0.0) for x, y in zip(a, b, strict=True)))
