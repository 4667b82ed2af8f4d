"""Snapshots of a twin's state: a cache with a seal. A damaged one is passed over, never used."""

from pollux.runtime.store.base import Snapshot
from pollux.runtime.store.seal import seal
from pollux.runtime.store.sql import Connection, fetch

KEEP = 2
"""Snapshots kept of each twin: should the newest be damaged, the fold starts from the one before."""


def save(connection: Connection, snapshot: Snapshot) -> None:
    """Write it and drop all but the last `KEEP`; inside the caller's transaction."""
    key = connection.execute("SELECT coalesce(max(id), 0) + 1 FROM snapshot").get
    fields = (key, snapshot.twin, snapshot.seq, float(snapshot.t), snapshot.model, snapshot.data)
    connection.execute("INSERT INTO snapshot VALUES(?,?,?,?,?,?,?)", (*fields, seal(*fields)))
    connection.execute(
        "DELETE FROM snapshot WHERE twin=? AND id NOT IN"
        " (SELECT id FROM snapshot WHERE twin=? ORDER BY id DESC LIMIT ?)",
        (snapshot.twin, snapshot.twin, KEEP),
    )


def load(connection: Connection, twin: str, model: str, next_seq: int) -> Snapshot | None:
    """The newest intact one that `model` computed and that the journal covers."""
    rows = fetch(
        connection, "SELECT id, twin, seq, t, model, data, seal FROM snapshot WHERE twin=? ORDER BY id DESC", (twin,)
    )
    for *fields, digest in rows:
        _, name, seq, t, of_model, data = fields
        if digest == seal(*fields) and name == twin and of_model == model and seq <= next_seq:
            return Snapshot(twin, seq, t, model, data)
    return None
