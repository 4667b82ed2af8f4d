"""Channels in chunks of many tags: exact whatever the order, size and repetition; charts keep every peak."""

import asyncio
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pollux.core.errors import StoreError
from pollux.core.time import ManualClock
from pollux.runtime.store import chunks, compact
from pollux.runtime.store.base import Rows
from pollux.runtime.store.layout import find_in_chunk, join, pack_chunk, sort_by_tag_and_time, unpack_chunk
from pollux.runtime.store.shelves import nodes_of, split, tags_of
from pollux.runtime.store.sqlite import SqliteStore
from pollux.runtime.store.tail import Tail
from pollux.runtime.store.thin import Width, extremes, thin_rows, thin_to, width_of
from pollux.runtime.store.writer import StoreWriter

rows_of = st.integers(0, 2**32 - 1).map(lambda seed: random_rows(np.random.default_rng(seed)))


def random_rows(rng):
    """Rows of few instants and tags, so that both repeat; some missing."""
    n = int(rng.integers(1, 200))
    value = np.where(rng.random(n) < 0.2, np.nan, np.round(rng.standard_normal(n), 1))
    tag = rng.integers(1, rng.integers(2, 40), n).astype(np.uint32)
    return Rows(rng.integers(-50, 300, n) * 7.0, tag, value)


def plain(parts, tag):
    """Oracle: each instant once, the first to come."""
    rows = join(parts)
    hit = rows.tag == tag
    t, first = np.unique(rows.t[hit], return_index=True)
    return t, rows.value[hit][first]


@given(rows_of)
def test_a_chunk_gives_back_each_tag(rows):
    ordered = sort_by_tag_and_time(rows)
    data = pack_chunk(ordered)
    back = unpack_chunk(data, len(ordered))
    for a, b in ((back.t, ordered.t), (back.tag, ordered.tag), (back.value, ordered.value)):
        assert np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    for tag in range(41):
        t, value = find_in_chunk(data, len(ordered), tag)
        expected = plain([rows], tag)
        assert np.array_equal(t, expected[0])
        assert np.array_equal(value, expected[1], equal_nan=True)


def test_times_that_all_tags_share_are_kept_once():
    t, tag = np.tile(np.arange(32.0), 10), np.repeat(np.arange(10, dtype=np.uint32), 32)
    assert len(pack_chunk(Rows(t, tag, t))) == 8 + 10 * 8 + 32 * 8 + 320 * 8


@given(st.lists(st.integers(0, 2**32 - 1), max_size=200).map(sorted), st.integers(1, 20))
def test_ranges_partition_the_tags_and_are_found_from_each_tag(tags, limit):
    tag = np.array(tags, np.uint32)
    end = 0
    for node, a, b in split(tag, 0, 32, limit):
        assert a == end
        end = b
        assert b - a <= limit or tag[a] == tag[b - 1]
        assert all(node in nodes_of(int(k)) for k in tag[a:b])
        assert tags_of(node)[0] <= tag[a]
        assert tag[b - 1] <= tags_of(node)[1]
        others = set(tag.tolist()) - set(tag[a:b].tolist())
        assert not any(node in nodes_of(k) for k in others)
    assert end == len(tag)


@given(rows_of, rows_of, st.integers(0, 9))
def test_extremes_of_extremes_are_the_extremes(one, two, level):
    """What lets a level be made from a finer one, and a chunk be filled up. Oracle: a loop over the buckets."""
    both = sort_by_tag_and_time(join([one, two]))
    rest = [Rows(both.t[k::2], both.tag[k::2], both.value[k::2]) for k in (0, 1)]
    thinned = thin_rows(sort_by_tag_and_time(join([thin_rows(part, 3) for part in rest])), level + 3)
    expected = []
    width = 2 ** (level + 3)
    for _, places in itertools.groupby(range(len(both)), lambda i: (both.tag[i], both.t[i] // width)):
        group = list(places)
        known = [i for i in group if not np.isnan(both.value[i])]
        low, high = (f(known, key=lambda i: both.value[i]) if known else group[0] for f in (min, max))
        expected += sorted({low, high})
    assert np.array_equal(thinned.t, both.t[expected])
    assert np.array_equal(thinned.value, both.value[expected], equal_nan=True)


@given(st.floats(-1e9, 1e9), st.floats(0, 1e9), st.integers(4, 3000))
def test_a_width_gives_at_most_the_buckets_that_are_asked(start, span, points):
    for levels in ((), (6, 12)):
        width = width_of(start, start + span, points, levels)
        assert width.number(start, start + span) <= points // 2
        if span / (points // 2 - 1) >= 4096 and levels:
            assert width.level == 12


def test_no_value_is_no_extreme():
    assert list(extremes(np.array([0, 3]), np.array([np.nan, np.inf, 1.0, np.nan, np.nan]))) == [1, 2, 3]


@given(st.lists(st.integers(1, 6000), max_size=60), st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_a_tail_holds_and_counts_every_row_once(sizes, seed):
    rng = np.random.default_rng(seed)
    tail, first, tags = Tail(), 0, [np.empty(0, np.uint32)]
    for n in sizes:
        tags.append(rng.integers(0, 3000, n).astype(np.uint32))
        tail.add(first, Rows(np.arange(first, first + n, dtype=float), tags[-1], np.zeros(n)))
        first += n
        if rng.random() < 0.5:
            tail.sort(4000)
    assert len(tail.runs) <= 20 + sum(sizes) // 2000
    assert np.array_equal(np.concatenate([[], *(run.rows.t for run in tail.runs)]), np.arange(first))
    assert [run.first for run in tail.runs] == [int(run.rows.t[0]) for run in tail.runs]
    tail.freeze()
    every = np.concatenate(tags)
    assert all(tail.below[min(k, len(tail.below) - 1)] == np.count_nonzero(every < k) for k in range(0, 3001, 100))
    for tag in (0, 7, 2999):
        found = np.concatenate([[], *(run.of(tag)[0] for run in tail.old)])
        assert np.array_equal(found, np.flatnonzero(every == tag))


def test_a_writer_turns_the_tail_while_nothing_comes(tmp_path, monkeypatch):
    monkeypatch.setattr(compact, "TAIL_ROWS", 100)
    monkeypatch.setattr(compact, "PER_CHANNEL", 1)
    monkeypatch.setattr(compact, "STEP_ROWS", 10)

    async def scenario():
        store = SqliteStore(tmp_path / "store.db")
        ids = store.tag_ids("a", [f"c{k}" for k in range(100)])
        writer = StoreWriter(store, ManualClock(1.0))
        await writer.append(Rows(np.arange(100.0), ids, np.zeros(100)))
        for _ in range(1000):
            if compact.read_progress(store._reader).compacted == 100:
                break
            await asyncio.sleep(0.01)
        assert compact.read_progress(store._reader) == compact.Progress(100, 0, 0)
        await writer.close()

    asyncio.run(scenario())


def test_who_reads_for_long_holds_up_no_housekeeping(tmp_path, monkeypatch):
    """As a backup does: the log cannot be brought into the database, and the tail is turned nevertheless."""
    monkeypatch.setattr(compact, "TAIL_ROWS", 100)
    monkeypatch.setattr(compact, "PER_CHANNEL", 1)
    monkeypatch.setattr("pollux.runtime.store.sqlite.CHECKPOINT", 16384)
    store = SqliteStore(tmp_path / "store.db")
    tag = store.tag_ids("a", ["x"])
    with store.reading() as other:
        other._connection.execute("BEGIN")
        other.next_seq  # noqa: B018 (a snapshot that stays)
        for k in range(20):
            with store.transaction():
                store.append(Rows(100.0 * k + np.arange(100), np.repeat(tag, 100), np.zeros(100)), 1.0)
            calls = 0
            while calls < 10 and store.maintain():
                calls += 1
            assert calls <= 3
            assert compact.read_progress(store._writer).compacted == 100 * (k + 1)
        assert other.next_seq == 0
    store.close()


@pytest.mark.parametrize(("reopen", "few"), [(False, 64), (True, 64), (True, 2)])
def test_any_mixture_of_channels_is_exact_at_every_step(tmp_path, monkeypatch, reopen, few):
    """Few and many rows a tag, late and repeated instants; looked at after every transaction, or after a restart."""
    monkeypatch.setattr(chunks, "FEW", few)
    monkeypatch.setattr(compact, "TAIL_ROWS", 300)
    monkeypatch.setattr(compact, "PER_CHANNEL", 4)
    monkeypatch.setattr(compact, "STEP_ROWS", 60)
    monkeypatch.setattr(chunks, "WIDE", 32)
    monkeypatch.setattr(chunks, "LARGE", 64)
    monkeypatch.setattr(chunks, "SMALL", 10)
    rng = np.random.default_rng(3)
    store = SqliteStore(tmp_path / "store.db")
    names = [f"c{k}" for k in range(70)]
    ids = store.tag_ids("a", names)
    kept, steps = [], 0
    for k in range(60):
        n = int(rng.integers(1, 80))
        busy = rng.random(n) < 0.3
        tag = np.where(busy, ids[33], rng.choice(ids, n)).astype(np.uint32)
        t = np.round(20.0 * k + rng.uniform(-60, 20, n))
        rows = Rows(t, tag, rng.standard_normal(n))
        with store.transaction():
            store.append(rows, 1.0)
        kept.append(rows)
        more = store.maintain()
        steps += more
        if reopen and k % 7 == 0:
            store.close()
            store = SqliteStore(tmp_path / "store.db")
        for at in (33, *rng.choice(70, 5)):
            t, value = store.history("a", names[at], -np.inf, np.inf)
            expected = plain(kept, ids[at])
            assert np.array_equal(t, expected[0])
            assert np.array_equal(value, expected[1])
            if len(t):
                assert store.last_time("a", names[at]) == t[-1]
    assert steps > 10  # many looks fell between two steps of a compaction
    whole = store._writer.execute("SELECT coalesce(sum(rows), 0) FROM chunk WHERE level = 0").get
    distinct = len(set(zip(*(x.tolist() for x in (join(kept).t, join(kept).tag)), strict=True)))
    assert whole <= distinct  # no instant of a tag is kept twice
    assert store.verify() == sum(len(r) for r in kept)
    store.close()


def test_a_step_that_fails_changes_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(compact, "TAIL_ROWS", 100)
    monkeypatch.setattr(compact, "PER_CHANNEL", 1)
    monkeypatch.setattr(compact, "STEP_ROWS", 30)
    store = SqliteStore(tmp_path / "store.db")
    names = [f"c{k}" for k in range(50)]
    rows = Rows(np.arange(100.0), np.tile(store.tag_ids("a", names), 2), np.arange(100.0))
    with store.transaction():
        store.append(rows, 1.0)
    keep, fails = chunks.ChunkWriter.keep, iter([True, True, False, True, False, False, False, False])

    def sometimes(self, *given):
        keep(self, *given)
        if next(fails, False):
            raise StoreError("no")

    monkeypatch.setattr(chunks.ChunkWriter, "keep", sometimes)
    more, failed = True, 0
    while more:
        try:
            more = store.maintain()
        except StoreError:
            failed += 1
        for k in (0, 25, 49):
            assert list(store.history("a", names[k], -np.inf, np.inf)[1]) == [k, 50.0 + k]
    assert failed == 3
    assert store._writer.execute("SELECT sum(rows) FROM chunk WHERE level = 0").get == 100
    store.close()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(4, 400))
def test_a_chart_has_the_extremes_of_every_bucket(charted, seed, points):
    store, t, value = charted
    start, end = np.sort(np.random.default_rng(seed).uniform(t[0], t[-1], 2))
    got_t, got = store.chart("a", "x", start, end, points)
    inside = (t >= start) & (t <= end)
    width = width_of(start, end, points, chunks.LEVELS)
    expected = thin_to(t[inside], value[inside], width)
    if width.level not in chunks.LEVELS and np.count_nonzero(inside) <= points:
        expected = t[inside], value[inside]
    assert len(got_t) <= points
    assert np.array_equal(got_t, expected[0])
    assert np.array_equal(got, expected[1], equal_nan=True)


def test_a_chart_without_bounds_is_of_the_whole_channel(charted):
    store, t, value = charted
    got_t, got = store.chart("a", "x", -np.inf, np.inf, 500)
    assert 200 < len(got_t) <= 500
    assert np.nanmax(got) == np.nanmax(value)
    assert np.nanmin(got) == np.nanmin(value)
    assert np.diff(got_t).max() >= 2e5  # the gap
    assert got_t[0] - t[0] < 1e4
    assert t[-1] - got_t[-1] < 1e4
    assert len(store.chart("a", "x", t[-1] + 1e6, np.inf, 500)[0]) == 0
    assert len(store.chart("a", "none", -np.inf, np.inf, 500)[0]) == 0


@pytest.fixture(scope="module")
def charted(tmp_path_factory):
    """Twenty days of a channel each 10 s, with a gap, missing values and spikes; a part is in the tail."""
    store = SqliteStore(tmp_path_factory.mktemp("chart") / "store.db")
    ids = store.tag_ids("a", ["x", "y", "z"])
    rng = np.random.default_rng(0)
    t = 1.7e9 + 10.0 * np.arange(172_800)
    t = t[(t < 1.7e9 + 4e5) | (t > 1.7e9 + 6e5)]
    value = np.sin(t / 1e4) + np.where(rng.random(len(t)) < 1e-4, 50.0, 0.0)
    value[rng.random(len(t)) < 0.01] = np.nan
    for part in np.array_split(np.arange(len(t)), 37):
        n = len(part)
        for tag, v in zip(ids, (value[part], rng.standard_normal(n), np.zeros(n)), strict=True):
            with store.transaction():
                store.append(Rows(t[part], np.full(n, tag, np.uint32), v), 1.0)
            store.maintain()
    yield store, t, value
    store.close()


def test_buckets_are_those_of_the_level():
    width = Width(3, 6)
    assert width.seconds == 192.0
    assert list(width.bucket(np.array([-1.0, 0.0, 191.9, 192.0]))) == [-1, 0, 0, 1]
