"""The history of one channel: its chunks, and what is still in the tail."""

import numpy as np

from pollux.runtime.store.chunks import LEVELS, between, newest_first, reach, read_chunks
from pollux.runtime.store.compact import read_progress
from pollux.runtime.store.retain import kept_from
from pollux.runtime.store.sql import Connection
from pollux.runtime.store.tail import Tail
from pollux.runtime.store.thin import thin_to, width_of

Part = tuple[np.ndarray, np.ndarray]


class ChannelReader:
    """Over its own connection; not thread-safe, the store holds a lock around it.

    A read needs no transaction, which would cost two more ways to a server, as long as it looks at the tail first, then
    at the progress, then at the chunks: rows that are moved meanwhile are found twice, and each instant counts once.
    """

    def __init__(self, connection: Connection, tail: Tail):
        self._connection, self._tail = connection, tail

    def read(self, tag: int, start: float, end: float) -> Part:
        """(t, value) for start <= t <= end, sorted, each instant once: of equal times the first to come."""
        tail = self._newer(tag)
        return between(read_chunks(self._connection, 0, tag, start, end) + tail, start, end)

    def chart(self, tag: int, start: float, end: float, points: int) -> Part:
        """At most `points` (4 or more) of the readings for start <= t <= end: of each bucket the smallest and the
        largest. A span of days reads the levels of `chunks` and, at its two ends, all readings."""
        tail = self._newer(tag)
        edges = [float(f(t)) for t, _ in tail for f in (np.min, np.max)] + reach(self._connection, tag)
        start, end = max(start, min(edges, default=np.inf)), min(end, max(edges, default=-np.inf))
        if not start <= end:
            return np.empty(0), np.empty(0)
        width = width_of(start, end, points, LEVELS)
        if width.level in LEVELS:
            unit = 2.0**width.level
            low, high = np.ceil(start / unit) * unit, np.floor(end / unit) * unit
            chunks = self._finest(tag, start, low) + self._finest(tag, high, end)
            chunks += read_chunks(self._connection, width.level, tag, low, high)
        else:
            chunks = self._finest(tag, start, end)
        t, value = between(chunks + tail, start, end)
        whole = len(t) <= points and width.level not in LEVELS
        return (t, value) if whole else thin_to(t, value, width)

    def newest(self, tag: int) -> float | None:
        """The largest event time of the channel."""
        times = [float(t.max()) for t, _ in self._newer(tag)]
        with self._connection:
            for t_max, t in newest_first(self._connection, tag):
                if times and t_max <= max(times):
                    break
                times += [float(t[-1])] if len(t) else []
        return max(times, default=None)

    def _newer(self, tag: int) -> list[Part]:
        """What is not in chunks, in the order in which it came."""
        runs = self._tail.runs
        floor = read_progress(self._connection).floor(tag)
        return [part for run in runs if run.first >= floor and len((part := run.of(tag))[0])]

    def _finest(self, tag: int, start: float, end: float) -> list[Part]:
        """All readings, and the extremes of what retention has dropped."""
        parts = read_chunks(self._connection, 0, tag, start, end)
        for level, finer in zip(LEVELS, (0, *LEVELS[:-1]), strict=True):
            dropped = kept_from(self._connection, finer)
            if start < dropped:
                parts += read_chunks(self._connection, level, tag, start, min(end, dropped))
        return parts
