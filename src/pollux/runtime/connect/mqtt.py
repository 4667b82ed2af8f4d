"""MQTT 3.1.1 and 5: readings in, orders out, QoS 1, acknowledged to the broker after the commit.

A reading that was not yet durable when Pollux died is sent again by the broker, if the session is kept
(`persistent = true` and a broker that stores it). While the store is slow, nothing more is read from the socket.
"""

import os
import ssl
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from pollux.core.errors import MessageError, WiringError
from pollux.runtime.clock import token
from pollux.runtime.connect.base import ConnectorError, Order, Sink, Unread
from pollux.runtime.connect.line import Line, OnLine
from pollux.runtime.connect.mqtt_link import ROOM, MqttLink, MqttLost
from pollux.runtime.connect.mqtt_packets import ProtocolError, Publication, Version, Will
from pollux.runtime.connect.orders import fault_packet, order_packet, parse_ack
from pollux.runtime.connect.wire import Delivered, parse_mqtt
from pollux.runtime.wiring import RESERVED

BATCH = 2048
"""Packets of one commit: those that have come while the last commit was under way."""

PASSWORD = "POLLUX_MQTT_PASSWORD"
"""Environment variable with the password where the wiring names no other: it stands in no file."""


@dataclass(frozen=True)
class Broker:
    """How a broker is reached."""

    host: str
    port: int
    user: str | None = None
    password: str | None = None
    tls: ssl.SSLContext | None = None
    version: Version = Version.V311
    keepalive: float = 15.0
    """Seconds; a broker that is silent for 1.5 of them is given up."""
    room: int = ROOM
    """Bytes that may wait in memory."""


class OnBroker(OnLine, ABC):
    """What connectors over MQTT share: one link to a broker, packets read in batches and acknowledged after the commit.

    A connector says which filters it subscribes to and how it reads packets, and may act at the two turns of a link.
    """

    broker: Broker
    _client_id: str
    _persistent: bool
    _link: MqttLink | None = None

    @property
    def waiting(self) -> int:
        """Packets that wait in memory."""
        return self._link.waiting if self._link is not None else 0

    async def run(self, sink: Sink) -> None:
        """Deliver until cancelled; after a lost connection try again, waiting longer each time."""
        await self._line.keep(lambda: self._connected(sink), (MqttLost, TimeoutError))

    async def _connected(self, sink: Sink) -> None:
        link = MqttLink(version=self.broker.version, keepalive=self.broker.keepalive, room=self.broker.room)
        try:
            await open_link(link, self.broker, self._client_id, clean=not self._persistent)
            for filters in self._filters():
                link.subscribe(filters)
            self._opened(link)
            while True:
                packets = await link.take(BATCH)
                if self._link is None and link.subscribed:
                    self._link = link
                    self._line.up()
                    self._heard()
                messages, unread = await self._read(packets, sink)
                if messages or unread:
                    await self._line.deliver(sink, messages, unread)
                link.acknowledge(p.mid for p in packets if p.qos)
        finally:
            self._link = None
            await link.close()

    @abstractmethod
    def _filters(self) -> list[list[str]]:
        """Filters of each subscription."""

    @abstractmethod
    async def _read(self, packets: Sequence[Publication], sink: Sink) -> tuple[list[Delivered], list[Unread]]:
        """What packets say."""

    def _opened(self, link: MqttLink) -> None:
        """The broker has answered; it may or may not have kept the session."""

    def _heard(self) -> None:
        """Everything is subscribed to."""


class MqttConnector(OnBroker):
    """One broker, the topics of some sites."""

    def __init__(
        self,
        name: str,
        broker: Broker,
        sites: Sequence[str],
        *,
        client_id: str | None = None,
        persistent: bool = False,
        prefix: str = "pollux",
    ):
        self.name, self.sites, self.prefix, self.broker = name, tuple(sites), prefix, broker
        own = "-".join(("pollux", name, *self.sites)) if persistent else f"pollux-{name}-{token(6)}"
        self._client_id, self._persistent = client_id or own, persistent  # two clients of one id push each other out
        self._line = Line(name, f"the broker at {broker.host}:{broker.port}")

    async def send(self, order: Order) -> None:
        """Publish an order (QoS 1) and wait until the broker has it."""
        await self._publish(*order_packet(order, self.prefix))

    async def fault(self, site: str, kind: str, where: str, size: float, duration: float | None) -> None:
        """Publish a fault for a demo plant."""
        await self._publish(*fault_packet(site, kind, where, size, duration, self.prefix))

    def _filters(self) -> list[list[str]]:
        return [[f"{self.prefix}/{site}", f"{self.prefix}/{site}/+"] for site in self.sites]

    async def _read(self, packets: Sequence[Publication], sink: Sink) -> tuple[list[Delivered], list[Unread]]:
        messages: list[Delivered] = []
        unread: list[Unread] = []
        for packet in packets:
            topic, payload = packet.topic, packet.payload
            try:
                parts = topic.split("/")
                if len(parts) == 3 and parts[2] in RESERVED:
                    if parts[2] == "ack":
                        await sink.acknowledged(parse_ack(parts[1], payload))
                    continue
                messages += parse_mqtt(self.name, topic, payload, self.prefix)
            except MessageError as error:
                unread.append(Unread(self.name, topic, payload, error))
        return messages, unread

    async def _publish(self, topic: str, payload: bytes) -> None:
        link = self._link
        if link is None:
            self._line.need_up()
        else:
            try:
                await link.publish(topic, payload)
            except (MqttLost, TimeoutError, ProtocolError) as error:
                raise ConnectorError(
                    f"An order must reach the broker: {topic!r} did not ({error or 'no answer'}). "
                    "Its state is unknown; check the plant."
                ) from error
            self.counters.sent += 1


def dial(
    url: str,
    *,
    password: str | None = None,
    tls: ssl.SSLContext | None = None,
    version: Version = Version.V311,
    keepalive: float = 15.0,
) -> Broker:
    """The broker of a URL; without `password` the environment's. Raises `WiringError`."""
    host, port, user, encrypted = read_url(url)
    if encrypted and tls is None:
        tls = ssl.create_default_context()
    word = password if password is not None else os.environ.get(PASSWORD)
    return Broker(host, port, user, word, tls if encrypted else None, version, keepalive)


async def open_link(link: MqttLink, broker: Broker, client_id: str, *, clean: bool, will: Will | None = None) -> None:
    """Open a link to a broker. Raises `MqttLost`."""
    await link.open(
        broker.host, broker.port, client_id=client_id, clean=clean, user=broker.user,
        password=broker.password if broker.user else None, tls=broker.tls, will=will,
    )  # fmt: skip


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
