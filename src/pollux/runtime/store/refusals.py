"""The quarantine on the disk: a bounded number of refused messages, and a counter for each reason."""

from collections import Counter
from collections.abc import Mapping, Sequence

from pollux.runtime.store.base import Refused
from pollux.runtime.store.seal import check_seal, seal
from pollux.runtime.store.sql import Connection, fetch

KEEP = 10_000
"""Refused messages kept; the counters count all."""

EXCERPT = 1024
"""Bytes kept of a payload."""


def add(connection: Connection, refused: Sequence[Refused], counts: Mapping[str, int] | None) -> None:
    """Write them inside the caller's transaction. `counts` (by reason) replaces counting `refused` where given."""
    key = connection.execute("SELECT coalesce(max(id), 0) FROM refused").get
    for i, r in enumerate(refused, key + 1):
        fields = (i, float(r.received), r.source, r.topic, r.reason, r.message, r.payload[:EXCERPT])
        connection.execute("INSERT INTO refused VALUES(?,?,?,?,?,?,?,?)", (*fields, seal(*fields)))
    connection.execute("DELETE FROM refused WHERE id <= ?", (key + len(refused) - KEEP,))
    known = _counts(connection)
    for reason, n in (counts if counts is not None else Counter(r.reason for r in refused)).items():
        total = known.get(reason, 0) + n
        connection.execute(
            "INSERT INTO refused_count VALUES(?,?,?) ON CONFLICT(reason)"
            " DO UPDATE SET n=excluded.n, seal=excluded.seal",
            (reason, total, seal(reason, total)),
        )


def read(connection: Connection, limit: int) -> tuple[list[Refused], dict[str, int]]:
    """The newest `limit` refused messages, oldest first, and the counters."""
    rows = fetch(
        connection,
        "SELECT id, received, source, topic, reason, message, payload, seal FROM refused ORDER BY id DESC LIMIT ?",
        (limit,),
    )
    for *fields, digest in rows:
        check_seal(f"refused message {fields[0]}", digest, *fields)
    return [Refused(*row[1:7]) for row in reversed(rows)], _counts(connection)


def _counts(connection: Connection) -> dict[str, int]:
    rows = fetch(connection, "SELECT reason, n, seal FROM refused_count ORDER BY reason")
    for reason, n, digest in rows:
        check_seal(f"counter {reason!r}", digest, reason, n)
    return {reason: n for reason, n, _ in rows}
