"""Fixtures of the runtime's tests: the live tank, compiled once a session."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import live_tank


@pytest.fixture(scope="session")
def kit(tank_class):
    return live_tank.compile_kit(tank_class())
