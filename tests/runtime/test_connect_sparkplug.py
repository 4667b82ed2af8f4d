"""Sparkplug B: bytes against an independent encoder and by hand, the session's rules, orders, settings."""

import asyncio
import math
import struct
from contextlib import suppress

import pytest
from conformance import ORDER, SITE, TIME, Basket, SparkplugRig, raised, running, until
from hypothesis import given
from hypothesis import strategies as st

from pollux.core.errors import MessageError, WiringError
from pollux.core.time import ManualClock
from pollux.runtime.connect.base import Ack, ConnectorError
from pollux.runtime.connect.make import make_connector
from pollux.runtime.connect.sparkplug_payload import DataType, Metric, Payload, decode, encode
from pollux.runtime.connect.sparkplug_session import Session
from pollux.runtime.wiring_connectors import ConnectorWiring

# ------------------------------------------------------------------------------------------ bytes

BY_HAND = bytes.fromhex(
    "08" "80 d0 95 ff bc 31"  # 1: timestamp 1700000000000
    "12" "1b"  # 2: a metric of 7 + 2 + 7 + 2 + 9 = 27 bytes
    "0a 05 4c 65 76 65 6c"  # 1: "Level"
    "10 07"  # 2: alias 7
    "18 81 d0 95 ff bc 31"  # 3: timestamp 1700000000001
    "20 0a"  # 4: datatype Double
    "69 00 00 00 00 00 00 f8 3f"  # 13: 1.5
    "18 05"  # 3: seq 5
)  # fmt: skip
"""Encoded by hand from the tables of the Protocol Buffers wire format."""

PAYLOAD = Payload(1_700_000_000_000, (Metric("Level", 7, 1_700_000_000_001, 10, value=1.5),), 5)


def test_bytes_by_hand():
    number, wire = 1_700_000_000_000, BY_HAND
    groups = []
    while number:
        groups.append(number & 0x7F)
        number >>= 7
    assert bytes(g | 0x80 for g in groups[:-1]) + bytes(groups[-1:]) == wire[1:7]
    assert decode(wire) == PAYLOAD
    assert encode(PAYLOAD) == wire


def descriptor():
    """`sparkplug_b.proto` as far as it concerns single values, for the reference implementation of the format."""
    pb = pytest.importorskip("google.protobuf")
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    assert pb
    file = descriptor_pb2.FileDescriptorProto(name="sparkplug_b.proto", package="org.eclipse.tahu.protobuf")
    kind = descriptor_pb2.FieldDescriptorProto
    payload = file.message_type.add(name="Payload")
    metric = payload.nested_type.add(name="Metric")
    metric.oneof_decl.add(name="value")
    single = [
        ("name", 1, kind.TYPE_STRING), ("alias", 2, kind.TYPE_UINT64), ("timestamp", 3, kind.TYPE_UINT64),
        ("datatype", 4, kind.TYPE_UINT32), ("is_historical", 5, kind.TYPE_BOOL), ("is_transient", 6, kind.TYPE_BOOL),
        ("is_null", 7, kind.TYPE_BOOL),
    ]  # fmt: skip
    values = [
        ("int_value", 10, kind.TYPE_UINT32), ("long_value", 11, kind.TYPE_UINT64), ("float_value", 12, kind.TYPE_FLOAT),
        ("double_value", 13, kind.TYPE_DOUBLE), ("boolean_value", 14, kind.TYPE_BOOL),
        ("string_value", 15, kind.TYPE_STRING), ("bytes_value", 16, kind.TYPE_BYTES),
    ]  # fmt: skip
    for name, number, of in single:
        metric.field.add(name=name, number=number, type=of, label=kind.LABEL_OPTIONAL)
    for name, number, of in values:
        metric.field.add(name=name, number=number, type=of, label=kind.LABEL_OPTIONAL, oneof_index=0)
    payload.field.add(name="timestamp", number=1, type=kind.TYPE_UINT64, label=kind.LABEL_OPTIONAL)
    payload.field.add(
        name="metrics", number=2, type=kind.TYPE_MESSAGE, label=kind.LABEL_REPEATED,
        type_name=".org.eclipse.tahu.protobuf.Payload.Metric",
    )  # fmt: skip
    payload.field.add(name="seq", number=3, type=kind.TYPE_UINT64, label=kind.LABEL_OPTIONAL)
    payload.field.add(name="uuid", number=4, type=kind.TYPE_STRING, label=kind.LABEL_OPTIONAL)
    payload.field.add(name="body", number=5, type=kind.TYPE_BYTES, label=kind.LABEL_OPTIONAL)
    file.syntax = "proto2"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("org.eclipse.tahu.protobuf.Payload"))


FIELD = {
    DataType.INT8: "int_value", DataType.INT16: "int_value", DataType.INT32: "int_value", DataType.UINT8: "int_value",
    DataType.UINT16: "int_value", DataType.UINT32: "int_value", DataType.INT64: "long_value",
    DataType.UINT64: "long_value", DataType.DATETIME: "long_value", DataType.FLOAT: "float_value",
    DataType.DOUBLE: "double_value", DataType.BOOLEAN: "boolean_value", DataType.STRING: "string_value",
    DataType.TEXT: "string_value",
}  # fmt: skip
WIDTH = {1: 8, 2: 16, 3: 32, 4: 64, 5: 8, 6: 16, 7: 32, 8: 64, 13: 64}


@st.composite
def metrics(draw):
    kind = draw(st.sampled_from(DataType))
    if kind is DataType.DOUBLE:
        value = draw(st.floats(allow_nan=False))
    elif kind is DataType.FLOAT:
        value = draw(st.floats(width=32, allow_nan=False))
    elif kind is DataType.BOOLEAN:
        value = draw(st.booleans())
    elif kind in (DataType.STRING, DataType.TEXT):
        value = draw(st.text(max_size=20))
    else:
        bits = WIDTH[kind]
        low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if kind <= 4 else (0, (1 << bits) - 1)
        value = draw(st.integers(low, high))
    null = draw(st.booleans())
    return Metric(
        draw(st.none() | st.text(max_size=20)), draw(st.none() | st.integers(0, 2**64 - 1)),
        draw(st.none() | st.integers(0, 2**63)), kind, null, draw(st.booleans()), None if null else value,
    )  # fmt: skip


@given(
    st.none() | st.integers(0, 2**63), st.lists(metrics(), max_size=5), st.none() | st.integers(0, 255)
)  # fmt: skip
def test_payloads_agree_with_the_reference_implementation(timestamp, found, seq):
    reference = descriptor()
    theirs = reference()
    theirs.ParseFromString(encode(Payload(timestamp, tuple(found), seq)))
    assert (theirs.timestamp if theirs.HasField("timestamp") else None) == timestamp
    assert (theirs.seq if theirs.HasField("seq") else None) == seq
    assert len(theirs.metrics) == len(found)
    for ours, other in zip(found, theirs.metrics, strict=True):
        assert (other.name if other.HasField("name") else None) == ours.name
        assert (other.alias if other.HasField("alias") else None) == ours.alias
        assert other.is_null == ours.null
        assert other.WhichOneof("value") == (None if ours.null else FIELD[DataType(ours.datatype)])
    back = decode(theirs.SerializeToString())
    for ours, other in zip(found, back.metrics, strict=True):
        assert (ours.name, ours.alias, ours.timestamp, ours.null, ours.historical) == (
            other.name, other.alias, other.timestamp, other.null, other.historical,
        )  # fmt: skip
        number = other.number(None)
        if ours.null and ours.datatype not in (DataType.STRING, DataType.TEXT):
            assert number is not None
            assert math.isnan(number)
        elif not ours.null:
            assert number == (None if isinstance(ours.value, str) else float(ours.value))


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data):
    with suppress(MessageError):
        decode(data)


@given(st.integers(0, 40))
def test_a_payload_that_ends_too_early_is_never_read_as_another(cut):
    wire = BY_HAND
    if cut >= len(wire):
        return
    try:
        found = decode(wire[:cut])
    except MessageError:
        return
    assert found in (Payload(), Payload(PAYLOAD.timestamp), Payload(PAYLOAD.timestamp, PAYLOAD.metrics))


def test_numbers_of_other_makers():
    """Negative small integers are sent with 8 or 16 bits by some and with 32 by others."""
    for value in (0xFF, 0xFFFFFFFF):
        assert Metric(datatype=DataType.INT8, value=value).number(None) == -1.0
    assert Metric(value=3).number(DataType.UINT16) == 3.0
    assert Metric(value=b"x", datatype=17).number(None) is None
    assert struct.unpack("<d", struct.pack("<d", 1.5))[0] == decode(BY_HAND).metrics[0].value


# ------------------------------------------------------------------------------------------ session


def data(seq, value=1.0, alias=1, name=None):
    return Payload(1000, (Metric(name, None if name else alias, 2000, 10, value=value),), seq)


def birth(seq=0, bd_seq=3, alias=1):
    return Payload(
        1000, (Metric("bdSeq", datatype=8, value=bd_seq), Metric("Level", alias, 2000, 10, value=5.0)), seq
    )  # fmt: skip


def born():
    session = Session("edge")
    first = session.take("NBIRTH", "", birth(), 0.0)
    assert [(v.address, v.t, v.value) for v in first.values] == [(("edge", "", "Level"), 2.0, 5.0)]
    return session


def test_aliases_mean_what_the_birth_said():
    outcome = born().take("NDATA", "", data(1, 7.0), 0.0)
    assert [(v.address[2], v.value) for v in outcome.values] == [("Level", 7.0)]
    assert not outcome.rebirth


def test_sequence_numbers_wrap():
    session = born()
    for i in range(1, 600):
        assert not session.take("NDATA", "", data(i % 256), 0.0).rebirth


@pytest.mark.parametrize("seq", [0, 2, 255, None])
def test_after_a_gap_aliases_are_not_trusted_until_the_next_birth(seq):
    session = born()
    outcome = session.take("NDATA", "", data(seq), 0.0)
    assert outcome.rebirth
    assert outcome.values == []
    assert {p.reason for p in outcome.problems} == {"sequence"}
    assert session.take("NDATA", "", data(2, name="Level"), 0.0).values[0].value == 1.0  # a name needs no birth
    session.take("NBIRTH", "", birth(alias=9), 0.0)
    assert [v.value for v in session.take("NDATA", "", data(1, 8.0, alias=9), 0.0).values] == [8.0]
    assert session.take("NDATA", "", data(2, 8.0, alias=1), 0.0).rebirth  # the old alias is gone


def test_data_before_a_birth_ask_for_one():
    outcome = Session("edge").take("DDATA", "tank", data(4), 0.0)
    assert outcome.rebirth
    assert outcome.values == []


def test_a_death_makes_no_value_of_everything_and_an_old_death_of_nothing():
    session = born()
    session.take("DBIRTH", "tank", Payload(1000, (Metric("T", 2, 2000, 10, value=1.0),), 1), 0.0)
    assert session.take("NDEATH", "", Payload(None, (Metric("bdSeq", datatype=8, value=2),)), 9.0).values == []
    dead = session.take("DDEATH", "tank", Payload(8000, (), 2), 9.0)
    assert [(v.address, v.t, math.isnan(v.value)) for v in dead.values] == [(("edge", "tank", "T"), 8.0, True)]
    dead = session.take("NDEATH", "", Payload(None, (Metric("bdSeq", datatype=8, value=3),)), 9.0)
    assert [(v.address[2], v.t) for v in dead.values] == [("Level", 9.0)]
    assert session.take("NDATA", "", data(3), 9.0).rebirth


# ------------------------------------------------------------------------------------------ over the wire


@pytest.mark.service
def test_a_missing_message_brings_a_rebirth_and_an_order_its_answer(tmp_path):
    async def scenario():
        async with raised(SparkplugRig, tmp_path) as rig:
            sink = Basket()
            async with running(rig, sink):
                await rig.send(1)
                births = rig.edge.births
                rig.edge.seq += 1  # a message is lost
                rig.connector._asked.clear()
                await rig.edge.data(2)
                await until(lambda: rig.edge.births == births + 1 and rig.connector._sessions["edge"].seq is not None)
                await rig.send(3)
                await until(lambda: 3.0 in sink.values)
                await rig.connector.send(ORDER)
                await until(lambda: sink.acks != [])
                await rig.edge.stop()  # in order: the broker says nothing; then abruptly
                await rig.edge.start()
                await until(lambda: rig.connector._sessions["edge"].seq is not None)
                rig.edge.link._transport.abort()
                await until(lambda: math.isnan(sink.messages[-1].value) and rig.connector._sessions["edge"].seq is None)
            assert sink.values == [1.0, 3.0]
            assert {u.error.reason for u in sink.unread} == {"sequence"}
            assert sink.acks == [Ack(SITE, "c1", 1, TIME, "done", 2.5)]

    asyncio.run(scenario())


def wired(folder, **settings):
    return make_connector(ConnectorWiring("plant", "sparkplug", settings), (SITE,), folder, ManualClock())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"metrics": {"a": "e:m"}, "group": "g"}, "needs a broker"),
        ({"url": "mqtt://x", "metrics": {"a": "e:m"}}, "`group` is the group id"),
        ({"url": "mqtt://x", "group": "g"}, "needs `metrics`"),
        ({"url": "mqtt://x", "group": "g", "metrics": {"a": "Level"}}, "'edge:name'"),
        ({"url": "mqtt://x", "group": "g", "metrics": {"a": "e/d/x:Level"}}, "'edge:name'"),
    ],
)
def test_wrong_settings_are_named(tmp_path, settings, words):
    with pytest.raises(WiringError, match=None) as error:
        wired(tmp_path, **settings)
    assert words in str(error.value)


def test_an_order_without_a_metric_or_a_connection_is_refused(tmp_path):
    async def scenario():
        link = wired(tmp_path, url="mqtt://x", group="g", metrics={"a": "e:m"}, actuators={"P1": "e/d:Valve"})
        with pytest.raises(ConnectorError, match="must be connected"):
            await link.send(ORDER)
        with pytest.raises(ConnectorError, match="has none for 'P2'"):
            await link.send(type(ORDER)("c2", 2, 10.0, 20.0, SITE, "P2", 1.0))

    asyncio.run(scenario())
