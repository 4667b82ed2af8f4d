"""An engine in this process; and one with several twins, each with a source of its own, for the tests of guarantees."""

import asyncio
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Self

from pollux.core.time import ManualClock
from pollux.runtime.connect.memory import MemoryConnector
from pollux.runtime.connect.wire import Message
from pollux.runtime.engine import Engine
from pollux.runtime.wiring import read_wiring

from .project import SOURCE, WIRING


def write_twins(folder: Path, twins: dict[str, str], source: str = "") -> Path:
    """A project with a tank for each of `twins`: name -> lines that replace or add keys of its `[[twin]]` table.

    `source` is appended to `twin.py`. The source of twin NAME is the connector `field-NAME`.
    """
    folder.mkdir(parents=True)
    (folder / "twin.py").write_text((SOURCE / "twin.py").read_text() + source)
    table = WIRING.split("[[twin]]", 1)[1]
    text = '[project]\nname = "bench"\n'
    for name, lines in twins.items():
        text += f'\n[connector.field-{name}]\nkind = "memory"\n'
        keys = {line.split("=")[0].strip() for line in lines.splitlines() if "=" in line}
        head, rest = table.split("\n\n", 1)
        kept = [line for line in head.splitlines() if line.split("=")[0].strip() not in {*keys, "name"}]
        text += "\n".join(["\n[[twin]]", f'name = "{name}"', f'connector = "field-{name}"', lines.strip(), *kept])
        text += "\n\n" + rest
    (folder / "pollux.toml").write_text(text)
    return folder


def messages(twin: str, k: int, level: float | None = None) -> list[Message]:
    """What the sensors of a twin say at second `k`."""
    value = 100 + 5 * math.sin(0.1 * k) if level is None else level
    return [
        Message(f"field-{twin}", twin, "LT1", float(k), value, "cm"),
        Message(f"field-{twin}", twin, "FT1", float(k), 10.0, "L/s"),
    ]


class Running:
    """An engine and its connectors, raised while the block lasts; `clock` stands still unless one is given."""

    def __init__(self, folder: Path, state: Path, clock: ManualClock | None = None):
        self.wiring = read_wiring(folder)
        self.clock = clock or ManualClock(1e9)
        self.engine = Engine(self.wiring, state, self.clock)
        self.fields = {c.name: MemoryConnector(c.name) for c in self.wiring.connectors}

    async def __aenter__(self) -> Self:
        self.task = asyncio.create_task(self.engine.run(lambda wired, after: self.fields[wired.name]))
        live = asyncio.create_task(self.engine.live.wait())
        await asyncio.wait([self.task, live], return_when=asyncio.FIRST_COMPLETED)
        live.cancel()
        if self.task.done():
            await self.task
        return self

    async def __aexit__(self, *error: object) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    @property
    def field(self) -> MemoryConnector:
        """The connector `field`."""
        return self.fields["field"]


class Bench(Running):
    """Twins with a source each."""

    async def push(self, twin: str, k: int, level: float | None = None) -> int:
        """Readings of second `k`; returns when they are durable: how many were accepted."""
        return (await self.fields[f"field-{twin}"].push(messages(twin, k, level))).accepted

    async def feed(self, seconds: Iterable[int]) -> None:
        """The same seconds to every twin, and wait until all folds have them."""
        for k in seconds:
            for wiring in self.wiring.twins:
                await self.push(wiring.name, k)
        await self.engine.settled()

    @property
    def store(self):
        """The store that the engine writes."""
        assert self.engine._writer is not None
        return self.engine._writer.store

    def lane(self, twin: str):
        return self.engine.lanes()[twin]

    def belief(self, twin: str):
        return self.lane(twin).live.state.belief

    def alarms(self, twin: str) -> list:
        """Open alarms."""
        return [a for a in self.lane(twin).live.state.alarms.alarms if a.state != "cleared"]


async def until(done: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait until `done()` holds."""
    async with asyncio.timeout(seconds):
        while not done():  # noqa: ASYNC110 (what is awaited says it to nobody)
            await asyncio.sleep(0.01)
