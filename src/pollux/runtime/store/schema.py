"""The tables, how a connection is opened, and the translation of SQLite's errors.

WAL with `synchronous=FULL`: a commit returns after the write-ahead log is on the disk, so what was acknowledged
survives a power cut. STRICT tables refuse a value of another type. Every row carries a seal over its other columns.
"""

from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import apsw

from pollux.core.errors import CorruptionError, FencedError, StoreError
from pollux.runtime.store.upgrade import upgrade
from pollux.runtime.store.wal import check_wal, wal_frames

APPLICATION_ID = 0x504C5558
"""`PLUX`: marks the file as a Pollux store."""

VERSION = 3
"""Version of the schema (`user_version`)."""

PAGE_SIZE = 16384
"""Larger pages suit blobs: 17 M rows/s at 10,000 a commit, against 11 M/s with 4 kB pages, in a trial."""

CHUNK = """
CREATE TABLE chunk(id INTEGER PRIMARY KEY, level INTEGER NOT NULL, node INTEGER NOT NULL, t_min REAL NOT NULL,
                   t_max REAL NOT NULL, rows INTEGER NOT NULL, data BLOB NOT NULL, seal BLOB NOT NULL) STRICT;
CREATE INDEX chunk_by_node ON chunk(level, node, t_max, t_min);
CREATE INDEX chunk_by_age ON chunk(t_max) WHERE level = 0;
CREATE INDEX chunk_thin_by_age ON chunk(t_max) WHERE level > 0;
"""

TABLES = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value INTEGER NOT NULL, seal BLOB NOT NULL) STRICT;
CREATE TABLE tag(id INTEGER PRIMARY KEY, twin TEXT NOT NULL, name TEXT NOT NULL, seal BLOB NOT NULL,
                 UNIQUE(twin, name)) STRICT;
CREATE TABLE block(first INTEGER PRIMARY KEY, rows INTEGER NOT NULL, received REAL NOT NULL, data BLOB NOT NULL,
                   previous BLOB NOT NULL, seal BLOB NOT NULL) STRICT;
CREATE TABLE track(id INTEGER PRIMARY KEY, twin TEXT NOT NULL, t_min REAL NOT NULL, t_max REAL NOT NULL,
                   rows INTEGER NOT NULL, width INTEGER NOT NULL, data BLOB NOT NULL, seal BLOB NOT NULL) STRICT;
CREATE INDEX track_by_twin ON track(twin, t_max, t_min);
CREATE TABLE snapshot(id INTEGER PRIMARY KEY, twin TEXT NOT NULL, seq INTEGER NOT NULL, t REAL NOT NULL,
                      model TEXT NOT NULL, data BLOB NOT NULL, seal BLOB NOT NULL) STRICT;
CREATE INDEX snapshot_by_twin ON snapshot(twin, id);
CREATE TABLE event(id INTEGER PRIMARY KEY, t REAL NOT NULL, twin TEXT NOT NULL, kind TEXT NOT NULL,
                   ref TEXT NOT NULL, data TEXT NOT NULL, seq INTEGER NOT NULL, seal BLOB NOT NULL) STRICT;
CREATE INDEX event_by_kind ON event(twin, kind, id);
CREATE INDEX event_by_seq ON event(twin, seq, id);
CREATE TABLE refused(id INTEGER PRIMARY KEY, received REAL NOT NULL, source TEXT NOT NULL, topic TEXT NOT NULL,
                     reason TEXT NOT NULL, message TEXT NOT NULL, payload BLOB NOT NULL, seal BLOB NOT NULL) STRICT;
CREATE TABLE refused_count(reason TEXT PRIMARY KEY, n INTEGER NOT NULL, seal BLOB NOT NULL) STRICT;
"""


UPGRADES: Mapping[int, str] = {
    1: "ALTER TABLE chunk RENAME TO chunk_1; DROP INDEX chunk_by_tag;" + CHUNK,
    2: "DROP TABLE chunk_1",
}
"""From a version to the next, see `upgrade`."""


@contextmanager
def guarded(path: Path) -> Iterator[None]:
    """Translate what SQLite raises into the three errors of the store, with the way out."""
    try:
        yield
    except (apsw.CorruptError, apsw.NotADBError, UnicodeDecodeError) as error:
        raise CorruptionError(
            f"The store must be an intact database: {path} is damaged ({error}). Restore it from a copy."
        ) from error
    except apsw.FullError as error:
        raise StoreError(
            f"The journal needs room on the disk: {path} cannot grow ({error}), so nothing more is acknowledged. "
            "Free space; writing goes on by itself."
        ) from error
    except (apsw.ReadOnlyError, apsw.CantOpenError, apsw.PermissionsError, apsw.AuthError, OSError) as error:
        raise StoreError(
            f"The store needs a folder that it can write: {path} cannot be opened or written ({error}). "
            "Choose another folder or correct its permissions."
        ) from error
    except apsw.BusyError as error:
        raise FencedError(
            f"One store has one writer: {path} is locked by another ({error}). Stop the other process."
        ) from error
    except apsw.Error as error:
        raise StoreError(
            f"The store cannot be used: {path}: {type(error).__name__}: {error}. Check the disk and the file."
        ) from error


def open_writer(path: Path, vfs: str | None = None) -> apsw.Connection:
    """The writing connection, with the tables made or their version checked. `vfs` names a layer below SQLite."""
    path.parent.mkdir(parents=True, exist_ok=True)
    before = wal_frames(path)
    connection = apsw.Connection(str(path), vfs=vfs)
    connection.set_busy_timeout(2000)
    check_wal(connection, before, path)
    fresh = not connection.execute("SELECT count(*) FROM sqlite_schema").get
    if fresh:
        connection.execute(f"PRAGMA page_size={PAGE_SIZE}")
    else:
        check_version(connection, path, range(1, VERSION + 1))
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute(f"PRAGMA wal_autocheckpoint={64 * 2**20 // PAGE_SIZE}")
    connection.execute(f"PRAGMA journal_size_limit={64 * 2**20}")
    if fresh:
        with connection:
            connection.execute(TABLES + CHUNK)
            connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version={VERSION}")
    else:
        version = connection.execute("PRAGMA user_version").get
        upgrade(connection, version, UPGRADES, lambda reached: connection.execute(f"PRAGMA user_version={reached}"))
    return connection


def open_reader(path: Path, vfs: str | None = None) -> apsw.Connection:
    """A connection that only reads; it never waits for the writer."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY, vfs=vfs)
    connection.set_busy_timeout(2000)
    check_version(connection, path)
    return connection


def check_version(connection: apsw.Connection, path: Path, known: Container[int] = (VERSION,)) -> None:
    """Refuse a file of another program or of a version that is not `known`."""
    application, version = (connection.execute(f"PRAGMA {k}").get for k in ("application_id", "user_version"))
    if application != APPLICATION_ID:
        raise StoreError(
            f"The store must be a file that Pollux made: {path} is marked {application:#x}. Choose another path."
        )
    if version not in known:
        raise StoreError(
            f"This Pollux reads store version {VERSION}: {path} has version {version}. "
            + (
                "Start the project once, which brings it to that version."
                if version < VERSION
                else "Use the Pollux that wrote it, or start in a new folder."
            )
        )
