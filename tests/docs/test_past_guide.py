"""The commands of the guide `run your asset` about the past run, as they are printed, on a project that has run."""

import asyncio
import re
import shlex
from pathlib import Path

import pytest

from pollux.core.time import ManualClock
from pollux.runtime.cli import run
from pollux.runtime.connect.memory import MemoryConnector
from pollux.runtime.connect.wire import Message
from pollux.runtime.engine import Engine
from pollux.runtime.wiring import read_wiring

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "guides" / "run-your-asset.md").read_text(encoding="utf-8")
NOON = 1795521600.0  # 2026-11-24T12:00 UTC
COMMANDS = [
    line.partition("  #")[0]
    for block in re.findall(r"^```\n(.*?)^```", PAGE[PAGE.index("## What did we know") :], re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
    if line.startswith("pollux ")
]


@pytest.fixture
def cellar(tmp_path, monkeypatch):
    """The page's own project with the tank of the tests, run from 12:00 to 15:00 in a moment; the working folder."""
    folder = tmp_path / "cellar"
    folder.mkdir()
    twin = (ROOT / "benchmarks" / "_projects" / "tank" / "twin.py").read_text(encoding="utf-8")
    wiring = re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)[0]
    (folder / "twin.py").write_text(twin)
    faster = wiring.replace('period = "10 s"', 'period = "2 min"').replace('time = "wall"', 'time = "event"')
    (folder / "pollux.toml").write_text(faster)
    monkeypatch.chdir(folder)

    async def day():
        clock, push = ManualClock(NOON), MemoryConnector("push")
        engine = Engine(read_wiring(folder), folder / ".pollux" / "cellar", clock)
        task = asyncio.create_task(engine.run(lambda wired, after: push))
        await engine.live.wait()
        for k in range(90):
            clock.advance(120.0)
            for tag, value, unit in (("LT101", 100.0 + k % 3, "cm"), ("FT101", 10.0, "L/s")):
                receipt = await push.push([Message("push", "tank", tag, clock.now(), value, unit)])
                assert receipt.accepted == 1, receipt
        await engine.settled()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(day())
    return folder


def test_the_commands_about_the_past_run_as_printed(cellar, capsys):
    done = []
    for line in COMMANDS:
        words = shlex.split(line)[1:]
        if words[0] == "run" or (words[0] == "recall" and "--project" not in words):
            words = ["check", "twin.py:Tank"] if words[0] == "run" else [*words, "--project", "."]  # no server here
        assert run(words) == 0, (line, capsys.readouterr())
        done.append(words[0])
    assert {"recall", "audit", "backup", "restore", "export"} <= set(done)
    pytest.importorskip("pandas")
    found: dict = {}
    exec(re.findall(r"^```py\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)[0], found)
    assert len(found["level"]) == 90
    assert found["wide"]["mean"]["h"].notna().all()
