"""Both stores behind one way to open them, for the tests that hold for every store."""

import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from pollux.runtime.store.sqlite import SqliteStore
from pollux.runtime.store.tables import TableStore

KINDS = ["sqlite", pytest.param("postgres", marks=pytest.mark.service)]

Opener = Callable[..., TableStore[Any]]


def open_place(place: str, **options: Any) -> TableStore[Any]:
    """The store at a place: a path, or `URL#SCHEMA`."""
    if not place.startswith("postgresql:"):
        return SqliteStore(place, **options)
    from pollux.runtime.store.postgres import PostgresStore

    url, schema = place.split("#")
    return PostgresStore(url, schema, **options)


def missing(what: str) -> NoReturn:
    """Skip, or fail where services are required."""
    if os.environ.get("POLLUX_REQUIRE_SERVICES") == "1":
        pytest.fail(f"{what} is required (POLLUX_REQUIRE_SERVICES=1) and is not installed")
    pytest.skip(f"{what} is not installed")


def new_place(kind: str, folder: Path, request: pytest.FixtureRequest) -> str:
    """A place that no store was at yet."""
    if kind == "sqlite":
        return str(folder / "store.db")
    return f"{request.getfixturevalue('postgres_server').url}#s{uuid.uuid4().hex}"
