"""What a connector is: it brings messages to a sink and carries orders to actuators. One file per protocol.

The sink returns when the messages are durable; only then does a connector acknowledge them to its transport. So a
crash in between makes a duplicate, never a loss, and duplicates are recognised by (tag, t).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from pollux.core.errors import MessageError, PolluxError
from pollux.runtime.connect.wire import Delivered


class ConnectorError(PolluxError):
    """A connector cannot do what it was asked: not connected, refused by the other side, cannot send."""


class ConnectorState(StrEnum):
    """Where a connector stands."""

    IDLE = "idle"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    WAITING = "waiting"
    """The connection was lost; it is tried again after a pause."""
    ENDED = "ended"
    """Nothing more will come: a replay is over, or it was stopped."""


@dataclass(frozen=True)
class Unread:
    """A packet that is not a message at all."""

    source: str
    topic: str
    payload: bytes
    error: MessageError


@dataclass(frozen=True)
class Receipt:
    """What became of messages: how many rows are durable, and (tag, reason, text) of each refused message."""

    accepted: int = 0
    refused: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True)
class Order:
    """A set-point on its way to one actuator: `value` in the unit of the wire. Times are event times."""

    id: str
    sequence: int
    t: float
    expires: float
    site: str
    actuator: str
    value: float


@dataclass(frozen=True)
class Ack:
    """What the plant says about an order. Only `done` means done; `value` is what the actuator took."""

    site: str
    id: str
    sequence: int
    t: float
    status: str
    """`done`, `expired`, `duplicate`, `refused`; anything else counts as unknown."""
    value: float | None = None


class Sink(Protocol):
    """Where a connector delivers."""

    async def readings(self, messages: Sequence[Delivered], unread: Sequence[Unread] = ()) -> Receipt:
        """Returns when what was accepted is durable. Raises `StoreError` when it cannot be made so."""
        ...

    async def acknowledged(self, ack: Ack) -> None:
        """The plant answered an order."""
        ...


class Connector(Protocol):
    """A connection to the outside."""

    name: str

    @property
    def state(self) -> ConnectorState:
        """Where it stands now."""
        ...

    async def run(self, sink: Sink) -> None:
        """Deliver until there is nothing more or the task is cancelled; a lost connection is made again."""
        ...

    async def send(self, order: Order) -> None:
        """Hand an order to the transport: handed over is not done. Raises `ConnectorError` when it cannot."""
        ...

    async def fault(self, site: str, kind: str, where: str, size: float, duration: float | None) -> None:
        """Ask a demo plant to have a fault. Raises `ConnectorError` when it cannot."""
        ...


@dataclass
class Counters:
    """What a connector did since its start."""

    received: int = 0
    unread: int = 0
    sent: int = 0
    reconnects: int = 0
