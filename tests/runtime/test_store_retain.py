"""Retention: what is old goes in bounded parts, what a fold may need stays, peaks stay, and space is used again."""

from math import inf

import numpy as np
import pytest
from store_kinds import open_place

from pollux.core.errors import CorruptionError, StoreError
from pollux.runtime.store import compact, retain
from pollux.runtime.store.base import Rows, Snapshot, Track
from pollux.runtime.store.layout import join
from pollux.runtime.store.retain import Retention

DAY = 86_400.0
KEPT = Retention(10 * DAY, 100 * DAY)


@pytest.fixture
def open_kept(place, monkeypatch):
    """Opens the store of the test with ten days of readings and a hundred of extremes."""
    monkeypatch.setattr(compact, "TAIL_ROWS", 500)
    monkeypatch.setattr(compact, "PER_CHANNEL", 1)
    return lambda **options: open_place(place, **{"retention": KEPT, **options})


def fill(store, days, start=0, snapshots=True):
    """Readings of two tags each 600 s; a block each 6 h, received at its event time; snapshots each day."""
    ids = store.tag_ids("a", ["x", "y"])
    for k in range(4 * start, 4 * days):
        t = 21_600.0 * k + np.repeat(600.0 * np.arange(36), 2)
        with store.transaction():
            store.append(Rows(t, np.tile(ids, 36), np.sin(t) + (k % 17 == 7)), float(t[-1]))
            store.add_track("a", Track(t[::8], np.ones((9, 1)), np.ones((9, 1))))
            if snapshots and k % 4 == 0:
                store.save_snapshot(Snapshot("a", store.next_seq, float(t[-1]), "m", b"state"))
        while store.maintain():
            pass


def retain_all(store, now, folds=("a",)):
    parts = 0
    while store.retain(now, folds):
        parts += 1
    return parts


def test_old_readings_go_and_their_extremes_stay(open_kept, monkeypatch):
    monkeypatch.setattr(retain, "PART", 40)
    store = open_kept()
    fill(store, 40)
    before = store.history("a", "x", -inf, inf)
    whole = store.chart("a", "x", -inf, inf, 200)
    assert retain_all(store, 40 * DAY) > 1
    t, value = store.history("a", "x", -inf, inf)
    assert 30 * DAY - 4 * DAY < t[0] <= 30 * DAY  # what a chunk holds goes together
    assert np.array_equal(t, before[0][before[0] >= t[0]])
    assert np.array_equal(value, before[1][before[0] >= t[0]])
    after = store.chart("a", "x", -inf, inf, 200)
    assert np.array_equal(whole[0], after[0])
    assert np.array_equal(whole[1], after[1])
    peaks, high = store.chart("a", "x", 0.0, 5 * DAY, 4000)  # finer than what is left: what is left is shown
    assert high.max() == before[1][before[0] <= 5 * DAY].max()
    assert np.isin(peaks, before[0]).all()
    retain_all(store, 120 * DAY)  # event time stands still: no reading becomes older
    assert np.array_equal(store.history("a", "x", -inf, inf)[0], t)
    store.close()


def test_the_journal_begins_at_the_first_kept_row_and_stays_a_chain(open_kept):
    store = open_kept()
    fill(store, 40)
    rows = join([b.rows for b in store.blocks()])
    retain_all(store, 40 * DAY)
    first = store.first_seq
    assert first == 12 * 24 * 30
    left = join([b.rows for b in store.blocks(first)])
    assert np.array_equal(left.t, rows.t[first:])
    assert np.array_equal(left.value, rows.value[first:])
    with pytest.raises(CorruptionError, match=f"begins at row {first}"):
        next(store.blocks(first - 1))
    assert store.verify() == len(rows) - first
    assert store.next_seq == len(rows)
    store.close()
    again = open_kept()
    assert again.first_seq == first
    fill(again, 42, start=40)
    assert again.verify() == len(rows) - first + 2 * 24 * 12
    again.close()


def test_a_first_block_that_is_missing_is_seen(open_kept):
    """Retention notes where it ended, under a seal: a journal that begins later has lost something."""
    store = open_kept()
    fill(store, 40)
    retain_all(store, 40 * DAY)
    store._writer.execute("DELETE FROM block WHERE first = ?", (store.first_seq,))
    with pytest.raises(CorruptionError, match="must reach back to row"):
        store.verify()
    store.close()


def test_what_a_fold_may_need_stays(open_kept):
    store = open_kept()
    fill(store, 30)
    retain_all(store, 90 * DAY, ["a", "b"])
    assert store.first_seq == 0  # `b` has no snapshot
    store.close()
    store = open_kept()
    retain_all(store, 90 * DAY, ["a"])
    assert store.first_seq == 12 * 24 * 28 + 72  # from the last snapshot but one, though all is old
    kept = store.load_snapshot("a", "m")
    assert kept is not None
    assert next(store.blocks(kept.seq)).first == kept.seq
    store.close()


def test_the_newest_block_and_the_tail_stay(open_kept, monkeypatch):
    store = open_kept()
    fill(store, 2)
    monkeypatch.setattr(compact, "TAIL_ROWS", 10**6)
    monkeypatch.setattr(compact, "TAIL_BLOCKS", 10**6)
    fill(store, 4, start=2)
    retain_all(store, 900 * DAY)
    assert 0 < store.first_seq <= compact.read_progress(store._writer).compacted
    end = store.next_seq
    store.close()
    again = open_kept()
    assert again.next_seq == end
    assert len(again.history("a", "x", -inf, inf)[0]) == 4 * 24 * 6
    again.close()


@pytest.mark.parametrize("parts", range(6))
def test_an_end_on_the_way_leaves_a_whole_store(open_kept, monkeypatch, parts):
    monkeypatch.setattr(retain, "PART", 40)
    store = open_kept()
    fill(store, 30)
    before = store.history("a", "x", -inf, inf)
    for _ in range(parts):
        store.retain(30 * DAY, ["a"])
    with pytest.raises(ZeroDivisionError), store.transaction():  # noqa: PT012
        retain.drop(store._writer, KEPT, 30 * DAY, ["a"])
        _ = 1 / 0
    store.close()
    again = open_kept()
    again.verify()
    t, value = again.history("a", "x", -inf, inf)
    assert np.array_equal(t, before[0][len(before[0]) - len(t) :])
    assert np.array_equal(value, before[1][len(before[0]) - len(t) :])
    retain_all(again, 30 * DAY)
    assert again.first_seq == 12 * 24 * 20
    again.close()


def test_extremes_and_estimates_go_after_their_own_time(open_kept):
    store = open_kept(retention=Retention(5 * DAY, 10 * DAY))
    fill(store, 40)
    retain_all(store, 40 * DAY)
    levels = store._writer.execute("SELECT level, min(t_max) FROM chunk GROUP BY level ORDER BY level").fetchall()
    assert all(t_max >= (34 if level == 0 else 29) * DAY for level, t_max in levels)
    assert [level for level, _ in levels] == [0, 6, 12]
    track = store.track("a", -inf, inf)
    assert 26 * DAY < track.t[0] <= 30 * DAY
    assert store.chart("a", "x", -inf, inf, 100)[0][0] > 20 * DAY
    store.close()


def test_space_is_used_again(tmp_path, monkeypatch):
    monkeypatch.setattr(compact, "TAIL_ROWS", 500)
    monkeypatch.setattr(compact, "PER_CHANNEL", 1)
    store = open_place(str(tmp_path / "store.db"), retention=Retention(5 * DAY, 5 * DAY))
    sizes = []
    for day in range(10, 80, 10):
        fill(store, day, start=day - 10)
        store.retain(day * DAY, ["a"])
        retain_all(store, day * DAY + 100)
        sizes.append(store._writer.execute("PRAGMA page_count").get)
    assert sizes[-1] < 1.2 * sizes[2]
    store.close()


def test_without_a_limit_nothing_is_looked_at(open_store):
    store = open_store()
    fill(store, 1)
    assert not store.retain(1e12, ["a"])
    store.close()


def test_impossible_limits_are_refused():
    with pytest.raises(StoreError, match="Make `keep_thin` the longer"):
        Retention(10.0, 5.0)
