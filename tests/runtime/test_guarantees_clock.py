"""The clock of the machine is set back and forward: no belief goes back, nothing crashes, nobody is called silent."""

import asyncio
from dataclasses import dataclass

import numpy as np
import pytest

from pollux.core.signals import Health
from pollux.core.time import ManualClock

from .bench import Bench, messages, until, write_twins

T0 = 1_700_000_000


@dataclass
class SetClock(ManualClock):
    """A clock that somebody sets: `now` jumps, `monotonic` does not."""

    set_by: float = 0.0

    def now(self) -> float:
        return self.t + self.set_by


async def story(project, state, steps):
    """A second of true time at a time; the sources are right. `steps`: second -> what the clock is set by."""
    clock = SetClock(float(T0))
    times, found = {"event": [], "wall": []}, {}
    async with Bench(project, state, clock) as bench:
        for k in range(60):
            clock.set_by += steps.get(k, 0.0)
            for twin in times:
                receipt = await bench.fields[f"field-{twin}"].push(messages(twin, T0 + k))
                assert receipt.accepted == 2, receipt.refused
            clock.advance(1.0)
            await asyncio.sleep(0.03)  # the engine's own ticks come between
            await bench.engine.settled()
            for twin, seen in times.items():
                if bench.lane(twin).live.ready:
                    seen.append(bench.belief(twin).t)
        await until(lambda: bench.belief("event").t == T0 + 59)
        assert not bench.task.done()
        for twin in times:
            b = bench.belief(twin)
            found[twin] = (b.mean.tobytes(), b.cov.tobytes(), b.id), b, [a.summary for a in bench.alarms(twin)]
    return times, found


@pytest.mark.parametrize("steps", [{20: -3600.0}, {20: 3600.0}, {15: 40.0, 30: -90.0}], ids=["back", "forward", "both"])
def test_setting_the_machines_clock_moves_no_belief_back_and_silences_nobody(tmp_path, steps):
    wall = 'time = "wall"\njump = 1e5\nmirror = { every = 1.0 }'
    project = write_twins(tmp_path / "project", {"event": "mirror = { every = 1.0 }", "wall": wall})
    _, right = asyncio.run(story(project, tmp_path / "right", {}))
    times, found = asyncio.run(story(project, tmp_path / "set", steps))
    for twin, seen in times.items():
        assert np.all(np.diff(seen) >= 0), twin
        assert seen[-1] <= T0 + 61, twin  # it does not run away either
    assert found["event"][0] == right["event"][0]
    for twin in times:
        assert found[twin][1].health[0] == Health.GOOD, (twin, found[twin][1].age)
