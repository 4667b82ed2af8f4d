"""The past of a running project: which twins run is written down at each start, and their past is computed on request.

One question at a time, in a worker thread, over a connection of its own, and no longer than `LIMIT`: a long one
belongs into a process of its own (`pollux recall --project`).
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pollux.autonomy.policy import Principal
from pollux.core.errors import InputError
from pollux.core.time import Clock
from pollux.runtime.estimate import estimate_of
from pollux.runtime.fleets.kept import members_ever
from pollux.runtime.fleets.lane import FleetLane
from pollux.runtime.fleets.recall import recall_member
from pollux.runtime.fleets.start import write_down
from pollux.runtime.fold import Fold
from pollux.runtime.identity import raised
from pollux.runtime.moments import Moment
from pollux.runtime.reached import reached
from pollux.runtime.recall import Recalled, Subject, answer, recall
from pollux.runtime.store.writer import StoreWriter

LIMIT = 60.0
"""Seconds that one question may take of the running project."""

NOT_YET = "A moment to recall lies in the past; `observe` shows the present, `forecast` the future"


class Archive:
    """What a server asks about the past."""

    def __init__(self, clock: Clock):
        self._clock = clock
        self._subjects: dict[str, tuple[Subject, StoreWriter]] = {}
        self._folds: dict[str, Fold] = {}
        self._fleets: dict[str, tuple[FleetLane, StoreWriter]] = {}
        self._turn = asyncio.Lock()

    async def open(self, subject: Subject, writer: StoreWriter, fold: Fold) -> None:
        """A twin was raised: write down what it is, so that its past can be told from that of another version."""
        start = raised(subject.base, subject.binding, subject.wiring, fold.seq, fold.began, self._clock.now())
        await fold.lane.journal.append([start])
        self._subjects[subject.wiring.name] = subject, writer
        self._folds[subject.wiring.name] = fold

    async def open_fleet(self, fleet: FleetLane, writer: StoreWriter) -> None:
        """A fleet was raised: the same, for all of its members."""
        await write_down(fleet, writer, self._clock.now())
        self._fleets[fleet.name] = fleet, writer

    async def recall(self, twin: str, moment: Moment) -> dict[str, Any]:
        """What a twin, or a member of a fleet, knew at a moment. Raises `InputError`, `StoreError`."""
        fleet = await self._fleet_of(twin)
        if fleet is not None:
            return await self._recall_member(twin, *fleet, moment)
        subject, writer = self._subject(twin)
        own = moment.plant_clock and subject.base.settings.time == "event"
        if moment.t > self._clock.now() and not (moment.event_time or own):
            raise InputError(NOT_YET)
        async with self._turn:
            return answer(await asyncio.to_thread(self._recall, subject, writer, moment))

    async def _recall_member(self, name: str, fleet: FleetLane, writer: StoreWriter, moment: Moment) -> dict[str, Any]:
        if moment.t > self._clock.now() and not moment.event_time:
            raise InputError(NOT_YET)

        def work() -> Recalled:
            with writer.store.reading() as reading:
                return recall_member(fleet.base, name, reading, moment, self._alive())

        async with self._turn:
            return answer(await asyncio.to_thread(work))

    async def readings(
        self, twin: str, signals: Sequence[str], start: float, end: float, points: int
    ) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """(t, value) of measured signals (none named: all) over any span, from the journal: at most `points` of each,
        the smallest and the largest of equal spans of time. Raises `InputError`, `StoreError`."""
        fleet = await self._fleet_of(twin)
        if fleet is not None:
            binding, writer = fleet[0].base.binding, fleet[1]
        else:
            subject, writer = self._subject(twin)
            binding = subject.binding
        ports = {port.field: port for port in binding.ports}
        for name in signals:
            if name not in ports:
                raise InputError(f"Twin {twin!r} measures no signal {name[:100]!r}; it measures {sorted(ports)}")

        def read() -> dict[str, tuple[np.ndarray, np.ndarray]]:
            return {
                name: writer.store.chart(twin, ports[name].tag, start, end, points)
                for name in dict.fromkeys(signals or ports)
            }

        return await asyncio.to_thread(read)

    async def refold(self, twin: str, who: Principal, start: float | None, reason: str) -> dict[str, Any]:
        """Fuse what a twin got too late (`rerun`): everything, or from what it believed of the time `start` on.

        Raises `InputError`, `StoreError`.
        """
        subject, writer = self._subject(twin)
        async with self._turn:
            since = None
            if start is not None:
                past = await asyncio.to_thread(self._recall, subject, writer, Moment(start, event_time=True))
                since = estimate_of(past.live.state)
            return await self._folds[twin].rerun(who, since, reason)

    def _subject(self, twin: str) -> tuple[Subject, StoreWriter]:
        if twin in self._subjects:
            return self._subjects[twin]
        if twin in self._fleets:
            raise InputError(f"{twin!r} is a fleet; ask for one of its members by name, which `pollux twins` lists")
        if any(twin in fleet.fold.slots for fleet, _ in self._fleets.values()):
            raise InputError(
                f"{twin!r} is a member of a fleet, where late values are not fused again; wire it as a `[[twin]]`"
            )
        known = sorted(self._subjects) or "no single twin"
        fleets = f", and of the members of the fleets {sorted(self._fleets)}" if self._fleets else ""
        raise InputError(f"The past of twin {twin[:100]!r} is not kept; it is kept of {known}{fleets}")

    async def _fleet_of(self, name: str) -> tuple[FleetLane, StoreWriter] | None:
        """The fleet in which `name` is a member, or was one; None for a twin, and for who was never one."""
        if name in self._subjects:
            return None
        now = next((f for f in self._fleets.values() if name in f[0].fold.slots), None)
        if now is not None:
            return now
        for fleet, writer in self._fleets.values():
            if name in await asyncio.to_thread(members_ever, writer.store, fleet.name):
                return fleet, writer
        return None

    def _alive(self) -> Callable[[], None]:
        """Raises where one question has taken too long."""
        end = self._clock.monotonic() + LIMIT

        def alive() -> None:
            if self._clock.monotonic() > end:
                raise InputError(
                    f"Computing this moment again takes longer than {LIMIT:g} s beside the running twins; do it in a "
                    "process of its own: `pollux recall TWIN --at TIME --project FOLDER`"
                )

        return alive

    def _recall(self, subject: Subject, writer: StoreWriter, moment: Moment) -> Recalled:
        alive = self._alive()
        with writer.store.reading() as reading:
            if moment.plant_clock:
                moment = Moment(reached(subject, reading, moment.t, self._clock.now(), alive))
            return recall(subject, reading, moment, alive)
