"""The OPC UA face: a real client reads what the twin believes, and can do nothing else."""

import asyncio
import contextlib
import math

import pytest
from conformance import free_port, until
from live_tank import feed, make_host

from pollux.runtime.connect.opcua_certificate import application_uri, ensure_certificate
from pollux.runtime.serve.auth import Auth
from pollux.runtime.serve.opcua import CERTIFICATE, OpcUaFace, flat
from pollux.runtime.serve.tokens import token_of

pytest.importorskip("asyncua", reason="the extra `opcua` is not installed")


async def client_of(folder, port, token, clock):
    from asyncua import Client
    from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256

    own, key = folder / "client.der", folder / "client.pem"
    ensure_certificate(own, key, clock)
    client = Client(f"opc.tcp://127.0.0.1:{port}/", timeout=10)
    client.application_uri = application_uri(own)
    if token is not None:
        client.set_user("anybody")
        client.set_password(token)
    await client.set_security(
        SecurityPolicyBasic256Sha256, str(own), str(key), server_certificate=str(folder / CERTIFICATE)
    )  # fmt: skip
    return client


def test_a_client_reads_the_belief_and_can_do_nothing_else(kit, tmp_path):
    from asyncua import Client, ua
    from asyncua.ua import UaError

    host, *_ = make_host(kit, tmp_path)
    feed(host.lane.live)
    frame = host.lane.live.frame()

    async def scenario():
        port = free_port()
        auth = Auth.open(tmp_path, host.clock)
        face = OpcUaFace(host, auth, tmp_path, host.clock, "127.0.0.1", port)
        task = asyncio.create_task(face.run())
        await until(lambda: len(face._nodes) > len(flat(frame)) or task.done(), 30)
        async with await client_of(tmp_path, port, token_of(tmp_path, "person"), host.clock) as client:
            for path, value in flat(frame):
                node = client.get_node(ua.NodeId("/".join((frame["twin"], *path)), 2))
                data = await node.read_data_value(raise_on_bad_status=False)
                if value is None:
                    assert not data.StatusCode.is_good()
                else:
                    assert data.Value.Value == value, path
                    assert data.SourceTimestamp.timestamp() == pytest.approx(frame["t"], abs=1e-5)
            mean = client.get_node(f"ns=2;s={frame['twin']}/states/h/mean")
            assert (await mean.read_description()).Text == "in m"
            with pytest.raises(UaError):
                await mean.write_value(99.0)
            assert math.isclose(await mean.read_value(), frame["states"]["h"]["mean"])
            with pytest.raises(UaError):
                await client.nodes.objects.add_object(2, "mine")
        for token in ("wrong", None):
            client = await client_of(tmp_path, port, token, host.clock)
            with pytest.raises((UaError, OSError, TimeoutError)):
                await client.connect()
            client.disconnect_socket()
        bare = Client(f"opc.tcp://127.0.0.1:{port}/")
        with pytest.raises((UaError, OSError, TimeoutError, ConnectionError)):
            await bare.connect()
        bare.disconnect_socket()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(scenario())
