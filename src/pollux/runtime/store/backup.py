"""A copy of a store while its writer goes on: SQLite's online backup, within one read transaction.

The transaction makes the copy that of one instant, whatever is written meanwhile; the writer never waits for it. What
is written meanwhile stays in the write-ahead log until the copy is done, so the log grows by that much.
"""

from collections.abc import Callable
from pathlib import Path

import apsw

from pollux.core.errors import CorruptionError
from pollux.runtime.store.reading import reading
from pollux.runtime.store.schema import guarded, open_reader

STEP = 1024
"""Pages copied at a time (16 MB)."""

PAGE = 1000
"""Events read at a time."""


def copy_store(source: Path, target: Path, progress: Callable[[float], None] = lambda share: None) -> None:
    """Copy the store at `source`, as it is at this instant, into the new file `target`, durable when it returns.

    `progress` is told the share that is done. Raises `StoreError`, `CorruptionError`.
    """
    with guarded(source):
        connection = open_reader(source)
        try:
            connection.execute("BEGIN")
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()  # the instant of the copy
            copy = apsw.Connection(str(target))
            try:
                with copy.backup("main", connection, "main") as backup:
                    done = False
                    while not done:
                        done = backup.step(STEP)
                        progress(1.0 - backup.remaining / max(backup.page_count, 1))
                copy.execute("PRAGMA journal_mode=DELETE")  # one file, which can be read from a read-only disk
                copy.execute("PRAGMA synchronous=FULL")
            finally:
                copy.close()
        finally:
            connection.close()


def check_store(path: Path) -> tuple[int, int]:
    """Read and check a whole copy, its chain of blocks, its events and snapshots: the number of (rows, events).

    Raises `CorruptionError` where something does not match its checksum.
    """
    with guarded(path):
        connection = open_reader(path)
        try:
            found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(3)")]
        finally:
            connection.close()
    if found != ["ok"]:
        raise CorruptionError(
            f"A copy must be an intact database: {path} is not ({'; '.join(found)[:300]}). Try again."
        )
    with reading(path) as store:
        rows = sum(len(block.rows) for block in store.blocks(store.first_seq))
        events = after = 0
        while page := store.event_page(after, PAGE):
            events, after = events + len(page), page[-1].id
        for twin in store.twins:
            for mark in store.marks(twin):
                if store.snapshot(mark.id) is None:
                    raise CorruptionError(f"A snapshot must match its checksum: that of {twin!r} at row {mark.seq} not")
    return rows, events
