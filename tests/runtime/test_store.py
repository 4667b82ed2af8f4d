"""The store: what was acknowledged is there, once, in order, also after a restart; bad luck with the disk is said."""

import asyncio

import apsw
import numpy as np
import pytest

from pollux.core.errors import CorruptionError, FencedError, StoreError
from pollux.core.time import ManualClock
from pollux.runtime.store import chunks, compact
from pollux.runtime.store.base import Refused, Rows, Snapshot, Track
from pollux.runtime.store.layout import join
from pollux.runtime.store.sqlite import SqliteStore
from pollux.runtime.store.writer import StoreWriter


def some_rows(n, tags, seed=0, t0=1000.0):
    rng = np.random.default_rng(seed)
    return Rows(t0 + np.arange(n) / len(tags), np.resize(tags, n).astype(np.uint32), rng.standard_normal(n))


def append(store, rows, received=5.0):
    with store.transaction():
        return store.append(rows, received)


def same(a, b):
    return all(np.array_equal(x.view(np.uint64), y.view(np.uint64)) for x, y in ((a.t, b.t), (a.value, b.value))) and (
        np.array_equal(a.tag, b.tag)
    )


@pytest.fixture
def path(tmp_path):
    return tmp_path / "store.db"


def test_rows_come_back_bit_for_bit_and_numbered(open_store):
    store = open_store()
    ids = store.tag_ids("tank", ["level", "temp"])
    parts = [some_rows(n, ids, seed=n) for n in (3, 1, 500)]
    parts[1].value[0] = np.nan
    firsts = [append(store, rows) for rows in parts]
    assert firsts == [0, 3, 4]
    store.close()
    again = open_store()
    assert again.next_seq == 504
    assert list(again.tag_ids("tank", ["temp", "level"])) == [ids[1], ids[0]]
    assert same(join([b.rows for b in again.blocks()]), join(parts))
    tail = list(again.blocks(2))
    assert tail[0].first == 2
    assert same(
        join([b.rows for b in tail]), Rows(*(x[2:] for x in (join(parts).t, join(parts).tag, join(parts).value)))
    )
    assert list(again.blocks(504)) == []
    assert again.verify() == 504
    again.close()


def test_a_failed_transaction_leaves_nothing(open_store):
    store = open_store()
    ids = store.tag_ids("tank", ["level"])
    append(store, some_rows(5, ids))
    with pytest.raises(ZeroDivisionError), store.transaction():  # noqa: PT012
        store.append(some_rows(7, ids), 1.0)
        store.tag_ids("tank", ["ghost"])
        _ = 1 / 0
    assert store.next_seq == 5
    assert append(store, some_rows(2, ids)) == 5
    assert len(store.history("tank", "level", -np.inf, np.inf)[0]) == 5  # 2 repeat earlier instants
    assert list(store.tag_ids("tank", ["temp"])) == [2]
    store.close()


def test_history_joins_chunks_and_tail_like_a_plain_search(open_store, monkeypatch):
    """Oracle: NumPy over everything that was appended; late rows, repeated instants, several compactions."""
    monkeypatch.setattr(compact, "TAIL_ROWS", 400)
    monkeypatch.setattr(chunks, "LARGE", 128)
    store = open_store()
    names = [f"c{i}" for i in range(5)]
    ids = store.tag_ids("a", names)
    rng = np.random.default_rng(1)
    kept = []
    for k in range(60):
        n = int(rng.integers(1, 60))
        t = np.round(10.0 * k + rng.uniform(-30, 30, n))
        rows = Rows(t, rng.choice(ids, n).astype(np.uint32), rng.standard_normal(n))
        append(store, rows)
        store.maintain()
        kept.append(rows)
    everything = join(kept)
    for reopened in (False, True):
        if reopened:
            store.close()
            store = open_store()
        for name, key in zip(names, ids, strict=True):
            for start, end in ((-np.inf, np.inf), (100.0, 250.0), (590.0, 700.0), (5.0, 4.0)):
                hit = (everything.tag == key) & (everything.t >= start) & (everything.t <= end)
                t, first = np.unique(everything.t[hit], return_index=True)
                got = store.history("a", name, start, end)
                np.testing.assert_array_equal(got[0], t)
                np.testing.assert_array_equal(got[1], everything.value[hit][first])
            assert store.last_time("a", name) == everything.t[everything.tag == key].max()
    assert store.last_time("a", "none") is None
    assert len(store.history("b", "c0", 0, 1)[0]) == 0
    store.close()


def test_a_second_writer_is_refused_and_a_paused_one_fenced(open_store):
    first = open_store()
    ids = first.tag_ids("a", ["x"])
    with pytest.raises(FencedError, match="held by another process"):
        open_store()
    second = open_store(takeover=True)
    append(second, some_rows(3, ids))
    with pytest.raises(FencedError, match="has taken over"):
        append(first, some_rows(3, ids))
    assert second.verify() == 3
    first.close()
    second.close()
    open_store().close()


def test_a_full_disk_is_said_and_writing_goes_on_when_there_is_room(path):
    store = SqliteStore(path)
    ids = store.tag_ids("a", ["x"])
    append(store, some_rows(10, ids))
    pages = store._writer.execute("PRAGMA page_count").get
    store._writer.execute(f"PRAGMA max_page_count={pages + 1}")
    with pytest.raises(StoreError, match=r"room on the disk.*Free space"):
        append(store, some_rows(100_000, ids))
    assert store.verify() == 10
    store._writer.execute("PRAGMA max_page_count=1000000")
    assert append(store, some_rows(10, ids, t0=1010.0)) == 10
    assert store.verify() == 20
    store.close()


def test_a_place_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StoreError, match="Choose another folder"):
        SqliteStore(tmp_path / "file" / "store.db")


def test_a_read_only_database_is_said(path):
    """As in a read-only folder (a test run by root cannot take its own permissions away)."""
    store = SqliteStore(path)
    store._writer.execute("PRAGMA query_only=1")
    with pytest.raises(StoreError, match="correct its permissions"), store.transaction():
        store.add_event(1.0, "a", "alarm", {})
    store._writer.execute("PRAGMA query_only=0")
    store.close()


def test_another_file_or_a_newer_version_is_refused(tmp_path):
    (tmp_path / "text.db").write_text("hello " * 1000)
    with pytest.raises(CorruptionError):
        SqliteStore(tmp_path / "text.db")
    other = apsw.Connection(str(tmp_path / "other.db"))
    other.execute("CREATE TABLE x(y)")
    other.close()
    with pytest.raises(StoreError, match="that Pollux made"):
        SqliteStore(tmp_path / "other.db")
    SqliteStore(tmp_path / "new.db").close()
    newer = apsw.Connection(str(tmp_path / "new.db"))
    newer.execute("PRAGMA user_version=99")
    newer.close()
    with pytest.raises(StoreError, match="has version 99"):
        SqliteStore(tmp_path / "new.db")


def test_snapshots_are_a_cache(open_store):
    store = open_store()
    ids = store.tag_ids("a", ["x"])
    append(store, some_rows(9, ids))
    for seq in (3, 6, 9):
        with store.transaction():
            store.save_snapshot(Snapshot("a", seq, 1.0 * seq, "model-1", b"state %d" % seq))
    newest = store.load_snapshot("a", "model-1")
    assert newest is not None
    assert (newest.seq, newest.data) == (9, b"state 9")
    assert store.load_snapshot("a", "model-2") is None
    assert store.load_snapshot("b", "model-1") is None
    store._writer.execute("UPDATE snapshot SET data=? WHERE seq=9", (b"state 8",))
    before = store.load_snapshot("a", "model-1")
    assert before is not None
    assert before.seq == 6
    with store.transaction():
        store.save_snapshot(Snapshot("a", 10, 10.0, "model-1", b"ahead of the journal"))
    first = store.load_snapshot("a", "model-1")
    assert first is not None
    assert first.seq == 3  # 9 is damaged, 6 was thinned out, 10 is not covered; the first of a span stays
    store.close()


def test_events_and_refused_messages(open_store):
    store = open_store()
    with store.transaction():
        ids = [store.add_event(t, twin, kind, {"n": t}, f"r{t}") for t, twin, kind in
               [(1.0, "a", "alarm"), (2.0, "b", "alarm"), (3.0, "a", "command"), (4.0, "a", "alarm")]]  # fmt: skip
    assert [e.id for e in store.events()] == ids
    assert [e.t for e in store.events("a", ["alarm"])] == [1.0, 4.0]
    assert [e.t for e in store.events("a", limit=1)] == [4.0]
    assert [e.data for e in store.events(after=ids[2])] == [{"n": 4.0}]
    append(store, some_rows(7, store.tag_ids("a", ["x"])))
    with store.transaction():
        store.add_event(5.0, "a", "level", {})
        store.add_event(6.0, "a", "alarm", {}, seq=3)
    assert [(e.t, e.seq) for e in store.events_from("a", 1)] == [(6.0, 3), (5.0, 7)]
    assert [e.t for e in store.events_from("a", 0, after=ids[2])] == [4.0, 6.0, 5.0]
    refused = [Refused(1.0, "plant", "t", "range", f"m{i}", b"x" * 5000) for i in range(3)]
    with store.transaction():
        store.refuse(refused)
        store.refuse(refused[:1], {"range": 100, "late": 1})
    kept, counts = store.refused(2)
    assert [r.message for r in kept] == ["m2", "m0"]
    assert len(kept[0].payload) == 1024
    assert counts == {"range": 103, "late": 1}
    store.close()


def test_the_quarantine_is_bounded(open_store, monkeypatch):
    monkeypatch.setattr("pollux.runtime.store.refusals.KEEP", 5)
    store = open_store()
    for k in range(4):
        with store.transaction():
            store.refuse([Refused(1.0, "s", "t", "late", f"{k}{i}", b"") for i in range(3)])
    kept, counts = store.refused()
    assert [r.message for r in kept] == ["21", "22", "30", "31", "32"]
    assert counts == {"late": 12}
    store.close()


def test_estimates_of_the_last_computation_win_and_survive_a_snapshot(open_store):
    store = open_store()

    def track(t, mean):
        return Track(np.array(t, float), np.array(mean, float)[:, None], np.ones((len(t), 1)))

    with store.transaction():
        store.add_track("a", track([1, 2, 3], [10, 20, 30]))
    assert list(store.track("a", 2, 9).mean[:, 0]) == [20, 30]  # gathered, not written yet
    with store.transaction():
        store.save_snapshot(Snapshot("a", 0, 3.0, "m", b""))
        store.add_track("a", track([3, 4], [31, 41]))
    store.close()
    again = open_store()
    found = again.track("a", 0, 9)
    assert list(found.t) == [1, 2, 3, 4]
    assert list(found.mean[:, 0]) == [10, 20, 31, 41]
    assert found.sd.shape == (4, 1)
    assert len(again.track("nobody", 0, 9)) == 0
    again.close()


def test_the_writer_groups_appends_and_acknowledges_each(open_store):
    async def scenario():
        store = open_store()
        ids = store.tag_ids("a", ["x", "y"])
        writer = StoreWriter(store, ManualClock(7.0))
        batches = [some_rows(n, ids, seed=n, t0=1000.0 * n) for n in range(1, 200)]
        firsts = await asyncio.gather(*(writer.append(rows) for rows in batches))
        event = await writer.do(lambda s: s.add_event(1.0, "a", "alarm", {}))
        assert event == 1
        with pytest.raises(ZeroDivisionError):
            await writer.do(lambda s: 1 / 0)
        good, bad = await asyncio.gather(
            writer.append(batches[0]), writer.do(lambda s: s.events(str(1 / 0))), return_exceptions=True
        )
        assert isinstance(bad, ZeroDivisionError)
        assert good == sum(range(1, 200))
        history = await writer.read(lambda s: s.history("a", "x", 0.0, 1e9))
        assert len(history[0]) > 1000
        commits = writer.commits
        await writer.close()
        with pytest.raises(StoreError, match="was closed"):
            await writer.append(batches[0])
        return firsts, batches, commits

    firsts, batches, commits = asyncio.run(scenario())
    assert commits < 100  # grouped: far fewer than 199
    store = open_store()
    journal = join([b.rows for b in store.blocks()])
    for first, rows in zip(firsts, batches, strict=True):
        at = slice(first, first + len(rows))
        assert same(Rows(journal.t[at], journal.tag[at], journal.value[at]), rows)
    assert {b.received for b in store.blocks()} == {7.0}
    store.close()
