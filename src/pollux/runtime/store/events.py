"""Events: what happened to a twin, in the order in which it was written."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import apsw

from pollux.runtime.store.base import Event
from pollux.runtime.store.schema import fetch
from pollux.runtime.store.seal import check_seal, seal


def add(connection: apsw.Connection, t: float, twin: str, kind: str, ref: str, data: Mapping[str, Any]) -> int:
    """Write one inside the caller's transaction; its id."""
    key = connection.execute("SELECT coalesce(max(id), 0) + 1 FROM event").get
    fields = (key, float(t), twin, kind, ref, json.dumps(data, sort_keys=True, ensure_ascii=False))
    connection.execute("INSERT INTO event VALUES(?,?,?,?,?,?,?)", (*fields, seal(*fields)))
    return key


def read(connection: apsw.Connection, twin: str | None, kinds: Sequence[str], after: int, limit: int) -> list[Event]:
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
        f"SELECT id, t, twin, kind, ref, data, seal FROM event WHERE {' AND '.join(where)} ORDER BY id DESC LIMIT ?",
        (*arguments, limit),
    )
    found = []
    for *fields, digest in reversed(rows):
        check_seal(f"event {fields[0]}", digest, *fields)
        key, t, name, kind, ref, data = fields
        found.append(Event(key, t, name, kind, ref, json.loads(data)))
    return found
