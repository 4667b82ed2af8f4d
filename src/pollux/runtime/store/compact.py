"""Turning the tail of the journal into chunks, a range of tags at a time, so that no append waits long.

`compacted` is the row up to which all tags are in chunks. While a tail is being turned, `compacting` is its end and
`shelved` the first tag whose rows up to there are still in the tail. They move in the transaction that writes the
chunks: killed at any instant, the next writer goes on where the last transaction ended.
"""

from dataclasses import dataclass

import numpy as np

from pollux.core.errors import CorruptionError
from pollux.runtime.store import meta
from pollux.runtime.store.base import Rows
from pollux.runtime.store.chunks import ChunkWriter, without_known
from pollux.runtime.store.journal import read_blocks
from pollux.runtime.store.layout import join, runs_of, sort_by_tag_and_time, take
from pollux.runtime.store.shelves import BITS
from pollux.runtime.store.sql import Connection
from pollux.runtime.store.tail import Tail

TAIL_ROWS, TAIL_BLOCKS = 262_144, 256
"""A tail is turned into chunks from this many rows or blocks on ..."""
PER_CHANNEL = 32
"""... and once each channel in it has this many rows on average, so that a query of one reads few chunks."""
TAIL_LIMIT = 6_400_000
"""But not beyond this many rows, 128 MB."""
STEP_ROWS = 65_536
"""Rows that one transaction turns, about 20-40 ms; one tag's rows are not cut."""


@dataclass(frozen=True)
class Progress:
    """How far chunks reach: rows before `compacted`; for tags below `shelved`, rows before `compacting`."""

    compacted: int
    compacting: int
    shelved: int

    def floor(self, tag: int) -> int:
        """The first row that may hold a reading of the tag and is not in chunks."""
        return self.compacting if tag < self.shelved else self.compacted


def read_progress(connection: Connection) -> Progress:
    """As of now."""
    return Progress(*meta.read_all(connection, ("compacted", "compacting", "shelved")))


class Compactor:
    """The writing end: keeps the tail, and turns it step by step."""

    def __init__(self, connection: Connection):
        self._connection = connection
        self.tail = Tail()
        self._at = at = read_progress(connection)
        end = at.compacted
        for block in read_blocks(connection, at.compacted):
            if at.compacting and block.first == at.compacting:
                self.tail.freeze()
            self.tail.add(block.first, block.rows)
            end = block.first + len(block.rows)
        self.tail.sort(np.inf)  # now, and not in the first step
        if at.compacting == end:
            self.tail.freeze()
        last = connection.execute("SELECT coalesce(max(first + rows), 0) FROM block").get
        if last < max(at.compacted, at.compacting):
            raise CorruptionError(
                f"The journal holds every row that was compacted: it ends at row {last}, "
                f"{max(at.compacted, at.compacting)} were. Blocks were lost; restore the store from a copy."
            )
        newest = connection.execute("SELECT max(t_max) FROM chunk WHERE level = 0").get
        self._bound = -np.inf if newest is None else newest
        self._newest = np.full(1024, self._bound)
        """For each tag, an upper bound of its times in chunks: later rows cannot repeat one."""
        self._next = at

    @property
    def due(self) -> bool:
        """Whether there is a step to do."""
        tail = self.tail
        return bool(tail.old) or (
            (tail.rows >= TAIL_ROWS or tail.blocks >= TAIL_BLOCKS)
            and (tail.rows >= TAIL_LIMIT or tail.rows >= PER_CHANNEL * tail.channels)
        )

    @property
    def behind(self) -> bool:
        """Whether another tail is full while the last is still being turned: then who appends has to wait."""
        tail = self.tail
        return bool(tail.old) and tail.rows >= max(TAIL_ROWS, min(PER_CHANNEL * tail.channels, TAIL_LIMIT))

    def prepare(self) -> bool:
        """Sort and count a part of what has come, so that a step finds it so; whether to do a step now."""
        self.tail.sort(STEP_ROWS)
        if self.due and not self.tail.old:
            self.tail.freeze()
        return self.due

    def step(self) -> None:
        """Turn a range of tags, inside the caller's transaction; call `done` after the commit."""
        old, low = self.tail.old, self._at.shelved
        end = old[-1].first + len(old[-1].rows)
        width = self._width(low)
        high = low + (1 << width)
        parts = []
        for run in old:
            a, b = run.between(low, high - 1)
            parts.append(take(run.by_tag, slice(a, b)))
        rows = self._unknown(sort_by_tag_and_time(join(parts)))
        if len(rows):
            ChunkWriter(self._connection).keep(rows, low, width)
        finished = high >= len(self.tail.below) - 1
        self._next = Progress(end, 0, 0) if finished else Progress(self._at.compacted, end, high)
        for key in ("compacted", "compacting", "shelved"):
            if getattr(self._next, key) != getattr(self._at, key):
                meta.write(self._connection, key, getattr(self._next, key))

    def done(self) -> None:
        """The step is committed."""
        self._at = self._next
        if not self._at.compacting:
            self.tail.forget()

    def _width(self, low: int) -> int:
        """The widest range from `low` that has at most `STEP_ROWS` rows."""
        below, top = self.tail.below, len(self.tail.below) - 1
        width = BITS if low == 0 else (low & -low).bit_length() - 1
        while width and below[min(low + (1 << width), top)] - below[min(low, top)] > STEP_ROWS:
            width -= 1
        return width

    def _unknown(self, rows: Rows) -> Rows:
        """Without what chunks hold already: an instant that comes again is not kept twice."""
        starts = runs_of(rows.tag)
        tags = rows.tag[starts]
        if len(tags) and tags[-1] >= len(self._newest):
            self._newest = np.concatenate([self._newest, np.full(int(tags[-1]) + 1, self._bound)])
        late = rows.t <= self._newest[rows.tag]
        if len(tags):
            ends = np.r_[starts[1:], len(rows)] - 1
            self._newest[tags] = np.maximum(self._newest[tags], rows.t[ends])
        return without_known(self._connection, rows, late)
