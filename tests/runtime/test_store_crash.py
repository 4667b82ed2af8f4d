"""`kill -9` at random instants, and single flipped bits. POLLUX_KILLS and POLLUX_FLIPS make the runs longer."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from pollux.core.errors import StoreError
from pollux.runtime.store import compact
from pollux.runtime.store.base import Refused, Rows, Snapshot, Track
from pollux.runtime.store.layout import join
from pollux.runtime.store.sqlite import SqliteStore

KILLS = int(os.environ.get("POLLUX_KILLS", "8"))
FLIPS = int(os.environ.get("POLLUX_FLIPS", "150"))


def test_kill_9_loses_and_doubles_nothing_that_was_acknowledged(place, open_store):
    rng = np.random.default_rng(9)
    acknowledged: dict[int, int] = {}
    started = 0
    for _ in range(KILLS):
        child = subprocess.Popen(
            [sys.executable, str(Path(__file__).parent / "crash_writer.py"), place, str(started)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        time.sleep(rng.uniform(0.0, 0.4))
        child.kill()
        for line in child.stdout.read().split("\n")[:-1]:
            b, first = map(int, line.split())
            acknowledged[b] = first
        child.stdout.close()
        child.wait()
        started = max([*acknowledged, started]) + 1000
        store = open_store()
        journal = join([block.rows for block in store.blocks()])
        for b, first in acknowledged.items():
            n = 1 + b % 50
            assert np.all(journal.value[first : first + n] == b)
            assert np.array_equal(journal.t[first : first + n], b + np.arange(n) / 1000)
        written, counts = np.unique(journal.value, return_counts=True)
        assert np.array_equal(counts, 1 + written.astype(int) % 50)  # whole batches, each once
        t, value = store.history("twin", "x", -np.inf, np.inf)
        order = np.argsort(journal.t, kind="stable")
        assert np.array_equal(t, journal.t[order])
        assert np.array_equal(value, journal.value[order])
        snapshot = store.load_snapshot("twin", "m")
        if snapshot is not None:
            assert snapshot.data == b"%d" % snapshot.t
        store.close()
    assert len(acknowledged) > KILLS


@pytest.fixture(scope="module")
def healthy(tmp_path_factory):
    """The bytes of a store with something in every table."""
    path = tmp_path_factory.mktemp("flip") / "store.db"
    store = SqliteStore(path)
    ids = store.tag_ids("a", ["x", "y", "z"])
    rng = np.random.default_rng(0)
    before, compact.TAIL_ROWS = compact.TAIL_ROWS, 500
    for k in range(30):
        with store.transaction():
            n = 60
            store.append(
                Rows(60.0 * k + np.arange(n), np.resize(ids, n).astype(np.uint32), rng.standard_normal(n)), 1.0
            )
            store.add_event(float(k), "a", "alarm", {"k": k})
            store.refuse([Refused(1.0, "s", "t", "late", f"{k}", b"payload")])
            store.add_track("a", Track(np.array([float(k)]), rng.standard_normal((1, 4)), np.ones((1, 4))))
            store.save_snapshot(Snapshot("a", store.next_seq, float(k), "m", rng.bytes(500)))
        store.maintain()
    compact.TAIL_ROWS = before
    store.close()
    return path.read_bytes()


def everything(path):
    """All that can be read, as bytes; the snapshots apart."""
    store = SqliteStore(path)
    try:
        journal = join([block.rows for block in store.blocks()])
        parts = [journal.t.tobytes(), journal.tag.tobytes(), journal.value.tobytes()]
        for tag in ("x", "y", "z"):
            parts += [a.tobytes() for a in store.history("a", tag, -np.inf, np.inf)]
            parts.append(repr(store.last_time("a", tag)).encode())
            parts += [a.tobytes() for a in store.chart("a", tag, -np.inf, np.inf, 8)]
        track = store.track("a", -np.inf, np.inf)
        parts += [track.t.tobytes(), track.mean.tobytes(), track.sd.tobytes()]
        parts += [repr(store.events()).encode(), repr(store.refused()).encode()]
        return parts, store.load_snapshot("a", "m")
    finally:
        store.close()


def test_a_flipped_bit_is_detected_and_never_used(healthy, tmp_path):
    path = tmp_path / "flipped.db"
    path.write_bytes(healthy)
    expected, snapshot = everything(path)
    intact = {snapshot, None}
    rng = np.random.default_rng(4)
    detected = 0
    for _ in range(FLIPS):
        bit = int(rng.integers(8 * len(healthy)))
        data = bytearray(healthy)
        data[bit // 8] ^= 1 << bit % 8
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        path.write_bytes(data)
        try:
            found, state = everything(path)
        except StoreError:
            detected += 1
            continue
        assert found == expected, f"bit {bit} changed what is read"
        assert state in intact or (state is not None and state.seq < snapshot.seq)
    assert detected > FLIPS // 10  # the rest fell on unused bytes


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    """A store as a killed process leaves it: (database, log, rows after each commit), 12 commits in the log."""
    path = tmp_path_factory.mktemp("wal") / "store.db"
    store = SqliteStore(path)
    ids = store.tag_ids("a", ["x"])
    for k in range(12):
        with store.transaction():
            n = 40
            store.append(Rows(100.0 * k + np.arange(n), np.resize(ids, n).astype(np.uint32), np.full(n, float(k))), 1.0)
    left = path.read_bytes(), path.with_name("store.db-wal").read_bytes()
    store.close()
    return left


def test_a_flipped_bit_in_the_log_hides_nothing_but_perhaps_the_last_commit(interrupted, tmp_path):
    database, log = interrupted
    rng = np.random.default_rng(5)
    outcomes = {"whole": 0, "last commit torn": 0, "damage said": 0}
    for k in range(FLIPS):
        folder = tmp_path / str(k)
        folder.mkdir()
        bit = int(rng.integers(8 * len(log)))
        data = bytearray(log)
        data[bit // 8] ^= 1 << bit % 8
        (folder / "store.db").write_bytes(database)
        (folder / "store.db-wal").write_bytes(data)
        try:
            store = SqliteStore(folder / "store.db")
        except StoreError:
            outcomes["damage said"] += 1
            continue
        value = np.concatenate([block.rows.value for block in store.blocks()])
        store.close()
        assert np.array_equal(value, np.repeat(np.arange(len(value) / 40), 40))
        assert len(value) >= 11 * 40, f"bit {bit} hides acknowledged rows"
        outcomes["whole" if len(value) == 12 * 40 else "last commit torn"] += 1
    assert outcomes["damage said"] > FLIPS // 4, outcomes
    assert outcomes["last commit torn"] < FLIPS // 4, outcomes
