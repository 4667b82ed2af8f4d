"""What comes too late: marked, kept, and fused by a re-run that equals the in-order answer bit for bit."""

import asyncio
import json

import numpy as np
import pytest

from pollux.autonomy.policy import Principal
from pollux.core.errors import InputError
from pollux.core.time import ManualClock
from pollux.runtime.cli.retrace import retraced
from pollux.runtime.connect.memory import MemoryConnector
from pollux.runtime.connect.wire import Message
from pollux.runtime.engine import Engine
from pollux.runtime.fold import Fold
from pollux.runtime.moments import Moment
from pollux.runtime.wiring import read_wiring

from .time_bench import bits, make, oracle, run, signals, write

ANN = Principal("ann", "engineer", "person")
TAGS = ("top", "low", "lab", "q")
SOURCES = ("plc1", "plc2", "lab", "plc1")


@pytest.fixture(scope="module")
def twin(tmp_path_factory):
    return make(tmp_path_factory.mktemp("rerun") / "p", lab=0)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return write(tmp_path_factory.mktemp("rerun") / "project", lab=0)


def messages(rows):
    return [Message("field", "pair", TAGS[port], t, value, via=SOURCES[port]) for port, t, value in rows]


class Bench:
    """The whole engine over a real store."""

    def __init__(self, folder, state):
        self.engine, self.field = Engine(read_wiring(folder), state, ManualClock(1e9)), MemoryConnector("field")

    async def __aenter__(self):
        self.task = asyncio.create_task(self.engine.run(lambda wired, after: self.field))
        await asyncio.wait_for(self.engine.live.wait(), 120)
        return self

    async def __aexit__(self, *error):
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def feed(self, rows):
        for i in range(0, len(rows), 40):
            receipt = await self.field.push(messages(rows[i : i + 40]))
            assert not receipt.refused
        await self.engine.settled()

    async def refold(self, start=None):
        return await self.engine.archive.refold("pair", ANN, start, "the laboratory was late")

    @property
    def live(self):
        return self.engine.lanes()["pair"].live


ROWS = signals(seed=4, seconds=60)
LAB = [row for row in ROWS if row[0] == 2]
REST = [row for row in ROWS if row[0] != 2]
MORE = [(p, t + 60, v) for p, t, v in REST if t <= 20]


def test_a_rerun_gives_the_in_order_answer_and_lives_on(twin, project, tmp_path, monkeypatch):
    """Settled, present, after a restart, after a replay without snapshots, and with the rows that follow."""

    async def story():
        async with Bench(project, tmp_path / "s") as bench:
            await bench.feed(REST)
            await bench.feed(LAB)
            before = bench.live.state.belief
            assert bench.engine.lanes()["pair"].unfused["late"] == len(LAB)
            answer = await bench.refold()
            after, events = bench.live.state.belief, bench.live.state.alarms
            assert answer["before"] == before.id
            assert answer["belief"] == after.id
            assert answer["moved"]["b"]["mean"] == after.mean[1] - before.mean[1] != 0
            await bench.feed(MORE)
            later = bench.live.state.belief
            known = await bench.engine.archive.recall("pair", Moment(before.t - 5, event_time=True))
            charts = bench.live.ring.rows()
        async with Bench(project, tmp_path / "s") as bench:
            restarted = bench.live.state.belief
        monkeypatch.setattr(Fold, "_restore", lambda self, store: 0)
        async with Bench(project, tmp_path / "s") as bench:
            replayed = bench.live.state.belief
            told = bench.engine.lanes()["pair"].trail.last(5)[0]
        return before, after, later, restarted, replayed, known, charts, events, told

    before, after, later, restarted, replayed, known, charts, _, told = run(story())
    whole, without = oracle(twin, [*ROWS, *MORE]), oracle(twin, [*REST, *MORE])
    assert bits(before) == bits(without[before.t])
    assert bits(after) == bits(whole[after.t])
    assert after.t == before.t
    assert bits(later) == bits(whole[later.t])
    assert bits(restarted) == bits(replayed) == bits(later)
    assert restarted.id == replayed.id == later.id
    assert known["estimates"]["b"]["mean"] == without[before.t - 5].mean[1]  # what was known then stays known
    column = {row[0]: row for row in charts}
    assert any(np.array_equal(column[30.0][k : k + 2], whole[30.0].mean) for k in range(len(charts[0])))
    again = retraced(project, tmp_path / "s", "")
    assert again["difference"] == ""
    assert again["audit_records"] == 1
    assert [r["kind"] for r in told] == ["refold"]
    assert told[0]["body"]["by"] == "ann"


def test_a_rerun_from_a_time_on_leaves_what_is_before(twin, project, tmp_path):
    async def story():
        async with Bench(project, tmp_path / "s") as bench:
            await bench.feed(REST)
            await bench.feed(LAB)
            await bench.refold(30.0)
            found = bench.live.state.belief
            with pytest.raises(InputError, match="before the settled belief"):
                await bench.refold(1e5)
            return found

    found = run(story())
    kept = [row for row in ROWS if row[0] != 2 or row[1] > 30.0]
    assert len(kept) < len(ROWS)
    assert bits(found) == bits(oracle(twin, kept)[found.t])


def test_a_stopped_project_is_run_again_offline(twin, project, tmp_path):
    from pollux.runtime.cli.refold import offline

    async def story():
        async with Bench(project, tmp_path / "s") as bench:
            await bench.feed(REST)
            await bench.feed(LAB)
        answer = await offline(project, tmp_path / "s", "", None, "late")
        async with Bench(project, tmp_path / "s") as bench:
            return answer, bench.live.state.belief

    answer, found = run(story())
    assert answer["belief"] == found.id
    assert bits(found) == bits(oracle(twin, ROWS)[found.t])


def test_the_command_line_fuses_what_was_late(project, tmp_path, capsys):
    from pollux.runtime.cli import run as command

    async def story():
        async with Bench(project, tmp_path / "s") as bench:
            await bench.feed(REST)
            await bench.feed(LAB)

    run(story())
    place = ["--project", str(project), "--state", str(tmp_path / "s"), "--json"]
    assert command(["refold", *place]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["steps"] >= 56
    assert answer["belief"].startswith("pair/refold")
