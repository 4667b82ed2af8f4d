"""What is PostgreSQL's own: a server that restarts or is killed, the answer to a commit lost, standbys, damage.

What holds for every store is in `test_store` and `test_store_crash`, for both. POLLUX_KILLS makes the runs longer.
"""

import asyncio
import os
import threading
import time

import numpy as np
import pytest
from store_kinds import new_place, open_place

from pollux.core.errors import CorruptionError, FencedError, StoreError
from pollux.core.time import ManualClock
from pollux.runtime.store import compact
from pollux.runtime.store.base import Refused, Rows, Snapshot, Track, UnavailableError
from pollux.runtime.store.layout import join
from pollux.runtime.store.writer import StoreWriter

psycopg = pytest.importorskip("psycopg")
postgres_schema = pytest.importorskip("pollux.runtime.store.postgres_schema")

pytestmark = pytest.mark.service

KILLS = int(os.environ.get("POLLUX_KILLS", "8")) // 2
SOON = (0.05, 0.1, 0.2)


@pytest.fixture
def place(request, tmp_path):
    return new_place("postgres", tmp_path, request)


def rows_of(b: int, tag: int) -> Rows:
    """Batch b: 1 + b % 50 rows of value b."""
    n = 1 + b % 50
    return Rows(b + np.arange(n) / 1000, np.full(n, tag, np.uint32), np.full(n, float(b)))


def append(store, rows):
    with store.transaction():
        return store.append(rows, 1.0)


def schema_of(place):
    return place.split("#")[1]


def statement(server, place, text):
    """Run something beside the store, as an administrator would."""
    with psycopg.connect(server.url, autocommit=True) as raw:
        raw.execute(f"SET search_path = {schema_of(place)}")
        return raw.execute(text).fetchall() if text.startswith("SELECT") else raw.execute(text).rowcount


def test_after_a_restart_of_the_server_writing_and_reading_go_on(postgres_server, place):
    store = open_place(place)
    tag = int(store.tag_ids("a", ["x"])[0])
    append(store, rows_of(7, tag))
    postgres_server.stop()
    later = threading.Timer(0.5, postgres_server.start)  # it is away when the store asks first
    later.start()
    assert append(store, rows_of(9, tag)) == 8
    assert len(store.history("a", "x", 0, 100)[0]) == 18
    later.join()  # the store may have found it before who started it did, and would have it started twice
    postgres_server.stop()
    postgres_server.start()
    assert len(store.history("a", "x", 0, 100)[0]) == 18  # the reader comes back by itself too
    assert store.verify() == 18
    store.close()


def test_a_server_that_stays_away_is_said_in_bounded_time_and_all_waiting_are_told(postgres_server, place):
    async def scenario():
        store = open_place(place, delays=SOON)
        tag = int(store.tag_ids("a", ["x"])[0])
        writer = StoreWriter(store, ManualClock(1.0))
        await writer.append(rows_of(3, tag))
        postgres_server.stop()
        began = time.monotonic()
        answers = await asyncio.gather(*(writer.append(rows_of(b, tag)) for b in range(500)), return_exceptions=True)
        took = time.monotonic() - began
        postgres_server.start()
        last = await writer.append(rows_of(4, tag))
        await writer.close()
        return answers, took, last

    answers, took, last = asyncio.run(scenario())
    assert all(isinstance(a, UnavailableError) for a in answers)
    assert "start the server" in str(answers[0])
    assert took < 20  # not 500 times the patience
    assert last == 4  # nothing of what failed is there
    store = open_place(place)
    assert [b.rows.value[0] for b in store.blocks()] == [3.0, 4.0]
    store.close()


def test_kill_9_of_the_server_loses_and_doubles_nothing_that_was_acknowledged(postgres_server, place, monkeypatch):
    """Four tasks append and keep snapshots while the server is killed at random instants and started again."""
    monkeypatch.setattr(compact, "TAIL_ROWS", 2000)
    acknowledged: dict[int, int] = {}
    failed: list[int] = []

    async def scenario():
        store = open_place(place)
        tag = int(store.tag_ids("twin", ["x"])[0])
        writer = StoreWriter(store, ManualClock(1.0))
        numbers, stop = iter(range(10**9)), asyncio.Event()

        async def produce():
            while not stop.is_set():
                b = next(numbers)
                try:
                    acknowledged[b] = await writer.append(rows_of(b, tag))
                except StoreError:
                    failed.append(b)
                    await asyncio.sleep(0.01)

        tasks = [asyncio.create_task(produce()) for _ in range(4)]
        rng = np.random.default_rng(3)
        for _ in range(KILLS):
            before = len(acknowledged)
            await asyncio.sleep(rng.uniform(0.05, 0.3))
            await asyncio.to_thread(postgres_server.kill)
            await asyncio.to_thread(postgres_server.start)
            while len(acknowledged) < before + 50:  # noqa: ASYNC110 (four tasks move it)
                await asyncio.sleep(0.01)
        stop.set()
        await asyncio.gather(*tasks)
        await writer.close()

    asyncio.run(scenario())
    store = open_place(place)
    journal = join([block.rows for block in store.blocks()])
    for b, first in acknowledged.items():
        assert np.all(journal.value[first : first + 1 + b % 50] == b)
    written, counts = np.unique(journal.value, return_counts=True)
    assert np.array_equal(counts, 1 + written.astype(int) % 50)  # whole batches, each once
    assert not set(written.astype(int)) & set(failed)  # what was refused is not there either
    t, value = store.history("twin", "x", -np.inf, np.inf)
    order = np.argsort(journal.t, kind="stable")
    assert np.array_equal(t, journal.t[order])
    assert np.array_equal(value, journal.value[order])
    store.close()


@pytest.mark.parametrize("done", [True, False])
def test_a_commit_whose_answer_was_lost_is_settled_exactly(postgres_server, place, monkeypatch, done):
    """The connection goes right after, or right before, the server commits: the store finds out which."""
    store = open_place(place)
    tag = int(store.tag_ids("a", ["x"])[0])
    writer = store._writer
    commit = writer.commit

    def cut():
        monkeypatch.setattr(writer, "commit", commit)
        if done:
            writer._raw.execute("COMMIT")
        pid = writer._raw.info.backend_pid
        statement(postgres_server, place, f"SELECT pg_terminate_backend({pid})")
        commit()

    monkeypatch.setattr(writer, "commit", cut)
    if done:
        assert append(store, rows_of(4, tag)) == 0
    else:
        with pytest.raises(UnavailableError, match="not acknowledged"):
            append(store, rows_of(4, tag))
    rest = 5 if done else 0
    assert store.next_seq == rest
    assert append(store, rows_of(5, tag)) == rest
    assert store.verify() == rest + 6
    store.close()


def test_a_commit_that_cannot_be_settled_ends_the_writer(postgres_server, place, monkeypatch):
    store = open_place(place, delays=SOON)
    tag = int(store.tag_ids("a", ["x"])[0])
    commit = store._writer.commit

    def cut():
        store._writer._raw.execute("COMMIT")
        postgres_server.stop()
        commit()

    monkeypatch.setattr(store._writer, "commit", cut)
    with pytest.raises(StoreError, match="Whether the last commit was done"):
        append(store, rows_of(4, tag))
    monkeypatch.undo()
    postgres_server.start()
    with pytest.raises(StoreError, match="start again"):
        append(store, rows_of(5, tag))
    store.close()
    again = open_place(place)
    assert again.next_seq == 5  # it was done, and who starts again sees it
    again.close()


def test_an_error_that_is_swallowed_inside_a_transaction_is_not_a_commit(place):
    """PostgreSQL answers ROLLBACK, without an error, to the COMMIT of a failed transaction."""
    store = open_place(place)
    tag = int(store.tag_ids("a", ["x"])[0])

    def swallow():
        with store.transaction():
            store.append(rows_of(4, tag), 1.0)
            with pytest.raises(psycopg.Error):
                store._writer.execute("SELECT nothing")

    with pytest.raises(StoreError, match="had failed before its end"):
        swallow()
    assert store.next_seq == 0
    assert append(store, rows_of(4, tag)) == 0
    store.close()


def test_a_paused_writer_comes_back_fenced_even_over_a_new_connection(postgres_server, place):
    first = open_place(place)
    tag = int(first.tag_ids("a", ["x"])[0])
    first._writer.begin()  # paused inside a transaction, holding its locks
    second = open_place(place, takeover=True)
    append(second, rows_of(3, tag))
    first._writer.rollback()
    with pytest.raises(FencedError, match="has taken over"):
        append(first, rows_of(4, tag))
    second.close()
    with pytest.raises(FencedError, match="has taken over"):  # also when the lock is free again
        append(first, rows_of(4, tag))
    first.close()


def test_a_session_that_the_server_still_believes_alive_is_ended(postgres_server, place):
    """As after a cut line: our end is closed, the server's holds the lock and an open transaction."""
    store = open_place(place)
    tag = int(store.tag_ids("a", ["x"])[0])
    store._writer.begin()
    store._writer.execute("UPDATE meta SET value = 77 WHERE key = 'commits'")
    ghost, store._writer._raw = store._writer._raw, psycopg.connect(postgres_server.url)
    store._writer._raw.close()
    store._writer.rollback()
    assert append(store, rows_of(3, tag)) == 0
    with pytest.raises(psycopg.OperationalError):
        ghost.execute("COMMIT")
    ghost.close()
    assert store.verify() == 4
    store.close()


def test_a_server_without_the_last_commits_is_refused(postgres_server, place):
    """As a standby that lagged and took over, or a copy: the store had been told of one commit more."""
    store = open_place(place)
    tag = int(store.tag_ids("a", ["x"])[0])
    append(store, rows_of(3, tag))
    key, value, seal = statement(postgres_server, place, "SELECT key, value, seal FROM meta WHERE key='commits'")[0]
    append(store, rows_of(4, tag))
    statement(postgres_server, place, "DELETE FROM block WHERE first > 0")
    statement(postgres_server, place, f"UPDATE meta SET value={value}, seal='\\x{seal.hex()}' WHERE key='{key}'")
    with pytest.raises(CorruptionError, match="older copy, or a standby"):
        append(store, rows_of(5, tag))
    store.close()


def test_a_server_that_does_not_flush_is_refused(postgres_server, place):
    postgres_server.stop()
    postgres_server.start("-c", "fsync=off")
    try:
        with pytest.raises(StoreError, match="fsync = off"):
            open_place(place)
    finally:
        postgres_server.stop()
        postgres_server.start()


def test_each_version_is_reached_in_one_transaction_and_a_newer_one_refused(postgres_server, place, monkeypatch):
    store = open_place(place)
    append(store, rows_of(3, int(store.tag_ids("a", ["x"])[0])))
    store.close()
    monkeypatch.setattr(postgres_schema, "VERSION", 5)
    monkeypatch.setattr(postgres_schema, "UPGRADES", {3: "CREATE TABLE two(x bigint); SELECT nothing"})
    with pytest.raises(StoreError, match="nothing"):
        open_place(place)
    assert statement(postgres_server, place, "SELECT version FROM pollux") == [(3,)]
    monkeypatch.setattr(postgres_schema, "UPGRADES", {3: "CREATE TABLE two(x bigint)", 4: "DROP TABLE two"})
    store = open_place(place)
    assert store.verify() == 4
    store.close()
    assert statement(postgres_server, place, "SELECT version FROM pollux") == [(5,)]
    monkeypatch.undo()
    with pytest.raises(StoreError, match="has version 5"):
        open_place(place)


def test_a_schema_of_another_program_is_refused(postgres_server, place):
    statement(postgres_server, "#public", f"CREATE SCHEMA {schema_of(place)}")
    statement(postgres_server, place, "CREATE TABLE other(x bigint)")
    with pytest.raises(StoreError, match="that Pollux made"):
        open_place(place)


def test_text_that_postgres_cannot_hold_comes_back(place):
    store = open_place(place)
    message = "nul \x00, sub \x1a, \x1a0 and \x1a1"
    with store.transaction():
        store.refuse([Refused(1.0, "s", message, "topic", message, b"\x00")])
        store.add_event(1.0, "a", "note", {"text": message}, ref=message)
    kept, _ = store.refused()
    assert (kept[0].topic, kept[0].message) == (message, message)
    event = store.events()[0]
    assert (event.ref, event.data) == (message, {"text": message})
    store.close()


# Not the columns by which a row is found (twin, tag): an UPDATE of those is no damage but a forgery, index and all.
COLUMNS = {
    "block": ["received", "data", "previous", "rows", "first"],
    "chunk": ["t_max", "data", "rows"],
    "track": ["t_min", "data", "width"],
    "event": ["t", "kind", "ref", "data", "seq"],
    "refused": ["received", "topic", "payload"],
    "refused_count": ["n"],
    "tag": ["name"],
    "meta": ["value"],
}


def test_a_changed_value_anywhere_is_detected_and_never_used(postgres_server, place, monkeypatch):
    """Every sealed column of every table is altered in one row, below the store."""
    monkeypatch.setattr(compact, "TAIL_ROWS", 100)
    store = open_place(place)
    ids = store.tag_ids("a", ["x", "y"])
    for k in range(4):
        with store.transaction():
            store.append(Rows(50.0 * k + np.arange(50), np.resize(ids, 50).astype(np.uint32), np.ones(50)), 1.0)
            store.add_event(float(k), "a", "alarm", {"k": k}, ref="r")
            store.refuse([Refused(1.0, "s", "t", "late", f"{k}", b"payload")])
            store.add_track("a", Track(np.array([float(k)]), np.ones((1, 2)), np.ones((1, 2))))
            store.save_snapshot(Snapshot("a", store.next_seq, float(k), "m", b"state"))
        store.maintain()
    store.close()

    def read_all():
        store = open_place(place)
        try:
            store.verify()
            found = [store.events(), store.events_from("a", 0), store.refused()]
            for tag in ("x", "y"):
                found.append([a.tobytes() for a in store.history("a", tag, -np.inf, np.inf)])
            found.append(store.track("a", -np.inf, np.inf).t.tobytes())
            return repr(found)
        finally:
            store.close()

    expected = read_all()
    for table, columns in COLUMNS.items():
        for column in columns:
            (kind,) = statement(
                postgres_server, place,
                "SELECT data_type FROM information_schema.columns WHERE table_schema = "
                f"'{schema_of(place)}' AND table_name = '{table}' AND column_name = '{column}'",
            )[0]  # fmt: skip
            other = {
                "bytea": f"set_byte({column}, 1, get_byte({column}, 1) # 16)",
                "text": f"{column} || 'x'",
            }.get(kind, f"{column} + 1")
            statement(postgres_server, place, f"CREATE TABLE kept AS SELECT * FROM {table}")
            row = "first = 50" if table == "block" else f"ctid = (SELECT max(ctid) FROM {table})"
            assert statement(postgres_server, place, f"UPDATE {table} SET {column} = {other} WHERE {row}") == 1
            try:
                found = read_all()
            except CorruptionError:
                pass
            else:
                assert found == expected, f"{table}.{column}"
                raise AssertionError(f"{table}.{column} was changed unnoticed")
            finally:
                statement(postgres_server, place, f"DELETE FROM {table}")
                statement(postgres_server, place, f"INSERT INTO {table} SELECT * FROM kept")
                statement(postgres_server, place, "DROP TABLE kept")
    assert read_all() == expected
