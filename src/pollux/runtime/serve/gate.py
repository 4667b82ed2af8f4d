"""The gate that every request passes first: host, origin, size; and the headers and errors that every answer has."""

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pollux.runtime.serve.border import HEADERS, Listen, check_host, check_origin
from pollux.runtime.serve.problems import Problem, body_of, problem_of
from pollux.runtime.serve.strict import BODY

log = logging.getLogger("pollux.serve")


class Gate:
    """ASGI middleware around everything, WebSocket and MCP included. `limits`: path prefix -> largest body, bytes."""

    def __init__(self, app: ASGIApp, listen: Listen, limits: Mapping[str, int]):
        self.app, self.listen, self.limits = app, listen, dict(limits)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or refuse it."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        scope["app"] = self  # the router then raises what it refuses instead of answering in plain text
        started = False

        async def guarded(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS:
                    headers[name] = value
                if "cache-control" not in headers:
                    headers["cache-control"] = "no-store"
            await send(message)

        try:
            self._check(scope)
            if scope["type"] == "http":
                receive = _limited(receive, self._limit(scope["path"]))
            await self.app(scope, receive, guarded)
        except asyncio.CancelledError:
            if scope["type"] == "http" and not started:
                await answer(Problem(503, "stopping", "The server is stopping", "Try again"))(scope, receive, guarded)
        except Exception as error:
            problem = _routed(error, scope) or problem_of(error)
            if problem.status >= 500 and not isinstance(error, Problem):
                log.error("request failed", exc_info=True, extra={"data": {"path": scope["path"]}})
            if scope["type"] == "websocket":
                with contextlib.suppress(Exception):
                    await send({"type": "websocket.close", "code": 1008, "reason": problem.message[:100]})
            elif not started:
                await answer(problem)(scope, receive, guarded)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        check_host(headers.get("host"), self.listen)
        check_origin(headers.get("origin"), headers.get("host", ""), self.listen.scheme)
        length = headers.get("content-length")
        if scope["type"] == "http" and length is not None:
            limit = self._limit(scope["path"])
            if not length.isdigit() or int(length) > limit:
                raise _too_large(limit)

    def _limit(self, path: str) -> int:
        return next((n for prefix, n in self.limits.items() if path.startswith(prefix)), BODY)


def answer(problem: Problem) -> Response:
    """The response for a problem."""
    headers: dict[str, str] = {}
    if problem.status == 401:
        headers["www-authenticate"] = "Bearer"
    return JSONResponse(body_of(problem), problem.status, headers)


def _routed(error: Exception, scope: Scope) -> Problem | None:
    """The problem for what the router itself refuses."""
    if not isinstance(error, HTTPException):
        return None
    known = {
        404: ("route", "There is nothing at this path", "`GET /api/v1/docs` lists what there is"),
        405: ("method", f"{scope.get('method')} is not for this path", "Queries are GET, commands POST"),
    }
    rule, message, way_out = known.get(error.status_code, ("http", "The request cannot be served", ""))
    return Problem(error.status_code, rule, message, way_out)


def _limited(receive: Receive, limit: int) -> Receive:
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message: dict[str, Any] = dict(await receive())
        seen += len(message.get("body", b""))
        if seen > limit:
            raise _too_large(limit)
        return message

    return counted


def _too_large(limit: int) -> Problem:
    return Problem(413, "border.size", f"A body of at most {limit} bytes is taken here", "Send it in smaller parts")
