"""Replay of records: at the speed of the wall (1x), faster (to 1000x), or as fast as the store takes them.

It resumes: rows up to the journal's last time (`after`) are skipped, so a restart neither loses nor repeats one.
"""

from asyncio import sleep
from collections.abc import Sequence
from pathlib import Path

from pollux.core.time import Clock
from pollux.runtime.connect.base import ConnectorError, ConnectorState, Order, Sink, Unread
from pollux.runtime.connect.line import Line, OnLine
from pollux.runtime.connect.records import RecordFormat, read_record
from pollux.runtime.connect.wire import Message

BATCH = 2000
"""Messages of one commit when nothing is waited for."""


class ReplayConnector(OnLine):
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
        self._line = Line(name, "the record")
        self._clock, self._form, self._after = clock, form or RecordFormat(), after
        self._begin: tuple[float, float] | None = None

    async def run(self, sink: Sink) -> None:
        """Replay to the end. Raises `InputError` where a whole file is wrong; single rows go to the quarantine."""
        self._line.up()
        messages: list[Message] = []
        unread: list[Unread] = []
        try:
            for path in self.paths:
                for entry in read_record(path, self._form, self.name, self.site):
                    unread += entry.unread
                    fresh = [m for m in entry.messages if self._after is None or m.t > self._after]
                    pause = self._pause(fresh[0].t) if fresh else 0.0
                    if (pause > 0 and (messages or unread)) or len(messages) + len(unread) >= BATCH:
                        await self._line.deliver(sink, messages, unread)
                        messages, unread = [], []
                    if pause > 0:
                        await sleep(pause)
                    messages += fresh
            if messages or unread:
                await self._line.deliver(sink, messages, unread)
        finally:
            self._line.state = ConnectorState.ENDED

    async def send(self, order: Order) -> None:
        """Refuses."""
        raise ConnectorError(f"A replay takes no orders: {order.actuator!r} stays as recorded (shadow mode).")

    async def fault(self, site: str, kind: str, where: str, size: float, duration: float | None) -> None:
        """Refuses."""
        raise ConnectorError(f"A replay takes no orders: the fault {kind!r} cannot be sent to {site!r}.")

    def _pause(self, t: float) -> float:
        """Seconds to wait until event time `t` is due."""
        if self.speed <= 0:
            return 0.0
        if self._begin is None:
            self._begin = (t, self._clock.monotonic())
        t0, began = self._begin
        return began + (t - t0) / self.speed - self._clock.monotonic()
