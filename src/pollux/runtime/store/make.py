"""The store of a project: the file in its folder, or the PostgreSQL database that the wiring names."""

import os
from pathlib import Path

from pollux.core.errors import MissingExtraError
from pollux.runtime.store.base import Store
from pollux.runtime.store.retain import Retention
from pollux.runtime.store.sqlite import SqliteStore
from pollux.runtime.wiring_store import StoreWiring


def open_store(wiring: StoreWiring, folder: Path) -> Store:
    """Open it for writing; blocks. Raises `StoreError`, `MissingExtraError`."""
    retention = Retention(wiring.keep, wiring.keep_thin)
    if wiring.url is None:
        return SqliteStore(folder / "journal.db", retention=retention)
    try:
        from pollux.runtime.store.postgres import PostgresStore
    except ImportError:
        raise MissingExtraError("psycopg", "postgres") from None
    password = os.environ.get(wiring.password_env)
    return PostgresStore(wiring.url, wiring.schema, password=password, retention=retention)
