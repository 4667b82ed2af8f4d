"""One twin's fold over the journal: durable rows become readings, readings become beliefs. Live and in replay.

    rows -> align -> readings -> lane.fold -> belief            and events at the belief at which they happened

What is settled reads no clock and draws no number, so a replay of the same journal gives the same bits; a snapshot is
a cache of it. The present, and what is said about the clocks of the sources, go beside it.
"""

import asyncio
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pollux.autonomy.policy import Principal
from pollux.core.errors import CorruptionError, InputError, StoreError
from pollux.core.signals import Belief, Readings
from pollux.runtime import align
from pollux.runtime.align import Aligner, AlignState
from pollux.runtime.binding import Binding
from pollux.runtime.build import Foundation
from pollux.runtime.estimate import Estimate, estimate_of
from pollux.runtime.events import Intent
from pollux.runtime.failing import if_room
from pollux.runtime.folding import REFOLDED
from pollux.runtime.intake import Delivery, TagTable, replay
from pollux.runtime.jsonable import number
from pollux.runtime.lane import Lane
from pollux.runtime.ledger import StoreJournal, place_of, recorded
from pollux.runtime.present import Present
from pollux.runtime.records import codec
from pollux.runtime.refill import refill
from pollux.runtime.rerun import InOrder, renamed
from pollux.runtime.sources import Sources
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

TRACK_MOST = 5000
"""Steps whose estimates are written at once, after a re-run."""

SHARE = 4.0
"""A present that takes long to fuse stays good for this many times as long as it took."""


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
        self.aligner = Aligner(binding)
        self.present = Present(lane.live, self.aligner)
        self.sources = Sources(binding, lane)
        self.seq = 0
        """Every row of the journal before this one is folded in."""
        self.began = 0
        """Where the replay began: the row after its snapshot."""
        self._tracks: list[tuple[float, np.ndarray, np.ndarray]] = []
        self._since = 0
        self._whole = True
        """Whether every row that is aligned is folded: else there is nothing to keep."""
        self._turn = asyncio.Lock()
        self._fresh, self._later = -np.inf, None
        lane.sources = lambda: self.sources.shown(self.aligner)

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
        async with self._turn:
            self._whole = False
            readings = self._align(delivery, self._late)
            for result in await self.lane.fold(readings):
                self._note(result.belief.t, result.belief.mean, result.belief.cov)
            self.seq = delivery.seq
            self._whole = True
            self._since += len(readings)
            await self._refresh()
        if len(self._tracks) >= TRACK_EVERY:
            await self.keep_tracks()
        if self._since >= SNAPSHOT_EVERY:
            await self.keep_snapshot()
        source = self.aligner.source
        await self.sources.heard(delivery.received, ((source[port], t) for port, t, _ in delivery.rows))

    async def _refresh(self) -> None:
        """Bring the present up to date; soon, where that has just taken long."""
        clock = self.lane.live.clock
        if not self.present.due:
            return
        began = clock.monotonic()
        if began < self._fresh:
            if self._later is None:
                self._later = asyncio.create_task(self._refresh_at(self._fresh - began))
            return
        await asyncio.to_thread(self.present.refresh)
        ended = clock.monotonic()
        if self.present.behind:
            self._later = self._later or asyncio.create_task(self._refresh_at(0.0))
            return
        self._fresh = ended + SHARE * (ended - began)
        self.lane.publish_soon()

    async def _refresh_at(self, wait: float) -> None:
        await asyncio.sleep(wait)
        self._later = None
        async with self._turn:
            await self._refresh()

    async def rerun(self, who: Principal, since: Estimate | None, reason: str) -> dict[str, Any]:
        """Fuse what came late (see `rerun`), from the start or from the estimate `since` on, and go on from the result.

        Readings are folded meanwhile, and only wait while it catches up with them. Raises `InputError`, `StoreError`.
        """
        live, store = self.lane.live, self._writer.store
        ring = live.new_ring()
        tracks: list[tuple[float, np.ndarray, np.ndarray]] = []

        def note(readings: Readings, belief: Belief) -> None:
            ring.add(readings, belief)
            tracks.append(_track(belief.t, belief.mean, belief.cov))

        again = InOrder(live, self.binding, since, note)
        await asyncio.to_thread(again.run, store, self._next_bin())
        async with self._turn:
            await asyncio.to_thread(again.run, store, self._next_bin())
            if again.estimate is None:
                raise InputError(f"Twin {self.name!r} has no rows that could be fused again")
            if since is not None and since.belief.t >= live.t:
                raise InputError(f"`start` lies before the settled belief at {live.t!r}, received {since.belief.t!r}")
            result = renamed(again.estimate, live.state.count + 1)
            data = {
                "estimate": b64encode(self._codec(result.detector).encode(result)).decode(),
                "empty": again.empty, "model": self.base.model_hash, "belief": result.belief.id,
                "since": None if since is None else since.belief.t, "t": result.belief.t, "steps": again.steps,
                "reason": reason,
            }  # fmt: skip
            before = live.state.belief
            await self.lane.act(Intent("refold", who, data))
            self._adopt(data)
            old, new = live.ring.rows(), ring.rows()
            ring.load(np.vstack([old[old[:, 0] < new[0, 0]], new]) if len(new) else old)
            live.ring, self._tracks = ring, tracks
        await self.keep_tracks()
        await self.keep_snapshot()
        async with self._turn:
            await self._refresh()
        after = result.belief
        return {
            "t": after.t, "since": data["since"], "steps": again.steps, "before": before.id, "belief": after.id,
            "moved": {
                s.name: {"mean": number(after.mean[i] - before.mean[i]), "sd": number(np.sqrt(before.cov[i, i]))}
                for i, s in enumerate(live.face.estimated)
            },
        }  # fmt: skip

    def _next_bin(self) -> int:
        return self.aligner.cursor.next_bin or 0

    def _adopt(self, data: Mapping[str, Any]) -> None:
        """Go on from the result of a re-run; where another model made it, only from its id: it must be run again."""
        live, kept = self.lane.live, None
        if data["model"] == self.base.model_hash:
            with suppress(CorruptionError, StoreError):  # of another version
                kept = self._codec().decode(b64decode(data["estimate"]))
        if kept is None:
            now = estimate_of(live.state)
            kept = replace(now, belief=replace(now.belief, id=data["belief"]))
        live.adopt(kept)
        self.aligner.cursor = replace(self.aligner.cursor, empty=data["empty"])
        self.present.forget()

    async def keep_tracks(self) -> None:
        """Write the estimates that have gathered."""
        while self._tracks:
            part, self._tracks = self._tracks[:TRACK_MOST], self._tracks[TRACK_MOST:]
            track = Track(*(np.array(column) for column in zip(*part, strict=True)))
            if not await if_room(self._writer.do(lambda store, track=track: store.add_track(self.name, track))):
                self._tracks = part + self._tracks
                return

    async def keep_snapshot(self) -> None:
        """Write a snapshot of where the fold stands."""
        live = self.lane.live.snapshot()
        if live is None or not self._whole:
            return
        self._since = 0
        journal = self.lane.journal
        state = FoldState(self.aligner.freeze(), live, journal.last if isinstance(journal, StoreJournal) else 0)
        data = await asyncio.to_thread(self._codec(live.detector).encode, state)
        snapshot = Snapshot(self.name, self.seq, live.belief.t, self.base.model_hash, data)
        if await if_room(self._writer.do(lambda store: store.save_snapshot(snapshot))):
            self._since = 0

    def replay(self, store: base.Source, tags: TagTable) -> int:
        """Come to where the journal ends: the newest snapshot, then the rows and events after it. Returns the steps.

        Runs in a worker thread before the lane is live; nothing is journalled, sent or shown.
        """
        newest = self._restore(store)
        self.seq = self.began = max(self.seq, store.first_seq)  # a new model, where retention has dropped the beginning
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
        self.present.refresh()
        while self.present.behind:
            self.present.refresh()
        refill(live, self.binding, store, HISTORY)
        self.seq = store.next_seq
        if isinstance(self.lane.journal, StoreJournal):
            self.lane.journal.last = newest
        return steps

    def _align(
        self, delivery: Delivery, tell: Callable[[Binding, align.Outcome], None] | None = None
    ) -> list[Readings]:
        readings, outcomes = self.aligner.push(delivery.rows)
        for outcome in outcomes:
            self.sources.left_out(outcome)
            if tell is not None:
                tell(self.binding, outcome)
        return readings

    def _catch_up(self, waiting: dict[str, list[base.Event]]) -> None:
        live = self.lane.live
        while rows := waiting.pop(live.state.belief.id, ()):
            for row in rows:
                event = recorded(row)
                live.apply(event)
                if event.kind == REFOLDED:
                    self._adopt(event.data)

    def _restore(self, store: base.Source) -> int:
        snapshot = store.load_snapshot(self.name, self.base.model_hash)
        if snapshot is None:
            return 0
        try:
            state: FoldState = self._codec().decode(snapshot.data)
        except (CorruptionError, StoreError):
            return 0  # of another version: the journal is the truth
        kept = state.align
        if (len(kept.newest), len(kept.source_at)) != (len(self.binding.ports), len(self.binding.sources)):
            return 0  # the wiring has changed
        self.aligner, self.seq = Aligner(self.binding, kept), snapshot.seq
        self.present = Present(self.lane.live, self.aligner)
        self.lane.live.restore(state.live)
        return state.event

    def _codec(self, *examples: object) -> Codec:
        """Knows the fold's records and those of this twin's detector."""
        detector = self.base.detector
        memory = () if detector is None else (detector.start(),)
        return codec(*memory, *examples, types=(FoldState, AlignState, align.Ahead, Estimate))

    def _note(self, t: float, mean: np.ndarray, cov: np.ndarray) -> None:
        self._tracks.append(_track(t, mean, cov))


def _track(t: float, mean: np.ndarray, cov: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """What the history keeps of a belief."""
    return t, mean, np.sqrt(np.maximum(np.diag(cov), 0.0))
