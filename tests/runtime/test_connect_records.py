"""Recorded flights and runs: ULog against pyulog on real logs, MCAP against its own writer; both through the replay."""

import asyncio
import json
import math
from pathlib import Path

import numpy as np
import pytest
from conformance import SITE, Basket

from pollux.core.errors import InputError
from pollux.core.time import ManualClock
from pollux.runtime.connect.files import ReplayConnector
from pollux.runtime.connect.records import RecordFormat
from pollux.runtime.connect.ulog import MAGIC, read_ulog

LOGS = Path(__file__).parents[3] / "shared" / "data" / "px4_ulog"


def logs():
    if not LOGS.is_dir():
        pytest.skip("the recorded flights lie beside the repository: shared/data/px4_ulog")
    return sorted(LOGS.glob("*.ulg"))


def replayed(path, columns, **form):
    sink = Basket()
    link = ReplayConnector("plant", [path], SITE, ManualClock(), form=RecordFormat(columns=columns, **form))
    asyncio.run(link.run(sink))
    return sink


@pytest.mark.parametrize("k", [0, 1])
def test_every_number_of_a_real_log_agrees_with_pyulog(k):
    """Every field of every topic and instance (of every fourth in the long log), bit for bit."""
    pyulog = pytest.importorskip("pyulog")
    path = logs()[k]
    theirs = pyulog.ULog(str(path))
    columns = {}
    for topic in theirs.data_list[:: 1 + 3 * k]:
        prefix = topic.name if topic.multi_id == 0 else f"{topic.name}#{topic.multi_id}"
        for field in topic.field_data:
            if field.type_str != "char" and "_padding" not in field.field_name:
                columns[f"{prefix}.{field.field_name}"] = (topic, field.field_name)
    ours: dict[str, list] = {}
    for said in read_ulog(path, {column: column for column in columns}, 0.0, "plant", SITE):
        if said.message:
            ours.setdefault(said.message.tag, []).append((said.message.t, said.message.value))
    assert len(columns) > 200
    for column, (topic, field) in columns.items():
        values = topic.data[field].astype(float)
        times = topic.data["timestamp"] / 1e6
        keep = np.isfinite(values)
        got = np.array(ours.get(column, [])).reshape(-1, 2)
        order = np.argsort(times[keep], kind="stable")
        np.testing.assert_array_equal(got[:, 0], times[keep][order], err_msg=column)
        np.testing.assert_array_equal(got[:, 1], values[keep][order], err_msg=column)


def test_a_flight_is_replayed_in_order_of_time():
    path = logs()[0]
    columns = {"battery_status.voltage_v": "VT1", "actuator_outputs#1.output[0]": "M1"}
    sink = replayed(path, columns, origin=1.7e9)
    assert {m.tag for m in sink.messages} == {"VT1", "M1"}
    times = [m.t for m in sink.messages]
    assert times == sorted(times)
    assert times[0] > 1.7e9
    assert not sink.unread


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({}, "needs `columns`"),
        ({"battery_status.voltage": "a"}, "Did you mean 'battery_status.voltage_v'?"),
        ({"nothing.x": "a"}, "has no 'nothing.x'"),
    ],
)
def test_a_column_that_a_log_does_not_have_is_named(columns, words):
    with pytest.raises(InputError) as error:
        replayed(logs()[0], columns)
    assert words in str(error.value)


def ulog(*messages):
    body = b"".join(len(m[1:]).to_bytes(2, "little") + m for m in messages)
    return MAGIC + b"\x01" + (0).to_bytes(8, "little") + body


def row(t, x, tail=b""):
    return b"D\x05\x00" + t.to_bytes(8, "little") + np.float32(x).tobytes() + tail


HEAD = (b"Fthing:uint64_t timestamp;float x;", b"A\x00\x05\x00thing")


def test_a_log_by_hand_with_a_hole_an_infinity_and_a_torn_end(tmp_path):
    data = ulog(*HEAD, row(2_000_000, 1.5), row(1_000_000, math.nan), row(3_000_000, math.inf), row(1_500_000, 2.5))
    (tmp_path / "r.ulg").write_bytes(data + b"\x10\x00D\x05")
    sink = replayed(tmp_path / "r.ulg", {"thing.x": "a"})
    assert [(m.t, m.value) for m in sink.messages] == [(1.5, 2.5), (2.0, 1.5)]
    assert [u.error.reason for u in sink.unread] == ["nonfinite"]


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 no log at all....", ulog(b"A\x00\x05\x00thing"), ulog(*HEAD, b"D")])
def test_what_is_no_log_is_said(tmp_path, data):
    (tmp_path / "r.ulg").write_bytes(data)
    with pytest.raises(InputError, match=r"r\.ulg"):
        replayed(tmp_path / "r.ulg", {"thing.y": "a"})


def test_mcap(tmp_path):
    writer_of = pytest.importorskip("mcap.writer").Writer
    with (tmp_path / "r.mcap").open("wb") as file:
        writer = writer_of(file)
        writer.start()
        schema = writer.register_schema("pose", "jsonschema", b"{}")
        pose = writer.register_channel("/pose", "json", schema)
        raw = writer.register_channel("/raw", "ros1", schema)
        for i in range(4):
            t = 1_700_000_000_000_000_000 + i * 500_000_000
            body = {"p": {"x": [i, 2 * i]}, "on": True} if i != 2 else {"p": "lost"}
            writer.add_message(pose, log_time=t, data=json.dumps(body).encode(), publish_time=t)
            writer.add_message(raw, log_time=t, data=b"\x00", publish_time=t)
        writer.add_message(pose, log_time=t + 1, data=b"{nonsense", publish_time=t)
        writer.finish()
    sink = replayed(tmp_path / "r.mcap", {"/pose:p.x[1]": "a", "/pose:on": "b"})
    assert [(m.t - 1.7e9, m.value) for m in sink.messages if m.tag == "a"] == [(0.0, 0.0), (0.5, 2.0), (1.5, 6.0)]
    assert [m.value for m in sink.messages if m.tag == "b"] == [1.0, 1.0, 1.0]
    assert [u.error.reason for u in sink.unread] == ["malformed"]
    for columns, words in (
        ({"/raw:x": "a"}, "'ros1'"), ({"/pos:x": "a"}, "Did you mean '/pose'?"), ({"x": "a"}, "'topic:field'"),
    ):  # fmt: skip
        with pytest.raises(InputError) as error:
            replayed(tmp_path / "r.mcap", columns)
        assert words in str(error.value)
    (tmp_path / "r.mcap").write_bytes(b"no mcap")
    with pytest.raises(InputError, match="readable MCAP"):
        replayed(tmp_path / "r.mcap", {"/pose:on": "b"})
