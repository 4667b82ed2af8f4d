"""A TCP proxy that can do to a connection what networks do: delay, shred, throttle, cut, reset, go silent."""

import asyncio
import contextlib
import socket
import struct
from dataclasses import dataclass, field


@dataclass(eq=False)
class Pair:
    """One connection: both ends, and whether it has gone silent."""

    near: asyncio.StreamWriter
    far: asyncio.StreamWriter
    silent: bool = False


@dataclass
class FaultProxy:
    """Forwards `port` to `target` on the loopback interface; change the fields while it runs."""

    target: int
    delay: float = 0.0
    """Seconds before each piece is handed on."""
    piece: int = 65_536
    """Largest piece that is handed on at once."""
    refusing: bool = False
    """Close what connects at once."""
    port: int = 0
    seen: int = 0
    """Connections since the start."""
    _pairs: set[Pair] = field(default_factory=set)
    _tasks: set[asyncio.Task] = field(default_factory=set)

    async def __aenter__(self) -> "FaultProxy":
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_) -> None:
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def open(self) -> int:
        """Connections that are open now."""
        return len(self._pairs)

    def cut(self) -> None:
        """End all connections in order (FIN)."""
        for pair in self._pairs:
            pair.near.close()
            pair.far.close()

    def reset(self) -> None:
        """End all connections abruptly (RST)."""
        for pair in self._pairs:
            for end in (pair.near, pair.far):
                end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                end.transport.abort()

    def silence(self) -> None:
        """Half-open: what is connected now stays open and hears nothing any more; later connections work."""
        for pair in self._pairs:
            pair.silent = True

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.seen += 1
        try:
            if self.refusing:
                raise ConnectionRefusedError
            far_reader, far = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.close()
            return
        pair = Pair(writer, far)
        self._pairs.add(pair)
        pumps = [
            asyncio.create_task(self._pump(pair, reader, far)),
            asyncio.create_task(self._pump(pair, far_reader, writer)),
        ]
        self._tasks.update(pumps)
        await asyncio.gather(*pumps, return_exceptions=True)
        self._tasks.difference_update(pumps)
        self._pairs.discard(pair)

    async def _pump(self, pair: Pair, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                for at in range(0, len(data), self.piece):
                    if self.delay:
                        await asyncio.sleep(self.delay)
                    if not pair.silent:
                        writer.write(data[at : at + self.piece])
                        await writer.drain()
        if pair.silent:  # what a dead machine would have sent is not sent either; our end may still leave
            writer.transport.abort()
        else:
            writer.close()
