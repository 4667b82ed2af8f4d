"""One serialised text for many listeners, each with a queue of length one: a slow one never delays another."""

import asyncio
from collections import OrderedDict


class Listener:
    """One client. Of each topic only the newest text waits; what was not fetched in time is dropped and counted."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, str] = OrderedDict()
        self._news = asyncio.Event()
        self.dropped = 0

    def put(self, topic: str, text: str) -> None:
        """Offer a text; never waits."""
        if self._waiting.pop(topic, None) is not None:
            self.dropped += 1
        self._waiting[topic] = text
        self._news.set()

    async def get(self) -> str:
        """The next text, oldest topic first."""
        while not self._waiting:
            self._news.clear()
            await self._news.wait()
        return self._waiting.popitem(last=False)[1]


class Hub:
    """The listeners of one stream, and the last text of each topic for those that come later."""

    def __init__(self) -> None:
        self._listeners: set[Listener] = set()
        self._last: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._listeners)

    def subscribe(self) -> Listener:
        """A new listener, with the last text of every topic waiting for it."""
        listener = Listener()
        for topic, text in self._last.items():
            listener.put(topic, text)
        self._listeners.add(listener)
        return listener

    def leave(self, listener: Listener) -> None:
        """Forget a listener."""
        self._listeners.discard(listener)

    def publish(self, topic: str, text: str) -> None:
        """Offer a text to all."""
        self._last[topic] = text
        for listener in self._listeners:
            listener.put(topic, text)
