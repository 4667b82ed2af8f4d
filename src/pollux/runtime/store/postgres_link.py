"""A connection to PostgreSQL with the face of `sql.Connection`, which comes back after the server was away.

Only between transactions: a statement outside of one, or the beginning of one, is tried again over a new connection.
Inside a transaction a lost connection is an error, since what had been done in it is gone.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, TypeVar

import psycopg
from psycopg import errors

T = TypeVar("T")

DELAYS = (0.1, 0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
"""Seconds between attempts to come back; about half a minute in all, in which a server recovers from a crash."""

GONE = (errors.AdminShutdown, errors.CrashShutdown, errors.CannotConnectNow, errors.IdleSessionTimeout)
"""Errors after which the server closes the connection, though it may look open for a moment."""


class Fetched:
    """The rows of a statement, all of them."""

    def __init__(self, rows: Sequence[tuple[Any, ...]]):
        self._rows = iter(rows)

    @property
    def get(self) -> Any:
        """The first column of the next row, None when there is none."""
        row = next(self._rows, None)
        return None if row is None else row[0]

    def fetchone(self) -> Any:
        """The next row or None."""
        return next(self._rows, None)

    def fetchall(self) -> list[Any]:
        """The rows that are left."""
        return list(self._rows)

    def __iter__(self) -> Iterator[Any]:
        return self._rows


class PostgresConnection:
    """`connect` opens a session that is ready for use, also again; it raises `psycopg.OperationalError` to be asked
    again later and anything else to give up."""

    def __init__(self, connect: Callable[[], psycopg.Connection], delays: Sequence[float] = DELAYS):
        self._connect, self._delays = connect, delays
        self._raw = connect()
        self.in_transaction = False

    def execute(self, statements: str, bindings: tuple = (), /) -> Fetched:
        """Run one statement with a value for each `?`."""
        return self._run(statements, bindings) if self.in_transaction else self._retried(statements, bindings)

    def begin(self) -> None:
        """Begin a transaction."""
        self._retried("BEGIN", ())
        self.in_transaction = True

    def commit(self) -> None:
        """End it; raises `psycopg.Error` where the server did not commit, or did not say so."""
        status = self._raw.execute("COMMIT").statusmessage
        self.in_transaction = False
        if status != "COMMIT":  # after an error that somebody swallowed the server answers ROLLBACK, and no error
            raise errors.InFailedSqlTransaction("the transaction had failed before its end and was undone")

    def rollback(self) -> None:
        """Undo it; where the server does not answer, by closing the connection. Does not raise."""
        if self.in_transaction:
            self.in_transaction = False
            try:
                self._raw.execute("ROLLBACK")
            except psycopg.Error:
                self._raw.close()

    def lost(self, error: psycopg.Error) -> bool:
        """Whether the connection is gone after this error."""
        return self._raw.closed or isinstance(error, GONE)

    def close(self) -> None:
        """Give the connection back."""
        self._raw.close()

    def __enter__(self) -> "PostgresConnection":
        self.begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        if error is None:
            try:
                self.commit()
            except BaseException:
                self.rollback()
                raise
        else:
            self.rollback()

    def _retried(self, statements: str, bindings: tuple) -> Fetched:
        try:
            return self._run(statements, bindings)
        except psycopg.OperationalError as error:
            if not self.lost(error):
                raise
        self._raw.close()
        for delay in self._delays:
            try:
                self._raw = self._connect()
                return self._run(statements, bindings)
            except psycopg.OperationalError:
                self._raw.close()
                time.sleep(delay)
        self._raw = self._connect()
        return self._run(statements, bindings)

    def _run(self, statements: str, bindings: tuple) -> Fetched:
        values = tuple(_escape(v) if isinstance(v, str) else v for v in bindings)
        with self._raw.cursor(binary=True) as cursor:
            cursor.execute(statements.replace("?", "%s").encode(), values)
            if cursor.description is None:
                return Fetched(())
            return Fetched([tuple(_unescape(v) if isinstance(v, str) else v for v in row) for row in cursor.fetchall()])


def _escape(text: str) -> str:
    """PostgreSQL's text holds no NUL: U+001A becomes U+001A `1`, NUL becomes U+001A `0`."""
    return text.replace("\x1a", "\x1a1").replace("\x00", "\x1a0") if "\x00" in text or "\x1a" in text else text


def _unescape(text: str) -> str:
    return text.replace("\x1a0", "\x00").replace("\x1a1", "\x1a") if "\x1a" in text else text
