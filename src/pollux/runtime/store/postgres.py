"""`PostgresStore`: the store in one schema of a PostgreSQL database, through psycopg.

Every transaction raises the counter `commits`. It tells what became of a commit whose answer was lost with the
connection, and that the server still has all that was acknowledged when the connection comes back (a standby that took
over may not).
"""

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from hashlib import blake2b

import psycopg
from psycopg import conninfo, errors, sql

from pollux.core.errors import CorruptionError, FencedError, StoreError
from pollux.runtime.store import meta, postgres_schema
from pollux.runtime.store.postgres_link import DELAYS, PostgresConnection
from pollux.runtime.store.postgres_schema import check_server, ensure_tables, guarded
from pollux.runtime.store.retain import Retention
from pollux.runtime.store.tables import FOR_EVER, TableStore
from pollux.runtime.store.upgrade import upgrade

LINK = {
    "connect_timeout": "5",
    "keepalives_idle": "5",
    "keepalives_interval": "3",
    "keepalives_count": "3",
    "tcp_user_timeout": "15000",
    "application_name": "pollux",
}
"""How soon a dead peer is noticed; what the URL says goes before."""

GRACE = (0.05, 0.1, 0.2, 0.4, 0.0)
"""Seconds between attempts to take the lock before another writer is believed."""


class PostgresStore(TableStore[PostgresConnection]):
    """A `Store` (see `base`) in `schema` of the database at `url` (libpq: `postgresql://user@host/database`).

    The lock of the one writer is an advisory lock of its session. `takeover` ends the session of another writer.
    `delays` are the seconds between attempts to come back when the server was away. Raises `FencedError`,
    `CorruptionError` or `StoreError`.
    """

    def __init__(
        self,
        url: str,
        schema: str = "pollux",
        *,
        password: str | None = None,
        takeover: bool = False,
        delays: Sequence[float] = DELAYS,
        retention: Retention = FOR_EVER,
    ):
        self._schema, self._delays = schema, delays
        self._lost, self._pid = "", 0
        with guarded("the PostgreSQL server"):
            given = conninfo.conninfo_to_dict(url)
            secret = {} if password is None else {"password": password}
            self._conninfo = conninfo.make_conninfo("", **{**LINK, **given, **secret})
        place = f"{given.get('host') or 'localhost'}/{given.get('dbname') or ''}, schema {schema}"
        super().__init__(place, retention)
        self._key = int.from_bytes(blake2b(f"pollux store {schema}".encode(), digest_size=8).digest(), signed=True)
        with self._guarded(), ExitStack() as opened:
            first = self._session(takeover)
            opened.callback(first.close)
            check_server(first, place)
            version = ensure_tables(first, schema, place)
            sessions = iter([first])
            self._writer = PostgresConnection(lambda: next(sessions, None) or self._session(), delays)
            opened.callback(self._writer.close)
            upgrade(self._writer, version, postgres_schema.UPGRADES, self._reached)
            self._commits = meta.read(self._writer, "commits")
            self._reader = self._open_reader()
            opened.callback(self._reader.close)
            self._load()
            opened.pop_all()

    def _reached(self, version: int) -> None:
        self._writer.execute("UPDATE pollux SET version = ?", (version,))

    def _guarded(self) -> AbstractContextManager[None]:
        return guarded(self._epoch.place)

    def _connect(self) -> psycopg.Connection:
        raw = psycopg.connect(self._conninfo, autocommit=True, client_encoding="UTF8")
        raw.execute(sql.SQL("SET search_path = {}").format(sql.Identifier(self._schema)))
        return raw

    def _session(self, takeover: bool = False) -> psycopg.Connection:
        """A writing session: it holds the lock, and is the first of this store or finds its epoch unchanged."""
        raw = self._connect()
        try:
            raw.execute(
                "SELECT set_config('synchronous_commit', CASE current_setting('synchronous_commit')"
                " WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, false)"
            )
            again = self._epoch.number > 0
            if again:
                self._epoch.check(PostgresConnection(lambda: raw, ()))
            for pid in self._holders(raw) if takeover or again else ():
                if takeover or pid == self._pid:  # our last session, which the server still believes to be alive
                    self._end(raw, pid)
            if not self._locked(raw):
                if again:
                    raise errors.ObjectInUse("the lock of the last session is still held")
                raise FencedError(
                    f"One store has one writer: {self._epoch.place} is held by another process. Stop it "
                    "(`pollux run` on the same project), or name another schema."
                )
        except BaseException:
            raw.close()
            raise
        self._pid = raw.info.backend_pid
        return raw

    def _locked(self, raw: psycopg.Connection) -> bool:
        """Take the lock; the server needs a moment to notice that who held it was killed."""
        for delay in GRACE:
            if raw.execute("SELECT pg_try_advisory_lock(%s::bigint)", (self._key,)).fetchone() == (True,):
                return True
            time.sleep(delay)
        return False

    def _holders(self, raw: psycopg.Connection) -> list[int]:
        """The server's process of the session that holds the lock."""
        found = raw.execute(
            "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND classid = %s::oid AND objid = %s::oid"
            " AND objsubid = 1 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            ((self._key >> 32) & 0xFFFFFFFF, self._key & 0xFFFFFFFF),
        )
        return [row[0] for row in found.fetchall()]

    def _end(self, raw: psycopg.Connection, pid: int) -> None:
        """End a session that holds the lock: its open transaction is undone, its next statement fails."""
        raw.execute("SELECT pg_terminate_backend(%s)", (pid,))
        for delay in GRACE:
            if pid not in self._holders(raw):
                return
            time.sleep(delay)

    def _open_reader(self) -> PostgresConnection:
        def connect() -> psycopg.Connection:
            raw = self._connect()
            raw.execute("SET default_transaction_read_only = on")
            raw.execute("SET default_transaction_isolation = 'repeatable read'")
            return raw

        return PostgresConnection(connect, self._delays)

    def _close_reader(self, connection: PostgresConnection) -> None:
        connection.close()

    def _begin(self) -> None:
        if self._lost:
            raise StoreError(self._lost)
        self._writer.begin()
        try:
            self._epoch.check(self._writer)
            found = meta.read(self._writer, "commits")
            if found != self._commits:
                raise CorruptionError(
                    f"The server must be where its one writer left it: {self._epoch.place} is at commit {found}, this "
                    f"writer at {self._commits}. It was restored from an older copy, or a standby without the last "
                    "commits took over; start again to go on from what is there."
                )
            meta.write(self._writer, "commits", found + 1)
        except BaseException:
            self._writer.rollback()
            raise

    def _commit(self) -> None:
        try:
            self._writer.commit()
        except psycopg.Error as error:
            if not self._writer.lost(error):
                raise
            self._settle(error)
        self._commits += 1

    def _settle(self, error: psycopg.Error) -> None:
        """The answer to a commit was lost: ask over a new connection. Returns when it was done, raises when not."""
        self._writer.rollback()
        try:
            found = meta.read(self._writer, "commits")
        except BaseException as failed:
            self._lost = (
                f"Whether the last commit was done must be known: the connection to {self._epoch.place} was lost "
                "before the answer and did not come back in time. It was not acknowledged; start again to go on from "
                "what the server has."
            )
            raise StoreError(self._lost) from failed
        if found != self._commits + 1:
            raise error

    def _undo(self) -> None:
        self._writer.rollback()

    def _check_structure(self, connection: PostgresConnection) -> None:
        """PostgreSQL checks its pages itself when they are read (where the cluster has data checksums)."""

    def _leave(self) -> None:
        for connection in (self._reader, self._writer):
            with suppress(psycopg.Error):
                connection.close()
