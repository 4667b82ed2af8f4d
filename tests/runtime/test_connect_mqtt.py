"""MQTT on the wire: bytes of the standards, paho as the other side, any cut of the stream, back-pressure."""

import asyncio
import json
from contextlib import asynccontextmanager, suppress

import aiomqtt
import pytest
from conformance import SITE, TIME, Basket, Mqtt5Rig, raised, running, until
from hypothesis import given
from hypothesis import strategies as st

from pollux.runtime.connect import mqtt_packets as wire
from pollux.runtime.connect.mqtt_link import MqttLink, MqttLost
from pollux.runtime.connect.mqtt_packets import ProtocolError, Version, Will

VERSIONS = st.sampled_from(Version)


def test_bytes_of_the_standards():
    """MQTT 3.1.1, sections 3.1 (CONNECT with will, user, password), 3.3, 3.8, and table 2.4 (lengths)."""
    will = Will("a", b"bye")
    packet = wire.connect(
        "me", Version.V311, clean=True, keepalive=10, user="u", password="p", will=will
    )  # fmt: skip
    assert packet.hex(" ") == (
        "10 1c 00 04 4d 51 54 54 04 ce 00 0a 00 02 6d 65 00 01 61 00 03 62 79 65 00 01 75 00 01 70"
    )
    assert wire.publish("a/b", b"hi", Version.V311, mid=10).hex(" ") == "32 09 00 03 61 2f 62 00 0a 68 69"
    assert wire.subscribe(10, ["a/b", "c/d"], Version.V311).hex(" ") == (
        "82 0e 00 0a 00 03 61 2f 62 01 00 03 63 2f 64 01"
    )
    assert wire.pubacks([1, 0xABCD]).hex(" ") == "40 02 00 01 40 02 ab cd"
    for value, text in ((0, "00"), (127, "7f"), (128, "80 01"), (16_383, "ff 7f"), (268_435_455, "ff ff ff 7f")):
        assert wire.varint(value).hex(" ") == text
        assert wire.number_at(bytes.fromhex(text), 0) == (value, len(text.split()))


def test_bytes_of_version_5():
    """MQTT 5.0, section 3.1: properties of CONNECT; 3.2: reason string and receive maximum of CONNACK."""
    packet = wire.connect("me", Version.V5, clean=False, keepalive=10, session_expiry=60, receive_maximum=100)
    assert packet.hex(" ") == "10 17 00 04 4d 51 54 54 05 00 00 0a 08 11 00 00 00 3c 21 00 64 00 02 6d 65"
    body = bytes.fromhex("01 87 0a 21 00 14 1f 00 02 6e 6f 24 01")
    answer = wire.read_connack(body, Version.V5)
    assert (answer.code, answer.session, answer.reason, answer.receive_maximum) == (0x87, True, "no", 20)
    with pytest.raises(ProtocolError, match="not known"):
        wire.properties(bytes.fromhex("02 7e 00"), 0)


publications = st.tuples(
    st.text(st.characters(exclude_characters="+#\x00", exclude_categories=["Cs"]), min_size=1, max_size=20),
    st.binary(max_size=300),
    st.integers(0, 65_535),
)


@given(st.lists(publications, max_size=8), VERSIONS, st.data())
def test_any_cut_of_the_stream_gives_the_same_packets(found, version, data):
    stream = b"".join(wire.publish(topic, payload, version, mid=mid) for topic, payload, mid in found)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    buffer, seen = bytearray(), []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        buffer += stream[start:end]
        packets, used = wire.cut(buffer, 1 << 20)
        del buffer[:used]
        seen += [wire.read_publish(first, body, version) for first, body in packets]
    assert not buffer
    assert [(p.topic, p.payload, p.mid) for p in seen] == found
    assert all(p.qos == (1 if p.mid else 0) for p in seen)


@given(st.binary(max_size=80), VERSIONS, st.integers(0, 255))
def test_any_bytes_are_read_or_refused(data, version, first):
    for read in (
        lambda: wire.cut(data, 1000),
        lambda: wire.read_publish(first, data, version),
        lambda: wire.read_connack(data, version),
        lambda: wire.read_suback(data, version),
        lambda: wire.read_puback(data),
    ):
        with suppress(ProtocolError):
            read()


def test_a_length_that_never_ends_and_a_packet_that_is_too_large():
    with pytest.raises(ProtocolError, match="at most four bytes"):
        wire.cut(b"\x30\xff\xff\xff\xff\xff", 1 << 20)
    with pytest.raises(ProtocolError, match="at most 1048576 bytes"):
        wire.cut(b"\x30\xff\xff\xff\x7f", 1 << 20)


class FakeBroker(asyncio.Protocol):
    """Says yes, and then whatever a test wants."""

    def __init__(self, answer, then):
        self.answer, self.then = answer, then

    def connection_made(self, transport):
        self.transport, self.over = transport, asyncio.get_running_loop().create_future()

    def connection_lost(self, exc):
        self.over.set_result(None)

    def data_received(self, data):
        if data[0] == 0x10:
            self.transport.write(self.answer)
            if self.then:
                self.transport.write(self.then)


@asynccontextmanager
async def fake_broker(answer, then):
    made = []

    def factory():
        made.append(FakeBroker(answer, then))
        return made[-1]

    server = await asyncio.get_running_loop().create_server(factory, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    for protocol in made:
        protocol.transport.abort()
        await protocol.over
    server.close()
    await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("answer", "then", "words"),
    [
        ("20 02 00 05", "", "may not connect"),
        ("20 02 00 01", "", "does not speak this version"),
        ("20 02 00 00", "30 ff ff ff ff ff", "breaks the protocol"),
        ("20 02 00 00", "f0 00", "packet type 15"),
        ("20 02 00 00", "34 05 00 01 61 00 01", "QoS 2 was not asked for"),
        ("20 02 00 00", "e0 01 8e", "another client has taken over"),
        ("48 54 54 50 2f", "31 2e 31 20 34 30 30", "breaks the protocol|does not answer"),
    ],
)
def test_what_a_broker_says_is_understood(answer, then, words):
    async def scenario():
        async with fake_broker(bytes.fromhex(answer), bytes.fromhex(then)) as port:
            link = MqttLink(patience=0.3)

            async def use():
                await link.open("127.0.0.1", port, client_id="x")
                await link.take(1)

            with pytest.raises(MqttLost, match=words):
                await use()
            await link.close()

    asyncio.run(scenario())


def test_a_full_inbox_stops_reading_from_the_socket_and_nothing_is_dropped():
    """The flood stays in the sender's buffers: that is where the broker notices, and keeps the rest."""
    n = 5000
    flood = b"".join(wire.publish("a", b"x" * 1000, Version.V311, mid=i + 1) for i in range(n))

    async def scenario():
        async with fake_broker(bytes.fromhex("20020000"), flood) as port:
            link = MqttLink(room=300_000)
            await link.open("127.0.0.1", port, client_id="x")
            await until(lambda: link._paused)
            held = link.waiting
            await asyncio.sleep(0.1)
            assert link.waiting == held < 1000
            seen = []
            while len(seen) < n:
                seen += [p.mid for p in await link.take(100)]
                assert link.waiting < 1000
            assert seen == list(range(1, n + 1))
            await link.close()

    asyncio.run(scenario())


@pytest.mark.service
@pytest.mark.parametrize("version", [aiomqtt.ProtocolVersion.V311, aiomqtt.ProtocolVersion.V5])
def test_paho_is_understood_with_its_properties(tmp_path, version):
    """A publisher of another make, with properties of version 5 that we did not ask for."""
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties

    async def scenario():
        async with raised(Mqtt5Rig, tmp_path) as rig:
            sink = Basket()
            async with running(rig, sink), aiomqtt.Client("127.0.0.1", rig.port, protocol=version) as plant:
                extra = None
                if version is aiomqtt.ProtocolVersion.V5:
                    extra = Properties(PacketTypes.PUBLISH)
                    extra.UserProperty = [("line", "7"), ("shift", "late")]
                    extra.ContentType = "application/json"
                    extra.MessageExpiryInterval = 60
                    extra.ResponseTopic = "answers/here"
                    extra.CorrelationData = b"\x00\x01"
                for i in range(20):
                    body = json.dumps({"t": TIME + i, "v": i})
                    await plant.publish(f"pollux/{SITE}/a", body, qos=i % 2, properties=extra)
                await until(lambda: len(sink.values) == 20)
            assert sink.values == [float(i) for i in range(20)]

    asyncio.run(scenario())
