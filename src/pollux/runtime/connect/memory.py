"""A connector without a wire: for tests, for demos in one process and for feeding a twin from Python."""

import asyncio
from collections.abc import Sequence

from pollux.runtime.connect.base import Ack, ConnectorError, ConnectorState, Counters, Order, Receipt, Sink, Unread
from pollux.runtime.connect.wire import Delivered


class MemoryConnector:
    """Delivers what `push` is given, and keeps the orders that it was sent in `orders`."""

    def __init__(self, name: str = "memory"):
        self.name = name
        self.state = ConnectorState.IDLE
        self.counters = Counters()
        self.orders: list[Order] = []
        self.faults: list[tuple[str, str, str, float, float | None]] = []
        self.broken = False
        """Set it to make `send` fail, as with a lost connection."""
        self._sink: Sink | None = None
        self._ready = asyncio.Event()
        self._ended = asyncio.Event()

    async def run(self, sink: Sink) -> None:
        """Be connected until `end`."""
        self._sink, self.state = sink, ConnectorState.CONNECTED
        self._ready.set()
        try:
            await self._ended.wait()
        finally:
            self.state = ConnectorState.ENDED

    async def push(self, messages: Sequence[Delivered], unread: Sequence[Unread] = ()) -> Receipt:
        """Deliver messages; returns when they are durable."""
        await self._ready.wait()
        self.counters.received += len(messages)
        return await self._connected().readings(messages, unread)

    async def answer(self, ack: Ack) -> None:
        """Deliver what a plant says about an order."""
        await self._ready.wait()
        await self._connected().acknowledged(ack)

    async def send(self, order: Order) -> None:
        """Keep the order."""
        if self.broken or self.state is not ConnectorState.CONNECTED:
            raise ConnectorError(
                f"Connector {self.name!r} must be connected to send: it is {self.state}. Try again later."
            )
        self.orders.append(order)
        self.counters.sent += 1

    async def fault(self, site: str, kind: str, where: str, size: float, duration: float | None) -> None:
        """Keep the fault."""
        self.faults.append((site, kind, where, size, duration))

    def end(self) -> None:
        """Let `run` return."""
        self._ended.set()

    def _connected(self) -> Sink:
        if self._sink is None:
            raise ConnectorError(f"Connector {self.name!r} must run to deliver: it is {self.state}. Call `run` first.")
        return self._sink
