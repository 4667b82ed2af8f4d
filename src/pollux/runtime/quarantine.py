"""The quarantine: what was refused, with the reason; bounded in memory and on the disk, counted without bound.

A flood of bad messages must not become a flood of writes: messages are gathered and written together, at most
`PER_WRITE` of each reason at a time; the others are only counted.
"""

from collections import Counter, deque

from pollux.core.errors import MessageError
from pollux.runtime.align import Outcome
from pollux.runtime.binding import Binding
from pollux.runtime.connect.wire import Message
from pollux.runtime.store.base import Refused, Store

WAITING = 1000
"""Messages that wait for being written; of more the oldest are dropped (they stay counted)."""

PER_WRITE = 20
"""Messages of one reason kept at a time."""

WHY = {
    "late": "A value must come within the lag: its tick has been handed on; it is kept in the history, not fused",
    "duplicate": "A value counts once: the same tag and time came before; it is kept, not fused",
    "future": "One source alone does not move the time: this is far ahead of the others; it is kept, not fused",
}
"""What is said about the outcomes of `align`."""

EXCERPT = 1024
"""Bytes kept of a payload."""


class Quarantine:
    """Gathers refused messages; `flush` writes them inside the caller's transaction. For one thread."""

    def __init__(self) -> None:
        self._waiting: deque[Refused] = deque(maxlen=WAITING)
        self._new: Counter[str] = Counter()
        self._kept: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        """Refused since the start, by reason."""

    def __len__(self) -> int:
        return sum(self._new.values())

    def add(self, received: float, source: str, topic: str, payload: bytes, error: MessageError) -> None:
        """Note a packet that could not be read."""
        self.counts[error.reason] += 1
        self._new[error.reason] += 1
        if self._kept[error.reason] < PER_WRITE:
            self._kept[error.reason] += 1
            self._waiting.append(Refused(received, source, topic, error.reason, str(error), payload[:EXCERPT]))

    def add_message(self, received: float, message: Message, error: MessageError) -> None:
        """Note a message that was read and did not pass the border."""
        payload = f'{{"t": {message.t!r}, "v": {message.value!r}, "unit": {message.unit!r}}}'.encode()
        self.add(received, message.source, f"pollux/{message.site}/{message.tag}", payload, error)

    def add_outcome(self, received: float, binding: Binding, outcome: Outcome) -> None:
        """Note a row that is in the journal and was not fused: late, doubled, or far ahead."""
        port = binding.ports[outcome.port]
        message = Message(port.authority, binding.site, port.tag, outcome.t, outcome.value, port.field_unit)
        self.add_message(received, message, MessageError(WHY[outcome.reason], outcome.reason))

    def take(self) -> tuple[list[Refused], dict[str, int]]:
        """What is to be written, and how many were refused by reason, since the last call."""
        taken = list(self._waiting), dict(self._new)
        self._waiting.clear()
        self._new.clear()
        self._kept.clear()
        return taken

    def flush(self, store: Store) -> None:
        """Write what was gathered; inside the caller's transaction."""
        refused, counts = self.take()
        if counts:
            store.refuse(refused, counts)
