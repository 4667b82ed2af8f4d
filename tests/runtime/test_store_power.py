"""Power cuts: lost, reordered and torn writes at random instants. POLLUX_CUTS makes the run longer."""

import importlib.util
import os
import sys
from pathlib import Path

import apsw
import numpy as np
import pytest

from pollux.core.errors import StoreError
from pollux.runtime.store import compact, schema
from pollux.runtime.store.base import Rows, Snapshot
from pollux.runtime.store.layout import join
from pollux.runtime.store.retain import Retention
from pollux.runtime.store.sqlite import SqliteStore
from pollux.runtime.store.tables import FOR_EVER

spec = importlib.util.spec_from_file_location("power", Path(__file__).parent / "power.py")
assert spec is not None
assert spec.loader is not None
power = importlib.util.module_from_spec(spec)
sys.modules["power"] = power
spec.loader.exec_module(power)

CUTS = int(os.environ.get("POLLUX_CUTS", "40"))


TAGS = [f"x{k}" for k in range(8)]


def batch(b, tags):
    n = 1 + 7 * b % 60
    return Rows(b + np.arange(n) / 100, np.resize(tags, n), np.full(n, float(b)))


KEEP = 20
"""Batches, one a second of event time, that a store with retention keeps."""


def work(path, vfs, retention):
    """Append until the power goes; the batches that were acknowledged."""
    acknowledged = []
    store = None
    try:
        store = SqliteStore(path, vfs=vfs, retention=retention)
        tags = store.tag_ids("a", TAGS)
        for b in range(10_000):
            with store.transaction():
                store.append(batch(b, tags), 0.0)
                if b % 5 == 0:
                    store.save_snapshot(Snapshot("a", store.next_seq, float(b), "m", b"%d" % store.next_seq))
            acknowledged.append(b)
            store.maintain()
            store.retain(1000.0 * b, ["a"])
    except (power.PowerCut, StoreError, apsw.Error):
        pass
    finally:
        if store is not None:
            store.close()
    return acknowledged


def check(folder, acknowledged):
    """Everything acknowledged is there, at most one batch more, nothing damaged."""
    store = SqliteStore(folder / "store.db")
    journal = join([block.rows for block in store.blocks()])
    tags = store.tag_ids("a", TAGS)
    found = list(dict.fromkeys(journal.value.astype(int).tolist()))
    assert found[: len(acknowledged)] == acknowledged
    assert len(found) <= len(acknowledged) + 1
    expected = join([batch(b, tags) for b in found])
    assert journal.t.tobytes() == expected.t.tobytes()
    for name, tag in zip(TAGS, tags, strict=True):
        t, value = store.history("a", name, -np.inf, np.inf)
        assert np.array_equal(t, journal.t[journal.tag == tag])
        assert np.array_equal(value, journal.value[journal.tag == tag])
    assert store.verify() == len(journal)
    snapshot = store.load_snapshot("a", "m")
    if acknowledged:
        assert snapshot is not None
        assert snapshot.data == b"%d" % snapshot.seq
    store.close()


def check_kept(folder, acknowledged):
    """What is dropped is old and not needed; of the rest nothing is missing."""
    store = SqliteStore(folder / "store.db")
    journal = join(
        [Rows(np.empty(0), np.empty(0, np.uint32), np.empty(0))] + [b.rows for b in store.blocks(store.first_seq)]
    )
    assert store.verify() == len(journal)
    tags = store.tag_ids("a", TAGS)
    found = list(dict.fromkeys(journal.value.astype(int).tolist()))
    if acknowledged:
        last = acknowledged[-1]
        assert found[0] <= last
        assert found == list(range(found[0], found[-1] + 1))
        assert found[-1] in (last, last + 1)
        snapshot = store.load_snapshot("a", "m")
        assert snapshot is not None
        assert sum(len(b.rows) for b in store.blocks(snapshot.seq)) == store.next_seq - snapshot.seq
        since = max(last + 1 - KEEP, 0)
        expected = join([batch(b, tags) for b in range(since, found[-1] + 1)])
        for name, tag in zip(TAGS, tags, strict=True):
            t, value = store.history("a", name, since, np.inf)
            assert np.array_equal(t, expected.t[expected.tag == tag])
            assert np.array_equal(value, expected.value[expected.tag == tag])
    first = store.first_seq
    store.close()
    return first


def run(tmp_path, monkeypatch, cuts, check=check, retention=FOR_EVER):
    monkeypatch.setattr(compact, "TAIL_ROWS", 300)
    monkeypatch.setattr(compact, "PER_CHANNEL", 8)
    monkeypatch.setattr(compact, "STEP_ROWS", 100)  # so that cuts fall between the steps of one tail too
    rng = np.random.default_rng(11)
    total = 0
    for k in range(cuts):
        folder, left = tmp_path / f"run{k}", tmp_path / f"left{k}"
        folder.mkdir()
        left.mkdir()
        disk = power.Disk(f"power{k}", int(rng.integers(0, 600)))
        acknowledged = work(folder / "store.db", disk.name, retention)
        disk.leave(left, rng)
        disk.unregister()
        total += check(left, acknowledged) or len(acknowledged)
    return total


def test_a_power_cut_while_old_rows_are_dropped_loses_no_other(tmp_path, monkeypatch, recwarn):
    dropped = run(tmp_path, monkeypatch, CUTS // 2, check_kept, Retention(KEEP, 2 * KEEP))
    assert dropped > 100 * CUTS


def test_a_power_cut_loses_nothing_that_was_acknowledged(tmp_path, monkeypatch, recwarn):
    original = schema.open_writer

    def small_log(path, vfs=None):
        connection = original(path, vfs)
        connection.execute("PRAGMA wal_autocheckpoint=20")  # so that cuts fall into checkpoints too
        return connection

    monkeypatch.setattr("pollux.runtime.store.sqlite.open_writer", small_log)
    assert run(tmp_path, monkeypatch, CUTS) > 10 * CUTS


@pytest.mark.filterwarnings("ignore")
def test_the_cut_disk_finds_a_store_that_does_not_wait_for_the_disk(tmp_path, monkeypatch):
    """The proof of the proof: with synchronous=NORMAL the same cuts lose acknowledged rows."""
    original = schema.open_writer

    def hasty(path, vfs=None):
        connection = original(path, vfs)
        connection.execute("PRAGMA synchronous=NORMAL")
        return connection

    monkeypatch.setattr("pollux.runtime.store.sqlite.open_writer", hasty)
    with pytest.raises((AssertionError, StoreError)):
        run(tmp_path, monkeypatch, 40)
