"""A store of version 1 is brought to today's, also when it is killed at any instant; a newer one is refused."""

import contextlib
import os

import apsw
import numpy as np
import power
import pytest
import store_version_1 as old
from store_kinds import open_place

from pollux.core.errors import CorruptionError, StoreError
from pollux.runtime.store import chunks, schema, upgrade
from pollux.runtime.store.base import Rows
from pollux.runtime.store.sqlite import SqliteStore

CUTS = int(os.environ.get("POLLUX_CUTS", "40")) // 3


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    """Six parts where there would be two."""
    monkeypatch.setattr(upgrade, "PART", 16)


def make_file(path):
    connection = apsw.Connection(str(path))
    connection.execute("PRAGMA journal_mode=WAL")
    with connection:
        connection.execute(old.SQLITE)
        connection.execute(f"PRAGMA application_id={0x504C5558}")
        connection.execute("PRAGMA user_version=1")
        old.fill(connection.execute, "?")
    connection.close()


@pytest.fixture
def version_1(place):
    """The place of a store of version 1, of each kind."""
    if "#" not in place:
        make_file(place)
        return place
    import psycopg
    from psycopg import sql

    url, name = place.split("#")
    with psycopg.connect(url) as raw:
        raw.execute(sql.SQL("CREATE SCHEMA {0}; SET search_path = {0}").format(sql.Identifier(name)))
        raw.execute(old.POSTGRES.encode())
        raw.execute("INSERT INTO pollux VALUES (1)")
        old.fill(raw.execute, "%s")
    return place


def check(store):
    """All that version 1 held is there, and the store goes on."""
    for k, name in enumerate(old.TAGS, 1):
        t, value = store.history("a", name, -np.inf, np.inf)
        expected = old.history(k)
        assert np.array_equal(t, expected[0])
        assert np.array_equal(value, expected[1])
        assert store.last_time("a", name) == expected[0][-1]
    rows = len(old.TAGS) * (old.CHUNKS * old.CHUNK_ROWS + old.TAIL)
    assert store.verify() == rows
    assert store.next_seq == rows
    assert store.load_snapshot("a", "model").data == b"state"
    assert [e.data for e in store.events()] == [{"k": 1}]


def test_version_1_is_brought_to_todays_and_the_store_goes_on(version_1):
    store = open_place(version_1)
    check(store)
    with store.transaction():
        store.append(Rows(np.array([9e6]), store.tag_ids("a", ["x"]), np.array([1.0])), 6.0)
    assert store.last_time("a", "x") == 9e6
    store.close()
    again = open_place(version_1)
    assert again.last_time("a", "x") == 9e6
    levels = {row[0] for row in again._writer.execute("SELECT DISTINCT level FROM chunk").fetchall()}
    assert levels == {0, *chunks.LEVELS}
    again.close()


@pytest.mark.parametrize("parts", [0, 2, 4])
def test_an_upgrade_that_ends_on_the_way_goes_on_at_the_next_start(version_1, monkeypatch, parts):
    rewrite = upgrade.PARTS[2]
    left = iter(range(parts))

    def fails(connection):
        more = rewrite(connection)
        if next(left, None) is None:
            raise StoreError("the end")
        return more

    with monkeypatch.context() as patched:
        patched.setattr(upgrade, "PARTS", {2: fails})
        with pytest.raises(StoreError, match="the end"):
            open_place(version_1)
    store = open_place(version_1)
    check(store)
    store.close()


@pytest.mark.filterwarnings("ignore")  # a connection that the cut left behind says so when it is collected
def test_a_power_cut_in_an_upgrade_loses_nothing(tmp_path):
    make_file(tmp_path / "store.db")
    before = (tmp_path / "store.db").read_bytes()
    rng = np.random.default_rng(2)
    versions = set()
    for k, after in enumerate(np.linspace(0, 200, CUTS).astype(int)):
        folder, left = tmp_path / f"run{k}", tmp_path / f"left{k}"
        folder.mkdir()
        left.mkdir()
        path = folder / "store.db"
        path.write_bytes(before)
        disk = power.Disk(f"upgrade{k}", int(after))
        disk.synced[str(path)] = bytearray(before)
        with contextlib.suppress(power.PowerCut, StoreError, apsw.Error):
            SqliteStore(path, vfs=disk.name).close()
        disk.leave(left, rng)
        disk.unregister()
        connection = apsw.Connection(str(left / "store.db"))
        versions.add(connection.execute("PRAGMA user_version").get)
        connection.close()
        store = SqliteStore(left / "store.db")
        check(store)
        store.close()
    assert versions == {1, 2, 3}


def test_a_damaged_chunk_of_version_1_is_said(tmp_path):
    make_file(tmp_path / "store.db")
    connection = apsw.Connection(str(tmp_path / "store.db"))
    connection.execute("UPDATE chunk SET rows=19 WHERE id=77")
    connection.close()
    with pytest.raises(CorruptionError, match="chunk 77"):
        SqliteStore(tmp_path / "store.db")


def test_a_version_that_is_newer_is_refused_and_one_that_is_older_not_read_beside_it(tmp_path):
    path = tmp_path / "store.db"
    make_file(path)
    with pytest.raises(StoreError, match="Start the project once"):
        schema.open_reader(path)
    SqliteStore(path).close()
    connection = apsw.Connection(str(path))
    connection.execute("PRAGMA user_version=4")
    connection.close()
    with pytest.raises(StoreError, match="has version 4"):
        SqliteStore(path)
