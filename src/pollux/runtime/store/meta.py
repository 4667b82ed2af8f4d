"""Sealed integers by name: the epoch of the writer, how far the journal has been compacted."""

from pollux.runtime.store.seal import check_seal, seal
from pollux.runtime.store.sql import Connection


def read(connection: Connection, key: str) -> int:
    """The value, 0 when it was never written."""
    row = connection.execute("SELECT value, seal FROM meta WHERE key=?", (key,)).fetchone()
    if row is None:
        return 0
    check_seal(f"meta {key!r}", row[1], key, row[0])
    return row[0]


def write(connection: Connection, key: str, value: int) -> None:
    """Set the value; inside the caller's transaction."""
    connection.execute(
        "INSERT INTO meta VALUES(?,?,?) ON CONFLICT(key) DO UPDATE SET value=excluded.value, seal=excluded.seal",
        (key, value, seal(key, value)),
    )
