"""Events: what happened to a twin, in the order in which it was written."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pollux.runtime.store.base import Event
from pollux.runtime.store.seal import check_seal, seal
from pollux.runtime.store.sql import Connection, fetch

COLUMNS = "id, t, twin, kind, ref, data, seq, seal"

END = 2**63 - 1
"""Beyond every row."""


def add(connection: Connection, t: float, twin: str, kind: str, ref: str, data: Mapping[str, Any], seq: int) -> int:
    """Write one inside the caller's transaction; its id."""
    key = connection.execute("SELECT coalesce(max(id), 0) + 1 FROM event").get
    fields = (key, float(t), twin, kind, ref, json.dumps(data, sort_keys=True, ensure_ascii=False), seq)
    connection.execute("INSERT INTO event VALUES(?,?,?,?,?,?,?,?)", (*fields, seal(*fields)))
    return key


def read(connection: Connection, twin: str | None, kinds: Sequence[str], after: int, limit: int) -> list[Event]:
    """The newest `limit` events with id > `after` of these kinds (all when none is named), oldest first."""
    where = ["id > ?"]
    arguments: list[Any] = [after]
    if twin is not None:
        where.append("twin = ?")
        arguments.append(twin)
    if kinds:
        where.append(f"kind IN ({','.join('?' * len(kinds))})")
        arguments.extend(kinds)
    rows = fetch(
        connection,
        f"SELECT {COLUMNS} FROM event WHERE {' AND '.join(where)} ORDER BY id DESC LIMIT ?",
        (*arguments, limit),
    )
    return [_verified(row) for row in reversed(rows)]


def read_from(connection: Connection, twin: str, seq: int, after: int, to: int = END) -> list[Event]:
    """All events of a twin with id > `after` and `seq` <= place <= `to`, in the order in which they happened."""
    rows = fetch(
        connection,
        f"SELECT {COLUMNS} FROM event WHERE twin = ? AND seq >= ? AND seq <= ? AND id > ? ORDER BY seq, id",
        (twin, seq, to, after),
    )
    return [_verified(row) for row in rows]


def page(connection: Connection, after: int, limit: int) -> list[Event]:
    """The next `limit` events of all twins with id > `after`, in the order in which they were written."""
    rows = fetch(connection, f"SELECT {COLUMNS} FROM event WHERE id > ? ORDER BY id LIMIT ?", (after, limit))
    return [_verified(row) for row in rows]


def _verified(row: tuple[Any, ...]) -> Event:
    *fields, digest = row
    check_seal(f"event {fields[0]}", digest, *fields)
    key, t, name, kind, ref, data, seq = fields
    return Event(key, t, name, kind, ref, json.loads(data), seq)
