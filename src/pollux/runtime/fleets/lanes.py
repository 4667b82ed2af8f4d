"""All live twins by name: those that are wired one by one, which are listed, and members of fleets, which are found."""

from collections.abc import Iterator, Mapping
from typing import Protocol

from pollux.runtime.fleets.lane import FleetLane
from pollux.runtime.lane import Lane


class HasLane(Protocol):
    """A twin that runs."""

    @property
    def lane(self) -> Lane:
        """Its lane."""
        ...


class Lanes(Mapping[str, Lane]):
    """A view of what the engine runs."""

    def __init__(self, single: Mapping[str, HasLane], fleets: Mapping[str, FleetLane]):
        self._single, self._fleets = single, fleets

    def __getitem__(self, name: str) -> Lane:
        """The twin; a member of a fleet is opened. Raises `KeyError`."""
        if name in self._single:
            return self._single[name].lane
        for fleet in self._fleets.values():
            lane = fleet.member(name)
            if lane is not None:
                return lane
        raise KeyError(name)

    def __contains__(self, name: object) -> bool:
        return name in self._single or any(name in fleet.fold.slots for fleet in self._fleets.values())

    def __iter__(self) -> Iterator[str]:
        return iter(self._single)

    def __len__(self) -> int:
        return len(self._single)
