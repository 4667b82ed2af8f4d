"""G12: a twin whose fold hangs, or whose kernels cannot be compiled, holds up nobody else."""

import asyncio
from typing import Any

from .bench import Bench, until, write_twins

SOURCE = '''

def hanging():
    """Its third step never ends."""
    import threading

    from pollux.mirror.update import Mirror, build_mirror
    from pollux.runtime.blueprint import Blueprint

    class Hanging(Mirror):
        release = threading.Event()

        def update(self, belief, readings, excluded=frozenset()):
            if readings.t == 3.0:
                self.release.wait()
            return super().update(belief, readings, excluded)

    return Blueprint(Tank(), mirror=lambda: Hanging(**vars(build_mirror(Tank()))))


def broken():
    """Its forecaster cannot be made."""
    from pollux.runtime.blueprint import Blueprint

    return Blueprint(Tank(), forecaster=lambda: 1 // 0)
'''


def test_a_twin_that_hangs_or_has_no_kernels_holds_up_nobody_else(tmp_path, monkeypatch):
    monkeypatch.setattr("pollux.runtime.engine.BACKLOG", 20)
    twins = {
        "hanging": 'definition = "twin.py:hanging"\ntrack = []',
        "broken": 'definition = "twin.py:broken"\ntrack = []',
        "good": "",
    }
    project = write_twins(tmp_path / "project", twins, SOURCE)

    async def story():
        async with Bench(project, tmp_path / "state") as bench:
            flood = asyncio.create_task(flood_of(bench))
            try:
                async with asyncio.timeout(60):
                    for k in range(1, 60):
                        await bench.push("good", k)
                        await bench.push("broken", k)
                    await until(lambda: bench.belief("good").t == 59)
                    await until(lambda: any(a.subject == "kernels" for a in bench.alarms("broken")))
                assert not flood.done()  # who feeds the hanging twin waits
                assert bench.engine._running["hanging"].backlog.qsize() <= 22
            finally:
                flood.cancel()
                mirror: Any = bench.lane("hanging").live.parts.mirror
                mirror.release.set()

    async def flood_of(bench):
        for k in range(1, 1000):
            await bench.push("hanging", k)

    asyncio.run(story())
