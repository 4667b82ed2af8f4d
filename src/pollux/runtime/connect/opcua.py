"""OPC UA client through asyncua (extra `opcua`): a subscription brings values with their times; orders are writes.

A notification is acknowledged to the server after it is durable, and the next one is asked for only then: while the
store is slow the server keeps up to `queue` values of each node. (asyncua's own `Subscription` acknowledges at once
and drops what its consumer does not take in time, so its session is used directly.) After a lost connection a new
session and a new subscription are made; the server then sends the newest value of each node.

Source: OPC UA Part 4 (Services), 5.13 and 5.14.
"""

import asyncio
import logging
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pollux.core.errors import MessageError, WiringError
from pollux.core.extras import need
from pollux.core.time import Clock
from pollux.runtime.connect.base import Ack, ConnectorError, Order, Sink, Unread
from pollux.runtime.connect.line import Line, OnLine
from pollux.runtime.connect.opcua_certificate import application_uri
from pollux.runtime.connect.wire import Message, refuse

TIMEOUT = 4.0
"""Seconds for the answer to a request."""


class OpcUaLost(ConnectionError):
    """The session with the server is over."""


@dataclass(frozen=True)
class Security:
    """Basic256Sha256, signed and encrypted: our certificate and key, and the certificate that the server must have."""

    certificate: Path
    key: Path
    server_certificate: Path
    key_password: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class OpcUaServer:
    """How a server is reached, and what is wanted of it."""

    url: str
    nodes: Mapping[str, str]
    """Tag -> node id, such as "ns=2;s=Tank.Level"."""
    actuators: Mapping[str, str] = field(default_factory=dict)
    """Actuator -> node id that is written."""
    period: float = 1.0
    """Seconds between two notifications."""
    queue: int = 1000
    """Values of a node that the server keeps between two notifications."""
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    security: Security | None = None
    watch: float = 2.0
    """Seconds between two checks that the server is there; an answer that takes longer means that it is not."""


class OpcUaConnector(OnLine):
    """One server, one site."""

    def __init__(self, name: str, server: OpcUaServer, site: str, clock: Clock):
        self.name, self.server, self.site = name, server, site
        self._asyncua, self._ua = need("asyncua", "opcua"), need("asyncua.ua", "opcua")
        logging.getLogger("asyncua").setLevel(logging.CRITICAL)  # it reports every lost connection several times
        self._clock = clock
        self._line = Line(name, f"the OPC UA server at {server.url}")
        self._tags = tuple(server.nodes)
        self._client: Any = None
        self._sink: Sink | None = None
        for node in (*server.nodes.values(), *server.actuators.values()):
            self._node_id(node)

    async def run(self, sink: Sink) -> None:
        """Deliver until cancelled; after a lost connection try again, waiting longer each time."""
        self._sink = sink
        lost = (OpcUaLost, OSError, TimeoutError, self._ua.UaError)
        await self._line.keep(lambda: self._connected(sink), lost)

    async def send(self, order: Order) -> None:
        """Write the set-point, read it back, and report it as done. Raises `ConnectorError`."""
        client, sink, node_id = self._client, self._sink, self.server.actuators.get(order.actuator)
        if node_id is None:
            raise ConnectorError(
                f"An order needs a node: connector {self.name!r} has none for {order.actuator!r}. "
                f"Add it to `connector.{self.name}.actuators`."
            )
        if client is None or sink is None:
            self._line.need_up()
            return
        node = client.get_node(node_id)
        try:
            kind = await node.read_data_type_as_variant_type()
            value = self._as(kind, order.value)
            await node.write_value(self._ua.DataValue(self._ua.Variant(value, kind)))
            taken = float(await node.read_value())
        except (OSError, TimeoutError, self._ua.UaError, ValueError, TypeError) as error:
            raise ConnectorError(
                f"An order must reach its node: {node_id!r} did not take {order.value:g} ({error or 'no answer'}). "
                "Its state is unknown; check the plant."
            ) from error
        self.counters.sent += 1
        status = "done" if math.isclose(taken, value, rel_tol=1e-6, abs_tol=1e-9) else "refused"
        await sink.acknowledged(Ack(order.site, order.id, order.sequence, order.t, status, taken))

    async def fault(self, site: str, kind: str, where: str, size: float, duration: float | None) -> None:
        """Refuses."""
        raise ConnectorError(f"An OPC UA server takes no faults: {kind!r} cannot be sent to {site!r}.")

    async def _connected(self, sink: Sink) -> None:
        client = await self._open()
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def lost(error: Exception) -> None:
            if not over.done():
                over.set_exception(OpcUaLost(str(error) or "the server is gone"))

        async def published(result: Any) -> None:
            """Called before the acknowledgement is sent; an error here must end the connection, not be logged."""
            try:
                await self._published(result, sink)
            except Exception as error:
                if not over.done():
                    over.set_exception(error)
                raise

        client.connection_lost_callback = lost
        try:
            await self._subscribe(client, published)
            self._client = client
            self._line.up()
            await over
        finally:
            self._client = None
            over.cancel()
            await _close(client)

    async def _open(self) -> Any:
        s = self.server
        client = self._asyncua.Client(s.url, timeout=TIMEOUT, watchdog_intervall=s.watch)
        if s.user is not None:
            client.set_user(s.user)
            client.set_password(s.password or "")
        if s.security is not None:
            policies = need("asyncua.crypto.security_policies", "opcua")
            client.application_uri = application_uri(s.security.certificate)
            await client.set_security(
                policies.SecurityPolicyBasic256Sha256,
                str(s.security.certificate),
                str(s.security.key),
                s.security.key_password,
                str(s.security.server_certificate),
            )
        try:
            async with asyncio.timeout(2 * TIMEOUT):
                await client.connect()
        except BaseException:
            client.disconnect_socket()
            raise
        return client

    async def _subscribe(self, client: Any, callback: Any) -> None:
        ua, session = self._ua, client.uaclient.session
        wanted = ua.CreateSubscriptionParameters(
            RequestedPublishingInterval=1000 * self.server.period,
            RequestedLifetimeCount=10_000,
            RequestedMaxKeepAliveCount=max(1, round(10 / self.server.period)),
            MaxNotificationsPerPublish=10_000,
            PublishingEnabled=True,
        )
        made = await session.create_subscription(wanted, callback)
        every = ua.DataChangeFilter(Trigger=ua.DataChangeTrigger.StatusValueTimestamp)  # a steady value is news too
        items = [
            ua.MonitoredItemCreateRequest(
                ItemToMonitor=ua.ReadValueId(self._node_id(node), ua.AttributeIds.Value),
                MonitoringMode=ua.MonitoringMode.Reporting,
                RequestedParameters=ua.MonitoringParameters(
                    ClientHandle=handle,
                    SamplingInterval=0.0,
                    Filter=every,
                    QueueSize=self.server.queue,
                    DiscardOldest=True,
                ),
            )
            for handle, node in enumerate(self.server.nodes.values())
        ]
        results = await session.create_monitored_items(
            ua.CreateMonitoredItemsParameters(made.SubscriptionId, ua.TimestampsToReturn.Both, items)
        )
        refused = [
            f"{tag} ({self.server.nodes[tag]}: {result.StatusCode.name})"
            for tag, result in zip(self._tags, results, strict=True)
            if not result.StatusCode.is_good()
        ]
        if refused:
            raise OpcUaLost(f"the server does not give {', '.join(refused)}")

    async def _published(self, result: Any, sink: Sink) -> None:
        messages: list[Message] = []
        unread: list[Unread] = []
        for notification in result.NotificationMessage.NotificationData or ():
            if isinstance(notification, self._ua.StatusChangeNotification):
                raise OpcUaLost(f"the server ended the subscription: {notification.Status.name}")
            for item in getattr(notification, "MonitoredItems", ()):
                tag = self._tags[item.ClientHandle]
                try:
                    messages.append(self._message(tag, item.Value))
                except MessageError as error:
                    unread.append(Unread(self.name, self.server.nodes[tag], repr(item.Value)[:1024].encode(), error))
        if messages or unread:
            await self._line.deliver(sink, messages, unread)

    def _message(self, tag: str, data: Any) -> Message:
        """A value of bad status is no value; its time is the source's, else the server's, else the clock's."""
        stamp: datetime | None = data.SourceTimestamp or data.ServerTimestamp
        t = self._clock.now() if stamp is None else stamp.replace(tzinfo=stamp.tzinfo or UTC).timestamp()
        value = None if data.Value is None else data.Value.Value
        if data.StatusCode is not None and data.StatusCode.is_bad():
            return Message(self.name, self.site, tag, t, math.nan)
        if isinstance(value, bool):
            value = float(value)
        if value is None or not isinstance(value, int | float):
            refuse("malformed", "a node holds a number", value, "Wire a node of a numeric type.")
        if math.isinf(value):
            refuse("nonfinite", "a value is finite", value, "Set a bad status when there is no value.")
        return Message(self.name, self.site, tag, t, float(value))

    def _as(self, kind: Any, value: float) -> Any:
        """The value in the type of the node."""
        types = self._ua.VariantType
        if kind is types.Boolean:
            return bool(round(value))
        return float(value) if kind in (types.Double, types.Float) else round(value)

    def _node_id(self, text: str) -> Any:
        try:
            return self._ua.NodeId.from_string(text)
        except (ValueError, self._ua.UaError) as error:
            raise WiringError(
                f"`connector.{self.name}`: a node id reads 'ns=2;s=Tank.Level' or 'ns=2;i=7': got {text!r} ({error})."
            ) from None


async def _close(client: Any) -> None:
    """Leave in order while the server answers, and at once when it does not."""
    with suppress(Exception):
        async with asyncio.timeout(1.0):
            await client.disconnect()
    client.uaclient.request_disconnect()
    for task in (client._supervisor_task, client._renew_channel_task, client._stale_watchdog_task):
        if task is not None and not task.done():
            task.cancel()
    publishing = client.uaclient.session._publish_task
    if publishing is not None and not publishing.done():
        publishing.cancel()
    client.disconnect_socket()
