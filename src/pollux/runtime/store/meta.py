"""Sealed integers by name: the epoch of the writer, how far the journal has been compacted."""

import apsw

from pollux.runtime.store.seal import check_seal, seal


def read(connection: apsw.Connection, key: str) -> int:
    """The value, 0 when it was never written."""
    row = connection.execute("SELECT value, seal FROM meta WHERE key=?", (key,)).fetchone()
    if row is None:
        return 0
    check_seal(f"meta {key!r}", row[1], key, row[0])
    return row[0]


def write(connection: apsw.Connection, key: str, value: int) -> None:
    """Set the value; inside the caller's transaction."""
    connection.execute("INSERT OR REPLACE INTO meta VALUES(?,?,?)", (key, value, seal(key, value)))
