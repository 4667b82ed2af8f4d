"""G3: any order within the lag, any repetition, any restart: the same bits, settled and present, as a plain filter's.

POLLUX_ORDERS and POLLUX_ORDERS_SECONDS make the seeded run longer.
"""

import asyncio
import os
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .time_bench import Run, bits, make, oracle, shuffled, signals, tail

ORDERS = int(os.environ.get("POLLUX_ORDERS", "1000"))
SECONDS = int(os.environ.get("POLLUX_ORDERS_SECONDS", "10"))


@pytest.fixture(scope="module")
def twin(tmp_path_factory):
    return make(tmp_path_factory.mktemp("time") / "p")


async def story(twin, rows, rng, restarts=0.05):
    """Feed the rows in parts of random size; snapshots and restarts between them. The run."""
    found, at = Run(twin), 0
    while at < len(rows):
        size = int(rng.integers(1, 30))
        await found.feed(rows[at : at + size])
        at += size
        if rng.random() < restarts:
            if rng.random() < 0.7:
                await found.fold.keep_snapshot()
            found = found.restart()
    return found


def test_a_thousand_orders_give_the_bits_of_a_plain_filter(tmp_path):
    """G3. Seeds 0 to ORDERS - 1: each its own order, repetitions, parts, snapshots and restarts."""
    twin = make(tmp_path / "p", lab=6.0)
    twin = replace(twin, base=replace(twin.base, detector=None))  # with a detector it is the test below
    rows = signals(seed=1, seconds=SECONDS)
    expected = {t: bits(b) for t, b in oracle(twin, rows).items()}
    assert len(expected) == SECONDS

    async def all_orders():
        different = []
        for seed in range(ORDERS):
            rng = np.random.default_rng([3, seed])
            found = await story(twin, shuffled(rows, twin, rng) + tail(SECONDS, after=8), rng)
            if {t: b for t, b in found.beliefs.items() if t <= SECONDS} != expected:
                different.append(seed)
        return different

    assert asyncio.run(all_orders()) == []


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_any_rows_in_any_order(twin, seed, order):
    rng = np.random.default_rng(order)
    rows = signals(seed, seconds=25)
    found = asyncio.run(story(twin, shuffled(rows, twin, rng) + tail(25, after=33), rng))
    assert {t: b for t, b in found.beliefs.items() if t <= 25} == {t: bits(b) for t, b in oracle(twin, rows).items()}


def test_the_present_is_the_in_order_fold_of_what_has_come(twin):
    """After every part: what is shown equals a plain filter over all rows so far, bit for bit."""

    async def walk():
        checked = newer = 0
        for seed in range(3):
            rng = np.random.default_rng([5, seed])
            rows, found, came = shuffled(signals(seed), twin, rng), Run(twin), []
            for row in rows:
                came.append(row)
                await found.feed([row])
                if rng.random() < 0.2 and found.live.visible:
                    now = found.live.view.belief
                    assert bits(now) == bits(oracle(twin, came, now.t)[now.t])
                    checked += 1
                    newer += now.t > (found.live.t if found.live.ready else 0.0)
                if rng.random() < 0.02:
                    await found.fold.keep_snapshot()
                    found = found.restart()
        return checked, newer

    checked, newer = asyncio.run(walk())
    assert checked > 50
    assert newer > 0.9 * checked


def test_a_long_present_is_fused_in_stretches(twin, monkeypatch):
    """What is shown meanwhile is the older one; in the end it is the same, and only the changed part is fused again."""
    from pollux.runtime import present

    monkeypatch.setattr(present, "STRETCH", 7)
    rows = [row for row in signals(seed=8, seconds=30) if row[0] != 2]

    async def walk():
        found = Run(twin)
        await found.feed(rows)
        while found.fold.present.behind:
            assert found.live.present is None
            await asyncio.sleep(0.01)
        first, steps = found.live.view.belief, found.fold.present.steps
        await found.feed([(2, 20.5, 0.45)])
        while found.fold.present.behind:  # noqa: ASYNC110 (another task moves it)
            await asyncio.sleep(0.01)
        return first, found.live.view.belief, found.fold.present.steps - steps

    first, second, steps = asyncio.run(walk())
    assert bits(first) == bits(oracle(twin, rows, first.t)[first.t])
    assert bits(second) == bits(oracle(twin, [*rows, (2, 20.5, 0.45)], second.t)[second.t])
    assert second.id != first.id
    assert steps <= second.t - 20 + present.EVERY
