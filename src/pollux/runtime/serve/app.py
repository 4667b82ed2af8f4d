"""The server: REST, live stream, MCP and page behind one gate, on one port."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import uvicorn
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router, WebSocketRoute
from starlette.types import ASGIApp

from pollux.core.errors import InputError
from pollux.runtime.ports import Host
from pollux.runtime.serve import page
from pollux.runtime.serve.api import API, enter, routes
from pollux.runtime.serve.auth import Auth
from pollux.runtime.serve.border import Listen
from pollux.runtime.serve.capabilities import CAPABILITIES, Table
from pollux.runtime.serve.gate import Gate
from pollux.runtime.serve.mcp_mount import McpMount
from pollux.runtime.serve.presence import announced
from pollux.runtime.serve.pushing import push_endpoint
from pollux.runtime.serve.stream import live_endpoint
from pollux.runtime.serve.strict import PUSH


def create_app(host: Host, auth: Auth, *, listen: Listen | None = None, table: Table = CAPABILITIES) -> ASGIApp:
    """The ASGI application. Nothing heavy is imported; MCP is at its first use."""
    listen = listen or Listen()
    files = page.load()
    mcp = McpMount(host, auth, table)

    async def root(request: Request) -> Response:
        return enter(request, auth, listen) or page.respond(request, files["index.html"])

    async def asset(request: Request) -> Response:
        file = files.get(request.path_params["path"])
        if file is None:
            raise HTTPException(404)
        return page.respond(request, file)

    @contextlib.asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        with announced(auth.folder, listen.url):
            async with mcp.running():
                yield

    router = Router(
        [
            *routes(host, auth, listen, table),
            WebSocketRoute(f"{API}/live", live_endpoint(host, auth)),
            WebSocketRoute(f"{API}/push", push_endpoint(host, auth)),
            Route("/mcp", endpoint=mcp),
            Route("/", root, methods=["GET"]),
            Route("/{path:path}", asset, methods=["GET"]),
        ],
        redirect_slashes=False,
        lifespan=lifespan,
    )
    return Gate(router, listen, {f"{API}/push": PUSH, "/mcp": PUSH})


def bind(listen: Listen) -> socket.socket:
    """The listening socket. Raises `InputError` when the port is taken or may not be used."""
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((listen.host.strip("[]"), listen.port))
        found.listen(128)  # whoever comes before the server runs waits instead of being turned away
    except OSError as error:
        found.close()
        raise InputError(
            f"Port {listen.port} on {listen.host} cannot be opened ({error.strerror}); stop what uses it, or choose "
            f"another with `--port {listen.port + 1}`"
        ) from None
    return found


async def serve(app: ASGIApp, listen: Listen, *, bound: socket.socket | None = None) -> None:
    """Serve until cancelled. Raises `InputError` when the port is taken."""
    bound = bound or bind(listen)
    tls: dict[str, Any] = {}
    if listen.certificate:
        tls = {"ssl_certfile": listen.certificate, "ssl_keyfile": listen.key}
    config = uvicorn.Config(
        app, log_config=None, access_log=False, server_header=False, date_header=False, lifespan="on",
        ws="websockets-sansio", ws_max_size=64 * 1024, timeout_keep_alive=30, timeout_graceful_shutdown=2,
        limit_concurrency=256, h11_max_incomplete_event_size=32 * 1024, **tls,
    )  # fmt: skip
    server = uvicorn.Server(config)
    server.capture_signals = contextlib.nullcontext  # pyright: ignore[reportAttributeAccessIssue]
    try:
        await server.serve(sockets=[bound])
    except asyncio.CancelledError:
        server.should_exit = True
        with contextlib.suppress(asyncio.CancelledError):
            await server.shutdown(sockets=[bound])
        raise
