"""The newest rows of the journal, in memory and searchable by tag, until they are in chunks.

Memory: 20 bytes a row, and 20 more once a run that did not come sorted by tag has been searched.
"""

from functools import cached_property

import numpy as np

from pollux.runtime.store.base import Rows
from pollux.runtime.store.layout import join, sort_by_tag

RUN_ROWS = 8192
"""Small blocks are joined to runs of this many rows: a search looks into each run."""


JOINED = RUN_ROWS.bit_length()
"""The last runs, each less than half as long as the one before, may still be joined with what comes."""


class Run:
    """Rows `first` .. of the journal."""

    def __init__(self, first: int, rows: Rows):
        self.first, self.rows = first, rows

    @cached_property
    def by_tag(self) -> Rows:
        """Sorted by tag, each tag's in the order in which they came."""
        return sort_by_tag(self.rows)

    def of(self, tag: int) -> tuple[np.ndarray, np.ndarray]:
        """(t, value) of one tag."""
        low, high = self.between(tag, tag)
        return self.by_tag.t[low:high], self.by_tag.value[low:high]

    def between(self, low: int, high: int) -> tuple[int, int]:
        """Where the tags low .. high (included) are in `by_tag`."""
        tags = self.by_tag.tag
        return int(tags.searchsorted(np.uint32(low))), int(tags.searchsorted(np.uint32(high), "right"))


class Tail:
    """Written by one thread; `runs` may be read by any: the tuple is replaced, never changed.

    `old` are the runs that are being turned into chunks, `fresh` those that came since.
    """

    def __init__(self) -> None:
        self.old: tuple[Run, ...] = ()
        self.fresh: tuple[Run, ...] = ()
        self.runs: tuple[Run, ...] = ()
        self.rows = self.blocks = 0
        """Of `fresh`."""
        self._seen = np.zeros(1024, bool)
        self._sorted = 0
        """Runs at the beginning of `fresh` that `sort` has been through."""

    @property
    def channels(self) -> int:
        """How many tags `fresh` has rows of."""
        return int(np.count_nonzero(self._seen))

    def add(self, first: int, rows: Rows) -> None:
        """Note what was committed to the journal."""
        if not len(rows):
            return
        top = int(rows.tag.max())
        if top >= len(self._seen):
            self._seen = np.concatenate([self._seen, np.zeros(top + 1, bool)])
        self._seen[rows.tag] = True
        self.rows += len(rows)
        self.blocks += 1
        run, fresh = Run(first, rows), list(self.fresh)
        while fresh and len(fresh[-1].rows) <= len(run.rows) and len(fresh[-1].rows) + len(run.rows) <= RUN_ROWS:
            last = fresh.pop()
            run = Run(last.first, join([last.rows, run.rows]))
        self.fresh = (*fresh, run)
        self._sorted = min(self._sorted, len(fresh))
        self.runs = self.old + self.fresh

    def sort(self, most: int) -> None:
        """Sort runs of `fresh` that will not be joined any more, at least one and about `most` rows of them."""
        end = len(self.fresh) - JOINED
        while most > 0 and self._sorted < len(self.fresh):
            run = self.fresh[self._sorted]
            if self._sorted >= end and 2 * len(run.rows) < RUN_ROWS:
                return
            most -= len(run.by_tag)
            self._sorted += 1

    def freeze(self) -> None:
        """`fresh` becomes `old`."""
        self.old, self.fresh = self.fresh, ()
        self.rows = self.blocks = self._sorted = 0
        self._seen[:] = False

    def forget(self) -> None:
        """Drop `old`: it is in chunks now."""
        self.old, self.runs = (), self.fresh
