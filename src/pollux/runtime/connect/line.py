"""What every connector that dials out has in common: state, reason, pauses that grow, a delivery that insists."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from pollux.core.errors import FencedError, StoreError
from pollux.core.time import rng
from pollux.runtime.connect.base import ConnectorError, ConnectorState, Counters, Receipt, Sink, Unread
from pollux.runtime.connect.wire import Delivered

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 30.0
"""Back-off after a lost connection, s: doubled each time, with jitter."""


class Line:
    """State of one connection to the outside. A connector holds one and shows it."""

    def __init__(self, name: str, other: str):
        self.name, self.other = name, other
        """`other` is what is dialled, for messages: "the broker at host:1883"."""
        self.state = ConnectorState.IDLE
        self.problem = ""
        """Why the last connection was lost, or why nothing can be delivered."""
        self.counters = Counters()
        self._jitter = rng(0, *name.encode())
        self._pause = FIRST_PAUSE

    async def keep(self, attempt: Callable[[], Awaitable[None]], failures: tuple[type[Exception], ...]) -> None:
        """Call `attempt` until cancelled: it says `up` when it is connected, and ends when the connection is lost.

        `failures` are the errors that mean "lost" and not "broken code".
        """
        try:
            while True:
                self.state = ConnectorState.CONNECTING
                try:
                    await attempt()
                except failures as error:
                    self.problem = str(error) or type(error).__name__
                self.state = ConnectorState.WAITING
                self.counters.reconnects += 1
                await asyncio.sleep(self._pause * self._jitter.uniform(0.7, 1.3))
                self._pause = min(2 * self._pause, LONGEST_PAUSE)
        finally:
            self.state = ConnectorState.ENDED

    def up(self) -> None:
        """Connected: the next loss is waited for shortly again."""
        self.state, self._pause, self.problem = ConnectorState.CONNECTED, FIRST_PAUSE, ""

    def need_up(self) -> None:
        """Raise `ConnectorError` unless connected."""
        if self.state is not ConnectorState.CONNECTED:
            raise ConnectorError(
                f"Connector {self.name!r} must be connected to send: it is {self.state}"
                f"{f' ({self.problem})' if self.problem else ''}. Check {self.other}."
            )

    async def deliver(self, sink: Sink, messages: Sequence[Delivered], unread: Sequence[Unread] = ()) -> Receipt:
        """Hand over until it is durable: a full disk stops what is acknowledged, not the connector."""
        self.counters.received += len(messages) + len(unread)
        self.counters.unread += len(unread)
        pause = FIRST_PAUSE
        while True:
            try:
                receipt = await sink.readings(messages, unread)
                self.problem = ""
                return receipt
            except FencedError:
                raise
            except StoreError as error:
                self.problem = str(error)
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)


class OnLine:
    """What a connector shows of its line; a connector that holds one derives from it and sets `_line`."""

    _line: Line

    @property
    def state(self) -> ConnectorState:
        """Where it stands now."""
        return self._line.state

    @property
    def counters(self) -> Counters:
        """What it did since its start."""
        return self._line.counters

    @property
    def problem(self) -> str:
        """Why the last connection was lost, or why nothing is acknowledged."""
        return self._line.problem
