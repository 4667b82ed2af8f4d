"""One engine process for `benchmarks.crash`: takes numbers on stdin, pushes their readings, says `ack N` when durable.

`end` waits for the fold, prints a digest of the belief and leaves.
"""

import asyncio
import hashlib
import math
import sys
from pathlib import Path

from pollux.core.time import ManualClock
from pollux.runtime import fold
from pollux.runtime.connect.memory import MemoryConnector
from pollux.runtime.connect.wire import Message
from pollux.runtime.engine import Engine
from pollux.runtime.wiring import read_wiring


def messages(k: int) -> list[Message]:
    """Readings of second `k`; every seventh level is missing."""
    level = math.nan if k % 7 == 0 else 100 + 5 * math.sin(0.1 * k)
    return [
        Message("field", "tank", "LT1", float(k), level, "cm"),
        Message("field", "tank", "FT1", float(k), 10.0 + k % 3, "L/s"),
    ]


async def main(project: Path, state: Path) -> None:
    fold.SNAPSHOT_EVERY = 11  # many snapshots, so that kills fall into them
    field = MemoryConnector("field")
    engine = Engine(read_wiring(project), state, ManualClock(1e9))
    task = asyncio.create_task(engine.run(lambda wired, after: field))
    loop = asyncio.get_running_loop()
    while True:
        line = (await loop.run_in_executor(None, sys.stdin.readline)).strip()
        if line in ("", "end"):
            break
        await field.push(messages(int(line)))
        print("ack", line, flush=True)
    if line == "end":
        await engine.settled()
        lane = engine.lanes()["tank"]
        b = lane.live.state.belief
        digest = hashlib.sha256(b.mean.tobytes() + b.cov.tobytes() + b.id.encode() + b.source.encode())
        print("digest", digest.hexdigest(), b.id, flush=True)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
