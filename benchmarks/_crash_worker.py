"""One engine process for `benchmarks.crash`: two twins with a source each, on one journal.

Takes lines `TWIN K` on stdin, pushes the readings of second K, and says `ack TWIN K` when they are durable. It also
says where it is (`live`, `in snapshot`, `out snapshot`, `in compaction`, ...), so that kills can be aimed. `end` waits
for the folds, prints a digest of each belief and leaves.
"""

import asyncio
import hashlib
import math
import os
import sys
from pathlib import Path
from typing import Any

from pollux.core.time import ManualClock
from pollux.runtime import fold
from pollux.runtime.connect.memory import MemoryConnector
from pollux.runtime.connect.wire import Message
from pollux.runtime.engine import Engine
from pollux.runtime.store import compact
from pollux.runtime.store.sqlite import SqliteStore
from pollux.runtime.wiring import read_wiring

TWINS = ("north", "south")
AT_ONCE = 8
"""Pushes of one source that may wait for the disk together."""


def say(text: str) -> None:
    """One line, whole or not at all, from any thread."""
    os.write(1, f"{text}\n".encode())


def level(twin: str, k: int) -> float:
    """What the level sensor says at second `k`, cm; every seventh value is missing."""
    return math.nan if k % 7 == 0 else 100 + 5 * math.sin(0.1 * k + TWINS.index(twin))


def messages(twin: str, k: int) -> list[Message]:
    """Readings of second `k`."""
    return [
        Message(f"field-{twin}", twin, "LT1", float(k), level(twin, k), "cm"),
        Message(f"field-{twin}", twin, "FT1", float(k), 10.0 + k % 3, "L/s"),
    ]


class MarkedStore(SqliteStore):
    """Says when it is inside a snapshot, a compaction or a backup."""

    maintaining = False

    def save_snapshot(self, snapshot: Any) -> None:
        say("in snapshot")
        super().save_snapshot(snapshot)

    def maintain(self) -> bool:
        self.maintaining = True
        try:
            return super().maintain()
        finally:
            self.maintaining = False

    def _begin(self) -> None:
        if self.maintaining:
            say("in compaction")
        super()._begin()

    def _commit(self) -> None:
        super()._commit()
        say("out")


async def push(field: MemoryConnector, twin: str, k: int) -> None:
    await field.push(messages(twin, k))
    say(f"ack {twin} {k}")


async def source(field: MemoryConnector, twin: str, waiting: "asyncio.Queue[int | None]") -> None:
    """Push what waits, several at once, in order."""
    while (k := await waiting.get()) is not None:
        batch = [k]
        while len(batch) < AT_ONCE and not waiting.empty():
            more = waiting.get_nowait()
            if more is None:
                waiting.put_nowait(None)
                break
            batch.append(more)
        await asyncio.gather(*(push(field, twin, each) for each in batch))


async def main(project: Path, state: Path) -> None:
    fold.SNAPSHOT_EVERY = 11  # many of both, so that kills fall into them
    compact.TAIL_ROWS, compact.PER_CHANNEL = 60, 8
    fields = {f"field-{twin}": MemoryConnector(f"field-{twin}") for twin in TWINS}
    engine = Engine(read_wiring(project), state, ManualClock(1e9))
    task = asyncio.create_task(engine.run(lambda wired, after: fields[wired.name]))
    queues: dict[str, asyncio.Queue[int | None]] = {twin: asyncio.Queue() for twin in TWINS}
    sources = [asyncio.create_task(source(fields[f"field-{twin}"], twin, queues[twin])) for twin in TWINS]
    newest: dict[str, int] = {}
    loop = asyncio.get_running_loop()
    await asyncio.wait([task, asyncio.create_task(engine.live.wait())], return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        await task  # says why it cannot start
    say("live")
    while True:
        line = (await loop.run_in_executor(None, sys.stdin.readline)).split()
        if line == [] or line == ["end"]:
            break
        newest[line[0]] = int(line[1])
        queues[line[0]].put_nowait(newest[line[0]])
    for queue in queues.values():
        queue.put_nowait(None)
    await asyncio.gather(*sources)
    for twin in TWINS:
        while engine.lanes()[twin].live.t < newest[twin]:  # noqa: ASYNC110 (the fold says it to nobody)
            await asyncio.sleep(0.01)
        b = engine.lanes()[twin].live.state.belief
        digest = hashlib.sha256(b.mean.tobytes() + b.cov.tobytes() + b.id.encode() + b.source.encode())
        say(f"digest {twin} {digest.hexdigest()} {b.id}")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


if __name__ == "__main__":
    import pollux.runtime.store.make

    pollux.runtime.store.make.SqliteStore = MarkedStore  # pyright: ignore[reportPrivateImportUsage]
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
