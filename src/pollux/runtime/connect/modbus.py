"""Modbus TCP: a device is polled, registers become values, orders are writes that are read back.

Modbus knows no time, so a value carries the clock's at which it arrived, and what changes between two polls is not
seen. While the store is slow nothing is polled. An answer that does not come in time ends the connection.
"""

import asyncio
import math
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field

from pollux.core.errors import MessageError
from pollux.core.time import Clock
from pollux.runtime.connect import modbus_codec as wire
from pollux.runtime.connect.base import Ack, ConnectorError, ConnectorState, Order, Sink, Unread
from pollux.runtime.connect.line import Line, OnLine
from pollux.runtime.connect.modbus_codec import Area, Block, ModbusError, ModbusRefusal, Point
from pollux.runtime.connect.wire import Message, refuse


@dataclass(frozen=True)
class Device:
    """How a device is reached, and what is read from it."""

    host: str
    port: int
    points: Mapping[str, Point]
    """Tag -> where it is."""
    actuators: Mapping[str, Point] = field(default_factory=dict)
    unit: int = 1
    period: float = 1.0
    """Seconds between two polls."""
    timeout: float = 3.0
    """Seconds for an answer."""
    tls: ssl.SSLContext | None = None


class ModbusLink:
    """One connection; one request at a time, as devices expect it."""

    def __init__(self, device: Device):
        self._device = device
        self._lock = asyncio.Lock()
        self._transaction = 0
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def open(self) -> None:
        """Connect. Raises `OSError`, `TimeoutError`."""
        d = self._device
        async with asyncio.timeout(d.timeout):
            self._streams = await asyncio.open_connection(d.host, d.port, ssl=d.tls)

    async def read(self, block: Block) -> list[int]:
        """Read a block. Raises `ModbusRefusal`, or `OSError`, `TimeoutError` when the connection is lost."""
        return wire.read_answer(block, await self._ask(lambda n: wire.read_request(n, self._device.unit, block)))

    async def write(self, point: Point, value: float) -> None:
        """Write a value. Raises `ValueError`, or as `read`."""
        await self._ask(lambda n: wire.write_request(n, self._device.unit, point, value))

    def close(self) -> None:
        """Close at once."""
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None

    async def _ask(self, request_of) -> bytes:
        async with self._lock:
            if self._streams is None:
                raise ModbusError("the connection is closed")
            reader, writer = self._streams
            self._transaction = self._transaction % 0xFFFF + 1
            request = request_of(self._transaction)
            try:
                async with asyncio.timeout(self._device.timeout):
                    writer.write(request)
                    while True:
                        transaction, length = wire.header(await reader.readexactly(6))
                        body = await reader.readexactly(length)
                        if transaction == self._transaction:  # an older one is the answer to what was given up
                            return wire.answer(request, body)
            except asyncio.IncompleteReadError as error:
                self.close()
                raise ModbusError("the device closed the connection") from error
            except TimeoutError:
                self.close()
                raise ModbusError(f"the device has not answered for {self._device.timeout:g} s") from None
            except OSError:
                self.close()
                raise


class ModbusConnector(OnLine):
    """One device (or one unit behind a gateway), for one site."""

    def __init__(self, name: str, device: Device, site: str, clock: Clock):
        self.name, self.device, self.site = name, device, site
        self._clock = clock
        self._line = Line(name, f"the device at {device.host}:{device.port}")
        self._blocks = wire.blocks(device.points.values())
        self._link: ModbusLink | None = None
        self._sink: Sink | None = None

    async def run(self, sink: Sink) -> None:
        """Poll until cancelled; after a lost connection try again, waiting longer each time."""
        self._sink = sink
        await self._line.keep(lambda: self._connected(sink), (OSError, TimeoutError))

    async def send(self, order: Order) -> None:
        """Write the set-point, read it back, and report it as done. Raises `ConnectorError`."""
        point, link, sink = self.device.actuators.get(order.actuator), self._link, self._sink
        if point is None:
            raise ConnectorError(
                f"An order needs a register: connector {self.name!r} has none for {order.actuator!r}. "
                f"Add it to `connector.{self.name}.actuators`."
            )
        if link is None or sink is None:
            self._line.need_up()
            return
        try:
            wanted = point.value(point.words(order.value))
            await link.write(point, order.value)
            taken = point.value(await link.read(Block(point.area, point.address, point.size)))
        except (OSError, ValueError) as error:
            raise ConnectorError(
                f"An order must reach its register: {order.actuator!r} did not take {order.value:g} ({error}). "
                "Its state is unknown; check the plant."
            ) from error
        self.counters.sent += 1
        status = "done" if taken == wanted else "refused"
        await sink.acknowledged(Ack(order.site, order.id, order.sequence, order.t, status, taken))

    async def fault(self, site: str, kind: str, where: str, size: float, duration: float | None) -> None:
        """Refuses."""
        raise ConnectorError(f"A Modbus device takes no faults: {kind!r} cannot be sent to {site!r}.")

    async def _connected(self, sink: Sink) -> None:
        link = ModbusLink(self.device)
        try:
            await link.open()
            due = self._clock.monotonic()
            while True:
                messages, unread = await self._poll(link)
                self._link = link
                if self.state is not ConnectorState.CONNECTED:  # the first answer says that it is a device
                    self._line.up()
                await self._line.deliver(sink, messages, unread)
                due = max(due + self.device.period, self._clock.monotonic())
                await asyncio.sleep(due - self._clock.monotonic())
        finally:
            self._link = None
            link.close()

    async def _poll(self, link: ModbusLink) -> tuple[list[Message], list[Unread]]:
        messages: list[Message] = []
        unread: list[Unread] = []
        words: dict[tuple[Area, int], int] = {}
        refused: dict[tuple[Area, int], str] = {}
        for block in self._blocks:
            places = [(block.area, block.address + i) for i in range(block.count)]
            try:
                words.update(zip(places, await link.read(block), strict=True))
            except ModbusRefusal as error:
                refused.update(dict.fromkeys(places, str(error)))
        t = self._clock.now()
        for tag, point in self.device.points.items():
            try:
                messages.append(Message(self.name, self.site, tag, t, _value(tag, point, words, refused)))
            except MessageError as error:
                unread.append(Unread(self.name, f"{point.area}:{point.address}", b"", error))
        return messages, unread


def _value(
    tag: str, point: Point, words: Mapping[tuple[Area, int], int], refused: Mapping[tuple[Area, int], str]
) -> float:
    places = [(point.area, point.address + i) for i in range(point.size)]
    for place in places:
        if place in refused:
            refuse("malformed", f"the device gives {tag!r}", refused[place], "Correct its address in the wiring.")
    value = point.value([words[place] for place in places])
    if math.isinf(value):
        refuse("nonfinite", f"{tag!r} is finite", value, "Name the device's mark for no value by `missing`.")
    return value
