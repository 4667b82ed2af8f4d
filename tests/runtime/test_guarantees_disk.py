"""A full disk: nothing is acknowledged that is not durable, an alarm says so, and it goes on by itself."""

import asyncio
import contextlib
import subprocess
from pathlib import Path

import numpy as np
import pytest

from pollux.core.errors import StoreError
from pollux.runtime.store.sqlite import SqliteStore

from .bench import Bench, until, write_twins

STEPS = 45
"""Seconds before the disk is full: more than estimates gather for, so that they too find no room."""


@contextlib.contextmanager
def small_disk(folder: Path):
    """A file system of its own, 8 MB in memory; (fill, free)."""
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(folder)], capture_output=True)
    if done.returncode:
        pytest.skip("a file system of its own needs the right to mount")
    ballast = folder / "ballast"

    def fill(bench: Bench) -> None:
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))

    try:
        yield fill, lambda bench: ballast.unlink()
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@contextlib.contextmanager
def small_database(folder: Path):
    """SQLite told that the file may not grow."""
    folder.mkdir()

    def pages(bench: Bench, most: int) -> None:
        vars(bench.store)["_writer"].execute(f"PRAGMA max_page_count={most}")

    yield lambda bench: pages(bench, 1), lambda bench: pages(bench, 1_000_000)


def digest(bench: Bench):
    b = bench.belief("tank")
    return b.mean.tobytes(), b.cov.tobytes(), b.id, b.source


@pytest.mark.parametrize("disk", [small_disk, small_database])
def test_a_full_disk_stops_acknowledging_is_said_and_goes_on_by_itself(tmp_path, disk):
    project = write_twins(
        tmp_path / "project", {"tank": "live = { clear_after = 5.0 }", "wall": 'time = "wall"\nperiod = 0.05'}
    )

    async def story(state, fill, free):
        acknowledged = []
        async with Bench(project, state) as bench:
            await bench.push("wall", 10**9)
            bench.clock.advance(0.2)
            await until(lambda: bench.lane("wall").live.ready)
            k = 0
            while k < STEPS:
                k += 1
                await bench.push("tank", k)
                acknowledged.append(k)
            fill(bench)
            with contextlib.suppress(StoreError):  # what the log has room for is still acknowledged
                for k in range(STEPS + 1, 100_000):
                    await bench.push("tank", k)
                    acknowledged.append(k)
            await asyncio.sleep(0.5)  # the wall clock of the other twin goes on ticking into the full disk
            assert not bench.task.done()
            with pytest.raises(StoreError, match="room on the disk"):
                await bench.push("tank", k)
            for twin in ("tank", "wall"):
                (alarm,) = [a for a in bench.alarms(twin) if a.subject == "journal"]
                assert "not acknowledged" in alarm.summary
                assert bench.lane(twin).live.card()["status"] != "good"
            assert bench.lane("tank").live.frame()["t"] == bench.belief("tank").t
            free(bench)
            for k in range(acknowledged[-1] + 1, acknowledged[-1] + 30):
                await bench.push("tank", k)
                acknowledged.append(k)
            await bench.engine.settled()
            await until(lambda: not [a for a in bench.alarms("tank") if a.subject == "journal"])
            kinds = [e.kind for e in bench.store.events("tank")]
            assert {"reported", "alarm_raised", "withdrawn", "alarm_cleared"} <= set(kinds)
            return acknowledged, digest(bench)

    async def calm(state, last):
        async with Bench(project, state) as bench:
            for k in range(1, last + 1):
                await bench.push("tank", k)
            await bench.engine.settled()
            return digest(bench)

    async def again(state):
        async with Bench(project, state) as bench:
            return digest(bench)

    with disk(tmp_path / "disk") as (fill, free):
        state = tmp_path / "disk" / "state"
        acknowledged, found = asyncio.run(story(state, fill, free))
        assert asyncio.run(again(state)) == found
        store = SqliteStore(state / "journal.db")
        t, _ = store.history("tank", "LT1", -np.inf, np.inf)
        store.verify()
        store.close()
        assert list(t) == acknowledged
    assert asyncio.run(calm(tmp_path / "calm", acknowledged[-1])) == found
