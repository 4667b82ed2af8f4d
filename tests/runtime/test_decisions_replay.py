"""G11: the journal decides everything again, bit for bit, in another process; and one changed bit is found.

The project plans with a controller, forecasts, is judged by a guard, and people approve, reject and stop.
"""

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import apsw
import jax
import numpy as np
import pytest

from pollux.autonomy.policy import Principal
from pollux.core.errors import PolluxError
from pollux.core.time import ManualClock
from pollux.runtime.connect.memory import MemoryConnector
from pollux.runtime.connect.wire import Message
from pollux.runtime.engine import Engine
from pollux.runtime.events import Intent
from pollux.runtime.recall import subject
from pollux.runtime.retrace import judges_of, retrace_all
from pollux.runtime.store.seal import seal
from pollux.runtime.wiring import read_wiring

from .project import write

CACHE = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
ANN, EVE = Principal("ann", "engineer", "person"), Principal("eve", "operator", "agent")
PLANNED = '''
from pollux import MpcOptions, build_planner
from pollux.runtime.blueprint import Blueprint


class Priced(Tank):
    """A tank that is to stand at 1.1 m."""

    def goal(self, t, x, u):
        return (x.h - 1.1) ** 2


def unit():
    twin = Priced()
    options = MpcOptions(steps=6, step=10.0, substeps=2)
    return Blueprint(twin=twin, planner=lambda forecaster: build_planner(twin, options, seed=3),
                     settings={"plan_every": 20.0, "seed": 5})
'''


POLICY = """ceiling = 3
max_age = 30.0
hold = 30.0
recover = 30.0
eps = 0.2
consistency = [0.0, 50.0]
veto = 15.0"""


def project(folder: Path) -> Path:
    """The tank with a controller, at a level where people approve."""
    write(folder)
    twin, toml = folder / "twin.py", folder / "pollux.toml"
    twin.write_text(twin.read_text() + PLANNED)
    text = toml.read_text().replace("twin.py:Tank", "twin.py:unit").replace("forecast_hours = 0.05", "lag = 2.0")
    text = text.replace("ceiling = 3", POLICY)
    toml.write_text(text + "\n[twin.live]\nhorizon = 60.0\nforecast_step = 5.0\nforecast_every = 10.0\n")
    return folder


async def run(folder: Path, state: Path, first: int, last: int) -> None:
    """Feed readings, one late in ten; act on what is proposed."""
    rng = np.random.default_rng(first)
    clock, field = ManualClock(1e9 + first), MemoryConnector("field")
    engine = Engine(read_wiring(folder), state, clock)
    task = asyncio.create_task(engine.run(lambda wired, after: field))
    while not engine.live.is_set():
        await asyncio.sleep(0.02)
        assert not task.done(), task.exception()
    lane = engine.lanes()["tank"]
    while lane.live.parts.planner is None:  # noqa: ASYNC110 (compiled beside)
        await asyncio.sleep(0.02)
    for k in range(first, last):
        clock.advance(1.0)
        late = 1.5 * (rng.random() < 0.1)
        level = 100 + rng.normal() + (40.0 if 70 < k < 80 else 0.0)
        await field.push([Message("field", "tank", "LT1", k - late, level, "cm"),
                          Message("field", "tank", "FT1", float(k), 10.0, "L/s")])  # fmt: skip
        await engine.settled()
        if lane.live.ready:
            await lane.look_ahead()
            await act(lane, k)
    await asyncio.sleep(0.1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def act(lane, k: int) -> None:
    """What people and agents do at instant k; a refusal is a result too."""
    intents = []
    if k == 30:
        intents += [Intent("propose", ANN, {"values": {"q": 0.012}, "hours": 0.01, "reason": "fill"})]
    if k in (35, 60, 85):
        intents += [Intent("propose", EVE, {"values": {"q": 0.5 if k == 60 else 0.011}, "reason": "agent"})]
    if k == 45:
        intents += [Intent("level", ANN, {"level": 3, "reason": "trial"})]
    if k == 100:
        intents += [Intent("stop", ANN, {"reason": "drill"}), Intent("reset_stop", ANN, {"reason": "over"})]
    waiting = [p for p in lane.live.state.autonomy.approvals.open if k > 25]
    if waiting and k % 7 == 0:
        p = waiting[0]
        kind = "reject" if k % 14 == 0 else "approve"
        intents += [
            Intent(kind, ANN, {"id": p.id, "reason": "seen"} | ({"hash": p.digest} if kind == "approve" else {}))
        ]
    intents += [
        Intent("acknowledge", ANN, {"id": a.id, "note": ""})
        for a in lane.live.state.alarms.open()
        if a.state == "active"
    ]
    for intent in intents:
        with contextlib.suppress(PolluxError):
            await lane.act(intent)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Compiled kernels of this module's processes: each is compiled once."""
    folder, before = str(tmp_path_factory.mktemp("kernels")), {k: getattr(jax.config, k) for k in CACHE}
    for key, value in zip(CACHE, (folder, 0.0), strict=True):
        jax.config.update(key, value)
    yield {**os.environ, "JAX_PLATFORMS": "cpu", "JAX_COMPILATION_CACHE_DIR": folder,
           "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}  # fmt: skip
    for key, value in before.items():
        jax.config.update(key, value)


@pytest.fixture(scope="module")
def lived(tmp_path_factory, cache):
    """A project that has run twice."""
    folder = tmp_path_factory.mktemp("g11")
    made, state = project(folder / "bench"), folder / "state"
    asyncio.run(run(made, state, 1, 60))
    asyncio.run(run(made, state, 60, 110))
    return made, state


@pytest.fixture(scope="module")
def compiled(lived):
    """Its twin, compiled in this process."""
    whose = subject(read_wiring(lived[0]), "")
    return whose, judges_of(whose)


def retrace(made: Path, state: Path, env: dict[str, str]) -> tuple[int, dict]:
    """`pollux audit replay` in a fresh process: (exit status, its answer)."""
    done = subprocess.run(
        [sys.executable, "-m", "pollux", "audit", "replay", str(made), "--state", str(state), "--json"],
        capture_output=True, text=True, timeout=300, env=env, check=False,
    )  # fmt: skip
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_every_decision_comes_out_again_in_another_process(lived, cache):
    status, said = retrace(*lived, cache)
    assert said["difference"] == ""
    assert status == 0
    (twin,) = said["twins"]
    assert twin["readings"] > 100
    assert twin["beliefs"] == twin["readings"]
    assert twin["forecasts"] >= 5
    assert twin["plans"] >= 3
    assert twin["events"] >= 25
    assert twin["alarms"] >= 1
    assert twin["lost"] == 0
    assert twin["not_covered"] == 0
    assert said["audit_records"] >= 5
    kinds = {r["kind"] for r in map(json.loads, (lived[1] / "audit.jsonl").read_text().splitlines())}
    assert {"pending", "approval", "command", "refusal", "level", "safe"} <= kinds


@pytest.mark.parametrize("what", ["verdict", "forecast", "reading", "belief"])
def test_what_was_altered_is_found(lived, compiled, tmp_path, what):
    """Also where whoever altered it knew how to make the seals right again."""
    _, state = lived
    copy = tmp_path / "state"
    shutil.copytree(state, copy)
    db = apsw.Connection(str(copy / "journal.db"))
    if what in ("verdict", "forecast"):
        kind = "proposed" if what == "verdict" else "foreseen"
        id, t, twin, kind, ref, text, seq = db.execute(
            "SELECT id, t, twin, kind, ref, data, seq FROM event WHERE kind=? ORDER BY id LIMIT 1 OFFSET 2", (kind,)
        ).fetchone()
        data = json.loads(text)
        if what == "verdict":
            data["data"]["asked"]["by"]["name"] = "mallory"
        else:
            digest = data["data"]["asked"]["params"]["forecast"]["digest"]
            data["data"]["asked"]["params"]["forecast"]["digest"] = ("0" if digest[0] != "0" else "1") + digest[1:]
        row = (id, t, twin, kind, ref, json.dumps(data, sort_keys=True), seq)
        db.execute("UPDATE event SET data=?, seal=? WHERE id=?", (row[5], seal(*row), id))
    elif what == "belief":
        row = list(db.execute("SELECT id, twin, t_min, t_max, rows, width, data FROM track ORDER BY id").fetchone())
        row[6] = row[6][:-1] + bytes([row[6][-1] ^ 1])
        db.execute("UPDATE track SET data=?, seal=? WHERE id=?", (row[6], seal(*row), row[0]))
    else:
        at = db.execute("SELECT first FROM block ORDER BY first LIMIT 1 OFFSET 40").get
        columns = "first, rows, received, data, previous, seal"
        blocks = db.execute(f"SELECT {columns} FROM block WHERE first>=? ORDER BY first", (at,)).fetchall()
        data, previous = bytearray(blocks[0][3]), blocks[0][4]
        data[8 * blocks[0][1] + 4] ^= 1  # a bit in the middle of the first value
        for first, n, received, old, _, _ in blocks:  # the whole chain after it, too
            new = bytes(data) if first == at else old
            digest = seal(first, n, received, new, previous)
            db.execute("UPDATE block SET data=?, previous=?, seal=? WHERE first=?", (new, previous, digest, first))
            previous = digest
    db.close()
    assert retrace_all([compiled], copy)["difference"]


def test_where_old_rows_were_dropped_the_rest_comes_out(lived, compiled, tmp_path):
    """From the first snapshot that is left: here that of the end of the first run."""
    copy = tmp_path / "state"
    shutil.copytree(lived[1], copy)
    db = apsw.Connection(str(copy / "journal.db"))
    seq = db.execute("SELECT seq FROM snapshot ORDER BY id LIMIT 1").get
    db.execute("DELETE FROM block WHERE first + rows <= ?", (seq,))
    db.close()
    said = retrace_all([compiled], copy)
    assert said["difference"] == ""
    assert 40 <= said["twins"][0]["readings"] < 60
    assert said["twins"][0]["events"] >= 5
    assert said["twins"][0]["not_covered"] >= 10
