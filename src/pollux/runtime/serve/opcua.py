"""OPC UA face (extra `opcua`): what a twin believes, as read-only variables under Objects/Pollux/<twin>.

    sensors/<name>/{value, predicted, low, high, health, age}    states/<name>/{mean, low, high}    inputs/<name>/value
    margins/<name>    status, level, stopped, stale, data_age, nis

Node ids read "ns=2;s=<twin>/states/<name>/mean". The source time is the belief's. Channels are signed or encrypted
(Basic256Sha256); who connects gives any user name and a token of the project as password. Nothing can be written and
nothing called: orders go through the guard, and the guard is not here.

The server runs in a thread of its own, since building its address space takes seconds; the engine is read on its loop.
"""

import asyncio
import logging
import threading
from collections.abc import Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pollux.core.errors import InputError
from pollux.core.extras import need
from pollux.core.time import Clock
from pollux.runtime.connect.opcua_certificate import ensure_certificate
from pollux.runtime.face import TwinFace
from pollux.runtime.ports import Host
from pollux.runtime.serve.auth import Auth
from pollux.runtime.serve.problems import Problem

URI = "urn:pollux:server"
PERIOD = 0.5
"""Seconds between two looks at the twins."""
CERTIFICATE, KEY = "opcua-server.der", "opcua-server.pem"
"""In the project's state folder; clients pin the certificate."""

OF_TWIN = ("status", "level", "stopped", "stale", "data_age", "nis")
Place = tuple[str, ...]
"""Names from the twin down."""


class OpcUaFace:
    """The server. `run` serves until cancelled."""

    def __init__(self, host: Host, auth: Auth, folder: Path, clock: Clock, address: str, port: int):
        need("asyncua", "opcua")
        logging.getLogger("asyncua").setLevel(logging.CRITICAL)
        self.url = f"opc.tcp://{address}:{port}/"
        self._host, self._auth, self._folder, self._clock = host, auth, folder, clock
        self._loop = asyncio.new_event_loop()
        self._server: Any = None
        self._nodes: dict[Place, Any] = {}
        self._shown: dict[str, float] = {}

    async def run(self) -> None:
        """Serve until cancelled. Raises `InputError` when the port is taken."""
        ensure_certificate(self._folder / CERTIFICATE, self._folder / KEY, self._clock, URI)
        thread = threading.Thread(target=self._loop.run_forever, name="pollux-opcua", daemon=True)
        thread.start()
        try:
            await self._there(self._start(asyncio.get_running_loop()))
            while True:
                await self._look()
                await asyncio.sleep(PERIOD)
        finally:
            await self._there(self._stop())
            self._loop.call_soon_threadsafe(self._loop.stop)
            await asyncio.to_thread(thread.join)
            self._loop.close()

    async def _look(self) -> None:
        """Hand the newest frame of every twin over, when it has moved."""
        for name, lane in self._host.lanes().items():
            if lane.live.visible:
                frame = lane.live.frame()
                mark = frame["t"] + frame["data_age"]
                if self._shown.get(name) != mark:
                    self._shown[name] = mark
                    await self._there(self._show(name, lane.live.face, frame))

    async def _there(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run in the server's thread."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    # ---------------------------------------------------------------- in the server's thread

    async def _start(self, home: asyncio.AbstractEventLoop) -> None:
        asyncua, ua = need("asyncua", "opcua"), need("asyncua.ua", "opcua")
        server = asyncua.Server(user_manager=_Tokens(self._auth, home))
        await server.init()
        server.set_endpoint(self.url)
        server.set_server_name("Pollux")
        await server.set_application_uri(URI)
        await server.load_certificate(str(self._folder / CERTIFICATE))
        await server.load_private_key(str(self._folder / KEY))
        policies = ua.SecurityPolicyType
        server.set_security_policy([policies.Basic256Sha256_SignAndEncrypt, policies.Basic256Sha256_Sign])
        server.set_identity_tokens([ua.UserNameIdentityToken])
        await server.register_namespace("urn:pollux")
        try:
            await server.start()
        except OSError as error:
            raise InputError(
                f"The OPC UA port cannot be opened: {self.url} ({error}); choose another `opcua`"
            ) from None
        self._server = server
        self._nodes[()] = await server.nodes.objects.add_object(ua.NodeId("Pollux", 2), "2:Pollux")

    async def _stop(self) -> None:
        if self._server is not None:
            await self._server.stop()

    async def _show(self, twin: str, face: TwinFace, frame: dict[str, Any]) -> None:
        stamp = datetime.fromtimestamp(frame["t"], UTC)
        for path, value in flat(frame):
            await self._write((twin, *path), value, stamp, face)

    async def _write(self, path: Place, value: Any, stamp: datetime, face: TwinFace) -> None:
        ua = need("asyncua.ua", "opcua")
        node = self._nodes.get(path)
        if node is None:
            node = await self._make(path, value, face)
        kind = _kind(ua, path, value)
        missing = value is None
        data = ua.DataValue(
            ua.Variant(float("nan") if missing and kind is ua.VariantType.Double else value, kind),
            ua.StatusCode(ua.StatusCodes.UncertainLastUsableValue if missing else ua.StatusCodes.Good),
            SourceTimestamp=stamp,
            ServerTimestamp=datetime.fromtimestamp(self._clock.now(), UTC),
        )
        await self._server.write_attribute_value(node.nodeid, data)

    async def _make(self, path: Place, value: Any, face: TwinFace) -> Any:
        """The variable at a path, and the folders above it."""
        ua = need("asyncua.ua", "opcua")
        for depth in range(1, len(path)):
            part = path[:depth]
            if part not in self._nodes:
                parent = self._nodes[part[:-1]]
                self._nodes[part] = await parent.add_object(ua.NodeId("/".join(part), 2), f"2:{part[-1]}")
        kind = _kind(ua, path, value)
        first = {ua.VariantType.Double: 0.0, ua.VariantType.Int64: 0, ua.VariantType.Boolean: False}.get(kind, "")
        parent, name = self._nodes[path[:-1]], f"2:{path[-1]}"
        node = await parent.add_variable(ua.NodeId("/".join(path), 2), name, first, varianttype=kind)
        unit = next((s.unit for s in (*face.estimated, *face.sensors, *face.inputs) if s.name in path), "")
        if unit and path[-1] not in ("health", "age"):
            text = ua.DataValue(ua.Variant(ua.LocalizedText(f"in {unit}")))
            await self._server.write_attribute_value(node.nodeid, text, ua.AttributeIds.Description)
        self._nodes[path] = node
        return node


class _Tokens:
    """asyncua's user manager: a token of the project, checked (and its guesses counted) on the engine's loop."""

    def __init__(self, auth: Auth, home: asyncio.AbstractEventLoop):
        self._auth, self._home = auth, home

    def get_user(self, iserver: Any, username: str | None = None, password: Any = None, certificate: Any = None) -> Any:
        """The user for a token; None turns it away."""
        rules = need("asyncua.crypto.permission_rules", "opcua")
        text = password.decode("utf-8", "replace") if isinstance(password, bytes) else str(password or "")

        async def check() -> bool:
            try:
                self._auth.by_token(text, "opcua")
            except Problem:
                return False
            return True

        known = asyncio.run_coroutine_threadsafe(check(), self._home).result(5.0)
        return rules.User(role=rules.UserRole.User, name=username) if known else None


def flat(frame: dict[str, Any]) -> list[tuple[Place, Any]]:
    """(path below the twin, value) of everything that is shown of a frame."""
    found: list[tuple[Place, Any]] = [((name,), frame.get(name)) for name in OF_TWIN]
    for group in ("sensors", "states", "inputs"):
        for name, entry in frame[group].items():
            found += [((group, name, key), value) for key, value in entry.items()]
    found += [(("margins", name), value) for name, value in frame["margins"].items()]
    return found


def _kind(ua: Any, path: Place, value: Any) -> Any:
    if path[-1] in ("status", "health"):
        return ua.VariantType.String
    if isinstance(value, bool):
        return ua.VariantType.Boolean
    return ua.VariantType.Int64 if path[-1] == "level" and len(path) == 2 else ua.VariantType.Double
