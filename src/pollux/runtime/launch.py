"""`launch`: a project from its folder to a live page. The port opens first, then everything else is loaded.

server -> broker -> connectors -> engine (twins raised, journal replayed) -> demo plant
"""

import asyncio
import contextlib
import logging
import os
import signal
import sys
import webbrowser
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

from pollux.core.errors import InputError, PolluxError, StoreError
from pollux.core.time import Clock
from pollux.runtime.clock import SystemClock, token
from pollux.runtime.connect.base import Connector
from pollux.runtime.connect.make import embedded, make_connector, sites_of
from pollux.runtime.engine import Engine
from pollux.runtime.serve.app import bind, create_app, serve
from pollux.runtime.serve.auth import Auth
from pollux.runtime.serve.border import Listen
from pollux.runtime.wiring import Wiring, read_wiring
from pollux.runtime.wiring_connectors import ConnectorWiring

log = logging.getLogger("pollux.launch")

PASSWORD = "POLLUX_MQTT_PASSWORD"


def default_state(wiring: Wiring) -> Path:
    """Where a project keeps its state when nobody says otherwise."""
    return Path(".pollux") / wiring.name


def state_folder(wiring: Wiring, given: Path | None) -> Path:
    """Where a project keeps its journal, tokens and audit: `.pollux/NAME` below the working folder, or `given`.

    Raises `StoreError` when it cannot be written.
    """
    folder = given or default_state(wiring)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".probe"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise StoreError(
            f"A project needs a folder that it may write: {str(folder)!r} is not ({error.strerror}). "
            "Name another with `--state FOLDER`"
        ) from None
    return folder


async def launch(
    project: Path,
    *,
    state: Path | None = None,
    port: int | None = None,
    demo: bool = False,
    speed: float | None = None,
    open_browser: bool = False,
    announce: Callable[[str], None] = print,
) -> None:
    """Run a project until cancelled. `demo` starts its plant; `speed` overrides the plant's or a replay's own.

    Raises `WiringError`, `StoreError`, `InputError` (occupied port) before anything is started.
    """
    clock: Clock = SystemClock()
    wiring = read_wiring(project)
    if demo and wiring.demo is None:
        raise InputError(f"Project {wiring.name!r} has no plant to demonstrate; run it with `pollux run {project}`")
    folder = state_folder(wiring, state)
    use_compilation_cache()
    s = wiring.server
    listen = Listen(
        s.host,
        s.port if port is None else port,
        str(s.certificate) if s.certificate else None,
        str(s.key) if s.key else None,
        s.exposed,
        s.names,
    )
    bound = bind(listen)
    listen = replace(listen, port=bound.getsockname()[1])
    auth = Auth.open(folder, clock)
    engine = Engine(wiring, folder, clock)
    app = create_app(engine, auth, listen=listen)
    link = f"{listen.url}?token={auth.first_token}"
    opcua = None
    if s.opcua is not None:
        from pollux.runtime.serve.opcua import OpcUaFace

        opcua = OpcUaFace(engine, auth, folder, clock, listen.host, s.opcua)
    failed: list[PolluxError] = []
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_termination(), name="termination")
            group.create_task(serve(app, listen, bound=bound), name="server")
            announce(f"Pollux is at {link}")
            if open_browser:
                await asyncio.to_thread(webbrowser.open, link)
            if opcua is not None:
                group.create_task(opcua.run(), name="OPC UA")
            group.create_task(_work(engine, wiring, clock, demo, speed), name="engine")
    except* _Terminated:
        pass
    except* PolluxError as errors:
        failed = [e for e in errors.exceptions if isinstance(e, PolluxError)]
    if failed:
        raise failed[0]


class _Terminated(Exception):
    """SIGTERM: stop in order, with success."""


async def _termination() -> None:
    asked = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asked.set)
    await asked.wait()
    raise _Terminated


async def _work(engine: Engine, wiring: Wiring, clock: Clock, demo: bool, speed: float | None) -> None:
    async with _broker(wiring) as (url, own, secret):

        def make(wired: ConnectorWiring, after: float | None) -> Connector:
            sites = sites_of(wiring, wired.name)
            name, password = ("pollux", own) if embedded(wired) else ("", None)
            return make_connector(
                _sped(wired, speed), sites, wiring.folder, clock, url=_as(url, name), password=password, after=after
            )

        async with _plant(engine, wiring, url, secret, speed) if demo else contextlib.nullcontext():
            await engine.run(make)


@contextlib.asynccontextmanager
async def _broker(wiring: Wiring) -> AsyncIterator[tuple[str, str, str]]:
    """The embedded broker, where the project uses one: (its URL, our password, the plants' password)."""
    use = next((c for c in wiring.connectors if embedded(c)), None)
    if use is None:
        yield "", "", ""
        return
    from pollux.runtime.connect.broker import EmbeddedBroker, plant_account, pollux_account

    own, secret = token(), token()
    accounts = (pollux_account(own), *(plant_account(site, secret) for site in sites_of(wiring, use.name)))
    broker = EmbeddedBroker(port=int(use.settings.get("port", 0)), accounts=accounts)
    url = await broker.start()
    try:
        yield url, own, secret
    finally:
        await broker.stop()


def _as(url: str, user: str) -> str:
    return url.replace("mqtt://", f"mqtt://{user}@") if user else url


def _sped(wired: ConnectorWiring, speed: float | None) -> ConnectorWiring:
    """A replay at another speed."""
    if speed is None or wired.kind != "replay":
        return wired
    return replace(wired, settings={**wired.settings, "speed": speed})


@contextlib.asynccontextmanager
async def _plant(engine: Engine, wiring: Wiring, url: str, secret: str, speed: float | None) -> AsyncIterator[None]:
    """The demo plant in its own process, from the moment the engine is live; it goes on where the journal ends."""
    demo = wiring.demo
    assert demo is not None

    async def run() -> None:
        await engine.live.wait()
        known = [t for t in (lane.live.t for lane in engine.lanes().values()) if t == t]
        first = next(iter((*wiring.twins, *(fleet.each for fleet in wiring.fleets))))
        site, broker = first.site, _as(url, f"plant-{first.site}")
        command = [
            sys.executable, "-m", demo.module, "--broker", broker, "--site", site, "--speed", str(speed or demo.speed),
            "--memory", str(engine.state_folder / "plant.json"),
        ]  # fmt: skip
        if known:
            command += ["--start", str(max(known) + first.period)]
        process = await asyncio.create_subprocess_exec(
            *command, env={**os.environ, PASSWORD: secret}, stdout=asyncio.subprocess.DEVNULL
        )
        try:
            code = await process.wait()
            log.warning("the plant has ended", extra={"data": {"code": code}})
        finally:
            if process.returncode is None:
                process.terminate()
                await process.wait()

    task = asyncio.create_task(run(), name="plant")
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def use_compilation_cache() -> None:
    """Keep compiled kernels between starts, private to the user; read by JAX when it is first imported."""
    base = Path(os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache")))
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(base / "pollux" / "kernels"))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
