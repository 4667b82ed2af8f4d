"""G12: a flood through every door: memory stays bounded, what was acknowledged is there, others are not disturbed.

Sensors that should speak once a second speak a hundred times a second, as fast as the doors let them through, beside
pages that never read and packets that say nothing. POLLUX_FLOOD makes it longer: readings through each door.
"""

import asyncio
import contextlib
import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from pollux.runtime.cli.connection import Refused
from pollux.runtime.connect.mqtt_link import MqttLink
from pollux.runtime.serve.capabilities import CAPABILITIES
from pollux.runtime.store.refusals import KEEP
from pollux.runtime.store.sqlite import SqliteStore

from .bench import write_twins
from .conformance import free_port
from .test_process import Process, running

FLOOD = int(os.environ.get("POLLUX_FLOOD", "10000"))
BOUND = 96 * 2**20
"""What a flood may add to the resident memory, bytes, whatever its length."""
T0, STEP, BODY = 1e6, 0.01, 100
RUBBISH = 3000
SLOW = 12
"""Pages that never read."""
MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


@contextlib.contextmanager
def broker(folder: Path) -> Iterator[int]:
    """An external broker that forgets nothing."""
    port, file = free_port(), folder / "mosquitto.conf"
    limits = "max_inflight_messages 0\nmax_queued_messages 0\n"
    file.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n{limits}")
    child = subprocess.Popen([str(MOSQUITTO), "-c", file], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield port
    finally:
        child.kill()
        child.wait()


class Resident:
    """The largest resident memory of a process while the block runs, bytes."""

    def __init__(self, pid: int):
        self._file, self._over = Path(f"/proc/{pid}/statm"), threading.Event()
        self.most = self.before = self._now()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _now(self) -> int:
        return int(self._file.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def _watch(self) -> None:
        while not self._over.wait(0.02):
            self.most = max(self.most, self._now())

    def __enter__(self) -> "Resident":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()


def body(site: str, first: int, last: int) -> dict:
    return {"readings": [{"site": site, "tag": "LT1", "t": T0 + k * STEP, "v": 100.0} for k in range(first, last)]}


def over_http(p: Process, first: int) -> int:
    """Readings `first` .. of the tank, 100 a body, over four connections: how many were acknowledged."""

    def push(k: int) -> int:
        return p.link.request("POST", "/api/v1/push", body("tank", k, k + BODY))["accepted"]

    with ThreadPoolExecutor(4) as pool:
        return sum(pool.map(push, range(first, first + FLOOD, BODY)))


def page(p: Process, path: str, **options) -> ClientConnection:
    host = p.base.removeprefix("http://").rstrip("/")
    headers = {"authorization": f"Bearer {p.token}"}
    return connect(f"ws://{host}{path}", additional_headers=headers, proxy=None, ping_interval=None, **options)


@contextlib.contextmanager
def reading(p: Process) -> Iterator[list[float]]:
    """A page that does read: the times that it was shown."""
    seen = [0.0]
    with page(p, "/api/v1/live?twin=tank") as link:

        def read() -> None:
            with contextlib.suppress(ConnectionClosed):
                for text in link:
                    seen.append(json.loads(text).get("t", seen[-1]))

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        yield seen
    thread.join()


def over_websocket(p: Process, first: int) -> int:
    with page(p, "/api/v1/push") as link:
        accepted = 0
        for k in range(first, first + FLOOD, BODY):
            link.send(json.dumps(body("tank", k, k + BODY)))
            accepted += json.loads(link.recv())["accepted"]
        return accepted


def over_mqtt(port: int) -> int:
    async def publish() -> int:
        link = MqttLink()
        await link.open("127.0.0.1", port, client_id="flood")
        for at in range(0, FLOOD, 200):
            payloads = [json.dumps({"t": T0 + k * STEP, "v": 100.0}).encode() for k in range(at, at + 200)]
            await asyncio.gather(*(link.publish("pollux/hose/LT1", each, seconds=60.0) for each in payloads))
        for _ in range(RUBBISH // 200):
            await asyncio.gather(*(link.publish("pollux/hose/LT1", b"{nonsense", seconds=60.0) for _ in range(200)))
        for each in (b"[" * 50_000, b'{"t":' + b" " * 70_000 + b"1}", b'{"t": 1e999, "v": 1}'):
            await link.publish("pollux/hose/LT1", each, seconds=60.0)
        await link.close()
        return FLOOD

    return asyncio.run(publish())


def refused(ask: Callable[[], object]) -> str:
    with pytest.raises(Refused) as error:
        ask()
    return str(error.value)


@pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed")
def test_a_flood_is_bounded_acknowledged_only_when_durable_and_disturbs_nobody(tmp_path):
    project = write_twins(tmp_path / "project", {"tank": "", "hose": "", "calm": ""})
    with broker(tmp_path) as port, contextlib.ExitStack() as stack:
        text = (project / "pollux.toml").read_text().replace('kind = "memory"', 'kind = "http"')
        text = (
            text.replace(
                '[connector.field-hose]\nkind = "http"',
                f'[connector.field-hose]\nkind = "mqtt"\nurl = "mqtt://127.0.0.1:{port}"\npersistent = true',
            )
            .replace('"field-calm"', '"field-tank"')
            .replace('[connector.field-calm]\nkind = "http"\n', "")
        )
        (project / "pollux.toml").write_text(text)
        p = stack.enter_context(running(project, tmp_path / "state"))

        def look(name: str, twin: str):
            return p.link.run(CAPABILITIES[name], twin, {})

        p.wait(lambda: p.phase() == "live", "live")
        warm = sum(p.link.request("POST", "/api/v1/push", body("tank", k, k + BODY))["accepted"]
                   for k in range(-1000, 0, BODY))  # fmt: skip
        p.wait(lambda: look("forecast", "tank"), "a forecast")
        for _ in range(SLOW):
            quiet = socket.socket()
            quiet.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            quiet.connect(("127.0.0.1", int(p.base.rstrip("/").rsplit(":", 1)[1])))
            stack.enter_context(page(p, "/api/v1/live?twin=tank", sock=quiet, max_queue=1))
        seen = stack.enter_context(reading(p))
        with Resident(p.child.pid) as resident, ThreadPoolExecutor(3) as pool:
            floods = [pool.submit(over_http, p, 0), pool.submit(over_websocket, p, FLOOD), pool.submit(over_mqtt, port)]
            calm = 0
            while not all(f.done() for f in floods) or calm < 10:
                calm += 1
                said = {"readings": [{"site": "calm", "tag": "LT1", "t": T0 + calm, "v": 100.0},
                                     {"site": "calm", "tag": "FT1", "t": T0 + calm, "v": 10.0}]}  # fmt: skip
                assert p.link.request("POST", "/api/v1/push", said)["accepted"] == 2
                time.sleep(0.1)
            acknowledged = [f.result() for f in floods]
            p.wait(lambda: look("observe", "calm")["t"] == T0 + calm, "the calm twin")
            for twin, last in (("tank", 2 * FLOOD), ("hose", FLOOD)):
                p.wait(lambda twin=twin, last=last: look("observe", twin)["t"] >= T0 + last * STEP - 2, twin)
            p.wait(lambda: look("diagnose", "hose")["refused"].get("malformed", 0) >= RUBBISH, "the quarantine")
            assert "262144 bytes" in refused(lambda: p.link.request("POST", "/api/v1/push", body("tank", 0, 9000)))
            deep: list = []
            for _ in range(40):
                deep = [deep]
            assert "deeper" in refused(lambda: p.link.request("POST", "/api/v1/push", {"readings": deep}))
        p.wait(lambda: seen[-1] >= T0 + 2 * FLOOD * STEP - 2, "a page that reads")
        counts = look("diagnose", "hose")["refused"]
        assert counts["malformed"] == RUBBISH
        assert counts["nested"] == counts["oversized"] == counts["nonfinite"] == 1
        grown = resident.most - resident.before
        print(f"flood: {sum(acknowledged)} readings; resident {resident.before >> 20} MiB + {grown / 2**20:.1f} MiB")
        assert grown < BOUND
        assert warm == 1000
        assert acknowledged == [FLOOD, FLOOD, FLOOD]
        p.child.kill()  # no chance to write anything more
        p.child.communicate()
    store = SqliteStore(tmp_path / "state" / "journal.db")
    try:
        for twin, first, last in (("tank", -1000, 2 * FLOOD), ("hose", 0, FLOOD)):
            t, _ = store.history(twin, "LT1", -np.inf, np.inf)
            np.testing.assert_allclose(t, T0 + STEP * np.arange(first, last), rtol=0, atol=1e-6)
        assert len(store.history("calm", "LT1", -np.inf, np.inf)[0]) == calm
        kept, counts = store.refused(KEEP)
        assert counts["malformed"] == RUBBISH
        assert len(kept) <= KEEP
        assert sum(r.reason == "malformed" for r in kept) < RUBBISH
        assert max(len(r.payload) for r in kept) <= 1024
    finally:
        store.close()
