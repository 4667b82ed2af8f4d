"""The live stream: one WebSocket a client, frames of one twin or how the fleet is doing. It only sends."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from starlette.websockets import WebSocket, WebSocketDisconnect

import pollux
from pollux.core.errors import InputError
from pollux.runtime.hub import Listener
from pollux.runtime.lane import Lane, dumps
from pollux.runtime.outlooks import forecast_json
from pollux.runtime.ports import Host
from pollux.runtime.serve.api import identify
from pollux.runtime.serve.auth import Auth

QUIET = 2.0
"""After this many seconds without a step a frame is sent all the same: it says how stale the data are."""
FLEET = 1.0
"""Seconds between two fleet messages."""
CLIENTS = 64
"""Most clients at once."""


def live_endpoint(host: Host, auth: Auth) -> Callable[[WebSocket], Awaitable[None]]:
    """`/api/v1/live?twin=NAME`; without `twin` the fleet."""
    clients: set[WebSocket] = set()

    async def live(socket: WebSocket) -> None:
        who = identify(socket, auth)
        name = socket.query_params.get("twin")
        lanes = host.lanes()
        if name is not None and name not in lanes:
            raise InputError(f"There is no twin {name[:100]!r}; there are {sorted(lanes)}")
        if len(clients) >= CLIENTS:
            raise InputError(f"At most {CLIENTS} pages watch at once; close one")
        await socket.accept()
        clients.add(socket)
        try:
            hello = {"type": "hello", "role": who.role, "name": who.name, "version": pollux.__version__}
            await socket.send_text(dumps(hello))
            sender = asyncio.create_task(_fleet(socket, host) if name is None else _twin(socket, lanes[name]))
            try:
                await _drain(socket, sender)
            finally:
                sender.cancel()
                with contextlib.suppress(asyncio.CancelledError, WebSocketDisconnect, RuntimeError):
                    await sender
        finally:
            clients.discard(socket)

    return live


async def _drain(socket: WebSocket, sender: "asyncio.Task[None]") -> None:
    """Wait until the client leaves or cannot be written to; what it says is not listened to."""
    while not sender.done():
        receiving = asyncio.ensure_future(socket.receive())
        await asyncio.wait({receiving, sender}, return_when=asyncio.FIRST_COMPLETED)
        if not receiving.done():
            receiving.cancel()
            return
        if receiving.result()["type"] == "websocket.disconnect":
            return


async def _twin(socket: WebSocket, lane: Lane) -> None:
    listener = lane.hub.subscribe()
    try:
        if lane.live.forecast is not None:
            shown = forecast_json(lane.live.face, lane.live.forecast)
            listener.put("forecast", dumps({"type": "forecast", **shown}))
        _offer(listener, lane)
        while True:
            try:
                text = await asyncio.wait_for(listener.get(), QUIET)
            except TimeoutError:
                _offer(listener, lane)
                continue
            await socket.send_text(text)
    finally:
        lane.hub.leave(listener)


def _offer(listener: Listener, lane: Lane) -> None:
    if lane.live.visible:
        listener.put("frame", dumps(lane.live.frame()))


async def _fleet(socket: WebSocket, host: Host) -> None:
    while True:
        await socket.send_text(dumps({"type": "fleet", **await asyncio.to_thread(host.roster.summary)}))
        await asyncio.sleep(FLEET)
