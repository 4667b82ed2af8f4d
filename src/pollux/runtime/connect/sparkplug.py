"""Sparkplug B over MQTT: metrics of edge nodes and devices in, commands out (QoS 0, as the specification asks).

    topic spBv1.0/<group>/<type>/<edge node>[/<device>]
    metric in the wiring: "<edge node>[/<device>]:<metric name>"

Values carry the metric's own time. A death makes the metrics of its node or device "no value". An order is a command
(NCMD, DCMD); Sparkplug knows no acknowledgement, so it counts as done when the metric is reported with that value.
"""

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress

from pollux.core.errors import MessageError, WiringError
from pollux.core.time import Clock
from pollux.runtime.clock import token
from pollux.runtime.connect.base import Ack, ConnectorError, Order, Sink, Unread
from pollux.runtime.connect.line import Line
from pollux.runtime.connect.mqtt import Broker, OnBroker
from pollux.runtime.connect.mqtt_link import MqttLink, MqttLost
from pollux.runtime.connect.mqtt_packets import Publication
from pollux.runtime.connect.sparkplug_payload import DataType, Metric, Payload, decode, encode
from pollux.runtime.connect.sparkplug_session import Address, Outcome, Session
from pollux.runtime.connect.wire import Delivered, Message, refuse

NAMESPACE = "spBv1.0"
REBIRTH = "Node Control/Rebirth"
PATIENCE = 5.0
"""Seconds between two requests to the same node to be born again."""


class SparkplugConnector(OnBroker):
    """One group of edge nodes on one broker, for one site."""

    def __init__(
        self,
        name: str,
        broker: Broker,
        group: str,
        metrics: Mapping[str, str],
        site: str,
        clock: Clock,
        *,
        actuators: Mapping[str, str] | None = None,
        client_id: str | None = None,
        persistent: bool = False,
    ):
        self.name, self.broker, self.group, self.site = name, broker, group, site
        self._tags = {read_address(name, text): tag for tag, text in metrics.items()}
        self._actuators = {actuator: read_address(name, text) for actuator, text in (actuators or {}).items()}
        self._edges = sorted({address[0] for address in (*self._tags, *self._actuators.values())})
        own = f"pollux-{name}-{group}" if persistent else f"pollux-{name}-{token(6)}"
        self._client_id, self._persistent = client_id or own, persistent
        self._clock = clock
        self._line = Line(name, f"the broker at {broker.host}:{broker.port}")
        self._sessions = {edge: Session(edge) for edge in self._edges}
        self._asked: dict[str, float] = {}
        self._orders: dict[Address, Order] = {}

    async def send(self, order: Order) -> None:
        """Publish a command. Raises `ConnectorError`."""
        address = self._actuators.get(order.actuator)
        if address is None:
            raise ConnectorError(
                f"An order needs a metric: connector {self.name!r} has none for {order.actuator!r}. "
                f"Add it to `connector.{self.name}.actuators`."
            )
        edge, device, metric = address
        session = self._sessions.get(edge)
        kind = (session.type_of(address) if session else None) or DataType.DOUBLE
        whole = kind not in (DataType.FLOAT, DataType.DOUBLE)
        value = round(order.value) if whole else order.value
        self._publish(
            "DCMD" if device else "NCMD",
            edge,
            device,
            Metric(name=metric, timestamp=self._now(), datatype=kind, value=value),
        )
        self._orders[address] = order
        self.counters.sent += 1

    async def fault(self, site: str, kind: str, where: str, size: float, duration: float | None) -> None:
        """Refuses."""
        raise ConnectorError(f"An edge node takes no faults: {kind!r} cannot be sent to {site!r}.")

    def _filters(self) -> list[list[str]]:
        places = [f"{NAMESPACE}/{self.group}/+/{edge}" for edge in self._edges]
        return [[place, f"{place}/+"] for place in places]

    def _opened(self, link: MqttLink) -> None:
        if not link.session:  # something may have been missed, a birth too
            self._sessions = {edge: Session(edge) for edge in self._edges}
        self._asked = {}

    def _heard(self) -> None:
        for edge in self._edges:  # whoever was born before we came says what it has
            self._ask(edge)

    async def _read(self, packets: Sequence[Publication], sink: Sink) -> tuple[list[Delivered], list[Unread]]:
        messages: list[Delivered] = []
        unread: list[Unread] = []
        for packet in packets:
            _, _, kind, edge, *device = packet.topic.split("/")
            if kind in ("NCMD", "DCMD") or edge not in self._sessions:
                continue
            try:
                payload = decode(packet.payload)
            except MessageError as error:
                unread.append(Unread(self.name, packet.topic, packet.payload, error))
                continue
            outcome = self._sessions[edge].take(kind, device[0] if device else "", payload, self._clock.now())
            unread += [Unread(self.name, packet.topic, packet.payload, problem) for problem in outcome.problems]
            if outcome.rebirth:
                self._ask(edge)
            await self._values(packet, outcome, sink, messages, unread)
        return messages, unread

    async def _values(
        self, packet: Publication, outcome: Outcome, sink: Sink, messages: list[Delivered], unread: list[Unread]
    ) -> None:
        for value in outcome.values:
            tag = self._tags.get(value.address)
            if tag is not None:
                try:
                    if value.value is None or math.isinf(value.value):
                        refuse("malformed", "a wired metric is a finite number", value.address[2], "Wire another one.")
                    messages.append(Message(self.name, self.site, tag, value.t, value.value))
                except MessageError as error:
                    unread.append(Unread(self.name, packet.topic, packet.payload, error))
            order = self._orders.get(value.address)
            if (
                order is not None
                and value.value is not None
                and math.isclose(value.value, order.value, rel_tol=1e-6, abs_tol=1e-9)
            ):
                del self._orders[value.address]
                await sink.acknowledged(Ack(order.site, order.id, order.sequence, value.t, "done", value.value))

    def _ask(self, edge: str) -> None:
        """Ask a node to be born again, but not again and again."""
        now = self._clock.monotonic()
        if self._link is None or now - self._asked.get(edge, -math.inf) < PATIENCE:
            return
        self._asked[edge] = now
        with suppress(ConnectorError):  # a lost connection is noticed by whoever reads from it
            self._publish(
                "NCMD", edge, "", Metric(name=REBIRTH, timestamp=self._now(), datatype=DataType.BOOLEAN, value=True)
            )

    def _publish(self, kind: str, edge: str, device: str, metric: Metric) -> None:
        topic = "/".join((NAMESPACE, self.group, kind, edge, *([device] if device else [])))
        link = self._link
        if link is None:
            self._line.need_up()
            return
        try:
            link.post(topic, encode(Payload(self._now(), (metric,))))
        except MqttLost as error:
            raise ConnectorError(f"A command must reach the broker: {topic!r} did not ({error}). Try again.") from error

    def _now(self) -> int:
        return round(1000 * self._clock.now())


def read_address(connector: str, text: str) -> Address:
    """The address in "edge:metric" or "edge/device:metric". Raises `WiringError`."""
    where, colon, name = text.partition(":")
    parts = where.split("/")
    if not colon or not name or len(parts) > 2 or not all(parts) or set("+#") & set(where):
        raise WiringError(
            f"`connector.{connector}`: a metric reads 'edge:name' or 'edge/device:name': got {text!r}. Correct it."
        )
    return parts[0], parts[1] if len(parts) == 2 else "", name
