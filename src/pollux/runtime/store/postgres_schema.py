"""PostgreSQL: the tables, their version, and the translation of the server's errors.

One schema of the database holds one store. Text that PostgreSQL cannot hold (the character NUL) is escaped on the way;
the seals are over the values as they were given.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import psycopg
from psycopg import errors, sql

from pollux.core.errors import CorruptionError, StoreError
from pollux.runtime.store.base import UnavailableError

log = logging.getLogger("pollux.store")

VERSION = 3
"""Version of these tables."""

CHUNK = """
CREATE TABLE chunk(id bigint PRIMARY KEY, level bigint NOT NULL, node bigint NOT NULL, t_min float8 NOT NULL,
                   t_max float8 NOT NULL, rows bigint NOT NULL, data bytea NOT NULL, seal bytea NOT NULL);
CREATE INDEX chunk_by_node ON chunk(level, node, t_max, t_min);
CREATE INDEX chunk_by_age ON chunk(t_max) WHERE level = 0;
CREATE INDEX chunk_thin_by_age ON chunk(t_max) WHERE level > 0;
ALTER TABLE chunk ALTER data SET STORAGE EXTERNAL;
"""
"""Measurements hardly compress: not even tried."""

UPGRADES: Mapping[int, str] = {
    1: "ALTER TABLE chunk RENAME TO chunk_1; DROP INDEX chunk_by_tag;"
    " ALTER INDEX chunk_pkey RENAME TO chunk_1_pkey;" + CHUNK,
    2: "DROP TABLE chunk_1",
}
"""From a version to the next, see `upgrade`."""

BLOBS = ("block", "track", "snapshot")

TABLES = """
CREATE TABLE meta(key text PRIMARY KEY, value bigint NOT NULL, seal bytea NOT NULL);
CREATE TABLE tag(id bigint PRIMARY KEY, twin text NOT NULL, name text NOT NULL, seal bytea NOT NULL,
                 UNIQUE(twin, name));
CREATE TABLE block(first bigint PRIMARY KEY, rows bigint NOT NULL, received float8 NOT NULL, data bytea NOT NULL,
                   previous bytea NOT NULL, seal bytea NOT NULL);
CREATE TABLE track(id bigint PRIMARY KEY, twin text NOT NULL, t_min float8 NOT NULL, t_max float8 NOT NULL,
                   rows bigint NOT NULL, width bigint NOT NULL, data bytea NOT NULL, seal bytea NOT NULL);
CREATE INDEX track_by_twin ON track(twin, t_max, t_min);
CREATE TABLE snapshot(id bigint PRIMARY KEY, twin text NOT NULL, seq bigint NOT NULL, t float8 NOT NULL,
                      model text NOT NULL, data bytea NOT NULL, seal bytea NOT NULL);
CREATE INDEX snapshot_by_twin ON snapshot(twin, id);
CREATE TABLE event(id bigint PRIMARY KEY, t float8 NOT NULL, twin text NOT NULL, kind text NOT NULL,
                   ref text NOT NULL, data text NOT NULL, seq bigint NOT NULL, seal bytea NOT NULL);
CREATE INDEX event_by_kind ON event(twin, kind, id);
CREATE INDEX event_by_seq ON event(twin, seq, id);
CREATE TABLE refused(id bigint PRIMARY KEY, received float8 NOT NULL, source text NOT NULL, topic text NOT NULL,
                     reason text NOT NULL, message text NOT NULL, payload bytea NOT NULL, seal bytea NOT NULL);
CREATE TABLE refused_count(reason text COLLATE "C" PRIMARY KEY, n bigint NOT NULL, seal bytea NOT NULL);
CREATE TABLE pollux(version bigint NOT NULL);
"""


@contextmanager
def guarded(place: str) -> Iterator[None]:
    """Translate what psycopg raises into the errors of the store, with the way out."""
    try:
        yield
    except (errors.DataCorrupted, errors.IndexCorrupted) as error:
        raise CorruptionError(
            f"The store must be an intact database: {place} is damaged ({_first(error)}). Restore it from a copy."
        ) from error
    except errors.DiskFull as error:
        raise StoreError(
            f"The journal needs room on the disk: {place} cannot grow ({_first(error)}), so nothing more is "
            "acknowledged. Free space on the server; writing goes on by itself."
        ) from error
    except (errors.InsufficientPrivilege, errors.ReadOnlySqlTransaction) as error:
        raise StoreError(
            f"The store needs a database that it can write: {place} refuses it ({_first(error)}). Give the user the "
            "right to create schemas and tables, on a server that is not a standby."
        ) from error
    except psycopg.OperationalError as error:
        raise UnavailableError(
            f"The store needs its server: {place} cannot be reached or cut the connection ({_first(error)}). What was "
            "under way was not acknowledged; start the server, and writing goes on by itself."
        ) from error
    except psycopg.Error as error:
        raise StoreError(
            f"The store cannot be used: {place}: {type(error).__name__}: {_first(error)}. Check the server's log."
        ) from error


def check_server(raw: psycopg.Connection, place: str) -> None:
    """Refuse a server whose commits do not stay. Raises `StoreError`."""
    if raw.info.server_version < 130000:
        raise StoreError(f"The store needs PostgreSQL 13 or newer: {place} is {raw.info.server_version}. Upgrade it.")
    for name, wanted in (("fsync", "on"), ("full_page_writes", "on"), ("server_encoding", "UTF8")):
        row = raw.execute(sql.SQL("SHOW {}").format(sql.Identifier(name))).fetchone()
        if row is None or row[0] != wanted:
            raise StoreError(
                f"What is acknowledged must stay: {place} runs with {name} = {row and row[0]}, needed is {wanted}. "
                "Correct the server's configuration."
            )
    if raw.execute("SHOW data_checksums").fetchone() != ("on",):
        log.warning(
            "%s runs without data checksums: the seals tell a changed value, not a record that damage hides. "
            "Stop the server and run `pg_checksums --enable`.",
            place,
        )


def ensure_tables(raw: psycopg.Connection, schema: str, place: str) -> int:
    """Make the schema and its tables where they are missing; their version. Raises `StoreError` for another's or a
    newer."""
    with raw.transaction():
        raw.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(schema)))
        found = {
            row[0] for row in raw.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", (schema,)).fetchall()
        }
        if not found:
            raw.execute((TABLES + CHUNK).encode())
            for name in BLOBS:
                raw.execute(sql.SQL("ALTER TABLE {} ALTER data SET STORAGE EXTERNAL").format(sql.Identifier(name)))
            raw.execute("INSERT INTO pollux VALUES (%s)", (VERSION,))
            return VERSION
        row = raw.execute("SELECT version FROM pollux").fetchone() if "pollux" in found else None
        if row is None:
            raise StoreError(
                f"The store must be a schema that Pollux made: {place} holds other tables. Name another schema."
            )
        if row[0] != VERSION and row[0] not in UPGRADES:
            raise StoreError(
                f"This Pollux reads store version {VERSION}: {place} has version {row[0]}. "
                "Use the Pollux that wrote it, or name a new schema."
            )
        return row[0]


def _first(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
