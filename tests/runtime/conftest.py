"""Fixtures of the runtime's tests: the live tank, compiled once a session."""

import sys
from functools import partial
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import live_tank
from store_kinds import KINDS, Opener, missing, new_place, open_place


@pytest.fixture(scope="session")
def kit(tank_class):
    return live_tank.compile_kit(tank_class())


@pytest.fixture(scope="session")
def postgres_server():
    """One server for the whole session; a test that stops it starts it again."""
    try:
        from postgres_server import PostgresServer, binaries
    except pytest.skip.Exception:
        missing("psycopg")
    programs = binaries()
    if programs is None:
        missing("PostgreSQL")
    server = PostgresServer(programs)
    yield server
    server.close()


@pytest.fixture(params=KINDS)
def place(request, tmp_path) -> str:
    """Where no store was yet, of every kind; for `store_kinds.open_place`."""
    return new_place(request.param, tmp_path, request)


@pytest.fixture
def open_store(place) -> Opener:
    """Opens the store of the test, also again."""
    return partial(open_place, place)
