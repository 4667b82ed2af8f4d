"""A backup under a stream of writes is that of one instant, whole, and the twin raised from it has the same bits."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from pollux.autonomy.killswitch import KillSwitch
from pollux.autonomy.policy import Principal
from pollux.core.errors import CorruptionError, InputError, StoreError
from pollux.core.time import ManualClock
from pollux.runtime.backup import back_up, check_backup, restore
from pollux.runtime.connect.memory import MemoryConnector
from pollux.runtime.connect.wire import Message
from pollux.runtime.engine import Engine
from pollux.runtime.events import Intent
from pollux.runtime.moments import Moment
from pollux.runtime.store.base import Rows
from pollux.runtime.store.reading import reading
from pollux.runtime.store.sqlite import SqliteStore
from pollux.runtime.wiring import Wiring, read_wiring

from .project import write

ANN = Principal("ann", "engineer", "person")


def bare(folder: Path) -> tuple[Wiring, Path]:
    """A project that has not run."""
    return read_wiring(write(folder / "bench")), folder / "state"


class Stream(threading.Thread):
    """Writes blocks as fast as it can; `acknowledged` counts the rows that are durable."""

    def __init__(self, path: Path):
        super().__init__(daemon=True)
        self.path, self.acknowledged, self.over = path, 0, threading.Event()
        self.store = SqliteStore(path)
        (self.tag,) = self.store.tag_ids("tank", ["LT1"])

    def run(self) -> None:
        while not self.over.is_set():
            n = self.acknowledged
            t = np.arange(n, n + 500, dtype=float)
            with self.store.transaction():
                self.store.append(Rows(t, np.full(500, self.tag, np.uint32), np.sin(t)), 1e9 + n)
                self.store.add_event(float(n), "tank", "noted", {"n": n})
            self.store.maintain()
            self.acknowledged = n + 500


def test_nothing_acknowledged_before_it_began_is_missing(tmp_path):
    wiring, state = bare(tmp_path)
    stream = Stream(state / "journal.db")
    stream.start()
    while stream.acknowledged < 100_000:
        time.sleep(0.01)
    for k in range(3):
        out = tmp_path / f"copy{k}"
        before = stream.acknowledged
        shares = []
        said = back_up(wiring, state, out, 2e9, shares.append)
        assert shares[-1] == 1.0
        assert stream.acknowledged > before, "the writer went on"
        with reading(out / "state" / "journal.db") as copy:
            assert copy.next_seq == said["rows"] >= before
            assert said["events"] == said["rows"] // 500, "rows and events of one instant"
            t = np.concatenate([b.rows.t for b in copy.blocks()])
            assert np.array_equal(t, np.arange(said["rows"]))
        assert check_backup(out) == said
    stream.over.set()
    stream.join()
    stream.store.close()


async def live(wiring: Wiring, state: Path, work):
    """Run an engine around `work(engine, field)`."""
    field = MemoryConnector("field")
    engine = Engine(wiring, state, ManualClock(1e9))
    task = asyncio.create_task(engine.run(lambda wired, after: field))
    while not engine.live.is_set():
        await asyncio.sleep(0.02)
        assert not task.done(), task.exception()
    try:
        return await work(engine, field)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def test_the_twin_raised_from_a_backup_has_the_same_bits(tmp_path):
    """Taken while readings come; the live twin says what it knew at the instant of the copy."""
    wiring, state = bare(tmp_path)

    async def story(engine, field):
        async def send(first, last):
            for k in range(first, last):
                engine.clock.advance(1.0)
                level = 100 + 5 * np.sin(0.1 * k)
                await field.push([Message("field", "tank", "LT1", float(k), level, "cm"),
                                  Message("field", "tank", "FT1", float(k), 10.0, "L/s")])  # fmt: skip

        await send(1, 60)
        await engine.settled()
        await engine.lanes()["tank"].act(Intent("stop", ANN, {"reason": "backup drill"}))
        sending = asyncio.create_task(send(60, 300))
        copying = asyncio.to_thread(back_up, wiring, state, tmp_path / "out", 2e9)
        said = await copying
        await sending
        await engine.settled()
        with reading(tmp_path / "out" / "state" / "journal.db") as copy:
            received = copy.received(copy.next_seq)
        return said, await engine.archive.recall("tank", Moment(received))

    said, known = asyncio.run(live(wiring, state, story))
    assert said["rows"] >= 118
    assert said["audit_records"] >= 1
    restored = tmp_path / "again"
    assert restore(tmp_path / "out", restored)["rows"] == said["rows"]
    assert KillSwitch(restored / "STOPPED").stopped()

    async def look(engine, field):
        return engine.lanes()["tank"].live.view.belief, engine.lanes()["tank"].live.stopped()

    belief, stopped = asyncio.run(live(read_wiring(tmp_path / "out" / "project"), restored, look))
    assert stopped
    assert belief.id == known["belief"]
    assert [known["estimates"][n]["mean"] for n in ("h", "k")] == belief.mean.tolist()
    assert [known["estimates"][n]["sd"] for n in ("h", "k")] == np.sqrt(np.diag(belief.cov)).tolist()


def test_nothing_is_overwritten_and_what_is_altered_is_found(tmp_path):
    wiring, state = bare(tmp_path)
    with pytest.raises(InputError, match="no state folder"):
        back_up(wiring, state, tmp_path / "out", 0.0)
    SqliteStore(state / "journal.db").close()
    (state / "STOPPED").write_text("{}")
    (state / "tokens.json").write_text("[]")
    said = back_up(wiring, state, tmp_path / "out", 0.0)
    assert {"state/journal.db", "state/STOPPED", "state/tokens.json", "project/pollux.toml", "project/twin.py"} == set(
        said["files"]
    )
    with pytest.raises(InputError, match="not overwritten"):
        back_up(wiring, state, tmp_path / "out", 0.0)
    with pytest.raises(InputError, match="not overwritten"):
        restore(tmp_path / "out", state)
    with pytest.raises(InputError, match="outside of the state folder"):
        back_up(wiring, state, state / "out", 0.0)
    with pytest.raises(InputError, match="is no backup"):
        restore(state, tmp_path / "there")
    file = tmp_path / "out" / "state" / "journal.db"
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2] ^= 1
    file.write_bytes(raw)
    with pytest.raises(CorruptionError, match="checksum"):
        restore(tmp_path / "out", tmp_path / "there")
    assert not (tmp_path / "there").exists()
    (tmp_path / "out" / "state" / "tokens.json").unlink()
    with pytest.raises(CorruptionError, match="missing or strange"):
        restore(tmp_path / "out", tmp_path / "there")


def test_a_damaged_store_makes_no_backup(tmp_path):
    wiring, state = bare(tmp_path)
    stream = Stream(state / "journal.db")
    with stream.store.transaction():
        stream.store.append(Rows(np.arange(5e3), np.full(5000, stream.tag, np.uint32), np.zeros(5000)), 1.0)
    stream.store.close()
    raw = bytearray((state / "journal.db").read_bytes())
    raw[raw.index(np.arange(2000.0, 2010.0).tobytes())] ^= 1
    (state / "journal.db").write_bytes(raw)
    with pytest.raises(CorruptionError):
        back_up(wiring, state, tmp_path / "out", 0.0)
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "out.partial").exists()


@pytest.mark.parametrize("where", ["copy", "check", "name"])
def test_killed_in_the_middle_it_leaves_nothing_that_looks_whole(tmp_path, where):
    wiring, state = bare(tmp_path)
    stream = Stream(state / "journal.db")
    with stream.store.transaction():
        stream.store.append(Rows(np.arange(5e4), np.full(50_000, stream.tag, np.uint32), np.zeros(50_000)), 1.0)
    stream.store.close()
    code = f"""
import os, signal, sys
from pathlib import Path
from pollux.runtime import backup, folders
from pollux.runtime.store import backup as store
from pollux.runtime.wiring import read_wiring
def die(*_): os.kill(os.getpid(), signal.SIGKILL)
store.STEP = 10
if {where!r} == "check": backup.check_store = die
if {where!r} == "name": folders.settle = die
said = die if {where!r} == "copy" else lambda share: None
project, state, out = map(Path, sys.argv[1:])
backup.back_up(read_wiring(project), state, out, 0.0, said)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, wiring.folder, state, tmp_path / "out"],
        env={**os.environ},
        timeout=60,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "out").exists()
    assert (tmp_path / "out.partial").exists()
    with pytest.raises(InputError, match="is no backup"):
        check_backup(tmp_path / "out")
    assert back_up(wiring, state, tmp_path / "out", 0.0)["rows"] == 50_000
    assert not (tmp_path / "out.partial").exists()


def test_two_backups_of_one_name_do_not_meet(tmp_path):
    wiring, state = bare(tmp_path)
    SqliteStore(state / "journal.db").close()
    found = []

    def again(share):
        if not found:
            with pytest.raises(InputError, match="another process"):
                back_up(wiring, state, tmp_path / "out", 0.0)
            found.append(share)

    back_up(wiring, state, tmp_path / "out", 0.0, again)
    assert found


def test_a_journal_in_postgres_is_left_to_its_own_tools(tmp_path):
    wiring, state = bare(tmp_path)
    toml = wiring.folder / "pollux.toml"
    toml.write_text(toml.read_text() + '\n[store]\nurl = "postgresql://localhost/x"\n')
    state.mkdir()
    (state / "STOPPED").write_text("{}")
    said = back_up(read_wiring(wiring.folder), state, tmp_path / "out", 0.0)
    assert said["journal"] == "postgresql"
    assert restore(tmp_path / "out", tmp_path / "again")["rows"] == 0
    assert json.loads((tmp_path / "again" / "STOPPED").read_text()) == {}
    with pytest.raises(StoreError, match="cannot be opened"):
        back_up(wiring, state, tmp_path / "other", 0.0)


@pytest.mark.service
def test_pg_dump_of_a_running_store_is_whole(postgres_server, tmp_path):
    """The documented way for a journal in PostgreSQL: dumped under a stream of writes, restored beside it, verified."""
    from postgres_server import binaries

    from pollux.runtime.store.postgres import PostgresStore

    programs = binaries()
    assert programs is not None
    store = PostgresStore(postgres_server.url, "dumped")
    (tag,) = store.tag_ids("tank", ["LT1"])
    acknowledged, over = [0], threading.Event()

    def stream() -> None:
        while not over.is_set():
            t = np.arange(acknowledged[0], acknowledged[0] + 100, dtype=float)
            with store.transaction():
                store.append(Rows(t, np.full(100, tag, np.uint32), t), 1e9)
            acknowledged[0] += 100

    writer = threading.Thread(target=stream)
    writer.start()
    while acknowledged[0] < 2000:
        time.sleep(0.01)
    before, file = acknowledged[0], tmp_path / "dump"
    subprocess.run([programs / "pg_dump", "--format=custom", "--schema=dumped", f"--file={file}", postgres_server.url],
                   check=True, timeout=60)  # fmt: skip
    over.set()
    writer.join()
    store.close()
    other = postgres_server.url.replace("/postgres?", "/again?")
    subprocess.run([programs / "psql", "--command=CREATE DATABASE again", postgres_server.url], check=True, timeout=60)
    subprocess.run([programs / "pg_restore", f"--dbname={other}", file], check=True, timeout=60)
    again = PostgresStore(other, "dumped")
    assert again.verify() == again.next_seq >= before
    again.close()
