"""One suite for all connectors: what is true of one is true of all (`conformance.RIGS`); a new one joins the list."""

import asyncio
import os
import time

import pytest
from conformance import ORDER, RIGS, SITE, TIME, Basket, ReplayRig, Rig, raised, running, until

from pollux.runtime.connect.base import ConnectorError, ConnectorState


def rigs(*needs: str):
    """Parametrise over the rigs for which all of `needs` are true."""
    chosen = [rig for rig in RIGS if all(getattr(rig, need) for need in needs)]
    marks = [pytest.param(r, id=r.name, marks=[pytest.mark.service] if r.service else []) for r in chosen]
    return pytest.mark.parametrize("kind", marks)


def play(kind, folder, scenario):
    """Run a scenario against a fresh rig."""

    async def whole():
        async with asyncio.timeout(30), raised(kind, folder) as rig:
            await scenario(rig)

    asyncio.run(whole())


async def said(rig: Rig, sink: Basket, *values: int) -> None:
    """Say values and wait until they have been delivered."""
    for part in [values] if rig.queues else [(value,) for value in values]:  # what is polled is seen one by one
        await rig.send(*part)
        await until(lambda part=part: set(part) <= set(sink.values))


@rigs()
def test_values_arrive_once_in_order_with_their_times(kind, tmp_path):
    async def scenario(rig):
        sink = Basket()
        if isinstance(rig, ReplayRig):
            await rig.send(*range(20))
        async with running(rig, sink):
            if not isinstance(rig, ReplayRig):
                for i in range(20):
                    await rig.send(i)
                    if not rig.stamps:
                        await until(lambda i=i: i in sink.values)
            await until(lambda: len(sink.values) == 20)
        kept = [m for m in sink.messages if m.tag == "a" and m.value == m.value]
        assert sink.values == [float(i) for i in range(20)]
        assert {(m.source, m.site) for m in kept} == {(rig.source, SITE)}
        if rig.stamps:
            assert [m.t for m in kept] == [TIME + i for i in range(20)]
        else:
            assert {m.t for m in kept} == {rig.clock.now()}

    play(kind, tmp_path, scenario)


@rigs("rubbish")
def test_what_is_no_message_is_quarantined_and_loses_nothing_else(kind, tmp_path):
    async def scenario(rig):
        sink = Basket()
        if isinstance(rig, ReplayRig):
            await rig.send(1)
            reason = await rig.send_rubbish()
            await rig.send(2)
        async with running(rig, sink):
            if not isinstance(rig, ReplayRig):
                await said(rig, sink, 1)
                reason = await rig.send_rubbish()
                await said(rig, sink, 2)
            await until(lambda: rig.connector.counters.unread >= 1 and len(sink.values) >= 2)
            assert rig.connector.state in (ConnectorState.CONNECTED, ConnectorState.ENDED)
        assert sink.values == [1.0, 2.0]
        assert {u.error.reason for u in sink.unread} <= {reason}
        if rig.dials or isinstance(rig, ReplayRig):  # a caller is told instead
            assert sink.unread
            assert all(u.source == "plant" and u.topic and str(u.error) for u in sink.unread)

    play(kind, tmp_path, scenario)


@rigs("dials")
def test_a_peer_that_dies_and_returns_is_found_again(kind, tmp_path):
    async def scenario(rig):
        sink = Basket()
        async with running(rig, sink):
            await said(rig, sink, 1, 2)
            await rig.down()
            await until(lambda: rig.connector.state is not ConnectorState.CONNECTED)
            if rig.orders:
                with pytest.raises(ConnectorError, match="must be connected"):
                    await rig.connector.send(ORDER)
            await rig.up()
            await until(lambda: rig.connector.state is ConnectorState.CONNECTED)
            await said(rig, sink, 3, 4)
            assert rig.connector.counters.reconnects >= 1

    play(kind, tmp_path, scenario)


@rigs("dials")
@pytest.mark.parametrize("fault", ["reset", "cut"])
def test_a_lost_connection_is_made_again(kind, tmp_path, fault):
    async def scenario(rig):
        sink = Basket()
        async with running(rig, sink):
            await said(rig, sink, 1)
            getattr(rig.proxy, fault)()
            await until(lambda: rig.connector.counters.reconnects >= 1)
            if rig.keeps:
                await rig.send(2)  # while nobody listens
            await until(lambda: rig.connector.state is ConnectorState.CONNECTED)
            await said(rig, sink, 3)
            assert sink.values == ([1.0, 2.0, 3.0] if rig.keeps else [1.0, 3.0])

    play(kind, tmp_path, scenario)


@rigs("dials")
def test_a_half_open_connection_is_noticed(kind, tmp_path):
    async def scenario(rig):
        sink = Basket()
        async with running(rig, sink):
            await said(rig, sink, 1)
            rig.proxy.silence()
            await until(lambda: rig.proxy.seen >= 2)  # dialled again, though nothing was ever reported
            await until(lambda: rig.connector.state is ConnectorState.CONNECTED)
            await said(rig, sink, 2)

    play(kind, tmp_path, scenario)


@rigs("dials")
def test_a_peer_that_turns_away_is_asked_again_with_growing_pauses(kind, tmp_path):
    async def scenario(rig):
        sink = Basket()
        rig.proxy.refusing = True
        task = asyncio.create_task(rig.connector.run(sink))
        await until(lambda: rig.connector.counters.reconnects >= 2)
        assert rig.connector.state in (ConnectorState.WAITING, ConnectorState.CONNECTING)
        assert rig.connector.problem
        rig.proxy.refusing = False
        await until(lambda: rig.connector.state is ConnectorState.CONNECTED)
        await said(rig, sink, 1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    play(kind, tmp_path, scenario)


@rigs()
def test_a_slow_network_that_shreds_changes_nothing(kind, tmp_path):
    async def scenario(rig):
        sink = Basket()
        if isinstance(rig, ReplayRig):
            await rig.send(*range(10))
        if rig.proxy:
            rig.proxy.delay, rig.proxy.piece = 0.0005, rig.piece
        async with running(rig, sink):
            if not isinstance(rig, ReplayRig):
                for i in range(10):
                    await said(rig, sink, i)
            await until(lambda: len(sink.values) == 10)
        assert sink.values == [float(i) for i in range(10)]
        assert sink.unread == []

    play(kind, tmp_path, scenario)


@rigs()
def test_a_slow_consumer_bounds_the_memory_and_loses_nothing_acknowledged(kind, tmp_path):
    async def scenario(rig):
        sink = Basket()
        n = rig.flood
        if isinstance(rig, ReplayRig):
            await rig.send(*range(n))
        sink.open.clear()
        async with running(rig, sink):
            sending = None if isinstance(rig, ReplayRig) else asyncio.create_task(rig.send(*range(n)))
            await until(lambda: sink.calls >= 1)
            for _ in range(40):
                await asyncio.sleep(0.01)
                assert rig.waiting <= rig.bound
            assert sink.values == []
            sink.open.set()
            if rig.queues:
                await until(lambda: len(sink.values) == n, 20)
                assert sink.values == [float(i) for i in range(n)]
            else:
                await until(lambda: n - 1 in sink.values, 20)
            if sending:
                await sending
        assert sink.largest <= rig.bound

    play(kind, tmp_path, scenario)


@rigs("dials", "keeps")
def test_what_was_kept_is_taken_though_it_is_more_than_may_wait(kind, tmp_path):
    async def scenario(rig):
        sink, n = Basket(), rig.flood
        async with running(rig, sink):
            await said(rig, sink, 0)
        await rig.send(*range(1, n))
        async with running(rig, sink):
            await until(lambda: len(sink.values) == n, 20)
            assert rig.connector.state is ConnectorState.CONNECTED
        assert sink.values == [float(i) for i in range(n)]

    play(kind, tmp_path, scenario)


@rigs()
def test_a_full_disk_delays_and_loses_nothing(kind, tmp_path):
    async def scenario(rig):
        sink = Basket(failures=2)
        if isinstance(rig, ReplayRig):
            await rig.send(1, 2)
        async with running(rig, sink):
            if not isinstance(rig, ReplayRig):
                await said(rig, sink, 1, 2)
            await until(lambda: len(sink.values) == 2)
        assert sink.calls >= 3

    play(kind, tmp_path, scenario)


@rigs()
@pytest.mark.parametrize("fault", [None, "silence", "slow sink"])
def test_it_ends_when_it_is_told_to_and_leaves_nothing_behind(kind, tmp_path, fault):
    async def scenario(rig):
        sink = Basket()
        if fault == "silence" and not (rig.dials and rig.proxy):
            return
        if isinstance(rig, ReplayRig):
            await rig.send(1)
        before, files = ours(), open_files()
        async with running(rig, sink) as task:
            if not isinstance(rig, ReplayRig):
                await said(rig, sink, 1)
            sending = None
            if fault == "silence":
                rig.proxy.silence()
            elif fault and not isinstance(rig, ReplayRig):
                sink.open.clear()
                sending = asyncio.create_task(rig.send(2))
                await until(lambda: sink.calls >= 2)
            began = time.monotonic()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert time.monotonic() - began < 3.0
        if sending:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
        assert rig.connector.state is ConnectorState.ENDED
        with pytest.raises(ConnectorError):
            await rig.connector.send(ORDER)
        if rig.dials:
            await until(lambda: rig.proxy.open == 0)
            await until(lambda: ours() <= before)
            await until(lambda: open_files() <= files)

    play(kind, tmp_path, scenario)


def ours() -> set[asyncio.Task]:
    """Tasks that run code of the product."""
    return {task for task in asyncio.all_tasks() if "pollux/runtime" in repr(task)}


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208
