"""What the tables need of a database connection: SQLite's (apsw) has it as it is, PostgreSQL's is adapted to it.

Statements keep to what both understand: `?` for a value, `ON CONFLICT`, no functions beyond min, max, count, coalesce.
"""

from collections.abc import Iterator
from types import TracebackType
from typing import Any, Protocol


class Result(Protocol):
    """The rows of a statement."""

    @property
    def get(self) -> Any:
        """The first column of the first row, None when there is no row."""
        ...

    def fetchone(self) -> Any:
        """The next row or None."""
        ...

    def fetchall(self) -> list[Any]:
        """The rows that are left."""
        ...

    def __iter__(self) -> Iterator[Any]: ...


class Connection(Protocol):
    """Runs statements; as a context manager it is one transaction."""

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        ...

    def execute(self, statements: str, bindings: tuple = ..., /) -> Result:
        """Run one statement with a value for each `?`."""
        ...

    def __enter__(self) -> Any: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> bool | None: ...


def fetch(connection: Connection, sql: str, arguments: tuple = ()) -> list[tuple[Any, ...]]:
    """All rows of a query; the tables are strict, so the columns have the types that the tables say."""
    return connection.execute(sql, arguments).fetchall()
