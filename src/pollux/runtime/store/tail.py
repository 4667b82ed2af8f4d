"""The newest rows of the journal, in memory and searchable by tag, until they are in chunks.

Memory: 20 bytes a row, and 20 more once a run that did not come sorted by tag has been searched.
"""

from functools import cached_property

import numpy as np

from pollux.runtime.store.base import Rows
from pollux.runtime.store.layout import join, sort_by_tag

RUN_ROWS = 8192
"""Small blocks are joined to runs of this many rows: a search looks into each run."""


LAST = 16
"""Of the last runs short ones are left as they are, so that what comes can be joined to them."""


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
        self.below = np.zeros(1, np.int64)
        """`below[k]`: rows of `old` with tags below k."""
        self._seen, self._rows_of = np.zeros(1024, bool), np.zeros(1024, np.int64)
        self._sorted = 0
        """Runs at the beginning of `fresh` that `sort` has been through: `_rows_of` counts their rows by tag."""

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
            self._rows_of = np.concatenate([self._rows_of, np.zeros(top + 1, np.int64)])
        self._seen[rows.tag] = True
        self.rows += len(rows)
        self.blocks += 1
        run, fresh = Run(first, rows), list(self.fresh)
        while len(fresh) > self._sorted:
            last = fresh[-1]
            if len(last.rows) > len(run.rows) or len(last.rows) + len(run.rows) > RUN_ROWS:
                break
            run = Run(last.first, join([last.rows, run.rows]))
            fresh.pop()
        self.fresh = (*fresh, run)
        self.runs = self.old + self.fresh

    def sort(self, most: float) -> None:
        """Sort and count runs of `fresh` that are long or no longer among the last: about `most` rows of them."""
        while most > 0 and self._sorted < len(self.fresh):
            run = self.fresh[self._sorted]
            if self._sorted >= len(self.fresh) - LAST and 2 * len(run.rows) <= RUN_ROWS:
                return
            most -= self._count(run)

    def freeze(self) -> None:
        """`fresh` becomes `old`, all of it sorted and counted."""
        while self._sorted < len(self.fresh):
            self._count(self.fresh[self._sorted])
        self.below = np.r_[0, np.cumsum(self._rows_of[: 1 + int(np.flatnonzero(self._seen).max(initial=-1))])]
        self.old, self.fresh = self.fresh, ()
        self.rows = self.blocks = self._sorted = 0
        self._seen[:] = False
        self._rows_of[:] = 0

    def _count(self, run: Run) -> int:
        rows_of = np.bincount(run.by_tag.tag)
        self._rows_of[: len(rows_of)] += rows_of
        self._sorted += 1
        return len(run.rows)

    def forget(self) -> None:
        """Drop `old`: it is in chunks now."""
        self.old, self.runs = (), self.fresh
