"""Child of `test_store_crash`: appends numbered batches from several tasks and prints what was acknowledged.

Batch b holds `1 + b % 50` rows whose value is b and whose time is b + k / 1000. Killed at any instant by the parent.
"""

import asyncio
import itertools
import sys

import numpy as np
from store_kinds import open_place

from pollux.core.time import ManualClock
from pollux.runtime.store import compact
from pollux.runtime.store.base import Rows, Snapshot, Store, Track
from pollux.runtime.store.writer import StoreWriter


def batch(b: int, tag: int) -> Rows:
    n = 1 + b % 50
    return Rows(b + np.arange(n) / 1000, np.full(n, tag, np.uint32), np.full(n, float(b)))


async def main(place: str, start: int) -> None:
    compact.TAIL_ROWS = 2000  # compaction happens often, so that the kill also falls into it
    store = open_place(place)
    tag = int(store.tag_ids("twin", ["x"])[0])
    writer = StoreWriter(store, ManualClock(0.0))
    numbers = itertools.count(start)
    print("ready", flush=True)

    def snapshot(s: Store, b: int) -> None:
        s.add_track("twin", Track(np.array([float(b)]), np.array([[float(b)]]), np.ones((1, 1))))
        s.save_snapshot(Snapshot("twin", s.next_seq, float(b), "m", b"%d" % b))

    async def produce() -> None:
        for b in numbers:
            first = await writer.append(batch(b, tag))
            print(f"{b} {first}", flush=True)
            if b % 20 == 0:
                await writer.do(lambda s, b=b: snapshot(s, b))

    await asyncio.gather(*(produce() for _ in range(4)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
