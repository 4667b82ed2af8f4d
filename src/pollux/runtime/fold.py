"""One twin's fold over the journal: durable rows become readings, readings become beliefs. Live and in replay.

    rows -> align -> readings -> lane.step -> belief            and events at the belief at which they happened

The fold reads no clock and draws no number, so a replay of the same journal gives the same bits; a snapshot is a
cache of it.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pollux.core.errors import CorruptionError, StoreError
from pollux.core.signals import Readings
from pollux.runtime import align
from pollux.runtime.align import AlignState
from pollux.runtime.binding import Binding
from pollux.runtime.build import Foundation
from pollux.runtime.intake import Delivery, TagTable, replay
from pollux.runtime.lane import Lane
from pollux.runtime.ledger import StoreJournal, place_of, recorded
from pollux.runtime.records import codec
from pollux.runtime.refill import refill
from pollux.runtime.state import LiveState
from pollux.runtime.store import base
from pollux.runtime.store.base import Snapshot, Track
from pollux.runtime.store.codec import Codec
from pollux.runtime.store.writer import StoreWriter

SNAPSHOT_EVERY = 500
"""Steps between two snapshots: the longest replay after a crash."""

HISTORY = 7 * 86400.0
"""Seconds of charts that a restart brings back."""

TRACK_EVERY = 20
"""Steps whose estimates are written together."""


@dataclass(frozen=True)
class FoldState:
    """What a snapshot holds."""

    align: AlignState
    live: LiveState
    event: int
    """Id of the newest event in it."""


class Fold:
    """Feeds one lane. `feed` is called in the order of the journal and by one task."""

    def __init__(
        self,
        foundation: Foundation,
        binding: Binding,
        lane: Lane,
        writer: StoreWriter,
        late: Callable[[Binding, align.Outcome], None],
    ):
        """`late` is told of every live row that is stored and not fused."""
        self.base, self.binding, self.lane, self._writer, self._late = foundation, binding, lane, writer, late
        self.aligned = align.start(binding)
        self.seq = 0
        """Every row of the journal before this one is folded in."""
        self.began = 0
        """Where the replay began: the row after its snapshot."""
        self._tracks: list[tuple[float, np.ndarray, np.ndarray]] = []
        self._since = 0

    @property
    def name(self) -> str:
        """Name of the twin."""
        return self.binding.twin

    def place(self) -> tuple[str, int]:
        """Where the fold stands: id of the belief, next row."""
        live = self.lane.live
        return (live.state.belief.id if live.ready else ""), self.seq

    async def feed(self, delivery: Delivery) -> None:
        """Fold in rows that are durable."""
        readings = self._align(delivery, self._late)
        for each in readings:
            result = await self.lane.step(each)
            self._note(result.belief.t, result.belief.mean, result.belief.cov)
        self.seq = delivery.seq
        self._since += len(readings)
        if len(self._tracks) >= TRACK_EVERY:
            await self.keep_tracks()
        if self._since >= SNAPSHOT_EVERY:
            await self.keep_snapshot()

    async def keep_tracks(self) -> None:
        """Write the estimates that have gathered."""
        if self._tracks:
            t, mean, sd = (np.array(column) for column in zip(*self._tracks, strict=True))
            self._tracks.clear()
            await self._writer.do(lambda store: store.add_track(self.name, Track(t, mean, sd)))

    async def keep_snapshot(self) -> None:
        """Write a snapshot of where the fold stands."""
        live = self.lane.live.snapshot()
        if live is None:
            return
        self._since = 0
        journal = self.lane.journal
        state = FoldState(self.aligned, live, journal.last if isinstance(journal, StoreJournal) else 0)
        data = await asyncio.to_thread(self._codec(live.detector).encode, state)
        snapshot = Snapshot(self.name, self.seq, live.belief.t, self.base.model_hash, data)
        await self._writer.do(lambda store: store.save_snapshot(snapshot))

    def replay(self, store: base.Source, tags: TagTable) -> int:
        """Come to where the journal ends: the newest snapshot, then the rows and events after it. Returns the steps.

        Runs in a worker thread before the lane is live; nothing is journalled, sent or shown.
        """
        newest = self._restore(store)
        self.began = self.seq
        waiting: dict[str, list[base.Event]] = {}
        for row in store.events_from(self.name, 0, newest):
            newest = max(newest, row.id)
            if not row.data.get("derived"):
                waiting.setdefault(place_of(row), []).append(row)
        live, steps = self.lane.live, 0
        if live.ready:
            self._catch_up(waiting)
        for delivery in replay(store, tags, {self.name: self.seq}):
            for readings in self._align(delivery):
                belief = live.step(readings).belief
                self._note(belief.t, belief.mean, belief.cov)
                self._catch_up(waiting)
                steps += 1
        refill(live, self.binding, store, HISTORY)
        self.seq = store.next_seq
        if isinstance(self.lane.journal, StoreJournal):
            self.lane.journal.last = newest
        return steps

    def _align(
        self, delivery: Delivery, tell: Callable[[Binding, align.Outcome], None] | None = None
    ) -> tuple[Readings, ...]:
        done = align.push(self.binding, self.aligned, delivery.rows)
        self.aligned = done.state
        for outcome in done.outcomes:
            self.lane.unfused[outcome.reason] += 1
            if tell is not None:
                tell(self.binding, outcome)
        return done.readings

    def _catch_up(self, waiting: dict[str, list[base.Event]]) -> None:
        live = self.lane.live
        for row in waiting.pop(live.state.belief.id, ()):
            live.apply(recorded(row))

    def _restore(self, store: base.Source) -> int:
        snapshot = store.load_snapshot(self.name, self.base.model_hash)
        if snapshot is None:
            return 0
        try:
            state: FoldState = self._codec().decode(snapshot.data)
        except (CorruptionError, StoreError):
            return 0  # of another version: the journal is the truth
        if len(state.align.newest) != len(self.binding.ports):
            return 0  # the wiring has changed
        self.aligned, self.seq = state.align, snapshot.seq
        self.lane.live.restore(state.live)
        return state.event

    def _codec(self, *examples: object) -> Codec:
        """Knows the fold's records and those of this twin's detector."""
        detector = self.base.detector
        memory = () if detector is None else (detector.start(),)
        return codec(*memory, *examples, types=(FoldState, AlignState, align.Bin, align.Ahead))

    def _note(self, t: float, mean: np.ndarray, cov: np.ndarray) -> None:
        self._tracks.append((t, mean, np.sqrt(np.maximum(np.diag(cov), 0.0))))
