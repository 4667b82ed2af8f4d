"""Alignment of a fleet: `runtime.align` for N twins at once, as a fold over cells (port, slot) of one grid in time.

The rules are those of `runtime.align`: bin k holds (k-1) P < t <= k P and becomes the readings at k P; of several
values of one cell the newest counts, of equal times the first to come; a bin is handed on when every cell of every
member has a value at its own time, or when the watermark is more than `lag` beyond it. So the result depends on the
set of rows, not on their order, as long as none comes more than `lag` behind the watermark. What comes later is
stored, counted, and not fused.

A row more than `jump` ahead of the watermark is refused until `PROOF` members, or one at as many times, say so.
"""

import math
from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from pollux.runtime.align import MAX_EMPTY, PROOF, TOLERANCE, bin_of, slack_of


class Cells(NamedTuple):
    """Rows of a fleet: the cell `port * capacity + slot` (-1: the clock), event time, value."""

    cell: Int[np.ndarray, " n"]
    t: Float[np.ndarray, " n"]
    value: Float[np.ndarray, " n"]


class Tick(NamedTuple):
    """What is handed on: the values of all ports at one time, NaN where nothing came."""

    k: int
    t: float
    value: Float[np.ndarray, "ports N"]


@dataclass(frozen=True)
class FleetBin:
    """A tick in the making; event times are -inf where nothing came."""

    k: int
    t: Float[np.ndarray, " cells"]
    value: Float[np.ndarray, " cells"]


@dataclass(frozen=True)
class FleetAlignState:
    """What a snapshot keeps of the fold."""

    watermark: float
    next_bin: int | None
    empty: int
    newest: Float[np.ndarray, " cells"]
    bins: tuple[FleetBin, ...]
    ahead: tuple[tuple[int, float], ...]


@dataclass
class _Open:
    t: np.ndarray
    value: np.ndarray


class FleetAlign:
    """The fold, thawed: its arrays are written in place, because a fleet's are large. `freeze` copies them."""

    def __init__(self, ports: int, capacity: int, period: float, lag: float, jump: float):
        self.ports, self.capacity = ports, capacity
        self.period, self.lag, self.jump = period, lag, jump
        self.watermark, self.empty = -math.inf, 0
        self.next_bin: int | None = None
        self.newest = np.full(ports * capacity, -np.inf)
        self.unfused: Counter[str] = Counter()
        """Rows that were stored and not fused since the start, by reason."""
        self._bins: dict[int, _Open] = {}
        self._ahead: set[tuple[int, float]] = set()

    def freeze(self) -> FleetAlignState:
        """A copy to keep."""
        bins = tuple(FleetBin(k, b.t.copy(), b.value.copy()) for k, b in sorted(self._bins.items()))
        return FleetAlignState(
            self.watermark, self.next_bin, self.empty, self.newest.copy(), bins, tuple(sorted(self._ahead))
        )

    def thaw(self, state: FleetAlignState) -> None:
        """Go on from what was kept."""
        self.watermark, self.next_bin, self.empty = state.watermark, state.next_bin, state.empty
        self.newest = state.newest.copy()
        self._bins = {b.k: _Open(b.t.copy(), b.value.copy()) for b in state.bins}
        self._ahead = set(state.ahead)

    def forget(self, slots: Int[np.ndarray, " n"]) -> None:
        """Slots that twins leave, or come to, hold nothing."""
        cells = (np.arange(self.ports)[:, None] * self.capacity + slots).ravel()
        self.newest[cells] = -np.inf
        for b in self._bins.values():
            b.t[cells], b.value[cells] = -np.inf, np.nan

    def push(self, rows: Cells, active: np.ndarray) -> list[Tick]:
        """Fold in rows in the order of the journal; `active` (N,) says which slots have a member."""
        rows = self._plausible(rows)
        if not len(rows.t):
            return []
        placed = rows.cell >= 0
        self._place(rows if placed.all() else Cells(*(a[placed] for a in rows)))
        self.watermark = max(self.watermark, float(rows.t.max()))
        return self._hand_on(active)

    def _plausible(self, rows: Cells) -> Cells:
        """Rows without those that are too far ahead to be believed."""
        if self.watermark == -math.inf and len(rows.t):
            self.watermark = float(rows.t[0])
        far = rows.t > self.watermark + self.jump
        if not far.any():
            return rows
        near = Cells(*(a[~far] for a in rows))
        self._ahead.update(zip((rows.cell[far] % self.capacity).tolist(), rows.t[far].tolist(), strict=True))
        latest = max(t for _, t in self._ahead)
        self._ahead = {a for a in self._ahead if latest - a[1] <= self.jump}
        if len(self._ahead) >= PROOF:
            self._ahead.clear()
            return rows
        self.unfused["future"] += int(far.sum())
        return near

    def _place(self, rows: Cells) -> None:
        ks = _bins_of(rows.t, self.period)
        only = ks[0] if len(ks) and (ks == ks[0]).all() else None
        for k in [only] if only is not None else np.unique(ks):
            part = rows if only is not None else Cells(*(a[ks == k] for a in rows))
            if self.next_bin is not None and k < self.next_bin:
                doubled = part.t == self.newest[part.cell]
                self.unfused["duplicate"] += int(doubled.sum())
                self.unfused["late"] += int((~doubled).sum())
                continue
            self._fill(int(k), part)

    def _fill(self, k: int, rows: Cells) -> None:
        here = self._bins.get(k)
        if here is None:
            cells = self.ports * self.capacity
            here = self._bins[k] = _Open(np.full(cells, -np.inf), np.full(cells, np.nan))
        rows, doubled = _newest(rows)
        newer = rows.t > here.t[rows.cell]
        doubled += int((rows.t == here.t[rows.cell]).sum())
        if doubled:
            self.unfused["duplicate"] += doubled
        if not newer.all():
            rows = Cells(*(a[newer] for a in rows))
        here.t[rows.cell], here.value[rows.cell] = rows.t, rows.value
        self.newest[rows.cell] = np.maximum(self.newest[rows.cell], rows.t)

    def _hand_on(self, active: np.ndarray) -> list[Tick]:
        ticks: list[Tick] = []
        while True:
            if self.next_bin is None:
                first = min(self._bins, default=None)
                if first is None or not (self._expired(first)):
                    return ticks
                ticks.append(self._emit(first))
            elif self.next_bin in self._bins:
                if not self._expired(self.next_bin) and not self._complete(self.next_bin, active):
                    return ticks
                ticks.append(self._emit(self.next_bin))
            elif not self._expired(self.next_bin):
                return ticks
            elif self.empty < MAX_EMPTY:
                ticks.append(self._emit(self.next_bin))
            else:  # a long silence: on to the next bin that has a value, or that is still open
                still_open = bin_of(self.watermark - self.lag, self.period)
                self.next_bin = max(min(min(self._bins, default=still_open), still_open), self.next_bin + 1)

    def _expired(self, k: int) -> bool:
        t = k * self.period + self.lag
        return self.watermark - t > slack_of(t, self.period)

    def _complete(self, k: int, active: np.ndarray) -> bool:
        own = k * self.period
        own -= slack_of(own, self.period)
        here = (self._bins[k].t >= own).reshape(self.ports, self.capacity)
        return bool((here | ~active).all()) and bool(active.any())

    def _emit(self, k: int) -> Tick:
        here = self._bins.pop(k, None)
        self.empty = self.empty + 1 if here is None else 0
        self.next_bin = k + 1
        value = np.full(self.ports * self.capacity, np.nan) if here is None else here.value
        return Tick(k, k * self.period, value.reshape(self.ports, self.capacity))


def _bins_of(t: np.ndarray, period: float) -> np.ndarray:
    """`align.bin_of` for many."""
    ratio = t / period
    return np.ceil(ratio - TOLERANCE - 4 * np.spacing(np.abs(ratio))).astype(np.int64)


def _newest(rows: Cells) -> tuple[Cells, int]:
    """Of each cell the newest row, the first to come of equal ones; and how many times an instant was repeated."""
    if (np.diff(rows.cell) > 0).all():  # as columns come: every cell once
        return rows, 0
    order = np.lexsort((-np.arange(len(rows.t)), rows.t, rows.cell))
    cell, t = rows.cell[order], rows.t[order]
    last = np.r_[cell[1:] != cell[:-1], True]
    doubled = int(((cell[1:] == cell[:-1]) & (t[1:] == t[:-1])).sum())
    keep = order[last]
    return Cells(rows.cell[keep], rows.t[keep], rows.value[keep]), doubled
