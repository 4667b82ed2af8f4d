"""The journal folded again into a fleet: at a start, and as far as a moment of the past."""

from typing import NamedTuple

import numpy as np

from pollux.runtime.fleets.fold import FleetFold, codec
from pollux.runtime.fleets.kept import JOINED, LEFT
from pollux.runtime.fleets.resize import resized
from pollux.runtime.fleets.tags import FleetTags, Kept
from pollux.runtime.store.base import Event


class Replayed(NamedTuple):
    """What a replay came to."""

    ticks: int
    began: int
    """The row from which the fold went on: that of its snapshot, 0 without one."""


def replay(fold: FleetFold, tags: FleetTags, store: Kept, model: str) -> Replayed:
    """Come to where the journal ends: the newest snapshot that `model` made, then the rows and events after it.

    Slow; for a worker thread. Raises as the store does.
    """
    name, seq, ticks = tags.fleet, 0, 0
    kept = store.load_snapshot(name, model)
    if kept is not None:
        fold.thaw(resized(codec().decode(kept.data), name, fold.fleet.capacity))
        seq = kept.seq
    seq = max(seq, store.first_seq)  # a new model, where retention has dropped the beginning
    tags.open(store, fold.names)
    waiting = [e for e in store.events_from(name, 0, fold.event) if e.kind in (JOINED, LEFT)]
    for block in store.blocks(seq):
        waiting = _catch_up(fold, tags, store, waiting, block.first)
        cells = tags.cells(block.rows)
        if cells is not None:
            ticks += fold.feed(cells)
    _catch_up(fold, tags, store, waiting, store.next_seq)
    return Replayed(ticks, seq)


def _catch_up(fold: FleetFold, tags: FleetTags, store: Kept, events: list[Event], seq: int) -> list[Event]:
    """Apply the events at or before a place of the journal; what is left."""
    for at, event in enumerate(events):
        if event.seq > seq:
            return events[at:]
        names = list(event.data["names"])
        if event.kind == JOINED:
            with store.transaction():
                tags.add(store, list(zip(fold.room_for(names), names, strict=True)))
            params = np.array(event.data["params"], np.float64).reshape(len(names), -1).T
            fold.join(names, params, event.id)
        else:
            tags.drop(fold.slots_of(names))
            fold.leave(names, event.id)
    return []
