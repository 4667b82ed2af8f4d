"""The way in: messages of all connectors -> border -> journal -> the folds of their twins.

What `readings` returns as accepted is durable. Rows reach `on_rows` in the order of the journal, so that the fold of a
live run and that of a replay are the same fold.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf, nan

import numpy as np

from pollux.core.errors import FencedError, StoreError
from pollux.core.time import Clock
from pollux.runtime.align import CLOCK
from pollux.runtime.binding import Binding
from pollux.runtime.border import Border, Row
from pollux.runtime.clocks import SteadyClock
from pollux.runtime.connect.base import Ack, Receipt, Unread
from pollux.runtime.connect.wire import Message
from pollux.runtime.quarantine import Quarantine
from pollux.runtime.store.base import Rows, Source
from pollux.runtime.store.writer import StoreWriter

log = logging.getLogger("pollux.intake")


@dataclass(frozen=True)
class Delivery:
    """Durable rows of one twin, to be folded: (port, t, value) as `align.push` takes them."""

    twin: str
    seq: int
    """Every row of the journal before this one has been delivered when these have been."""
    rows: tuple[tuple[int, float, float], ...]
    received: float = nan
    """Wall time at which they were made durable; NaN in a replay, where it does not matter."""


class TagTable:
    """Tag ids of the store <-> (twin, port). The clock of a twin has the port number `len(ports)`."""

    def __init__(self, store: Source, bindings: Sequence[Binding]):
        self.ids: dict[str, np.ndarray] = {b.twin: store.tag_ids(b.twin, (*b.tags, CLOCK)) for b in bindings}
        self.ports: dict[int, tuple[str, int]] = {
            int(key): (twin, port) for twin, ids in self.ids.items() for port, key in enumerate(ids)
        }
        self._known = np.zeros(max(self.ports, default=0) + 2, dtype=bool)
        self._known[list(self.ports)] = True

    def rows(self, rows: Sequence[Row]) -> Rows:
        """Rows for the journal."""
        return Rows(
            t=np.array([row.t for row in rows], np.float64),
            tag=np.array([self.ids[row.twin][row.port] for row in rows], np.uint32),
            value=np.array([row.value for row in rows], np.float64),
        )

    def deliveries(self, first: int, rows: Rows, start: "Mapping[str, int] | None" = None) -> list[Delivery]:
        """Rows of the journal by twin, in order; tags that are not wired any more are passed over.

        With `start` only twins in it, and of each only the rows from that sequence number on.
        """
        by_twin: dict[str, list[tuple[int, float, float]]] = {}
        mine = np.flatnonzero(self._known.take(rows.tag, mode="clip"))  # a fleet's rows are not looked at one by one
        columns = (first + mine, rows.tag[mine], rows.t[mine], rows.value[mine])
        for seq, key, t, value in zip(*(c.tolist() for c in columns), strict=True):
            found = self.ports[key]
            if start is not None and seq < start.get(found[0], seq + 1):
                continue
            by_twin.setdefault(found[0], []).append((found[1], t, value))
        return [Delivery(twin, first + len(rows), tuple(part)) for twin, part in by_twin.items()]


class Intake:
    """Takes the messages of single twins. `on_rows` is called in order on the event loop and must not wait."""

    def __init__(
        self,
        bindings: Sequence[Binding],
        writer: StoreWriter,
        clock: Clock,
        on_rows: Callable[[Delivery], None],
        on_ack: Callable[[Ack], None] | None = None,
    ):
        self.border, self.tags = Border(bindings), TagTable(writer.store, bindings)
        self.quarantine = Quarantine()
        self._writer, self._clock, self._on_rows, self._on_ack = writer, clock, on_rows, on_ack
        self._steady = SteadyClock(clock)
        self._newest: dict[str, float] = {}
        self._silent: set[str] = set()
        """Twins whose clock could not be journalled."""
        writer.on_rows = self._committed

    async def readings(self, messages: Sequence[Message], unread: Sequence[Unread] = ()) -> Receipt:
        """Check, make durable, hand on. Raises `StoreError` when nothing can be made durable."""
        now = self._clock.now()
        rows, refused = self.border.admit_all(messages, now)
        for packet in unread:
            self.quarantine.add(now, packet.source, packet.topic, packet.payload, packet.error)
        for message, error in refused:
            self.quarantine.add_message(now, message, error)
        if rows:
            await self._writer.append(self.tags.rows(rows))
        if len(self.quarantine):
            await self._writer.do(self.quarantine.flush)
        said = [(m.tag, e.reason, str(e)) for m, e in refused] + [
            (p.topic, p.error.reason, str(p.error)) for p in unread
        ]
        return Receipt(len(rows), tuple(said))

    async def acknowledged(self, ack: Ack) -> None:
        """Hand on what a plant said about an order."""
        if self._on_ack is not None:
            self._on_ack(ack)

    async def tick(self, twin: str, t: float) -> None:
        """Say to a twin that runs on wall time that it is `t` now: silence becomes visible. Durable, so replayed.

        A store that cannot be written now is asked again at the next tick. Raises `FencedError`.
        """
        t = self._steady.at(t, self._newest.get(twin, nan))
        port = len(self.tags.ids[twin]) - 1
        try:
            await self._writer.append(self.tags.rows([Row(twin, port, t, t)]))
        except FencedError:
            raise
        except StoreError as error:
            if twin not in self._silent:
                log.warning("clock not journalled", extra={"data": {"twin": twin, "error": str(error)}})
            self._silent.add(twin)
        else:
            self._silent.discard(twin)

    def _committed(self, first: int, rows: Rows) -> None:
        now = self._clock.now()
        for delivery in self.tags.deliveries(first, rows):
            clock = len(self.tags.ids[delivery.twin]) - 1
            newest = max((t for port, t, _ in delivery.rows if port != clock), default=-inf)
            self._newest[delivery.twin] = max(newest, self._newest.get(delivery.twin, -inf))
            self._on_rows(replace(delivery, received=now))


def replay(store: Source, tags: TagTable, start: Mapping[str, int]) -> Iterator[Delivery]:
    """The journal again, for each twin from the row after its snapshot: `start` is twin -> sequence number.

    The rows come block by block; a delivery never holds rows of a twin before its start.
    """
    for block in store.blocks(min(start.values(), default=0)):
        yield from tags.deliveries(block.first, block.rows, start)
