"""The store of a project: the file in its folder, or the PostgreSQL database that the wiring names."""

import os
from pathlib import Path

from pollux.core.errors import MissingExtraError
from pollux.runtime.store.base import Store
from pollux.runtime.store.sqlite import SqliteStore
from pollux.runtime.wiring import StoreWiring


def open_store(wiring: StoreWiring | None, folder: Path) -> Store:
    """Open it for writing; blocks. Raises `StoreError`, `MissingExtraError`."""
    if wiring is None:
        return SqliteStore(folder / "journal.db")
    try:
        from pollux.runtime.store.postgres import PostgresStore
    except ImportError:
        raise MissingExtraError("psycopg", "postgres") from None
    return PostgresStore(wiring.url, wiring.schema, password=os.environ.get(wiring.password_env))
