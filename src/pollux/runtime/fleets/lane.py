"""One fleet on the event loop: columns in, durable, folded in, shown.

    columns -> border -> journal (durable) -> fold: align -> kernel -> beliefs -> table, opened members

All mathematics runs in worker threads; the loop only waits.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from pollux.core.errors import MessageError
from pollux.core.time import Clock
from pollux.runtime.connect.wire import Columns, Delivered, Message
from pollux.runtime.failing import if_room
from pollux.runtime.fleets.align import Cells
from pollux.runtime.fleets.border import FleetBorder, Refusal, joined
from pollux.runtime.fleets.build import FleetBase
from pollux.runtime.fleets.fold import FleetFold, codec
from pollux.runtime.fleets.kept import JOINED, LEFT
from pollux.runtime.fleets.members import Member, table
from pollux.runtime.fleets.past import past, put_before
from pollux.runtime.fleets.replay import replay
from pollux.runtime.fleets.sheet import FleetSheet
from pollux.runtime.fleets.tags import FleetTags
from pollux.runtime.lane import Lane
from pollux.runtime.store.base import Rows, Snapshot, Store
from pollux.runtime.store.writer import StoreWriter
from pollux.runtime.tables import closest

SNAPSHOT_EVERY = 600
"""Ticks between two snapshots: the longest replay after a crash."""

BACKLOG = 4
"""Blocks that may wait for the fold; beyond, connectors wait, and acknowledge later."""


class FleetLane:
    """One fleet with its journal and those of its members that somebody looks at."""

    def __init__(self, base: FleetBase, writer: StoreWriter, clock: Clock):
        self.base, self._writer, self._clock = base, writer, clock
        self.fold = FleetFold(
            base.fleet, base.binding, [m.name for m in base.members], base.params, base.stale_after
        )  # fmt: skip
        self.tags = FleetTags(base.name, base.binding.tags, base.fleet.capacity)
        self.border = FleetBorder(base.binding, self.fold.slots, base.fleet.capacity)
        self.seq = 0
        """Every row of the journal before this one is folded in."""
        self.began = 0
        """The row from which the replay went on."""
        self.room = asyncio.Event()
        """Set while few blocks wait."""
        self.room.set()
        self._backlog: asyncio.Queue[tuple[int, Cells]] = asyncio.Queue()
        self._turn = asyncio.Lock()
        self._since = 0
        self._filling: set[asyncio.Task[None]] = set()
        """Charts of members that are being opened."""

    @property
    def name(self) -> str:
        """Name of the fleet."""
        return self.base.name

    def admit(self, messages: Sequence[Delivered], now: float) -> tuple[Rows | None, list[Refusal]]:
        """Rows of all that pass, and what did not."""
        parts: list[Cells] = []
        refused: list[Refusal] = []
        for message in messages:
            try:
                if isinstance(message, Columns):
                    cells, wrong = self.border.columns(message, now)
                    refused += wrong
                else:
                    cells = self.border.message(message, now)
                parts.append(cells)
            except MessageError as error:
                refused.append(_refusal(message, error))
        cells = joined(parts) if parts else None
        return (self.tags.rows(cells) if cells is not None and len(cells.t) else None), refused

    def take(self, first: int, rows: Rows) -> None:
        """Queue this fleet's share of a block that is durable. Called in the order of the journal; does not wait."""
        cells = self.tags.cells(rows)
        if cells is not None:
            self._backlog.put_nowait((first + len(rows), cells))
            if self._backlog.qsize() > BACKLOG:
                self.room.clear()

    async def run(self) -> None:
        """Fold in what is durable, until cancelled."""
        while True:
            seq, cells = await self._backlog.get()
            if self._backlog.qsize() <= BACKLOG:
                self.room.set()
            async with self._turn:
                self._since += await asyncio.to_thread(self.fold.feed, cells)
                self.seq = seq
            self.base.opened.show(self.fold)
            self._backlog.task_done()
            if self._since >= SNAPSHOT_EVERY:
                await self.keep_snapshot()

    async def settled(self) -> None:
        """Return when everything durable is folded in."""
        await self._backlog.join()

    def sheet(self) -> FleetSheet:
        """The members' rows of the table of all twins."""
        face = self.base.face
        now = self._clock.now() if self.base.binding.time == "wall" else None
        return FleetSheet(self.fold, face.kind, [(s.label, s.unit) for s in face.states], now)

    async def tick(self, t: float) -> None:
        """Say to a fleet that runs on wall time that it is `t` now: silence becomes visible."""
        await if_room(self._writer.append(self.tags.tick(t)))

    async def join(self, members: Sequence[Member], by: str) -> None:
        """New members; nothing is compiled. Raises `InputError`, `WiringError`."""
        space = self.base.fleet.space
        params = table(members, [c.name for c in space.p], space.p0, f"fleet {self.name!r}")
        names = [m.name for m in members]
        async with self._turn:
            slots = self.fold.room_for(names)
            data = {"names": names, "params": params.T.tolist(), "by": by, "received": self._clock.now()}

            def write(store: Store) -> int:
                self.tags.add(store, list(zip(slots, names, strict=True)))
                return store.add_event(self._event_time(), self.name, JOINED, data, seq=self.seq)

            event = await self._writer.do(write)
            self.fold.join(names, params, event)

    async def leave(self, names: Sequence[str], by: str) -> None:
        """Members go; their history stays. Raises `InputError`."""
        async with self._turn:
            slots = self.fold.slots_of(names)
            data = {"names": list(names), "by": by, "received": self._clock.now()}
            event = await self._writer.do(
                lambda store: store.add_event(self._event_time(), self.name, LEFT, data, seq=self.seq)
            )
            self.fold.leave(names, event)
            self.tags.drop(slots)
            self.base.opened.close(names)

    async def keep_snapshot(self) -> None:
        """Write a snapshot of where the fold stands."""
        if self.fold.belief is None:
            return
        self._since = 0
        async with self._turn:
            state, seq, t = await asyncio.to_thread(self.fold.freeze), self.seq, self.fold.t
        data = await asyncio.to_thread(codec().encode, state)
        snapshot = Snapshot(self.name, seq, t, self.base.model_hash, data)
        if await if_room(self._writer.do(lambda store: store.save_snapshot(snapshot))):
            self._since = 0

    def replay(self, store: Store) -> int:
        """Come to where the journal ends: the newest snapshot, then the rows and events after it. Returns the ticks.

        Runs in a worker thread before the fleet is live.
        """
        found = replay(self.fold, self.tags, store, self.base.model_hash)
        self.border = FleetBorder(self.base.binding, self.fold.slots, self.base.fleet.capacity)
        self.seq, self.began, self._since = store.next_seq, found.began, found.ticks
        return found.ticks

    def member(self, name: str) -> Lane | None:
        """A member, as a twin that can be looked at; None for who is not one. Called on the event loop."""
        if name not in self.fold.slots:
            return None
        opened = self.base.opened
        new = not opened.holds(name)
        lane = opened.lane(self.fold, name)
        if new:
            lane.charts.clear()
            filling = asyncio.create_task(self._fill(lane, name))
            self._filling.add(filling)
            filling.add_done_callback(self._filling.discard)
        return lane

    async def _fill(self, lane: Lane, name: str) -> None:
        try:
            put_before(lane.live.ring, await asyncio.to_thread(past, self.fold, name, self._writer.store))
        finally:
            lane.charts.set()

    def _event_time(self) -> float:
        return self._clock.now() if np.isnan(self.fold.t) else self.fold.t


def _refusal(message: Delivered, error: MessageError) -> Refusal:
    if isinstance(message, Message):
        return Refusal(message, error, 1)
    tag = message.tags[0]
    value = float(message.values[0, 0])
    return Refusal(
        Message(message.source, message.site, tag, message.t, value, None, message.via), error, message.values.size
    )


class Sorted(NamedTuple):
    """Messages by who they are for."""

    single: list[Message]
    """Of twins that are wired one by one."""
    fleets: dict[str, list[Delivered]]
    strays: list[Refusal]
    """Columns that name no fleet."""


def sort(fleets: Mapping[str, FleetLane], messages: Sequence[Delivered]) -> Sorted:
    """Sort messages by who they are for: columns by the site of the fleet, single values by the name of the member."""
    found = Sorted([], {}, [])
    sites = {lane.base.binding.site: name for name, lane in fleets.items()}
    for message in messages:
        columns = isinstance(message, Columns)
        fleet = sites.get(message.site) if columns else _fleet_of(fleets, message.site)
        if fleet is not None:
            found.fleets.setdefault(fleet, []).append(message)
        elif not columns:
            found.single.append(message)
        else:
            text = (
                f"Message refused: columns are for a fleet: got {message.site[:100]!r}. {closest(message.site, sites)}"
            )
            found.strays.append(_refusal(message, MessageError(text, "unknown_tag")))
    return found


def _fleet_of(fleets: Mapping[str, FleetLane], member: str) -> str | None:
    return next((name for name, lane in fleets.items() if member in lane.fold.slots), None)
