"""What every connector is put through, and the rigs that set each of them up against a peer of its own.

A rig owns the peer (a broker, a server, a file), a `FaultProxy` before it where there is a wire, and the connector.
`send(i)` makes the peer say: tag "a" has the value i at event time `TIME + i`.
"""

import asyncio
import functools
import json
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets
from fault_proxy import FaultProxy

from pollux.core.errors import StoreError
from pollux.core.time import ManualClock
from pollux.runtime.connect.base import Ack, Connector, ConnectorState, Order, Receipt
from pollux.runtime.connect.broker import EmbeddedBroker
from pollux.runtime.connect.files import ReplayConnector
from pollux.runtime.connect.http import HttpConnector
from pollux.runtime.connect.memory import MemoryConnector
from pollux.runtime.connect.modbus import Device, ModbusConnector
from pollux.runtime.connect.modbus_codec import Area, Point
from pollux.runtime.connect.mqtt import Broker, MqttConnector
from pollux.runtime.connect.mqtt_link import MqttLink
from pollux.runtime.connect.mqtt_packets import Version, Will
from pollux.runtime.connect.opcua_certificate import ensure_certificate
from pollux.runtime.connect.sparkplug import SparkplugConnector
from pollux.runtime.connect.sparkplug_payload import DataType, Metric, Payload, decode, encode
from pollux.runtime.connect.wire import Message
from pollux.runtime.serve.app import create_app, serve
from pollux.runtime.serve.auth import Auth
from pollux.runtime.serve.border import Listen

TIME = 1_700_000_000.0
SITE = "site"
ORDER = Order("c1", 1, 10.0, 20.0, SITE, "P1", 2.5)


async def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


@dataclass
class Basket:
    """A sink that keeps what it was given; it can be made slow, and its disk full."""

    messages: list[Message] = field(default_factory=list)
    unread: list[Any] = field(default_factory=list)
    acks: list[Ack] = field(default_factory=list)
    failures: int = 0
    """So many times from now on nothing can be made durable."""
    calls: int = 0
    largest: int = 0
    open: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.open.set()

    async def readings(self, messages, unread=()) -> Receipt:
        self.calls += 1
        self.largest = max(self.largest, len(messages))
        await self.open.wait()
        if self.failures:
            self.failures -= 1
            raise StoreError("no room on the disk")
        self.messages += messages
        self.unread += unread
        return Receipt(len(messages))

    async def acknowledged(self, ack: Ack) -> None:
        self.acks.append(ack)

    @property
    def values(self) -> list[float]:
        """Values of the tag `a`, as they came; what came twice counts once."""
        return list(dict.fromkeys(m.value for m in self.messages if m.tag == "a" and m.value == m.value))


class Rig:
    """One connector and its peer. Subclasses say what is true of their transport."""

    name = ""
    service: str | None = None
    """A program of the system that must be installed."""
    dials = True
    """The connector opens the connection (and so must open it again)."""
    keeps = True
    """What the peer has while nobody listens is delivered later: nothing is lost, not even in between."""
    queues = True
    """While the consumer is slow the peer queues: a flood of `flood` messages arrives whole."""
    stamps = True
    """The peer gives the event time; otherwise the connector reads the clock."""
    orders = True
    """Orders can be sent."""
    rubbish = True
    """The peer can say something that is no message."""
    source = "plant"
    """Who is said to have sent the messages."""
    bound = 100_000
    """Messages that may wait in memory while the sink is slow."""
    flood = 3000
    """Messages of a flood."""
    piece = 3
    """Bytes of a shredded piece."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.clock = ManualClock(TIME)
        self.proxy: FaultProxy | None = None
        self.connector: Connector

    async def start(self, stack: AsyncExitStack) -> None:
        raise NotImplementedError

    async def send(self, *values: int) -> None:
        """Say these; returns when the peer has taken them (not: when they are delivered)."""
        raise NotImplementedError

    async def send_rubbish(self) -> str:
        """Say something that is no message; returns the reason that is expected."""
        raise NotImplementedError

    async def down(self) -> None:
        """The peer dies."""
        raise NotImplementedError

    async def up(self) -> None:
        """It is there again, at the same address."""
        raise NotImplementedError

    @property
    def waiting(self) -> int:
        """Messages that wait inside the connector."""
        return getattr(self.connector, "waiting", 0)


@asynccontextmanager
async def raised(kind: type[Rig], folder: Path) -> AsyncIterator[Rig]:
    """The rig with its peer, the connector not yet running."""
    rig = kind(folder)
    async with AsyncExitStack() as stack:
        await rig.start(stack)
        yield rig


def running(rig: Rig, sink: Basket):
    """The rig's connector runs, and is connected."""
    return connected(rig.connector, sink)


@asynccontextmanager
async def connected(link: Connector, sink: Basket) -> AsyncIterator[asyncio.Task]:
    """A connector runs, and is connected."""
    task = asyncio.create_task(link.run(sink))
    try:
        await until(lambda: link.state is ConnectorState.CONNECTED or task.done())
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def program(name: str) -> str:
    """Path of a system's program; the test is skipped without it, or fails where services are required."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if found is None:
        if os.environ.get("POLLUX_REQUIRE_SERVICES") == "1":
            pytest.fail(f"{name} is required (POLLUX_REQUIRE_SERVICES=1) and is not installed")
        pytest.skip(f"{name} is not installed")
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def listening(port: int) -> None:
    """Return when something listens."""

    def there() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    await until(there)


# -------------------------------------------------------------------------------------------------- MQTT


class MqttRig(Rig):
    """The connector over the proxy, the publisher straight to the broker."""

    version = Version.V311
    persistent = True
    size = 1000
    """Bytes of a payload: a flood is then several times what may wait (200 kB, and one read of 256 kB at most)."""
    bound = 600

    async def start(self, stack: AsyncExitStack) -> None:
        self.port = free_port()
        await self.up()
        stack.push_async_callback(self.down)
        self.proxy = await stack.enter_async_context(FaultProxy(self.port))
        broker = Broker("127.0.0.1", self.proxy.port, version=self.version, keepalive=0.4, room=200_000)
        self.connector = MqttConnector("plant", broker, [SITE], persistent=self.persistent)

    async def send(self, *values: int) -> None:
        link = MqttLink(version=self.version)
        await link.open("127.0.0.1", self.port, client_id="publisher")
        for value in values:
            body = json.dumps({"t": TIME + value, "v": value}).ljust(self.size).encode()
            await link.publish(f"pollux/{SITE}/a", body)
        await link.close()

    async def send_rubbish(self) -> str:
        link = MqttLink(version=self.version)
        await link.open("127.0.0.1", self.port, client_id="publisher")
        await link.publish(f"pollux/{SITE}/a", b"{nonsense")
        await link.close()
        return "malformed"


class EmbeddedRig(MqttRig):
    name = "mqtt-embedded"
    keeps = False  # the embedded broker keeps nothing over its own restart
    persistent = False
    queues = False
    flood = 600

    async def up(self) -> None:
        self.broker = EmbeddedBroker(port=self.port)
        await self.broker.start()

    async def down(self) -> None:
        await self.broker.stop()


class MosquittoRig(MqttRig):
    name = "mqtt-3.1.1"
    service = "mosquitto"
    settings = "max_inflight_messages 0\nmax_queued_messages 0\n"

    async def up(self) -> None:
        file = self.folder / "mosquitto.conf"
        file.write_text(f"listener {self.port} 127.0.0.1\nallow_anonymous true\n{self.settings}")
        self.process = subprocess.Popen(  # noqa: ASYNC220
            [program("mosquitto"), "-c", file], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        await listening(self.port)

    async def down(self) -> None:
        self.process.kill()
        self.process.wait()


class Mqtt5Rig(MosquittoRig):
    name = "mqtt-5"
    version = Version.V5


# -------------------------------------------------------------------------------------------------- HTTP


class PushHost:
    """As much of a `Host` as pushing needs."""

    phase = "live"

    def __init__(self, link: HttpConnector, clock: ManualClock):
        self.link, self.clock = link, clock
        self.fleets: dict[str, Any] = {}

    def lanes(self) -> dict[str, Any]:
        return {}

    async def push(self, readings: list[dict[str, Any]], source: str) -> dict[str, Any]:
        return await self.link.push(readings, source)


class HttpRig(Rig):
    """The real server; the peer repeats until it hears that its readings were accepted."""

    name = "http"
    dials = False
    orders = False
    source = "admin"
    piece = 60

    async def start(self, stack: AsyncExitStack) -> None:
        self.link = HttpConnector("plant", SITE)
        self.connector = self.link
        auth = Auth.open(self.folder, self.clock)
        self.port = free_port()
        listen = Listen(port=self.port)
        host: Any = PushHost(self.link, self.clock)
        task = asyncio.create_task(serve(create_app(host, auth, listen=listen), listen))

        async def stop() -> None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        stack.push_async_callback(stop)
        await listening(self.port)
        self.proxy = await stack.enter_async_context(FaultProxy(self.port))
        self.headers = {
            "authorization": f"Bearer {auth.first_token}",
            "content-type": "application/json",
            "host": f"127.0.0.1:{self.port}",
        }
        self.client = await stack.enter_async_context(httpx.AsyncClient(timeout=10.0, headers=self.headers))

    async def ask(self, body: bytes) -> dict[str, Any]:
        """The answer to one body; 503 means "not now", and a lost connection nothing at all: both are repeated."""
        assert self.proxy is not None
        while True:
            try:
                answer = await self.client.post(f"http://127.0.0.1:{self.proxy.port}/api/v1/push", content=body)
                if answer.status_code != 503:
                    return answer.json()
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.02)

    async def send(self, *values: int) -> None:
        for at in range(0, len(values), 500):
            readings = [{"tag": "a", "t": TIME + v, "v": v} for v in values[at : at + 500]]
            answer = await self.ask(json.dumps({"readings": readings}).encode())
            assert answer == {"accepted": len(readings), "refused": []}

    async def send_rubbish(self) -> str:
        answer = await self.ask(b"{nonsense")
        assert answer["error"]["rule"] == "json.syntax"
        answer = await self.ask(b'{"readings": [{"tag": "a", "t": 0}, {"tag": 7}]}')
        assert [r["reason"] for r in answer["refused"]] == ["malformed", "malformed"]
        return "malformed"


class WebSocketRig(HttpRig):
    """The same over one WebSocket, which the peer opens again when it is lost."""

    name = "websocket"

    async def start(self, stack: AsyncExitStack) -> None:
        await super().start(stack)
        self.socket: websockets.ClientConnection | None = None

        async def stop() -> None:
            if self.socket is not None:
                await self.socket.close()

        stack.push_async_callback(stop)

    async def ask(self, body: bytes) -> dict[str, Any]:
        assert self.proxy is not None
        while True:
            try:
                if self.socket is None:
                    self.socket = await websockets.connect(
                        f"ws://127.0.0.1:{self.port}/api/v1/push", port=self.proxy.port, host="127.0.0.1",
                        additional_headers={"authorization": self.headers["authorization"]}, proxy=None,
                    )  # fmt: skip
                await self.socket.send(body.decode())
                answer = json.loads(await self.socket.recv())
                if answer.get("error", {}).get("rule") not in ("store", "connector"):
                    return answer
            except (OSError, websockets.WebSocketException):
                self.socket = None
            await asyncio.sleep(0.02)


# -------------------------------------------------------------------------------------------------- without a wire


class MemoryRig(Rig):
    name = "memory"
    dials = False
    rubbish = False  # what is pushed is a `Message` already

    async def start(self, stack: AsyncExitStack) -> None:
        self.link = MemoryConnector("plant")
        self.connector = self.link

    async def send(self, *values: int) -> None:
        messages = [Message("plant", SITE, "a", TIME + v, float(v)) for v in values]
        while True:
            try:
                await self.link.push(messages)
                return
            except StoreError:
                await asyncio.sleep(0.02)


class ReplayRig(Rig):
    """The record is written before the connector runs, so `send` comes first."""

    name = "csv"
    dials = False
    orders = False
    file = "record.csv"

    async def start(self, stack: AsyncExitStack) -> None:
        self.path = self.folder / self.file
        self.path.write_text("t,a\n")
        self.connector = ReplayConnector("plant", [self.path], SITE, self.clock)

    async def send(self, *values: int) -> None:
        with self.path.open("a") as file:
            file.writelines(f"{TIME + v},{v}\n" for v in values)

    async def send_rubbish(self) -> str:
        with self.path.open("a") as file:
            file.write(f"{TIME},nonsense\n")
        return "malformed"


# -------------------------------------------------------------------------------------------------- Sparkplug B


@dataclass
class EdgeNode:
    """An edge node "edge" with the device "tank" and its metrics Level (alias 1) and Name (alias 2)."""

    port: int
    seq: int = 0
    bd_seq: int = 0
    births: int = 0
    commands: list[Any] = field(default_factory=list)
    whole: asyncio.Lock = field(default_factory=asyncio.Lock)
    """No data goes out between the births of the node and of its device."""

    async def start(self) -> None:
        self.link = MqttLink()
        self.bd_seq += 1
        death = encode(Payload(None, (Metric("bdSeq", datatype=8, value=self.bd_seq),)))
        will = Will("spBv1.0/group/NDEATH/edge", death)
        await self.link.open("127.0.0.1", self.port, client_id="edge", will=will)
        self.link.subscribe(["spBv1.0/group/NCMD/edge", "spBv1.0/group/DCMD/edge/+"])
        await self.birth()
        self.listening = asyncio.create_task(self.listen())

    async def stop(self) -> None:
        self.listening.cancel()
        await asyncio.gather(self.listening, return_exceptions=True)
        await self.link.close()

    async def listen(self) -> None:
        while True:
            for packet in await self.link.take(100):
                for metric in decode(packet.payload).metrics:
                    self.commands.append((packet.topic, metric))
                    if metric.name == "Node Control/Rebirth":
                        await self.birth()
                    else:
                        await self.data(metric.value, name=metric.name)

    async def birth(self) -> None:
        level = Metric("Level", 1, datatype=DataType.DOUBLE, null=True)
        async with self.whole:
            self.seq, self.births = -1, self.births + 1
            await self.say("NBIRTH/edge", Metric("bdSeq", datatype=8, value=self.bd_seq), t=TIME)
            await self.say("DBIRTH/edge/tank", level, Metric("Name", 2, datatype=DataType.STRING, value="T1"), t=TIME)

    async def data(self, value: Any, *, alias: int | None = 1, name: str | None = None, kind=DataType.DOUBLE) -> None:
        t = TIME + value if isinstance(value, int) else TIME
        pad = Metric(None, 2, datatype=DataType.STRING, value="x" * 900)
        alias = None if name else alias
        async with self.whole:
            await self.say(
                "DDATA/edge/tank", Metric(name, alias, timestamp=round(1000 * t), datatype=kind, value=value), pad
            )

    async def say(self, place: str, *metrics: Metric, t: float | None = None) -> None:
        self.seq = (self.seq + 1) % 256
        payload = Payload(None if t is None else round(1000 * t), metrics, self.seq)
        await self.link.publish(f"spBv1.0/group/{place}", encode(payload))


class SparkplugRig(MosquittoRig):
    name = "sparkplug"
    flood = 1500

    async def start(self, stack: AsyncExitStack) -> None:
        self.port = free_port()
        self.edge = EdgeNode(self.port)
        await self.up()
        stack.push_async_callback(self.down)
        self.proxy = await stack.enter_async_context(FaultProxy(self.port))
        broker = Broker("127.0.0.1", self.proxy.port, keepalive=0.4, room=200_000)
        self.connector = SparkplugConnector(
            "plant", broker, "group", {"a": "edge/tank:Level"}, SITE, self.clock,
            actuators={"P1": "edge/tank:Valve"}, persistent=True,
        )  # fmt: skip

    async def up(self) -> None:
        await super().up()
        await self.edge.start()

    async def down(self) -> None:
        await self.edge.stop()
        await super().down()

    async def send(self, *values: int) -> None:
        await until(lambda: self.connector._sessions["edge"].seq is not None)  # before the birth aliases mean nothing
        for value in values:
            await self.edge.data(value)

    async def send_rubbish(self) -> str:
        await self.edge.link.publish("spBv1.0/group/DDATA/edge/tank", b"\x12\xff{nonsense")
        return "malformed"


# -------------------------------------------------------------------------------------------------- OPC UA


class OpcUaPeer:
    """A server of asyncua in a thread of its own: its address space takes seconds to build, so all tests share it."""

    def __init__(self) -> None:
        self.port = free_port()
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True, name="opcua peer").start()
        asyncio.run_coroutine_threadsafe(self._build(), self.loop).result(60)

    async def _build(self) -> None:
        from asyncua import Server, ua

        folder = Path(tempfile.mkdtemp(prefix="opcua"))
        self.ua, self.server = ua, Server()
        await self.server.init()
        self.server.set_endpoint(f"opc.tcp://127.0.0.1:{self.port}/")
        self.certificate, key = folder / "server.der", folder / "server.pem"
        ensure_certificate(self.certificate, key, ManualClock(time.time()), "urn:freeopcua:python:server")
        await self.server.load_certificate(str(self.certificate))
        await self.server.load_private_key(str(key))
        self.server.set_security_policy(
            [ua.SecurityPolicyType.NoSecurity, ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt]
        )
        await self.server.register_namespace("urn:test")
        objects = self.server.nodes.objects
        for name, first in {"a": 0.0, "b": "", "P1": 0.0}.items():
            node = await objects.add_variable(ua.NodeId(name, 2), name, first)
            await node.set_writable()
        await self.server.start()
        await self.server.bserver.stop()

    async def call(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run in the peer's thread."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self.loop))

    async def write(self, name: str, *values: Any, status: int = 0) -> None:
        """Whole numbers are values at their times; texts are what they are."""
        for value in values:
            number = isinstance(value, int)
            await self.write_at(name, float(value) if number else value, TIME + (value if number else 0), status)

    async def write_at(self, name: str, value: Any, t: float, status: int = 0) -> None:
        stamp = datetime.fromtimestamp(t, UTC)
        data = self.ua.DataValue(
            self.ua.Variant(value), self.ua.StatusCode(status), SourceTimestamp=stamp, ServerTimestamp=stamp
        )
        await self.server.write_attribute_value(self.ua.NodeId(name, 2), data)


@functools.cache
def opcua_peer() -> OpcUaPeer:
    return OpcUaPeer()


class OpcUaRig(Rig):
    """A server of asyncua, unsecured; `test_connect_opcua` does the rest."""

    name = "opcua"
    keeps = False  # a new session gets the newest value of each node
    flood = 500
    piece = 40

    async def start(self, stack: AsyncExitStack) -> None:
        pytest.importorskip("asyncua")
        from pollux.runtime.connect.opcua import OpcUaConnector, OpcUaServer

        self.peer = opcua_peer()
        for name, value in {"a": 0, "b": ""}.items():
            await self.peer.call(self.peer.write(name, value, status=BAD_WAITING))
        await self.up()
        stack.push_async_callback(self.down)
        self.proxy = await stack.enter_async_context(FaultProxy(self.peer.port))
        server = OpcUaServer(
            f"opc.tcp://127.0.0.1:{self.proxy.port}/", {"a": "ns=2;s=a", "b": "ns=2;s=b"}, {"P1": "ns=2;s=P1"},
            period=0.02, queue=1000, watch=0.3,
        )  # fmt: skip
        self.connector = OpcUaConnector("plant", server, SITE, self.clock)

    async def up(self) -> None:
        await self.peer.call(self.peer.server.bserver.start())

    async def down(self) -> None:
        await self.peer.call(self.peer.server.bserver.stop())

    async def send(self, *values: int) -> None:
        await self.peer.call(self.peer.write("a", *values))

    async def send_rubbish(self) -> str:
        await self.peer.call(self.peer.write("b", "nonsense"))
        return "malformed"


BAD_WAITING = 0x80320000
"""OPC UA: BadWaitingForInitialData."""

# -------------------------------------------------------------------------------------------------- Modbus


class ModbusRig(Rig):
    """A server of pymodbus: holding 10 and 11 are "a" as float32, 20 and 21 are "b", 30 is the actuator."""

    name = "modbus"
    keeps = False  # what changes between two polls is not seen
    queues = False
    stamps = False
    bound = 2
    flood = 50

    async def start(self, stack: AsyncExitStack) -> None:
        pytest.importorskip("pymodbus")
        self.port = free_port()
        await self.up()
        stack.push_async_callback(self.down)
        self.proxy = await stack.enter_async_context(FaultProxy(self.port))
        points = {"a": Point(Area.HOLDING, 10, "float32"), "b": Point(Area.HOLDING, 20, "float32")}
        actuators = {"P1": Point(Area.HOLDING, 30, "int16", scale=0.1)}
        device = Device("127.0.0.1", self.proxy.port, points, actuators, period=0.01, timeout=0.4)
        self.connector = ModbusConnector("plant", device, SITE, self.clock)

    async def up(self) -> None:
        from pymodbus.server import ModbusTcpServer
        from pymodbus.simulator import DataType as Kind
        from pymodbus.simulator import SimData, SimDevice

        def memory(kind):
            return [SimData(0, values=[False] * 64 if kind is Kind.BITS else [0] * 100, datatype=kind)]

        blocks = (memory(Kind.BITS), memory(Kind.BITS), memory(Kind.REGISTERS), memory(Kind.REGISTERS))
        self.server = ModbusTcpServer(SimDevice(1, blocks), address=("127.0.0.1", self.port))
        await self.write(10, float("nan"))
        await self.server.serve_forever(background=True)

    async def down(self) -> None:
        await self.server.shutdown()

    async def write(self, address: int, value: float) -> None:
        from pymodbus.client.mixin import ModbusClientMixin as Mixin

        await self.server.async_setValues(1, 16, address, Mixin.convert_to_registers(value, Mixin.DATATYPE.FLOAT32))

    async def send(self, *values: int) -> None:
        for value in values:
            await self.write(10, float(value))
            await asyncio.sleep(0)

    async def send_rubbish(self) -> str:
        await self.write(20, float("inf"))
        return "nonfinite"


RIGS: tuple[type[Rig], ...] = (
    EmbeddedRig, MosquittoRig, Mqtt5Rig, SparkplugRig, OpcUaRig, ModbusRig, HttpRig, WebSocketRig, MemoryRig, ReplayRig,
)  # fmt: skip
