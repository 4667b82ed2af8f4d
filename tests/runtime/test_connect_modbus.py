"""Modbus TCP beyond the conformance suite: bytes of the specification, pymodbus as oracle, orders, settings."""

import asyncio
import math

import pytest
from conformance import ORDER, SITE, Basket, ModbusRig, connected, raised, running, until
from hypothesis import given
from hypothesis import strategies as st

from pollux.core.errors import WiringError
from pollux.core.time import ManualClock
from pollux.runtime.connect import modbus_codec as wire
from pollux.runtime.connect.base import Ack, ConnectorError
from pollux.runtime.connect.make import make_connector
from pollux.runtime.connect.modbus import Device, ModbusConnector
from pollux.runtime.connect.modbus_codec import FORMATS, Area, Block, ModbusError, ModbusRefusal, Point
from pollux.runtime.wiring_connectors import ConnectorWiring


def test_bytes_of_the_specification():
    """The examples of MODBUS Application Protocol V1.1b3, sections 6.1, 6.3, 6.5 and 6.12."""
    coils = Block(Area.COIL, 19, 19)
    request = wire.read_request(1, 17, coils)
    assert request.hex(" ") == "00 01 00 00 00 06 11 01 00 13 00 13"
    data = wire.answer(request, bytes.fromhex("11 01 03 cd 6b 05"))
    assert wire.read_answer(coils, data) == [int(b) for b in "1011001111010110101"]
    holding = Block(Area.HOLDING, 107, 3)
    request = wire.read_request(2, 17, holding)
    assert request[7:].hex(" ") == "03 00 6b 00 03"
    data = wire.answer(request, bytes.fromhex("11 03 06 02 2b 00 00 00 64"))
    assert wire.read_answer(holding, data) == [555, 0, 100]
    assert wire.write_request(3, 17, Point(Area.COIL, 172, "bool"), 1.0)[7:].hex(" ") == "05 00 ac ff 00"
    two = Point(Area.HOLDING, 1, "uint32")
    assert wire.write_request(4, 17, two, 0x000A0102)[7:].hex(" ") == "10 00 01 00 02 04 00 0a 01 02"
    with pytest.raises(ModbusRefusal, match="no such address"):
        wire.answer(request, bytes.fromhex("11 83 02"))
    for wrong in ("12 03 02 00 00", "11 04 02 00 00", "11 03"):
        with pytest.raises(ModbusError, match="something else"):
            wire.answer(request, bytes.fromhex(wrong))
    with pytest.raises(ModbusError, match="does not speak"):
        wire.header(b"HTTP/1")
    with pytest.raises(ModbusError, match="6 were asked for"):
        wire.read_answer(holding, bytes.fromhex("04 02 2b 00 00"))


@given(st.data(), st.sampled_from(sorted(FORMATS)), st.booleans())
def test_registers_agree_with_pymodbus(data, kind, swapped):
    mixin = pytest.importorskip("pymodbus.client.mixin").ModbusClientMixin
    if kind.startswith("float"):
        value = data.draw(st.floats(width=int(kind[-2:]), allow_nan=False, allow_infinity=False))
    else:
        bits = int(kind.lstrip("uint"))
        low = 0 if kind.startswith("u") else -(1 << bits - 1)
        value = data.draw(st.integers(low, low + (1 << bits) - 1))
    theirs = mixin.convert_to_registers(value, mixin.DATATYPE[kind.upper()], "little" if swapped else "big")
    point = Point(Area.HOLDING, 0, kind, swapped)
    assert point.size == len(theirs)
    assert point.value(theirs) == float(value)
    if abs(value) < 2**53:
        assert list(point.words(value)) == theirs


def test_scale_offset_and_the_mark_for_no_value():
    point = Point(Area.INPUT, 0, "int16", scale=0.1, offset=-40.0, missing=-32768)
    assert point.value([250]) == pytest.approx(-15.0)
    assert point.words(-15.0) == (250,)
    assert math.isnan(point.value([0x8000]))
    with pytest.raises(ValueError, match="does not fit into int16"):
        point.words(1e6)


@given(
    st.lists(st.tuples(st.sampled_from(Area), st.integers(0, 400), st.sampled_from(["uint16", "float64"])), min_size=1)
)
def test_blocks_cover_everything_and_nothing_else(places):
    points = [
        Point(area, address, "bool" if area in (Area.COIL, Area.DISCRETE) else kind) for area, address, kind in places
    ]
    wanted = {(p.area, p.address + i) for p in points for i in range(p.size)}
    read = [(b.area, b.address + i) for b in wire.blocks(points) for i in range(b.count)]
    assert set(read) == wanted
    for block in wire.blocks(points):
        assert block.count <= (wire.BITS if block.area in (Area.COIL, Area.DISCRETE) else wire.BLOCK)
    for point in points:  # each lies whole in the union; a read never tears a value of 64 bits across a gap
        assert all((point.area, point.address + i) in set(read) for i in range(point.size))


def test_an_order_is_written_read_back_and_reported(tmp_path):
    async def scenario():
        async with raised(ModbusRig, tmp_path) as rig:
            sink = Basket()
            async with running(rig, sink):
                await rig.connector.send(ORDER)
                with pytest.raises(ConnectorError, match="does not fit"):
                    await rig.connector.send(type(ORDER)("c2", 2, 10.0, 20.0, SITE, "P1", 1e6))
                with pytest.raises(ConnectorError, match="has none for 'P9'"):
                    await rig.connector.send(type(ORDER)("c3", 3, 10.0, 20.0, SITE, "P9", 1.0))
            assert sink.acks == [Ack(SITE, "c1", 1, 10.0, "done", 2.5)]
            assert await rig.server.async_getValues(1, 3, 30, 1) == [25]

    asyncio.run(scenario())


def test_what_the_device_refuses_is_quarantined_and_the_rest_arrives(tmp_path):
    async def scenario():
        async with raised(ModbusRig, tmp_path) as rig:
            points = {
                "a": Point(Area.HOLDING, 10, "float32"),
                "q": Point(Area.HOLDING, 5000),
                "c": Point(Area.COIL, 3, "bool"),
            }
            link = ModbusConnector("plant", Device("127.0.0.1", rig.port, points, period=0.01), SITE, rig.clock)
            sink = Basket()
            await rig.send(4)
            async with connected(link, sink):
                await until(lambda: sink.values == [4.0] and len(sink.unread) >= 1)
            assert {u.topic for u in sink.unread} == {"holding:5000"}
            assert "no such address" in str(sink.unread[0].error)
            assert {m.value for m in sink.messages if m.tag == "c"} == {0.0}

    asyncio.run(scenario())


def wired(folder, **settings):
    return make_connector(ConnectorWiring("plant", "modbus", settings), (SITE,), folder, ManualClock())


def test_the_wiring_makes_it(tmp_path):
    link = wired(
        tmp_path, url="modbus://device:1502", unit=7, period=5,
        registers={"a": {"address": 4, "table": "input", "type": "int32", "words": "little", "scale": 0.5}},
    )  # fmt: skip
    assert isinstance(link, ModbusConnector)
    assert (link.device.port, link.device.unit, link.device.period) == (1502, 7, 5.0)
    assert link.device.points == {"a": Point(Area.INPUT, 4, "int32", True, 0.5)}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"url": "tcp://x", "registers": {"a": {"address": 1}}}, "'modbus://host:502'"),
        ({"url": "modbus://x"}, "needs `registers`"),
        ({"url": "modbus://x", "unit": 300, "registers": {"a": {"address": 1}}}, "between 0 and 255"),
        ({"url": "modbus://x", "registers": {"a": 4}}, "is a table"),
        ({"url": "modbus://x", "registers": {"a": {"address": 40001.0}}}, "subtract 40001"),
        ({"url": "modbus://x", "registers": {"a": {"address": 65535, "type": "int32"}}}, "from 0 to 65535"),
        ({"url": "modbus://x", "registers": {"a": {"address": 1, "type": "float23"}}}, "Did you mean 'float32'?"),
        ({"url": "modbus://x", "registers": {"a": {"address": 1, "tabel": "input"}}}, "Did you mean 'table'?"),
        ({"url": "modbus://x", "registers": {"a": {"address": 1, "scale": 0}}}, "not zero"),
        ({"url": "modbus://x", "registers": {"a": {"address": 1, "table": "coil", "type": "int16"}}}, "a coil is a"),
        (
            {
                "url": "modbus://x",
                "registers": {"a": {"address": 1}},
                "actuators": {"P": {"address": 1, "table": "input"}},
            },
            "an actuator is a",
        ),
        ({"url": "modbuss://x", "registers": {"a": {"address": 1}}, "ca": "none.pem"}, "does not exist"),
    ],
)
def test_wrong_settings_are_named(tmp_path, settings, words):
    with pytest.raises(WiringError) as error:
        wired(tmp_path, **settings)
    assert words in str(error.value)
