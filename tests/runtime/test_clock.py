"""Time and chance come from one place: a walk over the source, and the clock itself."""

import ast
from pathlib import Path

import numpy as np
import pytest

import pollux
from pollux.core.time import ManualClock
from pollux.runtime.clock import Rng, SystemClock, token

SOURCE = Path(pollux.__file__).parent
FORBIDDEN = {
    "time.time", "time.time_ns", "time.monotonic", "time.perf_counter", "datetime.now", "datetime.utcnow",
    "datetime.today", "date.today", "np.random.seed", "np.random.rand", "np.random.randn", "np.random.normal",
    "np.random.default_rng", "random.random", "random.seed", "uuid.uuid1", "uuid.uuid4",
}  # fmt: skip


def calls(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            parts, at = [], node.func
            while isinstance(at, ast.Attribute):
                parts.append(at.attr)
                at = at.value
            if isinstance(at, ast.Name):
                yield ".".join([at.id, *reversed(parts)]), node.lineno


def test_nothing_else_reads_the_time_or_draws_numbers():
    found = [
        f"{path.relative_to(SOURCE)}:{line}: {name}"
        for path in sorted(SOURCE.rglob("*.py"))
        if path != SOURCE / "runtime" / "clock.py"
        for name, line in calls(ast.parse(path.read_text("utf-8")))
        if any(name == f or name.endswith("." + f) for f in FORBIDDEN)
    ]
    assert found == []


def test_the_walk_would_find_one():
    tree = ast.parse("import time, datetime\nx = time.time()\ny = datetime.datetime.now()\n")
    assert [name for name, _ in calls(tree)] == ["time.time", "datetime.datetime.now"]


def test_clocks():
    clock = SystemClock()
    assert clock.monotonic() <= clock.monotonic()
    assert clock.now() > 1.7e9
    with pytest.raises(ValueError, match="never goes back"):
        ManualClock().advance(-1.0)


def test_generators_are_named_and_repeat():
    a, b = Rng(1).generator(2, 3).random(4), Rng(1).generator(2, 3).random(4)
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, Rng(1).generator(2, 4).random(4))
    assert token() != token()
