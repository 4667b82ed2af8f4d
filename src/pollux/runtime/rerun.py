"""Fusing what came later than its lag: the fold once more, over all rows in the order of their event times.

    channels of the store, each sorted, each instant once -> merged by event time -> align -> estimate

In order nothing is late, so the result is what the fold would believe had every row come in time, bit for bit. Rows
are read in windows of event time, so memory does not grow with the journal. What was recorded stays as it was; only
the estimate goes on from the result (`Fold.rerun`), and `recall` still tells what was known before.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from pollux.core.signals import Belief, Readings
from pollux.runtime.align import CLOCK, Aligner, Cursor, bin_of, slack_of
from pollux.runtime.binding import Binding
from pollux.runtime.estimate import Estimate, advance
from pollux.runtime.live import LiveTwin
from pollux.runtime.store.base import Source

WINDOW = 20_000
"""Periods of event time that are read at once."""

Note = Callable[[Readings, Belief], None]
"""Called with every step."""


class InOrder:
    """The fold in order. `run` may be called again with a later end, and goes on from where it is."""

    def __init__(self, live: LiveTwin, binding: Binding, since: Estimate | None = None, note: Note | None = None):
        """`since` is where to begin: the estimate of an earlier run or of the live fold; None: before all rows."""
        self.estimate, self.steps = since, 0
        self._live, self._binding, self._note = live, binding, note
        self._aligner = Aligner(binding)
        self._at: float | None = None
        if since is not None:
            self._aligner.cursor = Cursor(bin_of(since.belief.t, binding.period) + 1)
            self._at = since.belief.t

    @property
    def empty(self) -> int:
        """Ticks without a value in a row, at the end."""
        return self._aligner.cursor.empty

    def run(self, store: Source, end: int) -> None:
        """Fold in every row of a bin before `end`. Slow; for a worker thread. Raises `StoreError`."""
        last = (end - 1) * self._binding.period
        if self._at is None:
            self._at = self._first(store)
        while self._at is not None and self._at < last:
            until = min(self._at + WINDOW * self._binding.period, last)
            self._take(self._aligner.push(self._rows(store, self._at, until))[0])
            self._at = until
        self._take(self._aligner.settle_until(end))

    def _take(self, readings: list[Readings]) -> None:
        for each in readings:
            before = self._live.begin(each.t) if self.estimate is None else self.estimate
            try:
                self.estimate = advance(self._live.parts, self._live.sensor_names, before, each)[0]
            except Exception:  # as live: what cannot be used leaves the belief as it was
                self.estimate = before
            self.steps += 1
            if self._note is not None:
                self._note(each, self.estimate.belief)

    def _first(self, store: Source) -> float | None:
        """Just before the earliest row."""
        firsts = [t[0] for _, t, _ in self._channels(store, -math.inf, math.inf) if len(t)]
        return float(np.nextafter(min(firsts), -math.inf)) if firsts else None

    def _channels(self, store: Source, start: float, end: float) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        for port, tag in enumerate((*self._binding.tags, CLOCK)):
            t, value = store.history(self._binding.twin, tag, start, end)
            yield port, t, value

    def _rows(self, store: Source, after: float, until: float) -> list[tuple[int, float, float]]:
        """Rows with after < t <= until, in the order of event time."""
        slack = slack_of(until, self._binding.period)  # what misses the last tick by rounding belongs to it
        columns = [
            (np.full(len(t), port), t, value)
            for port, t, value in self._channels(store, float(np.nextafter(after, math.inf)), until + slack)
        ]
        port, t, value = (np.concatenate(parts) for parts in zip(*columns, strict=True))
        order = np.lexsort((port, t))
        return list(zip(port[order].tolist(), t[order].tolist(), value[order].tolist(), strict=True))


def renamed(estimate: Estimate, number: int) -> Estimate:
    """The estimate with an id that no other belief of the twin has: the `number`-th event of the twin made it."""
    b = estimate.belief
    return replace(estimate, belief=replace(b, id=f"{b.twin}/refold{number}/{b.id.rpartition('/')[2]}"))
