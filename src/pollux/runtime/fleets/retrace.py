"""Retrace a fleet: every snapshot that is kept comes out of the one before it and the journal between, bit for bit.

A fleet decides nothing, and its journal holds no beliefs but those of its snapshots: all members, their parameters,
beliefs and counters, and the readings that wait for their tick.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from pollux.core.errors import InputError, StoreError
from pollux.runtime.fleets.build import FleetBase
from pollux.runtime.fleets.fold import FleetFold, FleetState, codec
from pollux.runtime.fleets.replay import replay
from pollux.runtime.fleets.resize import resized
from pollux.runtime.fleets.start import identity
from pollux.runtime.fleets.tags import FleetTags
from pollux.runtime.hindsight import Past
from pollux.runtime.identity import KIND, since, software, starts
from pollux.runtime.store.base import Snapshot
from pollux.runtime.store.reading import Reading


@dataclass(frozen=True)
class RetracedFleet:
    """What came of retracing one fleet."""

    fleet: str
    rows: int
    ticks: int
    snapshots: int
    """Snapshots that came out again."""
    beliefs: int
    """Beliefs of members in them."""
    note: str = ""
    difference: str = ""
    """The first difference; empty when there is none."""


def retrace_fleet(base: FleetBase, store: Reading) -> RetracedFleet:
    """Fold a fleet from each kept snapshot to the next and compare, from the first start of the present wiring on.

    Slow. Raises `InputError` when another definition or wiring ran last, `StoreError` when the journal does not reach
    back to the start or to a snapshot that is intact.
    """
    begun, mine = starts(store.events(base.name, (KIND,))), identity(base)
    if not begun:
        raise InputError(f"The journal tells of no start of fleet {base.name!r}; there is nothing to retrace")
    first, last = since(begun, mine, "What is recorded last")[0], begun[-1]
    marks = [m for m in store.marks(base.name) if m.model == base.model_hash and m.seq >= store.first_seq]
    marks = [m for m in marks if m.seq > first.seq or m.seq == first.began > 0]
    kept = [found for found in (store.snapshot(m.id) for m in marks) if found is not None]
    before: Sequence[Snapshot | None] = kept[:-1]
    if first.began or store.first_seq:
        if not kept:
            raise StoreError("The journal can be retraced from its start or from a snapshot; neither is kept intact")
        kept = kept[1:]
    else:
        before = [None, *before]
    ticks, beliefs, compared, wrong = 0, 0, 0, ""
    for old, new in zip(before, kept, strict=True):
        was: FleetState = resized(codec().decode(new.data), base.name, base.fleet.capacity)
        fold, done = _folded(base, Past(store, new.seq, old, lambda e, was=was: e.id <= was.event, lambda: None))
        ticks += done
        wrong = _first_difference(base, was, fold.freeze())
        if wrong:
            wrong = f"the snapshot at row {new.seq} comes out otherwise: {wrong}"
            break
        compared, beliefs = compared + 1, beliefs + sum(bool(name) for name in was.names)
    rows = (kept[-1].seq - (before[0].seq if before[0] else 0)) if kept else 0
    note = "" if last.software == software() else f"retraced by {software()}; it ran on {last.software}"
    return RetracedFleet(base.name, rows, ticks, compared, beliefs, note, wrong)


def _folded(base: FleetBase, past: Past) -> tuple[FleetFold, int]:
    fold = FleetFold(base.fleet, base.binding, [m.name for m in base.members], base.params, base.stale_after)
    tags = FleetTags(base.name, base.binding.tags, base.fleet.capacity)
    return fold, replay(fold, tags, past, base.model_hash).ticks


def _first_difference(base: FleetBase, was: FleetState, now: FleetState) -> str:
    """What differs of the members, in words; free places hold nothing that counts."""
    if was.names != now.names:
        return "other members"
    active = np.array([bool(name) for name in was.names])
    clocks = ("watermark", "next_bin", "empty")
    if any(getattr(was.align, name) != getattr(now.align, name) for name in clocks):
        return "another place in time"
    pairs = [("params", was.params, now.params)]
    for kind in ("belief", "watch"):
        old, new = getattr(was, kind), getattr(now, kind)
        if (old is None) != (new is None):
            return f"no {kind}"
        if old is not None:
            pairs += [(f"{kind}.{f.name}", getattr(old, f.name), getattr(new, f.name)) for f in fields(old)]
    cells = np.tile(active, len(base.binding.ports))
    if [b.k for b in was.align.bins] != [b.k for b in now.align.bins]:
        return "other readings wait"
    for one, other in zip(was.align.bins, now.align.bins, strict=True):
        pairs += [("t", one.t[cells], other.t[cells]), ("value", one.value[cells], other.value[cells])]
    for name, old, new in pairs:
        a, b = (x[..., active] if x.shape[-1] == len(active) else x for x in (old, new))
        differs = np.ascontiguousarray(a).view(np.uint8) != np.ascontiguousarray(b).view(np.uint8)
        if differs.any():
            return f"`{name}`"
    return ""
