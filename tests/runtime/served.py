"""The live tank behind a real server on a real port, in a thread of its own, with data that keep coming."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from live_tank import Journal, Kit, Pump, TankHost, feed, make_host

from pollux.runtime.serve.app import bind, create_app, serve
from pollux.runtime.serve.auth import Auth
from pollux.runtime.serve.border import Listen
from pollux.runtime.serve.presence import FILE
from pollux.runtime.serve.tokens import token_of


@dataclass
class Served:
    """A running server."""

    url: str
    folder: Path
    host: TankHost
    journal: Journal
    pump: Pump

    def token(self, kind: str = "person") -> str:
        return token_of(self.folder, kind)


@contextlib.contextmanager
def served(kit: Kit, folder: Path) -> Iterator[Served]:
    """Serve until the block ends. The state folder holds the tokens that the server made."""
    host, journal, pump, *_ = make_host(kit, folder)
    assert host.lane is not None
    feed(host.lane.live)
    bound = bind(Listen(port=0))
    listen = Listen(port=bound.getsockname()[1])
    app = create_app(host, Auth.open(folder, host.clock), listen=listen)
    ready, stop, failed = threading.Event(), [], []

    async def main() -> None:
        task = asyncio.create_task(serve(app, listen, bound=bound))
        stop.append((asyncio.get_running_loop(), task))
        ready.set()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    def work() -> None:
        try:
            asyncio.run(main())
        except BaseException as error:
            failed.append(error)
            ready.set()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    ready.wait(10)
    deadline = time.monotonic() + 10
    while not (folder / FILE).exists() and not failed and time.monotonic() < deadline:
        time.sleep(0.01)
    try:
        yield Served(listen.url, folder, host, journal, pump)
    finally:
        loop, task = stop[0]
        loop.call_soon_threadsafe(task.cancel)
        thread.join(10)
        assert not failed, failed
        assert not thread.is_alive()
