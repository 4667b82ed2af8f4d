"""The walk on a small project: durable, folded, forecast, restarted to the same bits, and clear when wrong."""

import asyncio
import math

import numpy as np
import pytest

from pollux.core.errors import WiringError
from pollux.core.signals import Health
from pollux.runtime.connect.wire import Message
from pollux.runtime.fold import Fold

from .bench import Running
from .project import WIRING, write


def messages(k: int) -> list[Message]:
    level = 100 + 5 * math.sin(0.1 * k)
    return [
        Message("field", "tank", "LT1", float(k), level, "cm"),
        Message("field", "tank", "FT1", float(k), 10.0, "L/s"),
    ]


class Bench(Running):
    """An engine in this process, with its connector at hand."""

    async def feed(self, first, last):
        for k in range(first, last):
            await self.field.push(messages(k))
        await self.engine.settled()

    @property
    def lane(self):
        return self.engine.lanes()["tank"]


@pytest.fixture
def project(tmp_path):
    return write(tmp_path / "bench")


def test_readings_become_a_belief_and_survive_a_restart(project, tmp_path):
    async def story(state, *parts):
        beliefs = []
        for first, last in parts:
            async with Bench(project, state) as bench:
                await bench.feed(first, last)
                beliefs.append(bench.lane.live.state.belief)
        return beliefs[-1]

    whole = asyncio.run(story(tmp_path / "a", (1, 60)))
    parts = asyncio.run(story(tmp_path / "b", (1, 20), (20, 21), (21, 60)))
    assert whole.mean[0] == pytest.approx(1.0 + 0.05 * math.sin(5.9), abs=0.04)
    assert whole.health == (Health.GOOD,)
    np.testing.assert_array_equal(whole.mean, parts.mean)
    np.testing.assert_array_equal(whole.cov, parts.cov)
    assert whole.id == parts.id


@pytest.mark.service
def test_a_journal_in_postgres_gives_the_bits_of_one_in_a_file(project, tmp_path, postgres_server):
    """With a restart of Pollux, and one of the server while it runs."""

    async def story(state, last):
        async with Bench(project, state) as bench:
            await bench.feed(1, 20)
        async with Bench(project, state) as bench:
            await bench.feed(20, 30)
            if last == "restart":
                await asyncio.to_thread(postgres_server.stop)
                await asyncio.to_thread(postgres_server.start)
            await bench.feed(30, 60)
            return bench.lane.live.state.belief

    file = asyncio.run(story(tmp_path / "a", ""))
    toml = project / "pollux.toml"
    toml.write_text(toml.read_text() + f'\n[store]\nurl = "{postgres_server.url}"\n')
    server = asyncio.run(story(tmp_path / "b", "restart"))
    assert not list((tmp_path / "b").glob("journal.db*"))
    np.testing.assert_array_equal(file.mean, server.mean)
    np.testing.assert_array_equal(file.cov, server.cov)
    assert file.id == server.id


def test_replay_without_snapshot_gives_the_same_bits(project, tmp_path, monkeypatch):
    async def first():
        async with Bench(project, tmp_path / "s") as bench:
            await bench.feed(1, 40)
            return bench.lane.live.state

    async def again():
        async with Bench(project, tmp_path / "s") as bench:
            return bench.lane.live.state

    before = asyncio.run(first())
    monkeypatch.setattr(Fold, "_restore", lambda self, store: 0)
    after = asyncio.run(again())
    np.testing.assert_array_equal(before.belief.mean, after.belief.mean)
    np.testing.assert_array_equal(before.belief.cov, after.belief.cov)
    assert before.belief.id == after.belief.id


def test_refused_messages_are_told_and_change_nothing(project, tmp_path):
    async def story():
        async with Bench(project, tmp_path / "s") as bench:
            await bench.feed(1, 10)
            before = bench.lane.live.state.belief
            bad = [
                Message("field", "tank", "LT1", 11.0, 1e15, "cm"),
                Message("field", "tank", "LT1", 11.0, 100.0, "kg"),
                Message("field", "tank", "LT2", 11.0, 100.0, "cm"),
                Message("stranger", "tank", "LT1", 11.0, 100.0, "cm"),
            ]
            receipt = await bench.field.push(bad)
            duplicate = await bench.field.push(messages(9))
            await asyncio.sleep(0.1)
            return before, bench.lane.live.state.belief, receipt, duplicate

    before, after, receipt, duplicate = asyncio.run(story())
    assert receipt.accepted == 0
    assert [reason for _, reason, _ in receipt.refused] == ["range", "unit", "unknown_tag", "authority"]
    assert "did you mean" in receipt.refused[2][2].lower() or "LT1" in receipt.refused[2][2]
    assert duplicate.accepted == 2
    assert after.id == before.id


def test_forecast_is_made_without_being_asked(project, tmp_path):
    async def story():
        async with Bench(project, tmp_path / "s") as bench:
            await bench.feed(1, 5)
            for k in range(5, 400):
                await bench.field.push(messages(k))
                await asyncio.sleep(0.02)
                if bench.lane.live.forecast is not None:
                    return bench.lane.live.forecast
        return None

    forecast = asyncio.run(story())
    assert forecast is not None
    assert np.all(np.diff(forecast.states[:, -1, 0]) >= 0)


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("twin.py:Tank", "twin.py:Tnk", "Did you mean 'Tank'"),
        ("twin.py:Tank", "tiwn.py:Tank", "There is no file"),
        ('unit = "cm"', 'unit = "kg"', "unit"),
        ('field = "level"', 'field = "levle"', "level"),
        ('track = ["k"]', 'track = ["A"]', "prior"),
        ('track = ["k"]', "parameters = { kk = 1.0 }", "parameter"),
    ],
)
def test_wrong_project_is_refused_with_a_way_out(project, tmp_path, old, new, what):
    (project / "pollux.toml").write_text(WIRING.replace(old, new))

    async def story():
        async with Bench(project, tmp_path / "s"):
            pass

    with pytest.raises(Exception, match=what) as error:
        asyncio.run(story())
    assert isinstance(error.value, WiringError) or "prior" in what


def test_twin_file_with_a_mistake(project, tmp_path):
    (project / "twin.py").write_text("import nothing_of_this_name\n")

    async def story():
        async with Bench(project, tmp_path / "s"):
            pass

    with pytest.raises(WiringError, match="cannot be loaded, line 1"):
        asyncio.run(story())


def test_charts_come_back_after_a_restart(project, tmp_path):
    async def story():
        async with Bench(project, tmp_path / "s") as bench:
            await bench.feed(1, 30)
        async with Bench(project, tmp_path / "s") as bench:
            return bench.lane.live.ring.rows()

    rows = asyncio.run(story())
    np.testing.assert_array_equal(rows[:, 0], np.arange(1.0, 30.0))
    np.testing.assert_allclose(rows[:, 1], [1.0 + 0.05 * math.sin(0.1 * k) for k in range(1, 30)])
