"""A project that keeps its readings for a while: restarts are bit for bit, an edited model begins with what is kept."""

import asyncio

import numpy as np
import pytest

from pollux.runtime import fold
from pollux.runtime.store import compact
from pollux.runtime.store.retain import needed

from .project import write
from .test_recall import START, Plant, bits


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.setattr(fold, "SNAPSHOT_EVERY", 10)
    monkeypatch.setattr(compact, "TAIL_ROWS", 40)
    monkeypatch.setattr(compact, "PER_CHANNEL", 1)
    folder = write(tmp_path / "bench")
    toml = folder / "pollux.toml"
    toml.write_text(toml.read_text() + '\n[store]\nkeep = "1 h"\n')
    return folder


def test_what_a_restart_needs_is_never_dropped(project, tmp_path):
    state = tmp_path / "state"

    async def walk():
        async with Plant(project, state) as plant:
            for t in range(1, 61):
                await plant.send(float(t), 100.0 + 5 * np.sin(0.1 * t))
            plant.clock.advance(7200.0)
            for t in range(61, 70):
                await plant.send(float(t), 100.0 + 5 * np.sin(0.1 * t))
            for _ in range(500):  # the writer's thread drops while it is idle
                if plant.engine._writer.store.first_seq:
                    break
                await asyncio.sleep(0.01)
            store = plant.engine._writer.store
            assert 0 < store.first_seq <= needed(store._reader, ["tank"])
            before, count = bits(plant.lane.live), plant.lane.live.state.count
        async with Plant(project, state, START + 8000) as again:
            assert bits(again.lane.live) == before
        twin = project / "twin.py"
        twin.write_text(twin.read_text().replace("0.01, prior", "0.011, prior"))
        async with Plant(project, state, START + 9000) as edited:
            first = edited.engine._writer.store.first_seq
            assert edited.lane.live.ready
            assert 0 < edited.lane.live.state.count < count
            await edited.send(70.0, 100.0)
            assert edited.lane.live.t == 70.0
        return first

    assert asyncio.run(walk()) > 0
