"""What a fleet says about itself in the journal at every start, so that its past can be told from that of another."""

import hashlib
from dataclasses import replace

from pollux.runtime.fleets.build import FleetBase
from pollux.runtime.fleets.kept import WIRED, members_ever
from pollux.runtime.fleets.lane import FleetLane
from pollux.runtime.identity import started
from pollux.runtime.ledger import StoreJournal
from pollux.runtime.store.base import Store
from pollux.runtime.store.writer import StoreWriter


def identity(base: FleetBase) -> str:
    """Fingerprint of everything that decides what a fleet makes of its journal: model, wiring, members."""
    parts = (base.model_hash, repr(replace(base.wiring.each, where="")), repr([m.name for m in base.members]))
    digest = hashlib.sha256("\0".join(parts).encode())
    digest.update(base.params.tobytes())
    return digest.hexdigest()[:16]


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
