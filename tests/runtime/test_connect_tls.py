"""TLS and credentials from the wiring: MQTT with mosquitto, Modbus over TLS, the server's own port."""

import asyncio
import getpass
import json
import ssl
import subprocess
from contextlib import asynccontextmanager

import httpx
import pytest
from certificates import authority
from conformance import SITE, TIME, Basket, connected, free_port, listening, program, until

from pollux.core.errors import AccessError, WiringError
from pollux.core.time import ManualClock
from pollux.runtime.connect.base import ConnectorState
from pollux.runtime.connect.make import make_connector
from pollux.runtime.connect.mqtt_link import MqttLink, MqttLost
from pollux.runtime.connect.mqtt_packets import Version
from pollux.runtime.serve.app import create_app, serve
from pollux.runtime.serve.auth import Auth
from pollux.runtime.serve.border import Listen
from pollux.runtime.wiring import read_wiring
from pollux.runtime.wiring_connectors import ConnectorWiring


@asynccontextmanager
async def strict_mosquitto(folder):
    """TLS on both sides, and accounts."""
    ca = authority(folder)
    server, client = ca.issue("server"), ca.issue("client", "word of the key")
    (folder / "accounts").touch(mode=0o600)
    for name in ("pollux", "plant"):
        subprocess.run([program("mosquitto_passwd"), "-b", folder / "accounts", name, f"secret-{name}"], check=True)  # noqa: ASYNC221
    port = free_port()
    (folder / "mosquitto.conf").write_text(
        f"user {getpass.getuser()}\nlistener {port} 127.0.0.1\nallow_anonymous false\npassword_file {folder}/accounts\n"
        f"cafile {ca.pair.certificate}\ncertfile {server.certificate}\nkeyfile {server.key}\nrequire_certificate true\n"
    )
    process = subprocess.Popen(  # noqa: ASYNC220
        [program("mosquitto"), "-c", folder / "mosquitto.conf"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        await listening(port)
        yield port, ca, client
    finally:
        process.kill()
        process.wait()


def wired(folder, **settings):
    return make_connector(ConnectorWiring("plant", "mqtt", settings), (SITE,), folder, ManualClock())


async def fails(link, words):
    task = asyncio.create_task(link.run(Basket()))
    await until(lambda: bool(link.problem))
    assert words in link.problem
    assert link.state is not ConnectorState.CONNECTED
    assert "secret" not in link.problem
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.service
@pytest.mark.parametrize("protocol", ["3.1.1", "5"])
def test_a_broker_with_certificates_on_both_sides_and_accounts(tmp_path, monkeypatch, protocol):
    monkeypatch.setenv("BROKER_WORD", "secret-pollux")
    monkeypatch.setenv("WRONG_WORD", "secret")
    monkeypatch.setenv("KEY_WORD", "word of the key")

    async def scenario():
        async with strict_mosquitto(tmp_path) as (port, ca, client):
            good = {
                "url": f"mqtts://pollux@127.0.0.1:{port}", "protocol": protocol, "password_env": "BROKER_WORD",
                "ca": "ca.crt", "certificate": "client.crt", "key": "client.key", "key_password_env": "KEY_WORD",
            }  # fmt: skip
            link, sink = wired(tmp_path, **good), Basket()
            async with connected(link, sink):
                context = ssl.create_default_context(cafile=str(ca.pair.certificate))
                context.load_cert_chain(client.certificate, client.key, "word of the key")
                plant = MqttLink(version=Version.V5)
                await plant.open(
                    "127.0.0.1", port, client_id="p", user="plant", password="secret-plant", tls=context
                )  # fmt: skip
                for i in range(3):
                    await plant.publish(f"pollux/{SITE}/a", json.dumps({"t": TIME + i, "v": i}).encode())
                await until(lambda: sink.values == [0.0, 1.0, 2.0])
                await plant.close()
            await fails(wired(tmp_path, **{**good, "password_env": "WRONG_WORD"}), "user")
            other = authority(tmp_path, "other")
            assert other.pair.certificate.exists()
            await fails(wired(tmp_path, **{**good, "ca": "other.crt"}), "certificate verify failed")
            bare = {key: value for key, value in good.items() if key not in ("certificate", "key", "key_password_env")}
            await fails(wired(tmp_path, **bare), "")
            await fails(wired(tmp_path, **{**good, "url": f"mqtt://pollux@127.0.0.1:{port}"}), "")

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"password_env": "secret word"}, "names an environment variable"),
        ({"password_env": "NOT_SET_ANYWHERE"}, "must be set"),
        ({"ca": "none.pem"}, "does not exist"),
        ({"certificate": "ca.crt", "key": "other.key"}, "belong together"),
        ({"certificate": "client.crt", "key": "client.key"}, "belong together"),  # encrypted, and no password named
        ({"protocol": "4"}, "'3.1.1', '5'"),
        ({"keepalive": 0}, "between 1 and 3600"),
    ],
)
def test_wrong_settings_are_named_without_the_secret(tmp_path, settings, words):
    ca = authority(tmp_path)
    authority(tmp_path, "other")
    ca.issue("client", "word of the key")
    with pytest.raises(WiringError) as error:
        wired(tmp_path, url="mqtts://pollux@127.0.0.1", **settings)
    assert words in str(error.value)
    assert "secret word" not in str(error.value)


def test_the_first_reason_is_told(tmp_path):
    async def scenario():
        link = MqttLink()
        with pytest.raises(MqttLost, match=r"refused|Connect call failed"):
            await link.open("127.0.0.1", free_port(), client_id="x")
        with pytest.raises(MqttLost):
            link.post("t", b"")
        await link.close()

    asyncio.run(scenario())


PROJECT = """\
[project]
name = "town"
[server]
{server}
[[twin]]
name = "tank"
definition = "twin.py:Tank"
period = 1
"""


def test_the_server_speaks_tls_when_the_wiring_says_so(tmp_path):
    ca = authority(tmp_path)
    ca.issue("server")
    (tmp_path / "pollux.toml").write_text(
        PROJECT.format(server='certificate = "server.crt"\nkey = "server.key"\nnames = ["plant.example"]')
    )
    server = read_wiring(tmp_path).server
    assert (server.exposed, server.names) == (False, ("plant.example",))

    async def scenario():
        listen = Listen(
            server.host, free_port(), str(server.certificate), str(server.key), server.exposed, server.names
        )  # fmt: skip
        host = type("Host", (), {"phase": "live", "lanes": lambda self: {}, "clock": ManualClock()})()
        task = asyncio.create_task(serve(create_app(host, Auth.open(tmp_path, ManualClock()), listen=listen), listen))
        await listening(listen.port)
        trusting = ssl.create_default_context(cafile=str(ca.pair.certificate))
        async with httpx.AsyncClient(verify=trusting) as client:
            assert (await client.get(f"{listen.url}health")).json() == {"status": "live"}
        async with httpx.AsyncClient(verify=ssl.create_default_context()) as client:
            with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
                await client.get(f"{listen.url}health")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(scenario())
    with pytest.raises(AccessError, match="exposed = true"):
        Listen("0.0.0.0", 1, str(server.certificate), str(server.key))


@pytest.mark.parametrize(
    ("server", "words"),
    [
        ('certificate = "none.crt"', "is a PEM file"),
        ('certificate = "ca.crt"', "needs `key`"),
        ('exposed = "yes"', "must be true or false"),
    ],
)
def test_wrong_settings_of_the_server_are_named(tmp_path, server, words):
    authority(tmp_path)
    (tmp_path / "pollux.toml").write_text(PROJECT.format(server=server))
    with pytest.raises(WiringError) as error:
        read_wiring(tmp_path)
    assert words in str(error.value)
