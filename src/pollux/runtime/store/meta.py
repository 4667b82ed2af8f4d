"""Sealed integers by name: the epoch of the writer, how far the journal has been compacted."""

from collections.abc import Sequence

from pollux.runtime.store.seal import check_seal, seal
from pollux.runtime.store.sql import Connection


def read(connection: Connection, key: str) -> int:
    """The value, 0 when it was never written."""
    return read_all(connection, (key,))[0]


def read_all(connection: Connection, keys: Sequence[str]) -> list[int]:
    """Several values of one instant, in one statement."""
    found: dict[str, int] = {}
    marks = ",".join("?" * len(keys))
    for key, value, digest in connection.execute(f"SELECT key, value, seal FROM meta WHERE key IN ({marks})", (*keys,)):
        check_seal(f"meta {key!r}", digest, key, value)
        found[key] = value
    return [found.get(key, 0) for key in keys]


def write(connection: Connection, key: str, value: int) -> None:
    """Set the value; inside the caller's transaction."""
    connection.execute(
        "INSERT INTO meta VALUES(?,?,?) ON CONFLICT(key) DO UPDATE SET value=excluded.value, seal=excluded.seal",
        (key, value, seal(key, value)),
    )
