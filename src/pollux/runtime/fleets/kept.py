"""What the journal tells of fleets beside their readings: who was ever a member, who came and who left."""

from collections.abc import Sequence
from typing import Protocol

from pollux.runtime.store.base import Event
from pollux.runtime.wiring import FleetWiring, Wiring

WIRED = "member_wired"
"""Names that the wiring gave to a fleet; written where the journal does not have them yet."""
JOINED, LEFT = "member_joined", "member_left"
"""Members come and go at their place among the rows."""

ALL = 1_000_000


class Events(Protocol):
    """A store, or a reader of one."""

    def events(self, twin: str | None = None, kinds: Sequence[str] = (), after: int = 0, limit: int = 0) -> list[Event]:
        """The newest `limit` events with id > `after`, oldest first."""
        ...


def members_ever(store: Events, fleet: str) -> dict[str, None]:
    """Who was ever a member of a fleet, in the order in which they came."""
    return {name: None for e in store.events(fleet, (WIRED, JOINED), limit=ALL) for name in e.data["names"]}


def fleets_in(store: Events) -> dict[str, dict[str, None]]:
    """Fleet -> who was ever a member of it, of all fleets that a store tells of."""
    found: dict[str, dict[str, None]] = {}
    for e in store.events(None, (WIRED, JOINED), limit=ALL):
        found.setdefault(e.twin, {}).update(dict.fromkeys(e.data["names"]))
    return found


def fleet_of(wiring: Wiring, store: Events, name: str) -> FleetWiring | None:
    """The fleet of a project in which `name` is a member, or was one; None for a single twin, and for who never was."""
    if any(twin.name == name for twin in wiring.twins):
        return None
    return next((fleet for fleet in wiring.fleets if name in members_ever(store, fleet.each.name)), None)
