"""Room for arrays in the workspace, used again as soon as what lay there is no longer read."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

LINE = 64
"""Bytes that an array's start is aligned to, and left behind its end."""


@dataclass(eq=False)
class Room:
    """Bytes `start` to `start + size` of the workspace."""

    start: int
    size: int


class Pool:
    """First fit over what is free; `size` is the most that was ever in use."""

    def __init__(self):
        self.size = 0
        self._used: list[Room] = []
        self._scopes: list[list[Room]] = [[]]

    def take(self, size: int) -> Room:
        """Room for `size` bytes."""
        need, at, place = -(-size // LINE) * LINE, 0, 0
        while place < len(self._used) and self._used[place].start - at < need:  # they are in order of their start
            at = self._used[place].start + self._used[place].size
            place += 1
        room = Room(at, need)
        self._used.insert(place, room)
        self._scopes[-1].append(room)
        self.size = max(self.size, at + need)
        return room

    def give(self, room: Room) -> None:
        """Free what was taken; twice is once."""
        if room in self._used:
            self._used.remove(room)

    def keep(self, room: Room) -> bool:
        """Leave a room of this scope to the one around it; whether it is one of this scope."""
        if room not in self._scopes[-1]:
            return False
        self._scopes[-1].remove(room)
        self._scopes[-2].append(room)
        return True

    @contextmanager
    def scope(self) -> Iterator[None]:
        """What is taken inside is free afterwards."""
        self._scopes.append([])
        yield
        for room in self._scopes.pop():
            self.give(room)
