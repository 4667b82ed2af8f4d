"""The history of one channel: its chunks and what is still in the tail."""

import numpy as np

from pollux.runtime.store.chunks import between, newest_first, read_chunks
from pollux.runtime.store.compact import read_progress
from pollux.runtime.store.sql import Connection
from pollux.runtime.store.tail import Run, Tail


class ChannelReader:
    """Over its own connection; not thread-safe, the store holds a lock around it."""

    def __init__(self, connection: Connection, tail: Tail):
        self._connection, self._tail = connection, tail

    def read(self, tag: int, start: float, end: float) -> tuple[np.ndarray, np.ndarray]:
        """(t, value) for start <= t <= end, sorted, each instant once: of equal times the first to come."""
        runs = self._tail.runs  # before the transaction: what it does not hold yet must be here
        with self._connection:
            floor = read_progress(self._connection).floor(tag)
            parts = read_chunks(self._connection, 0, tag, start, end)
        return between([*parts, *_of(runs, tag, floor)], start, end)

    def newest(self, tag: int) -> float | None:
        """The largest event time of the channel."""
        runs = self._tail.runs
        with self._connection:
            floor = read_progress(self._connection).floor(tag)
            times = [float(t.max()) for t, _ in _of(runs, tag, floor)]
            for t_max, t in newest_first(self._connection, tag):
                if times and t_max <= max(times):
                    break
                times += [float(t[-1])] if len(t) else []
        return max(times, default=None)


def _of(runs: tuple[Run, ...], tag: int, floor: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """(t, value) of one tag from row `floor` on, in the order in which they came."""
    return [part for run in runs if run.first >= floor and len((part := run.of(tag))[0])]
