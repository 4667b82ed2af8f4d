"""`/mcp`: streamable HTTP under the server's own authentication; loaded when somebody first comes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

from starlette.datastructures import State
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from pollux.runtime.ports import Host
from pollux.runtime.serve.auth import Auth, as_agent
from pollux.runtime.serve.capability import Capability
from pollux.runtime.serve.problems import Problem
from pollux.runtime.serve.strict import PUSH

CONCURRENT = 16
"""Most MCP requests at once."""


class McpMount:
    """An ASGI application that authenticates, and starts the MCP session manager at its first request."""

    def __init__(self, host: Host, auth: Auth, table: Mapping[str, Capability]):
        self.host, self.auth, self.table = host, auth, table
        self._wanted = asyncio.Event()
        self._ready: asyncio.Future[ASGIApp] | None = None
        self._busy = 0

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """While the server runs: one task owns the session manager, because it must be left where it was entered."""
        self._wanted, self._ready = asyncio.Event(), asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self._own(self._ready))
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one MCP request."""
        from pollux.runtime.serve.api import identify

        if scope["type"] != "http":
            raise Problem(404, "route", "MCP is spoken over HTTP here", "POST to /mcp")
        scope = dict(scope)
        request = Request(scope, receive)
        request.state.who = identify(request, self.auth)
        if self._ready is None:
            raise Problem(503, "starting", "The server is not running", "Try again")
        if self._busy >= CONCURRENT:
            raise Problem(503, "mcp.busy", f"At most {CONCURRENT} MCP requests run at once", "Try again in a moment")
        self._busy += 1
        try:
            self._wanted.set()
            app = await asyncio.shield(self._ready)
            await app(scope, receive, send)
        finally:
            self._busy -= 1

    async def _own(self, ready: "asyncio.Future[ASGIApp]") -> None:
        await self._wanted.wait()
        manager = await asyncio.to_thread(self._load)
        async with manager.run():
            ready.set_result(manager.handle_request)
            await asyncio.Event().wait()

    def _load(self) -> Any:
        from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

        from pollux.runtime.serve import mcp
        from pollux.runtime.serve.capabilities import run

        async def caller(c: Capability, twin: str, arguments: Mapping[str, Any], request: Any) -> Any:
            state: State = request.state
            who = as_agent(state.who)
            return await run(self.host, self.table, c, who, mcp.checked(c, arguments), twin)

        server = mcp.build(self.table, caller)
        return StreamableHTTPSessionManager(app=server, json_response=True, stateless=True, max_request_body_size=PUSH)
