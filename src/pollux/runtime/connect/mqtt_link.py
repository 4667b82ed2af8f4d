"""One MQTT connection on asyncio: many packets a read, one write for all acknowledgements, real back-pressure.

Why not paho (and aiomqtt over it): it takes three system calls for each packet, acknowledges each in a write of its own
(about 5,000 QoS-1 messages a second with a durable commit on one core), and drops what its bounded queue has no room
for. Here a full queue stops reading from the socket, so that the broker keeps the rest.
"""

import asyncio
import math
import ssl
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress

from pollux.runtime.connect import mqtt_packets as wire
from pollux.runtime.connect.mqtt_packets import Kind, ProtocolError, Publication, Version, Will

PACKET_BYTES = 1 << 20
"""Largest packet that is taken."""

ROOM = 8 << 20
"""Payload bytes that wait in memory; above, nothing more is read from the socket until half of them is gone."""

BATCH_BYTES = 1 << 18
"""Payload that is taken at once: the event loop does nothing else while it is read."""

OVERHEAD = 200
"""Bytes that a waiting packet counts besides its payload."""

WINDOW = 4096
"""Packets that the broker may have sent without an acknowledgement (version 5: receive maximum)."""

SESSION = 7 * 86_400
"""Seconds that a broker keeps a persistent session (version 5; 3.1.1 leaves it to the broker)."""

TIMEOUT = 10.0
"""Seconds for opening a connection and for an answer."""


class MqttLost(ConnectionError):
    """The connection is not there: refused, closed, reset, or silent for too long."""


class MqttLink(asyncio.Protocol):
    """A connection, once: open it, use it until `MqttLost`, make a new one."""

    def __init__(
        self, *, version: Version = Version.V311, keepalive: float = 15.0, room: int = ROOM, patience: float = TIMEOUT
    ):
        self.version, self._keepalive, self._room, self._patience = version, keepalive, room, patience
        self._buffer = bytearray()
        self._inbox: deque[Publication] = deque()
        self._weight = 0
        self._paused = False
        self._arrived = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._loop = asyncio.get_running_loop()
        self._answers: dict[int, asyncio.Future[int]] = {}
        self._wanted: dict[int, tuple[str, ...]] = {}
        self._hello: asyncio.Future[wire.Answer] = self._loop.create_future()
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self._transport: asyncio.Transport | None = None
        self._lost: MqttLost | None = None
        self._mid = 0
        self._heard = self._loop.time()
        self._pulse: asyncio.Task[None] | None = None
        self.session = False
        """Whether the broker had kept our session."""

    @property
    def waiting(self) -> int:
        """Packets that wait in memory."""
        return len(self._inbox)

    async def open(
        self,
        host: str,
        port: int,
        *,
        client_id: str,
        clean: bool = True,
        user: str | None = None,
        password: str | None = None,
        tls: ssl.SSLContext | None = None,
        will: Will | None = None,
    ) -> None:
        """Connect and wait for the broker's yes. Raises `MqttLost`."""
        try:
            async with asyncio.timeout(self._patience):
                await self._loop.create_connection(lambda: self, host, port, ssl=tls)
                self._write(
                    wire.connect(
                        client_id, self.version, clean=clean, keepalive=max(1, math.ceil(self._keepalive)),
                        user=user, password=password, will=will, session_expiry=0 if clean else SESSION,
                        receive_maximum=WINDOW, packet_size=PACKET_BYTES,
                    )
                )  # fmt: skip
                answer = await self._hello
        except TimeoutError:
            self._lose("the broker does not answer")
            raise self._why() from None
        except (OSError, ssl.SSLError) as error:
            self._lose(str(error))
            raise self._why() from error
        except BaseException:
            self._lose("given up")
            raise
        self.session = answer.session
        self._pulse = asyncio.create_task(self._beat(), name="mqtt pulse")

    def subscribe(self, filters: Sequence[str]) -> None:
        """Ask for topics with QoS 1; `subscribed` says when the broker has agreed, and a refusal ends the connection.

        Nothing waits here: what a broker has kept may come before its answer, and may be more than fits into memory.
        """
        mid = self._next()
        self._wanted[mid] = tuple(filters)
        self._write(wire.subscribe(mid, filters, self.version))

    @property
    def subscribed(self) -> bool:
        """Whether the broker has agreed to everything that was asked for."""
        return not self._wanted and self._lost is None

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False, seconds: float = 5.0) -> None:
        """Publish with QoS 1 and wait until the broker has it. Raises `MqttLost`, `TimeoutError`, or `ValueError`."""
        mid = self._next()
        packet = wire.publish(topic, payload, self.version, mid=mid, retain=retain)
        async with asyncio.timeout(seconds):
            await self._writable.wait()
            code = await self._ask(mid, packet)
        if code & 0x80:
            raise MqttLost(f"the broker refuses what is published to {topic!r} (code {code:#x})")

    def post(self, topic: str, payload: bytes, *, qos: int = 0, retain: bool = False) -> None:
        """Publish without waiting for an answer. Raises `MqttLost` when there is no connection."""
        if self._lost is not None:
            raise self._why()
        mid = self._next() if qos else 0
        self._write(wire.publish(topic, payload, self.version, mid=mid, retain=retain))

    async def take(self, most: int, room: int = BATCH_BYTES) -> list[Publication]:
        """What has come: at most `most` packets, and none after `room` bytes of payload; empty after a subscription.

        Raises `MqttLost` when nothing is left and nothing more will come.
        """
        if not self._inbox:
            if self._lost is None:
                await self._arrived.wait()  # it may be set already: then this returns at once, perhaps with nothing
                self._arrived.clear()
            if not self._inbox and self._lost is not None:
                raise self._why()
        inbox = self._inbox
        taken: list[Publication] = []
        while inbox and len(taken) < most and room > 0:
            packet = inbox.popleft()
            taken.append(packet)
            room -= len(packet.payload)
            self._weight -= len(packet.payload) + OVERHEAD
        if self._paused and 2 * self._weight <= self._room and self._transport is not None:
            self._paused, self._heard = False, self._loop.time()
            with suppress(RuntimeError):  # closed meanwhile
                self._transport.resume_reading()
        return taken

    def acknowledge(self, mids: Iterable[int]) -> None:
        """Tell the broker that these are safe; in one write."""
        if self._lost is None:
            self._write(wire.pubacks(mids))

    async def close(self) -> None:
        """Say goodbye and close; safe to call more than once."""
        if self._lost is None and self._transport is not None:
            self._write(wire.DISCONNECT)
        self._lose("closed here", abort=False)
        if self._transport is not None:
            try:
                async with asyncio.timeout(1.0):
                    await asyncio.shield(self._closed)
            except TimeoutError:  # the other side takes nothing
                self._transport.abort()

    # ---------------------------------------------------------------- asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: connected."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """asyncio: bytes came."""
        self._heard = self._loop.time()
        buffer = self._buffer
        buffer += data
        try:
            packets, used = wire.cut(buffer, PACKET_BYTES)
            del buffer[:used]
            for first, body in packets:
                if first >> 4 == Kind.PUBLISH:
                    publication = wire.read_publish(first, body, self.version)
                    self._inbox.append(publication)
                    self._weight += len(publication.payload) + OVERHEAD
                else:
                    self._control(first >> 4, body)
        except ProtocolError as error:
            self._lose(f"the broker breaks the protocol: {error}")
            return
        if self._inbox:
            self._arrived.set()
        if self._weight > self._room and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """asyncio: the other side has ended."""
        self._lose("the broker closed the connection")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio: the connection is gone."""
        self._lose(str(exc) if exc else "the connection was closed")
        if not self._closed.done():
            self._closed.set_result(None)

    def pause_writing(self) -> None:
        """asyncio: the other side takes nothing more for now."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """asyncio: it takes again."""
        self._writable.set()

    # ---------------------------------------------------------------- inside

    def _control(self, kind: int, body: bytes) -> None:
        if kind == Kind.CONNACK:
            answer = wire.read_connack(body, self.version)
            if answer.code:
                self._lose(refusal(answer.code, answer.reason))
            elif not self._hello.done():
                self._hello.set_result(answer)
        elif kind == Kind.PUBACK:
            mid, code = wire.read_puback(body)
            answer = self._answers.get(mid)
            if answer is not None and not answer.done():
                answer.set_result(code)
        elif kind == Kind.SUBACK:
            self._agreed(*wire.read_suback(body, self.version))
        elif kind == Kind.DISCONNECT:
            self._lose(refusal(body[0] if body else 0, ""))
        elif kind != Kind.PINGRESP:
            raise ProtocolError(f"packet type {kind} was not expected")

    def _agreed(self, mid: int, codes: list[int]) -> None:
        filters = self._wanted.pop(mid, ())
        refused = [f for f, code in zip(filters, codes, strict=False) if code & 0x80]
        if refused:
            self._lose(f"the broker refuses the topics {', '.join(refused)}")
        self._arrived.set()

    async def _ask(self, mid: int, packet: bytes) -> int:
        if self._lost is not None:
            raise self._why()
        answer = self._answers[mid] = self._loop.create_future()
        try:
            self._write(packet)
            async with asyncio.timeout(self._patience):
                return await answer
        finally:
            self._answers.pop(mid, None)

    async def _beat(self) -> None:
        """Ping, and give up on a broker that is silent: a half-open connection sends nothing and reports nothing."""
        while self._lost is None:
            await asyncio.sleep(self._keepalive / 2)
            silent = self._loop.time() - self._heard
            if not self._paused and silent > 1.5 * self._keepalive:
                self._lose(f"the broker has been silent for {silent:.1f} s")
            elif self._writable.is_set():
                self._write(wire.PINGREQ)

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _next(self) -> int:
        self._mid = self._mid % 65_535 + 1
        return self._mid

    def _why(self) -> MqttLost:
        return MqttLost(str(self._lost or "not connected"))

    def _lose(self, why: str, *, abort: bool = True) -> None:
        """The first reason stays; whoever waits is told."""
        if self._lost is not None:
            return
        self._lost = MqttLost(why)
        if self._pulse is not None:
            self._pulse.cancel()
        for answer in (*self._answers.values(), self._hello):
            if not answer.done():
                answer.set_exception(MqttLost(why))
        if self._hello.done() and not self._hello.cancelled():
            self._hello.exception()  # it may be that nobody waits for it any more
        self._arrived.set()
        self._writable.set()
        if self._transport is not None:
            if abort:
                self._transport.abort()
            else:
                self._transport.close()


REFUSALS = {
    1: "it does not speak this version of MQTT; set `protocol` to the other one",
    2: "it does not take this client id",
    3: "it is not available",
    4: "user or password are wrong",
    5: "this user may not connect",
    0x84: "it does not speak this version of MQTT; set `protocol` to the other one",
    0x85: "it does not take this client id",
    0x86: "user or password are wrong",
    0x87: "this user may not connect",
    0x8D: "it heard nothing from us for too long",
    0x8E: "another client has taken over this client id",
    0x93: "more messages were in flight than agreed",
    0x95: "a packet was too large",
    0x97: "a quota is exceeded",
}


def refusal(code: int, reason: str) -> str:
    """What a broker's code means."""
    return f"the broker ended it: {REFUSALS.get(code, f'code {code:#x}')}{f' ({reason})' if reason else ''}"
