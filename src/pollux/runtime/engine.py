"""The engine: the data walk of all twins of a project, on one event loop.

    connector -> border -> journal (durable, acknowledged) -> fold: align -> mirror -> belief -> look ahead -> guard

It holds kernels as opaque callables and does no mathematics.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pollux.autonomy.killswitch import KillSwitch
from pollux.core.errors import FencedError, InputError, PolluxError, StoreError
from pollux.core.signals import Cause, Finding
from pollux.core.time import Clock
from pollux.runtime import build
from pollux.runtime.actuators import WiredActuators, WiredSite
from pollux.runtime.align import Outcome
from pollux.runtime.archive import Archive
from pollux.runtime.binding import Binding, bind
from pollux.runtime.connect.base import Ack, Connector, Receipt, Unread
from pollux.runtime.connect.http import HttpConnector
from pollux.runtime.connect.wire import Delivered
from pollux.runtime.fleets.build import fleet_base
from pollux.runtime.fleets.lane import FleetLane, sort
from pollux.runtime.fleets.lanes import Lanes
from pollux.runtime.fold import Fold
from pollux.runtime.intake import Delivery, Intake, TagTable
from pollux.runtime.lane import Lane
from pollux.runtime.ledger import AuditFile, StoreJournal
from pollux.runtime.live import LiveTwin
from pollux.runtime.recall import Subject
from pollux.runtime.roster import Cards, Roster, Sheet
from pollux.runtime.store.base import Rows
from pollux.runtime.store.make import open_store
from pollux.runtime.store.writer import StoreWriter
from pollux.runtime.wiring import FleetWiring, TwinWiring, Wiring
from pollux.runtime.wiring_connectors import ConnectorWiring

log = logging.getLogger("pollux.engine")

BACKLOG = 1024
"""Deliveries that may wait for a fold; beyond, connectors wait, and acknowledge later."""


@dataclass(frozen=True)
class _Running:
    """One twin that takes readings."""

    wiring: TwinWiring
    base: build.Foundation
    fold: Fold
    lane: Lane
    actuators: WiredActuators
    backlog: asyncio.Queue[Delivery]
    room: asyncio.Event
    """Set while the backlog is short."""


class Engine:
    """All twins of one project. Satisfies `ports.Host` for the server and `connect.base.Sink` for connectors."""

    def __init__(self, wiring: Wiring, state: Path, clock: Clock):
        self.wiring, self.state_folder, self.clock = wiring, state, clock
        self.phase = "starting"
        self.live = asyncio.Event()
        """Set when every twin is raised and connectors deliver."""
        self.connectors: dict[str, Connector] = {}
        state.mkdir(parents=True, exist_ok=True)
        self.switch = KillSwitch(state / "STOPPED")
        self.archive = Archive(clock)
        self.fleets: dict[str, FleetLane] = {}
        self._running: dict[str, _Running] = {}
        self._lanes = Lanes(self._running, self.fleets)
        self.roster = Roster(self._sheets, clock)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._intake: Intake | None = None
        self._failed: asyncio.Future[None]
        self._writer: StoreWriter | None = None
        self._audit: AuditFile | None = None

    # ---------------------------------------------------------------- what the server asks

    def lanes(self) -> Mapping[str, Lane]:
        """The live twins by name; members of fleets are found by name, and not listed."""
        return self._lanes

    def refused(self) -> Mapping[str, int]:
        """Messages in the quarantine since the start, by reason, of all twins."""
        return {} if self._intake is None else dict(self._intake.quarantine.counts)

    async def push(self, readings: list[dict[str, Any]], source: str) -> dict[str, Any]:
        """Take readings that the caller `source` sent; what is answered as accepted is durable."""
        connector = next((c for c in self.connectors.values() if isinstance(c, HttpConnector)), None)
        if connector is None:
            raise InputError('This project takes no readings over HTTP; add `[connector.NAME]` with `kind = "http"`')
        return await connector.push(readings, source)

    # ---------------------------------------------------------------- the walk

    async def run(self, make: Callable[[ConnectorWiring, float | None], Connector]) -> None:
        """Load the project and walk until cancelled. Raises `PolluxError` when it cannot start.

        `make` builds a connector; it is told the newest event time that its twins have seen, where a replay goes on.
        """
        self._failed = asyncio.get_running_loop().create_future()
        try:
            self._writer = StoreWriter(
                await asyncio.to_thread(open_store, self.wiring.store, self.state_folder), self.clock
            )
            self._audit = AuditFile(self.state_folder)
            for wiring in self.wiring.twins:
                await self._raise_twin(wiring)
            for wiring in self.wiring.fleets:
                await self._raise_fleet(wiring)
            self._writer.folds = (*self._running, *self.fleets)
            bindings = [r.fold.binding for r in self._running.values()]
            self._intake = Intake(bindings, self._writer, self.clock, self._deliver, self._answered)
            self._writer.on_rows = self._committed(self._writer.on_rows)
            for wired in self.wiring.connectors:
                self.connectors[wired.name] = make(wired, self._seen(wired.name))
            self.phase = "live"
            for running in self._running.values():
                self._spawn(self._consume(running), f"fold of {running.fold.name}")
                self._spawn(self._prepare(running), f"kernels of {running.fold.name}")
                if running.wiring.time == "wall":
                    self._spawn(self._tick(running), f"clock of {running.fold.name}")
            for name, fleet in self.fleets.items():
                self._spawn(fleet.run(), f"fold of {name}")
                if fleet.base.binding.time == "wall":
                    self._spawn(self._tick_fleet(fleet), f"clock of {name}")
            for connector in self.connectors.values():
                self._spawn(connector.run(self), f"connector {connector.name}")
            self.live.set()
            await self._failed
        except PolluxError as error:
            self.phase = f"failed: {error}"
            raise
        finally:
            await self._wind_up()

    async def readings(self, messages: Sequence[Delivered], unread: Sequence[Unread] = ()) -> Receipt:
        """Take messages from a connector: what is accepted is durable when this returns. Raises `StoreError`."""
        assert self._intake is not None
        try:
            receipt = await self._take(messages, unread)
        except FencedError as error:
            if not self._failed.done():
                self._failed.set_exception(error)  # another writes now: there is nothing left to do here
            raise
        except StoreError as error:
            text = f"Readings are not acknowledged: {error}"
            await self._say("journal", text)
            raise
        await self._unsay("journal")
        sites = {message.site for message in messages}
        for running in self._running.values():
            if running.fold.binding.site in sites:  # a fold that hangs holds up who feeds it, and nobody else
                await running.room.wait()
        for fleet in self.fleets.values():
            await fleet.room.wait()
        return receipt

    async def settled(self) -> None:
        """Return when everything durable is folded in."""
        await self.live.wait()
        for running in self._running.values():
            await running.backlog.join()
        for fleet in self.fleets.values():
            await fleet.settled()

    async def acknowledged(self, ack: Ack) -> None:
        """The plant answered an order."""
        assert self._intake is not None
        await self._intake.acknowledged(ack)

    async def _take(self, messages: Sequence[Delivered], unread: Sequence[Unread]) -> Receipt:
        """Messages to whom they are for; single twins and fleets share one commit where they come together."""
        assert self._intake is not None
        assert self._writer is not None
        found, now = sort(self.fleets, messages), self.clock.now()
        refused = list(found.strays)
        blocks: list[Rows] = []
        for name, theirs in found.fleets.items():
            rows, wrong = self.fleets[name].admit(theirs, now)
            refused += wrong
            if rows is not None:
                blocks.append(rows)
        for message, error, _ in refused:
            self._intake.quarantine.add_message(now, message, error)
        single = asyncio.ensure_future(self._intake.readings(found.single, unread))
        await asyncio.gather(single, *(self._writer.append(rows) for rows in blocks))
        receipt = single.result()
        said = tuple((message.tag, error.reason, str(error)) for message, error, _ in refused)
        return Receipt(receipt.accepted + sum(map(len, blocks)), (*receipt.refused, *said))

    def _committed(self, single: "Callable[[int, Rows], None] | None") -> "Callable[[int, Rows], None]":
        """What happens to a block that is durable: fleets take their share, `single` takes the rest."""

        def committed(first: int, rows: Rows) -> None:
            for fleet in self.fleets.values():
                fleet.take(first, rows)
            if single is not None:
                single(first, rows)

        return committed

    def _sheets(self) -> list[Sheet]:
        """The table of all twins."""
        single = Cards([running.lane.live.card() for running in self._running.values()])
        return [single, *(fleet.sheet() for fleet in self.fleets.values())]

    def _deliver(self, delivery: Delivery) -> None:
        running = self._running[delivery.twin]
        running.backlog.put_nowait(delivery)
        if running.backlog.qsize() > BACKLOG:
            running.room.clear()

    def _answered(self, ack: Ack) -> None:
        for running in self._running.values():
            if running.fold.binding.site == ack.site:
                answer = running.actuators.answered(ack)
                if answer is not None:
                    self._spawn(running.lane.answered(*answer), f"answer {ack.id}")

    def _late(self, binding: Binding, outcome: Outcome) -> None:
        assert self._intake is not None
        self._intake.quarantine.add_outcome(self.clock.now(), binding, outcome)

    async def _consume(self, running: _Running) -> None:
        """Fold what is durable, in the order of the journal; look ahead after each batch."""
        looking: asyncio.Task[None] | None = None
        while True:
            delivery = await running.backlog.get()
            if running.backlog.qsize() <= BACKLOG:
                running.room.set()
            await running.fold.feed(delivery)
            running.backlog.task_done()
            if running.backlog.empty() and (looking is None or looking.done()) and running.lane.live.due():
                looking = self._spawn(self._look_ahead(running), f"outlook of {running.fold.name}")

    async def _tick(self, running: _Running) -> None:
        """Let wall time pass for a twin whose sensors are silent, so that silence is seen."""
        assert self._intake is not None
        while True:
            await asyncio.sleep(running.wiring.period)
            await self._intake.tick(running.fold.name, self.clock.now())

    async def _tick_fleet(self, fleet: FleetLane) -> None:
        while True:
            await asyncio.sleep(fleet.base.binding.period)
            await fleet.tick(self.clock.now())

    async def _look_ahead(self, running: _Running) -> None:
        try:
            await running.lane.look_ahead()
            await running.lane.withdraw(str(Cause.SYSTEM), "outlook")
        except PolluxError as error:
            log.warning("outlook failed", extra={"data": {"twin": running.fold.name, "error": str(error)}})
            await running.lane.report(_trouble(running, "outlook", f"No forecast or plan could be made: {error}"))

    # ---------------------------------------------------------------- starting and stopping

    async def _raise_twin(self, wiring: TwinWiring) -> None:
        """Load, compile what the fold needs, and replay the journal."""
        assert self._writer is not None
        assert self._audit is not None
        writer = self._writer
        blueprint = await asyncio.to_thread(build.blueprint_of, wiring, self.wiring.folder)
        base = await asyncio.to_thread(build.foundation, wiring, blueprint)
        binding = bind(wiring, base.space.y, base.space.u)
        tags = await writer.do(lambda store: TagTable(store, [binding]))
        live = LiveTwin(
            base.face, self.clock, settings=base.settings, audit=self._audit, stopped=self.switch.stopped,
            mirror=base.mirror, detector=base.detector, authority=base.authority, gauge=base.gauge,
            outlook=blueprint.outlook,
        )  # fmt: skip
        fold: Fold
        journal = StoreJournal(writer, wiring.name, lambda: fold.place())
        actuators = WiredActuators(binding, self.connectors)
        lane = Lane(
            live, journal, actuators, switch=self.switch,
            site=self._site(binding, base), trail=self._audit,
        )  # fmt: skip
        fold = Fold(base, binding, lane, writer, self._late)
        await asyncio.to_thread(build.warm, base)
        steps = await asyncio.to_thread(fold.replay, writer.store, tags)
        await self.archive.open(Subject(base, binding, wiring), writer, fold)
        log.info("twin raised", extra={"data": {"twin": wiring.name, "replayed": steps, "rows": fold.seq}})
        room = asyncio.Event()
        room.set()
        self._running[wiring.name] = _Running(wiring, base, fold, lane, actuators, asyncio.Queue(), room)

    async def _raise_fleet(self, wiring: FleetWiring) -> None:
        """Load, compile, and replay the journal."""
        assert self._writer is not None
        base = await asyncio.to_thread(fleet_base, wiring, self.wiring.folder, self.clock)
        fleet = FleetLane(base, self._writer, self.clock)
        ticks = await asyncio.to_thread(fleet.replay, self._writer.store)
        log.info("fleet raised", extra={"data": {"fleet": fleet.name, "replayed": ticks, "rows": fleet.seq}})
        await self.archive.open_fleet(fleet, self._writer)
        self.fleets[fleet.name] = fleet

    def _seen(self, connector: str) -> float | None:
        times = [
            r.lane.live.t
            for r in self._running.values()
            if r.lane.live.ready and any(p.connector == connector for p in r.fold.binding.ports)
        ]
        return min(times, default=None)

    async def _prepare(self, running: _Running) -> None:
        """Compile what looks ahead while readings already flow."""
        try:
            forecaster = await asyncio.to_thread(build.forecaster_of, running.base, running.wiring)
            running.lane.live.attach(forecaster=forecaster)
            await asyncio.to_thread(build.warm_guard, running.base)
            planner = await asyncio.to_thread(build.planner_of, running.base, forecaster)
            if planner is not None:
                running.lane.live.attach(planner=planner)
            if running.lane.live.due():  # what came before the kernels were there may be the last for long
                await self._look_ahead(running)
        except PolluxError as error:
            while not running.lane.live.ready:  # noqa: ASYNC110 (an alarm needs a belief to stand beside)
                await asyncio.sleep(0.1)
            await running.lane.report(_trouble(running, "kernels", f"A kernel could not be compiled: {error}"))

    async def _say(self, subject: str, text: str) -> None:
        for running in self._running.values():
            if running.lane.live.ready:
                await running.lane.report(_trouble(running, subject, text))

    async def _unsay(self, subject: str) -> None:
        for running in self._running.values():
            if running.lane.live.ready:
                await running.lane.withdraw(str(Cause.SYSTEM), subject)

    async def _wind_up(self) -> None:
        """Stop connectors and folds, keep what is in memory, close the files."""
        self.phase = self.phase if self.phase.startswith("failed") else "stopping"
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._writer is not None:
            with suppress(StoreError):  # both can be computed again; the store is given back in any case
                for running in self._running.values():
                    await running.fold.keep_tracks()
                    await running.fold.keep_snapshot()
                for fleet in self.fleets.values():
                    await fleet.keep_snapshot()
            await self._writer.close()
        if self._audit is not None:
            self._audit.close()

    def _site(self, binding: Binding, base: build.Foundation) -> WiredSite | None:
        """The way to a demo plant; None for a real asset."""
        if not (base.blueprint.faults and binding.ports):
            return None
        return WiredSite(binding, self.connectors)

    def _spawn(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Run beside the others, referenced until it is over; a failure ends the engine."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._over)
        return task

    def _over(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not self._failed.done():
            self._failed.set_exception(error)


def _trouble(running: _Running, subject: str, text: str) -> Finding:
    t = running.lane.live.t
    return Finding(running.fold.name, t, f"{running.fold.name}/system/{subject}", "", Cause.SYSTEM, subject, text, 2)
