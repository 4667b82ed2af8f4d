"""Events in the store, the audit chain in its file: what a live twin's lane writes to."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pollux.autonomy.audit import AuditLog, verify
from pollux.core.errors import FencedError, StoreError
from pollux.runtime.events import Event
from pollux.runtime.store import base
from pollux.runtime.store.writer import StoreWriter

REPORTS = ("reported", "withdrawn")
"""Kinds of what the system says about its own troubles: that the store cannot be written is one of them."""

OWED = 1000
"""Events that wait for a store that cannot be written; of more the oldest are dropped."""


class StoreJournal:
    """The `EventJournal` of one twin.

    An event is applied between two steps of its twin; `place` gives the belief that held then, so that a replay
    applies it at the same point of the fold.

    While the store cannot be written (the disk is full), what people and planners want does not happen: `append`
    raises. Events that came with their readings, and reports of the system's own troubles, cannot wait for it: they
    are owed, and written first when it is back.
    """

    def __init__(self, writer: StoreWriter, twin: str, place: Callable[[], tuple[str, int]]):
        self._writer, self._twin, self._place = writer, twin, place
        self.last = 0
        """Id of the newest event that is durable."""
        self._owed: deque[tuple[Event, float, str, int]] = deque(maxlen=OWED)

    async def append(self, events: Sequence[Event]) -> None:
        """Return when the events are durable, or owed. Raises `StoreError`."""
        place, now = self._place(), self._writer.now()
        rows = [*self._owed, *((event, now, *place) for event in events)]

        def write(store: base.Store) -> int:
            last = 0
            for e, received, belief, seq in rows:
                data = {
                    "id": e.id, "by": e.by, "derived": e.derived, "belief": belief, "received": received,
                    "data": e.data,
                }  # fmt: skip
                last = store.add_event(e.t, e.twin, e.kind, data, e.id, seq)
            return last

        try:
            self.last = await self._writer.do(write)
        except FencedError:
            raise
        except StoreError:
            if not all(e.derived or e.kind in REPORTS for e in events):
                raise
            self._owed = deque(rows, OWED)
        else:
            self._owed.clear()


def recorded(row: base.Event) -> Event:
    """The event that was kept as `row`."""
    return Event(
        row.twin, row.t, row.data["id"], row.kind, row.data["by"], dict(row.data["data"]), bool(row.data["derived"])
    )


def place_of(row: base.Event) -> str:
    """Id of the belief that held when the event happened."""
    return str(row.data["belief"])


class AuditFile:
    """The audit chain of a project: one log for all its twins."""

    def __init__(self, folder: Path):
        self.log, self.head, self.key = folder / "audit.jsonl", folder / "audit.head", folder / "keys" / "audit.key"
        self._writer = AuditLog(self.log, self.head, self.key)

    def __call__(self, kind: str, t: float, body: Mapping[str, Any]) -> None:
        """Write a record; durable when it returns."""
        self._writer.append(kind, t, body)

    def last(self, n: int) -> tuple[list[dict[str, Any]], bool]:
        """The last `n` records, oldest first, and whether the whole chain verifies."""
        try:
            report = verify(self.log, self.head, self.key)
        except StoreError:
            return self._writer.tail(n), False
        return self._writer.tail(n), report.ok

    def close(self) -> None:
        """Give the log back."""
        self._writer.close()
