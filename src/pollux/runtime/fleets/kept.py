"""What the journal says of a fleet beside its readings: what it was at each start, and who was ever a member."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from pollux.runtime.fleets.build import FleetBase
from pollux.runtime.fleets.lane import FleetLane
from pollux.runtime.fleets.replay import JOINED
from pollux.runtime.identity import started
from pollux.runtime.ledger import StoreJournal
from pollux.runtime.store.base import Event, Store
from pollux.runtime.store.writer import StoreWriter
from pollux.runtime.wiring import FleetWiring, Wiring

WIRED = "member_wired"
"""Names that the wiring gave to a fleet; written where the journal does not have them yet."""


ALL = 1_000_000


class Events(Protocol):
    """A store, or a reader of one."""

    def events(self, twin: str | None = None, kinds: Sequence[str] = (), after: int = 0, limit: int = 0) -> list[Event]:
        """The newest `limit` events with id > `after`, oldest first."""
        ...


def identity(base: FleetBase) -> str:
    """Fingerprint of everything that decides what a fleet makes of its journal: model, wiring, members."""
    parts = (base.model_hash, repr(replace(base.wiring.each, where="")), repr([m.name for m in base.members]))
    digest = hashlib.sha256("\0".join(parts).encode())
    digest.update(base.params.tobytes())
    return digest.hexdigest()[:16]


def members_ever(store: Events, fleet: str) -> dict[str, None]:
    """Who was ever a member of a fleet, in the order in which they came."""
    return {name: None for e in store.events(fleet, (WIRED, JOINED), limit=ALL) for name in e.data["names"]}


async def write_down(lane: FleetLane, writer: StoreWriter, now: float) -> None:
    """A fleet was raised: keep what it is, and the names of members that the journal has not told of."""
    base = lane.base

    def wired(store: Store) -> None:
        known = members_ever(store, lane.name)
        new = [name for name in lane.fold.slots if name not in known]
        if new:
            data = {"names": new, "by": "pollux", "received": now}
            store.add_event(now, lane.name, WIRED, data, seq=lane.seq)

    await writer.do(wired)
    start = started(lane.name, identity(base), base.model_hash, base.face, base.binding, lane.seq, lane.began, now)
    await StoreJournal(writer, lane.name, lambda: ("", lane.seq)).append([start])


def fleet_of(wiring: Wiring, store: Events, name: str) -> FleetWiring | None:
    """The fleet of a project in which `name` is a member, or was one; None for a single twin, and for who never was."""
    if any(twin.name == name for twin in wiring.twins):
        return None
    return next((fleet for fleet in wiring.fleets if name in members_ever(store, fleet.each.name)), None)
