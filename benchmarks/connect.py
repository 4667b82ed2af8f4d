"""Work item `connect`: messages a second at QoS 1 from a publisher through mosquitto into the journal, end to end.

A publisher in a process of its own sends prepared packets as fast as mosquitto takes them; the connector reads, checks
at the border, makes durable (full synchronisation), acknowledges. The clock runs from the first publish to the last
durable row. Peer: aiomqtt reading the same flood into memory, with automatic acknowledgement, parsing the JSON only.
"""

import asyncio
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pollux.runtime.binding import bind
from pollux.runtime.clock import SystemClock
from pollux.runtime.connect import mqtt_packets as wire
from pollux.runtime.connect.base import ConnectorState, Receipt, Unread
from pollux.runtime.connect.mqtt import MqttConnector, dial
from pollux.runtime.connect.mqtt_packets import Version
from pollux.runtime.connect.wire import Delivered, Message
from pollux.runtime.intake import Intake
from pollux.runtime.store.sqlite import SqliteStore
from pollux.runtime.store.writer import StoreWriter
from pollux.runtime.wiring import TagWiring, TwinWiring

TAGS = 100


@dataclass(frozen=True)
class Field:
    """A sensor without limits."""

    name: str
    unit: str = "1"
    low: float = -1e300
    high: float = 1e300


def run(config: dict) -> dict:
    """Config: `messages` (default 200,000), `packed` values in a message (default 1), `protocol` ("5" or "3.1.1")."""
    n, packed = int(config.get("messages", 200_000)), int(config.get("packed", 1))
    version = Version.V311 if str(config.get("protocol", "5")) == "3.1.1" else Version.V5
    with tempfile.TemporaryDirectory() as folder:
        port, broker = _mosquitto(Path(folder))
        try:
            ours, cpu, commits = asyncio.run(_pollux(Path(folder), port, n, packed, version))
            peer = asyncio.run(_aiomqtt(port, n, packed))
        finally:
            broker.kill()
            broker.wait()
    return {
        "item": "connect",
        "config": {"messages": n, "packed": packed, "protocol": "3.1.1" if version is Version.V311 else "5"},
        "pollux": n / ours,
        "values_per_second": n * packed / ours,
        "cpu_us_per_message": 1e6 * cpu / n,
        "commits": commits,
        "peers": {"aiomqtt_in_memory": n / peer},
        "ratio": round(peer / ours, 2),
        "unit": "messages/s",
        "error": None,
    }


class _Single:
    """A sink of single values: the intake without an engine around it."""

    def __init__(self, intake: Intake):
        self._intake, self.acknowledged = intake, intake.acknowledged

    async def readings(self, messages: Sequence[Delivered], unread: Sequence[Unread] = ()) -> Receipt:
        """Hand on."""
        return await self._intake.readings([m for m in messages if isinstance(m, Message)], unread)


async def _pollux(folder: Path, port: int, n: int, packed: int, version: Version) -> tuple[float, float, int]:
    tags = tuple(TagWiring(f"T{i}", f"T{i}", None, None, "plant", "plant") for i in range(max(TAGS, packed)))
    wiring = TwinWiring("tank", "m:f", {}, (), 1.0, "event", 0.0, 1e12, "site", 1.0, tags, (), {}, "w")
    clock, rows, done = SystemClock(), 0, asyncio.Event()
    writer = StoreWriter(SqliteStore(folder / "journal.db"), clock)

    def count(delivery: Any) -> None:
        nonlocal rows
        rows += len(delivery.rows)
        if rows >= n * packed:
            done.set()

    intake = Intake([bind(wiring, [Field(t.tag) for t in tags], [])], writer, clock, count)
    link = MqttConnector("plant", dial(f"mqtt://127.0.0.1:{port}", version=version), ["site"])
    task = asyncio.create_task(link.run(_Single(intake)))
    while link.state is not ConnectorState.CONNECTED:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    publisher = await _publisher(port, n, packed)
    began, worked = time.perf_counter(), time.process_time()
    await asyncio.wait([task, asyncio.ensure_future(done.wait())], return_when=asyncio.FIRST_COMPLETED)
    took, cpu = time.perf_counter() - began, time.process_time() - worked
    assert rows == n * packed, f"{rows} rows of {n * packed}: {link.problem}"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await publisher.wait()
    await writer.close()
    return took, cpu, writer.commits


async def _aiomqtt(port: int, n: int, packed: int) -> float:
    import aiomqtt

    async with aiomqtt.Client("127.0.0.1", port) as client:
        await client.subscribe([("pollux/site", 1), ("pollux/site/+", 1)])
        publisher = await _publisher(port, n, packed)
        began, seen = time.perf_counter(), 0
        async for message in client.messages:
            assert isinstance(message.payload, bytes)
            json.loads(message.payload)
            seen += 1
            if seen == n:
                break
        took = time.perf_counter() - began
        await publisher.wait()
        return took


async def _publisher(port: int, n: int, packed: int) -> asyncio.subprocess.Process:
    """A publisher that is about to send its first packet."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.connect", str(port), str(n), str(packed), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    await process.stdout.readline()
    return process


def publish(port: int, n: int, packed: int) -> None:
    """The publisher's process: all packets prepared, then sent as fast as they are taken."""
    packets: list[bytes] = []
    for i in range(n):
        t = 1.7e9 + i
        if packed == 1:
            topic, body = f"pollux/site/T{i % TAGS}", {"t": t, "v": i * 0.5}
        else:
            topic, body = "pollux/site", {"t": t, "values": {f"T{k}": i * 0.5 + k for k in range(packed)}}
        packets.append(wire.publish(topic, json.dumps(body).encode(), Version.V311, mid=i % 65_535 + 1))
    with socket.create_connection(("127.0.0.1", port)) as link:
        link.sendall(wire.connect("publisher", Version.V311, clean=True, keepalive=0))
        link.recv(4)
        print("ready", flush=True)
        acknowledged = 0
        for at in range(0, n, 500):
            link.sendall(b"".join(packets[at : at + 500]))
            while acknowledged < 4 * (at - 20_000):  # at most that many are on their way
                acknowledged += len(link.recv(65_536))
        while acknowledged < 4 * n:
            acknowledged += len(link.recv(65_536))


def _mosquitto(folder: Path) -> tuple[int, subprocess.Popen[bytes]]:
    program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        raise RuntimeError("work item `connect` needs mosquitto; install it")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    file = folder / "mosquitto.conf"
    file.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\nmax_inflight_messages 0\n"
        "set_tcp_nodelay true\n"
    )
    process = subprocess.Popen([program, "-c", str(file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return port, process
        time.sleep(0.02)
    raise RuntimeError("mosquitto did not open its port")


if __name__ == "__main__":
    publish(*map(int, sys.argv[1:4]))
