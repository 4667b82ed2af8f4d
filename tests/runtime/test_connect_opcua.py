"""OPC UA beyond the conformance suite: security, orders, bad status, steady values."""

import asyncio
import math
import time
from contextlib import AsyncExitStack

import pytest
from conformance import BAD_WAITING, ORDER, SITE, TIME, Basket, OpcUaRig, connected, raised, running, until

from pollux.core.errors import WiringError
from pollux.core.time import ManualClock
from pollux.runtime.connect.base import Ack, ConnectorError, ConnectorState
from pollux.runtime.connect.make import make_connector
from pollux.runtime.wiring_connectors import ConnectorWiring

pytest.importorskip("asyncua", reason="the extra `opcua` is not installed")


def wired(folder, **settings):
    return make_connector(
        ConnectorWiring("plant", "opcua", settings), (SITE,), folder, ManualClock(time.time())
    )  # fmt: skip


def test_an_encrypted_and_signed_session_with_a_certificate_that_was_made(tmp_path):
    """Basic256Sha256; the server's certificate is pinned, so another server is not talked to."""

    async def scenario():
        async with AsyncExitStack() as stack:
            rig = await stack.enter_async_context(raised(OpcUaRig, tmp_path))
            other = tmp_path / "other.der"
            settings = {
                "url": f"opc.tcp://127.0.0.1:{rig.peer.port}/",
                "nodes": {"a": "ns=2;s=a"},
                "period": 0.05,
                "certificate": "own.der",
                "key": "own.pem",
                "server_certificate": str(rig.peer.certificate),
            }
            link, sink = wired(tmp_path, **settings), Basket()
            assert (tmp_path / "own.pem").stat().st_mode & 0o077 == 0
            async with connected(link, sink):
                await rig.send(7)
                await until(lambda: sink.values == [7.0])
                assert link._client.security_policy.URI.endswith("Basic256Sha256")
            other.write_bytes((tmp_path / "own.der").read_bytes())
            wrong = wired(tmp_path, **{**settings, "server_certificate": "other.der"})
            task = asyncio.create_task(wrong.run(Basket()))
            await until(lambda: wrong.counters.reconnects >= 1, 20)
            assert wrong.state is not ConnectorState.CONNECTED
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(scenario())


def test_an_order_is_written_read_back_and_reported(tmp_path):
    async def scenario():
        async with raised(OpcUaRig, tmp_path) as rig:
            sink = Basket()
            async with running(rig, sink):
                await rig.connector.send(ORDER)
                with pytest.raises(ConnectorError, match="has none for 'P9'"):
                    await rig.connector.send(type(ORDER)("c2", 2, 10.0, 20.0, SITE, "P9", 1.0))
                with pytest.raises(ConnectorError, match="no faults"):
                    await rig.connector.fault(SITE, "leak", "J1", 1.0, None)
            assert sink.acks == [Ack(SITE, "c1", 1, 10.0, "done", 2.5)]
            node = rig.peer.server.get_node("ns=2;s=P1")
            assert await rig.peer.call(node.read_value()) == 2.5

    asyncio.run(scenario())


def test_a_bad_status_is_no_value_and_a_steady_value_is_news(tmp_path):
    async def scenario():
        async with raised(OpcUaRig, tmp_path) as rig:
            sink = Basket()
            async with running(rig, sink):
                await rig.send(3)
                await until(lambda: 3.0 in sink.values)
                for k in range(1, 4):  # the same value, later
                    await rig.peer.call(rig.peer.write_at("a", 3.0, TIME + 3 + k))
                await until(lambda: len([m for m in sink.messages if m.value == 3.0]) == 4)
                await rig.peer.call(rig.peer.write("a", 9, status=BAD_WAITING))
                await until(lambda: math.isnan(sink.messages[-1].value) and sink.messages[-1].t == TIME + 9)
            assert [m.t - TIME for m in sink.messages if m.value == 3.0] == [3.0, 4.0, 5.0, 6.0]

    asyncio.run(scenario())


def test_a_node_that_the_server_does_not_have_is_named(tmp_path):
    async def scenario():
        async with raised(OpcUaRig, tmp_path) as rig:
            link = wired(tmp_path, url=f"opc.tcp://127.0.0.1:{rig.peer.port}/", nodes={"q": "ns=2;s=none"})
            task = asyncio.create_task(link.run(Basket()))
            await until(lambda: "ns=2;s=none" in link.problem)
            assert "BadNodeIdUnknown" in link.problem
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"url": "http://x", "nodes": {"a": "i=1"}}, "reads 'opc.tcp://host:4840'"),
        ({"url": "opc.tcp://u:secret@x", "nodes": {"a": "i=1"}}, "stands in no file"),
        ({"url": "opc.tcp://x:4840"}, "needs `nodes`"),
        ({"url": "opc.tcp://x:4840", "nodes": {"a": "level"}}, "a node id reads"),
        ({"url": "opc.tcp://x:4840", "nodes": {"a": 7}}, "must be a text"),
        ({"url": "opc.tcp://x:4840", "nodes": {"a": "i=1"}, "user": "me"}, "needs an encrypted channel"),
        ({"url": "opc.tcp://x:4840", "nodes": {"a": "i=1"}, "certificate": "c.der"}, "Give all three"),
        ({"url": "opc.tcp://x:4840", "nodes": {"a": "i=1"}, "period": 0}, "above zero"),
        (
            {"url": "opc.tcp://x", "nodes": {"a": "i=1"}, "certificate": "c", "key": "k", "server_certificate": "s"},
            "compare its fingerprint",
        ),
    ],
)
def test_wrong_settings_are_named(tmp_path, settings, words):
    with pytest.raises(WiringError) as error:
        wired(tmp_path, **settings)
    assert words in str(error.value)
    assert "secret" not in str(error.value)
