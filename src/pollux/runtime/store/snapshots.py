"""Snapshots of a twin's state: a cache with a seal. A damaged one is passed over, never used."""

from collections.abc import Sequence
from math import inf
from typing import NamedTuple

from pollux.runtime.store.base import Snapshot
from pollux.runtime.store.seal import seal
from pollux.runtime.store.sql import Connection, fetch

KEEP = 2
"""Newest snapshots kept of each twin: should the last be damaged, the fold starts from the one before."""

SPANS = ((86_400.0, 3_600.0), (366 * 86_400.0, 86_400.0), (inf, 30 * 86_400.0))
"""(age, span) in seconds of event time: up to that age the first snapshot of each span is kept, so that a
past belief is at most a span of data away. Each span is a multiple of the one before, so its firsts are still there."""


class Mark(NamedTuple):
    """Where a snapshot stands, without its data."""

    id: int
    seq: int
    t: float
    model: str


def save(connection: Connection, snapshot: Snapshot) -> None:
    """Write it and thin out the older ones; inside the caller's transaction."""
    key = connection.execute("SELECT coalesce(max(id), 0) + 1 FROM snapshot").get
    fields = (key, snapshot.twin, snapshot.seq, float(snapshot.t), snapshot.model, snapshot.data)
    connection.execute("INSERT INTO snapshot VALUES(?,?,?,?,?,?,?)", (*fields, seal(*fields)))
    known = marks(connection, snapshot.twin)
    for id in {m.id for m in known} - kept(known):
        connection.execute("DELETE FROM snapshot WHERE id=?", (id,))


def kept(known: Sequence[Mark]) -> set[int]:
    """Ids to keep, of all of one twin, oldest first: the newest `KEEP`, and the first of each span and model."""
    found = {m.id for m in known[-KEEP:]}
    seen: set[tuple[str, float, float]] = set()
    for m in known:
        age = known[-1].t - m.t
        span = next(span for oldest, span in SPANS if age <= oldest or oldest == inf)
        slot = (m.model, span, m.t // span)
        if slot not in seen:
            seen.add(slot)
            found.add(m.id)
    return found


def marks(connection: Connection, twin: str) -> list[Mark]:
    """All that are kept of a twin, oldest first."""
    rows = fetch(connection, "SELECT id, seq, t, model FROM snapshot WHERE twin=? ORDER BY id", (twin,))
    return [Mark(*row) for row in rows]


def load(connection: Connection, twin: str, model: str, next_seq: int) -> Snapshot | None:
    """The newest intact one that `model` computed and that the journal covers."""
    for mark in reversed(marks(connection, twin)):
        if mark.model == model and mark.seq <= next_seq:
            snapshot = read(connection, mark.id)
            if snapshot is not None and (snapshot.twin, snapshot.model, snapshot.seq) == (twin, model, mark.seq):
                return snapshot
    return None


def read(connection: Connection, id: int) -> Snapshot | None:
    """One snapshot; None when it is damaged, or was dropped meanwhile."""
    for *fields, digest in fetch(
        connection, "SELECT id, twin, seq, t, model, data, seal FROM snapshot WHERE id=?", (id,)
    ):
        if digest == seal(*fields):
            return Snapshot(*fields[1:])
    return None
