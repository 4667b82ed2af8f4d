"""Tag ids of the store <-> cells of a fleet (port, slot), as tables that whole blocks are looked up in."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import numpy as np

from pollux.runtime.align import CLOCK
from pollux.runtime.fleets.align import Cells
from pollux.runtime.store.base import Rows, Source

CLOCK_CELL = -1
NOBODY = -2
"""A tag that is not, or not any more, a member's."""


class Kept(Source, Protocol):
    """A store, or a view of one, that finds or registers tags."""

    def transaction(self) -> AbstractContextManager[None]:
        """Around tags that may be registered."""
        ...


class FleetTags:
    """One fleet's tables. The journal knows a member's tag under the member's name, as that of any twin."""

    def __init__(self, fleet: str, tags: Sequence[str], capacity: int):
        self.fleet, self.tags, self.capacity = fleet, tuple(tags), capacity
        self.ids = np.zeros(len(tags) * capacity, np.uint32)
        self.clock = 0
        self._cells = np.full(1, NOBODY, np.int64)

    def open(self, store: Kept, names: Sequence[str]) -> None:
        """Register the clock, and the tags of the members (by slot; an empty name is a free slot)."""
        self._cells[:] = NOBODY
        with store.transaction():
            self.clock = int(store.tag_ids(self.fleet, (CLOCK,))[0])
            self.add(store, [(slot, name) for slot, name in enumerate(names) if name])
        self._learn(np.array([self.clock]), np.array([CLOCK_CELL]))

    def add(self, store: Source, members: Sequence[tuple[int, str]]) -> None:
        """Register the tags of members (slot, name); inside the caller's transaction."""
        ids = np.array([store.tag_ids(name, self.tags) for _, name in members], np.int64).reshape(-1, len(self.tags))
        slots = np.array([slot for slot, _ in members], np.int64)
        cells = np.arange(len(self.tags)) * self.capacity + slots[:, None]
        self.ids[cells] = ids
        self._learn(ids.ravel(), cells.ravel())

    def drop(self, slots: np.ndarray) -> None:
        """Rows of these slots' tags are nobody's from now on."""
        cells = (np.arange(len(self.tags))[:, None] * self.capacity + slots).ravel()
        self._cells[self.ids[cells]] = NOBODY

    def rows(self, cells: Cells) -> Rows:
        """Rows for the journal."""
        return Rows(cells.t, self.ids[cells.cell], cells.value)

    def tick(self, t: float) -> Rows:
        """The row that says that it is `t` now."""
        return Rows(np.array([t]), np.array([self.clock], np.uint32), np.array([t]))

    def cells(self, rows: Rows) -> Cells | None:
        """This fleet's share of a block; None when it has none."""
        cell = self._cells.take(rows.tag, mode="clip")  # the last place is nobody's
        mine = cell != NOBODY
        if not mine.any():
            return None
        if mine.all():
            return Cells(cell, rows.t, rows.value)
        return Cells(cell[mine], rows.t[mine], rows.value[mine])

    def _learn(self, ids: np.ndarray, cells: np.ndarray) -> None:
        size = int(ids.max(initial=0)) + 2
        if size > len(self._cells):
            grown = np.full(size, NOBODY, np.int64)
            grown[: len(self._cells)] = self._cells
            self._cells = grown
        self._cells[ids] = cells
