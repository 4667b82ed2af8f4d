"""Push over HTTP and WebSocket: the logic; the server mounts it, checks who calls and limits the size of bodies."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

from pollux.core.errors import MessageError
from pollux.runtime.connect.base import ConnectorError, ConnectorState, Counters, Order, Receipt, Sink
from pollux.runtime.connect.wire import Delivered, parse_body


class HttpConnector:
    """Takes JSON bodies {"readings": [...]}. It only receives: orders need another connector."""

    def __init__(self, name: str, site: str | None = None):
        self.name = name
        self.site = site
        """Used where a reading names no site."""
        self.state = ConnectorState.IDLE
        self.counters = Counters()
        self._sink: Sink | None = None
        self._pending: set[asyncio.Future[Receipt]] = set()

    async def run(self, sink: Sink) -> None:
        """Be open until cancelled."""
        self._sink, self.state = sink, ConnectorState.CONNECTED
        try:
            await asyncio.Event().wait()
        finally:
            self._sink, self.state = None, ConnectorState.ENDED
            for delivery in tuple(self._pending):
                delivery.cancel()

    async def push(self, readings: list[dict[str, Any]], source: str) -> dict[str, Any]:
        """Take readings that the server has parsed, and say what became of them. Raises as `receive`."""
        receipt = await self.receive(json.dumps({"readings": readings}).encode(), source)
        refused = [{"tag": tag, "reason": reason, "message": text} for tag, reason, text in receipt.refused]
        return {"accepted": receipt.accepted, "refused": refused}

    async def receive(self, body: bytes, source: str | None = None) -> Receipt:
        """Take one body; what is counted as accepted is durable.

        `source` is the name of the caller: it may write the tags of this connector, and those whose authority it is.
        Raises `MessageError` when the whole body is wrong, `ConnectorError` before `run`.
        """
        if self._sink is None:
            raise ConnectorError(
                f"Connector {self.name!r} must be open to receive: it is {self.state}. Try again later."
            )
        try:
            messages, errors = parse_body(source or self.name, body, self.site, self.name)
        except MessageError:
            self.counters.unread += 1
            raise
        self.counters.received += len(messages)
        self.counters.unread += len(errors)
        receipt = await self._deliver(self._sink, messages) if messages else Receipt()
        return Receipt(receipt.accepted, (*receipt.refused, *(("", e.reason, str(e)) for e in errors)))

    async def _deliver(self, sink: Sink, messages: Sequence[Delivered]) -> Receipt:
        """Wait until it is durable; a caller that waits when the connector ends is told so, and repeats."""
        delivery = asyncio.ensure_future(sink.readings(messages))
        self._pending.add(delivery)
        try:
            return await delivery
        except asyncio.CancelledError:
            if self._sink is None and delivery.cancelled():
                raise ConnectorError(f"Connector {self.name!r} must be open to receive: it ended. Repeat it.") from None
            raise
        finally:
            self._pending.discard(delivery)

    async def send(self, order: Order) -> None:
        """Refuses."""
        raise ConnectorError(f"An HTTP push connector only receives: {order.actuator!r} needs an MQTT connector.")

    async def fault(self, site: str, kind: str, where: str, size: float, duration: float | None) -> None:
        """Refuses."""
        raise ConnectorError(f"An HTTP push connector only receives: the fault {kind!r} cannot be sent to {site!r}.")
