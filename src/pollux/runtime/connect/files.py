"""Replay of records: at the speed of the wall (1x), faster (to 1000x), or as fast as the store takes them.

It resumes: rows up to the journal's last time (`after`) are skipped, so a restart neither loses nor repeats one.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from pollux.core.time import Clock
from pollux.runtime.connect.base import ConnectorError, ConnectorState, Counters, Order, Sink
from pollux.runtime.connect.records import RecordFormat, read_record
from pollux.runtime.connect.wire import Message

BATCH = 2000
"""Messages of one commit when nothing is waited for."""


class ReplayConnector:
    """Replays files one after the other. It only reads: a twin that is fed by it runs in shadow mode."""

    def __init__(
        self,
        name: str,
        paths: Sequence[Path],
        site: str,
        clock: Clock,
        *,
        speed: float = 0.0,
        form: RecordFormat | None = None,
        after: float | None = None,
    ):
        self.name, self.paths, self.site = name, tuple(paths), site
        self.speed = speed
        """Seconds of the record per second of the wall; 0: as fast as possible."""
        self.state = ConnectorState.IDLE
        self.counters = Counters()
        self._clock, self._form, self._after = clock, form or RecordFormat(), after
        self._begin: tuple[float, float] | None = None

    async def run(self, sink: Sink) -> None:
        """Replay to the end. Raises `InputError` that names file, row and column."""
        self.state = ConnectorState.CONNECTED
        waiting: list[Message] = []
        try:
            for path in self.paths:
                for messages in read_record(path, self._form, self.name, self.site):
                    fresh = [m for m in messages if self._after is None or m.t > self._after]
                    if not fresh:
                        continue
                    pause = self._pause(fresh[0].t)
                    if waiting and (pause > 0 or len(waiting) >= BATCH):
                        await self._deliver(sink, waiting)
                        waiting = []
                    if pause > 0:
                        await asyncio.sleep(pause)
                    waiting += fresh
            if waiting:
                await self._deliver(sink, waiting)
        finally:
            self.state = ConnectorState.ENDED

    async def send(self, order: Order) -> None:
        """Refuses."""
        raise ConnectorError(f"A replay takes no orders: {order.actuator!r} stays as recorded (shadow mode).")

    async def fault(self, site: str, kind: str, where: str, size: float, duration: float | None) -> None:
        """Refuses."""
        raise ConnectorError(f"A replay takes no orders: the fault {kind!r} cannot be sent to {site!r}.")

    async def _deliver(self, sink: Sink, messages: list[Message]) -> None:
        self.counters.received += len(messages)
        await sink.readings(messages)

    def _pause(self, t: float) -> float:
        """Seconds to wait until event time `t` is due."""
        if self.speed <= 0:
            return 0.0
        if self._begin is None:
            self._begin = (t, self._clock.monotonic())
        t0, began = self._begin
        return began + (t - t0) / self.speed - self._clock.monotonic()
