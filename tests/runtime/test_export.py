"""What is exported is what the store holds, read back with pandas and with the csv module."""

import asyncio
import csv
import json
import subprocess
import sys

import numpy as np
import pytest

from pollux.core.errors import InputError, MissingExtraError
from pollux.core.time import ManualClock
from pollux.runtime import export as exports
from pollux.runtime.cli import run
from pollux.runtime.connect.memory import MemoryConnector
from pollux.runtime.connect.wire import Message
from pollux.runtime.engine import Engine
from pollux.runtime.export import Wanted, export
from pollux.runtime.store.base import Rows
from pollux.runtime.store.reading import reading
from pollux.runtime.store.sqlite import SqliteStore
from pollux.runtime.wiring import read_wiring

from .project import write

pandas = pytest.importorskip("pandas")
DAY = 86_400.0


@pytest.fixture(scope="module")
def lived(tmp_path_factory):
    """A project over midnight, with late and doubled readings: (its state folder, its messages that were accepted)."""
    folder = tmp_path_factory.mktemp("export")
    project, state, sent = write(folder / "bench"), folder / "state", []

    async def story():
        clock, field = ManualClock(1e9), MemoryConnector("field")
        engine = Engine(read_wiring(project), state, clock)
        task = asyncio.create_task(engine.run(lambda wired, after: field))
        await engine.live.wait()
        for k in range(80):
            clock.advance(1.0)
            t = 3 * DAY - 40 + (k if k % 9 else k - 30)
            for tag, value, unit in (("LT1", 100 + np.sin(k), "cm"), ("FT1", 10.0 + 0.1 * k, "L/s")):
                await field.push([Message("field", "tank", tag, float(t), float(value), unit)])
                sent.append((float(t), tag, float(value), clock.now()))
        await engine.settled()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(story())
    return state, sent


def test_parquet_holds_everything_that_was_accepted_bit_for_bit(lived, tmp_path):
    state, sent = lived
    assert run(["export", "parquet", str(tmp_path / "out"), "--state", str(state), "--json"]) == 0
    frame = pandas.read_parquet(tmp_path / "out" / "readings")
    assert list(frame.columns) == ["time", "t", "received", "twin", "tag", "field", "unit", "value", "date"]
    assert sorted(frame["date"].astype(str).unique()) == ["1970-01-03", "1970-01-04"]
    frame = frame.sort_values(["received", "tag"], ascending=[True, False], kind="stable")
    assert frame["t"].tolist() == [t for t, *_ in sent]
    assert frame["received"].tolist() == [received for *_, received in sent]
    assert frame["tag"].astype(str).tolist() == [tag for _, tag, *_ in sent]
    expected = [value * {"LT1": 0.01, "FT1": 0.001}[tag] for _, tag, value, _ in sent]
    np.testing.assert_allclose(frame["value"], expected, rtol=1e-15)
    assert set(frame["unit"].astype(str)) == {"m", "m^3/s"}
    assert frame["time"].map(lambda time: time.timestamp()).tolist() == frame["t"].tolist()
    with reading(state / "journal.db") as store:
        assert np.array_equal(np.concatenate([b.rows.value for b in store.blocks()]), frame["value"])
        track = store.track("tank", -np.inf, np.inf)
        kinds = [e.kind for e in store.event_page(0, 10_000)]
    wide = pandas.read_parquet(tmp_path / "out" / "estimates").pivot(index="t", columns="name", values=["mean", "sd"])
    assert np.array_equal(wide.index, track.t)
    assert np.array_equal(wide["mean"][["h", "k"]], track.mean)
    assert np.array_equal(wide["sd"][["h", "k"]], track.sd)
    told = pandas.read_parquet(tmp_path / "out" / "events").sort_values("received", kind="stable")
    assert sorted(told["kind"].astype(str)) == sorted(kinds)
    assert json.loads(told[told["kind"] == "raised"]["data"].iloc[0])["estimates"] == [["h", "m"], ["k", "m^5/2/s"]]


def test_csv_says_the_same(lived, tmp_path):
    state, sent = lived
    start, end = 3 * DAY - 10, 3 * DAY + 10
    args = ["--start", str(start), "--end", "1970-01-04T00:00:10", "--what", "readings,estimates", "-t", "tank"]
    assert run(["export", "csv", str(tmp_path / "out"), "--state", str(state), *args]) == 0
    rows = []
    for file in sorted((tmp_path / "out" / "readings").rglob("*.csv")):
        with file.open(newline="") as opened:
            rows += list(csv.DictReader(opened))
    expected = sorted((t, tag) for t, tag, *_ in sent if start <= t <= end)
    assert sorted((float(r["t"]), r["tag"]) for r in rows) == expected
    assert rows[0]["time"].endswith("Z")
    assert not (tmp_path / "out" / "events").exists()


def test_batches_and_open_files_change_nothing(lived, tmp_path, monkeypatch):
    """The same tables from batches of 7 rows and one open file at a time."""
    state, _ = lived
    with reading(state / "journal.db") as store:
        whole = export(store, tmp_path / "whole", Wanted(), "parquet")
        monkeypatch.setattr(exports, "BATCH", 7)
        monkeypatch.setattr(exports, "OPEN", 1)
        assert export(store, tmp_path / "parts", Wanted(), "parquet") == whole
    assert len(list((tmp_path / "parts").rglob("*.parquet"))) > len(list((tmp_path / "whole").rglob("*.parquet")))
    for name, keys in (("readings", ["received", "tag"]), ("estimates", ["t", "name"])):
        one, other = (
            pandas.read_parquet(tmp_path / k / name).astype({"date": str, "twin": str, keys[-1]: str})
            .sort_values(keys).reset_index(drop=True)
            for k in ("whole", "parts")
        )  # fmt: skip
        for column in one.columns:
            assert one[column].astype(str).tolist() == other[column].astype(str).tolist()


def test_memory_does_not_grow_with_the_store(tmp_path):
    """Two million rows are exported holding some batches, not the store: measured in a process of its own."""
    store = SqliteStore(tmp_path / "journal.db")
    (tag,) = store.tag_ids("tank", ["LT1"])
    for k in range(40):
        t = np.arange(k * 50_000, (k + 1) * 50_000) / 50.0
        with store.transaction():
            store.append(Rows(t, np.full(len(t), tag, np.uint32), np.sin(t)), 1e9 + k)
    store.close()
    code = """
import resource, sys
from pathlib import Path
import pyarrow.parquet
from pollux.runtime.export import Wanted, export
from pollux.runtime.store.reading import reading
folder = Path(sys.argv[1])
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with reading(folder / "journal.db") as store:
    export(store, folder / "a", Wanted(end=4000.0), "parquet")
    few = peak()
    print(export(store, folder / "b", Wanted(), "parquet")["readings"], peak() - few)
"""
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    rows, grown = map(int, done.stdout.split())
    assert rows == 2_000_000
    assert grown < 50_000  # kB; the rows alone are 48 MB three times over


def test_what_cannot_be_exported_says_why(lived, tmp_path, monkeypatch, capsys):
    state, _ = lived
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("x")
    for arguments, said in (
        (["csv", str(tmp_path / "full")], "not overwritten"),
        (["csv", str(tmp_path / "a"), "-t", "pump"], "no twin 'pump'"),
        (["csv", str(tmp_path / "b"), "--what", "all"], "readings, estimates, events"),
        (["csv", str(tmp_path / "c"), "--start", "soon"], "2026-11-24T14:03"),
    ):
        assert run(["export", *arguments, "--state", str(state)]) == InputError.exit_code
        assert said in " ".join(capsys.readouterr().err.split())
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    assert run(["export", "parquet", str(tmp_path / "d"), "--state", str(state)]) == MissingExtraError.exit_code
    assert "frames" in capsys.readouterr().err
    assert not (tmp_path / "d").exists()
