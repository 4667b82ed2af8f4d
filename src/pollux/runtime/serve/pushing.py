"""Readings over one WebSocket: each message is a body as `POST /api/v1/push` takes it, and is answered in order.

An answer is sent when what it counts as accepted is durable, and the next message is read only then: a slow store slows
the sender. What cannot be taken is answered with the same `error` as over HTTP; the connection stays open.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.websockets import WebSocket

from pollux.core.errors import InputError, PolluxError
from pollux.runtime.jsonable import jsonable
from pollux.runtime.lane import dumps
from pollux.runtime.ports import Host
from pollux.runtime.serve.api import Push, identify
from pollux.runtime.serve.auth import Auth, need
from pollux.runtime.serve.problems import body_of, problem_of
from pollux.runtime.serve.strict import model, parse

CLIENTS = 64
"""Most senders at once."""


def push_endpoint(host: Host, auth: Auth) -> Callable[[WebSocket], Awaitable[None]]:
    """`/api/v1/push` as a WebSocket; the caller is an operator, and its name is the source of its readings."""
    senders: set[WebSocket] = set()

    async def push(socket: WebSocket) -> None:
        who = identify(socket, auth)
        need(who, "operator", "pushing readings")
        if len(senders) >= CLIENTS:
            raise InputError(f"At most {CLIENTS} senders push over WebSocket at once; close one")
        await socket.accept()
        senders.add(socket)
        try:
            while (message := await socket.receive())["type"] == "websocket.receive":
                await socket.send_text(dumps(jsonable(await _answer(host, who.name, message))))
        finally:
            senders.discard(socket)

    return push


async def _answer(host: Host, source: str, message: Any) -> dict[str, Any]:
    try:
        raw = message.get("bytes") or (message.get("text") or "").encode()
        return await host.push(model(Push, parse(raw)).readings, source)
    except PolluxError as error:
        return body_of(problem_of(error))
