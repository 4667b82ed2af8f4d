"""MQTT through aiomqtt: readings in, orders out, QoS 1, acknowledged to the broker after the commit.

paho acknowledges a message when it has been taken from the socket; that is switched off here (`manual_ack_set`), so a
reading that was not yet durable when Pollux died is sent again by the broker, if the session is kept
(`persistent = true` and a broker that stores it).
"""

import asyncio
import os
from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import unquote, urlsplit

import aiomqtt

from pollux.core.errors import FencedError, MessageError, StoreError, WiringError
from pollux.core.time import rng
from pollux.runtime.clock import token
from pollux.runtime.connect.base import ConnectorError, ConnectorState, Counters, Order, Sink, Unread
from pollux.runtime.connect.orders import fault_packet, order_packet, parse_ack
from pollux.runtime.connect.wire import Message, parse_mqtt
from pollux.runtime.wiring import RESERVED

BATCH = 512
"""Packets of one commit: those that have come while the last commit was under way."""

QUEUE = 20_000
"""Packets that wait in memory; what comes beyond is dropped without an acknowledgement, so that a broker that keeps
the session sends it again after a reconnect."""

PASSWORD = "POLLUX_MQTT_PASSWORD"
"""Environment variable with the password: it stands in no file."""

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 30.0
"""Back-off after a lost connection, s: doubled each time, with jitter."""


class MqttConnector:
    """One broker, the topics of some sites."""

    def __init__(
        self,
        name: str,
        url: str,
        sites: Sequence[str],
        *,
        password: str | None = None,
        client_id: str | None = None,
        persistent: bool = False,
        prefix: str = "pollux",
    ):
        self.name, self.sites, self.prefix = name, tuple(sites), prefix
        self.url = url
        self._host, self._port, self._user, self._tls = read_url(url)
        self._password = password if password is not None else os.environ.get(PASSWORD)
        own = "-".join(("pollux", name, *self.sites)) if persistent else f"pollux-{name}-{token(6)}"
        self._client_id, self._persistent = client_id or own, persistent  # two clients of one id push each other out
        self.state = ConnectorState.IDLE
        self.counters = Counters()
        self.problem = ""
        """Why the last connection was lost."""
        self._client: aiomqtt.Client | None = None
        self._jitter = rng(0, *name.encode())

    async def run(self, sink: Sink) -> None:
        """Deliver until cancelled; after a lost connection try again, waiting longer each time."""
        pause = FIRST_PAUSE
        try:
            while True:
                self.state = ConnectorState.CONNECTING
                try:
                    async with self._connection() as client:
                        client._client.manual_ack_set(True)  # aiomqtt has no option for it
                        for site in self.sites:
                            await client.subscribe([(f"{self.prefix}/{site}", 1), (f"{self.prefix}/{site}/+", 1)])
                        self._client, self.state, pause = client, ConnectorState.CONNECTED, FIRST_PAUSE
                        await self._deliver(client, sink)
                except aiomqtt.MqttError as error:
                    self.problem = str(error)
                self._client, self.state = None, ConnectorState.WAITING
                self.counters.reconnects += 1
                await asyncio.sleep(pause * self._jitter.uniform(0.7, 1.3))
                pause = min(2 * pause, LONGEST_PAUSE)
        finally:
            self._client, self.state = None, ConnectorState.ENDED

    async def send(self, order: Order) -> None:
        """Publish an order (QoS 1) and wait until the broker has it."""
        await self._publish(*order_packet(order, self.prefix))

    async def fault(self, site: str, kind: str, where: str, size: float, duration: float | None) -> None:
        """Publish a fault for a demo plant."""
        await self._publish(*fault_packet(site, kind, where, size, duration, self.prefix))

    def _connection(self) -> aiomqtt.Client:
        return aiomqtt.Client(
            self._host,
            self._port,
            username=self._user,
            password=self._password if self._user else None,
            identifier=self._client_id,
            clean_session=not self._persistent,
            max_queued_incoming_messages=QUEUE,
            tls_params=aiomqtt.TLSParameters() if self._tls else None,
            timeout=10.0,
        )

    async def _deliver(self, client: aiomqtt.Client, sink: Sink) -> None:
        """Commit what has come, acknowledge it, and go on; ends with `MqttError` when the connection is lost."""
        queue = client._queue
        async for packet in client.messages:
            packets = [packet]
            while len(packets) < BATCH:
                with suppress(asyncio.QueueEmpty):
                    packets.append(queue.get_nowait())
                    continue
                break
            messages, unread = await self._read(packets, sink)
            if messages or unread:
                await self._durable(sink, messages, unread)
            for taken in packets:
                if taken.qos:
                    client._client.ack(taken.mid, taken.qos)

    async def _durable(self, sink: Sink, messages: Sequence[Message], unread: Sequence[Unread]) -> None:
        """Hand over until it is durable: a full disk stops the acknowledgements, not the connector."""
        pause = FIRST_PAUSE
        while True:
            try:
                await sink.readings(messages, unread)
                self.problem = ""
                return
            except FencedError:
                raise
            except StoreError as error:
                self.problem = str(error)
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)

    async def _read(self, packets: Sequence[aiomqtt.Message], sink: Sink) -> tuple[list[Message], list[Unread]]:
        messages: list[Message] = []
        unread: list[Unread] = []
        for packet in packets:
            topic, payload = packet.topic.value, _bytes(packet.payload)
            parts = topic.split("/")
            self.counters.received += 1
            try:
                if len(parts) == 3 and parts[2] in RESERVED:
                    if parts[2] == "ack":
                        await sink.acknowledged(parse_ack(parts[1], payload))
                    continue
                messages += parse_mqtt(self.name, topic, payload, self.prefix)
            except MessageError as error:
                self.counters.unread += 1
                unread.append(Unread(self.name, topic, payload, error))
        return messages, unread

    async def _publish(self, topic: str, payload: bytes) -> None:
        client = self._client
        if client is None:
            raise ConnectorError(
                f"Connector {self.name!r} must be connected to send: it is {self.state}"
                f"{f' ({self.problem})' if self.problem else ''}. Check the broker at {self._host}:{self._port}."
            )
        try:
            await client.publish(topic, payload, qos=1, timeout=5.0)
        except aiomqtt.MqttError as error:
            raise ConnectorError(
                f"An order must reach the broker: {topic!r} did not ({error}). Its state is unknown; check the plant."
            ) from error
        self.counters.sent += 1


def read_url(url: str) -> tuple[str, int, str | None, bool]:
    """(host, port, user, TLS?) of mqtt://[user@]host[:port] or mqtts://... Raises `WiringError`."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise WiringError(f"A broker's URL reads 'mqtt://host:1883': got {url!r} ({error}). Correct it.") from error
    if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname or parts.path not in ("", "/"):
        raise WiringError(f"A broker's URL reads 'mqtt://host:1883' or 'mqtts://host:8883': got {url!r}. Correct it.")
    if parts.password is not None:
        raise WiringError(
            f"A password stands in no file: the URL of the broker at {parts.hostname!r} holds one. "
            f"Put it into the environment variable {PASSWORD}."
        )
    tls = parts.scheme == "mqtts"
    return parts.hostname, port or (8883 if tls else 1883), unquote(parts.username) if parts.username else None, tls


def _bytes(payload: Any) -> bytes:
    return bytes(payload) if isinstance(payload, bytes | bytearray) else str(payload or "").encode()
