"""Part of `ingest`: a fleet's ticks, one row of every channel a tick, and the last hour of one channel among many.

Each tick is one block, durable when the append returns; between two ticks the store turns its tail into chunks, a step
at a time until it says that nothing is left, as its writer's thread does while it is idle. Peer: an SQLite table with
the index (tag, t) that the query needs, one transaction a tick, fewer ticks. Both must answer the same, bit for bit.
"""

import sqlite3
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from pollux.runtime.store.base import Rows
from pollux.runtime.store.sqlite import SqliteStore

START = 1.7e9
QUERIES = 20


def measure(folder: Path, channels: int, ticks: int, peer_ticks: int) -> dict[str, Any]:
    """Milliseconds of an append, of a step, and of a query of the newest 3600 s."""
    store = SqliteStore(folder / f"wide{channels}.db")
    ids = store.tag_ids("fleet", [f"c{k}" for k in range(channels)])
    asked = np.linspace(0, channels - 1, QUERIES).astype(int)
    append, step, kept = [], [], []
    for k in range(ticks):
        values = _values(channels, k)
        kept.append(values[asked])
        rows = Rows(np.full(channels, START + k), ids, values)
        began = time.perf_counter()
        with store.transaction():
            store.append(rows, START + k)
        append.append(1e3 * (time.perf_counter() - began))
        more = True
        while more:
            began = time.perf_counter()
            more = store.maintain()
            took = 1e3 * (time.perf_counter() - began)
            if more or took > 1.0:
                step.append(took)
    end, query, error = START + ticks - 1, [], 0.0
    for i, k in enumerate(asked):
        began = time.perf_counter()
        t, value = store.history("fleet", f"c{k}", end - 3600.0, end)
        query.append(1e3 * (time.perf_counter() - began))
        expected = np.array([v[i] for v in kept])[-len(t) :]
        same = len(t) == min(ticks, 3601) and np.array_equal(value, expected)
        error = max(error, 0.0 if same else float("inf"))
    store.close()
    size = (folder / f"wide{channels}.db").stat().st_size
    peer = _peer(folder, channels, peer_ticks)
    return {
        "channels": channels,
        "ticks": ticks,
        "append_ms": _spread(append),
        "rows_per_s": round(channels * ticks / (sum(append) + sum(step)) * 1e3),
        "step_ms": _spread(step),
        "steps_ms_a_tick": round(sum(step) / ticks, 2),
        "last_hour_ms": _spread(query),
        "bytes_a_row": round(size / (channels * ticks), 1),
        "error": error,
        "sqlite_with_index": {"ticks": peer_ticks, **peer},
    }


def _values(channels: int, k: int) -> np.ndarray:
    return np.random.default_rng(k).standard_normal(channels)


def _spread(ms: list[float]) -> dict[str, float]:
    if not ms:
        return {}
    return {"median": round(median(ms), 2), "p99": round(float(np.percentile(ms, 99)), 2), "worst": round(max(ms), 2)}


def _peer(folder: Path, channels: int, ticks: int) -> dict[str, Any]:
    connection = sqlite3.connect(folder / f"peer{channels}.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE reading(t REAL, tag INTEGER, value REAL)")
    connection.execute("CREATE INDEX by_tag ON reading(tag, t)")
    append, query = [], []
    for k in range(ticks):
        rows = [(START + k, c, v) for c, v in enumerate(_values(channels, k).tolist())]
        began = time.perf_counter()
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO reading VALUES(?,?,?)", rows)
        connection.execute("COMMIT")
        append.append(1e3 * (time.perf_counter() - began))
    for c in np.linspace(0, channels - 1, QUERIES).astype(int).tolist():
        began = time.perf_counter()
        connection.execute("SELECT t, value FROM reading WHERE tag=? ORDER BY t", (c,)).fetchall()
        query.append(1e3 * (time.perf_counter() - began))
    connection.close()
    return {"append_ms": _spread(append), "all_ticks_of_one_channel_ms": _spread(query)}
