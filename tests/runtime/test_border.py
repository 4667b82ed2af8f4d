"""The border: every kind of bad message is refused with its reason, a value, a rule and a way out; good ones pass."""

import json
import math
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pollux.core.errors import MessageError, WiringError
from pollux.runtime.binding import bind, to_wire
from pollux.runtime.border import Border
from pollux.runtime.connect.base import Order
from pollux.runtime.connect.orders import order_packet, parse_ack
from pollux.runtime.connect.wire import REASONS, Message, parse_body, parse_mqtt
from pollux.runtime.wiring import ActuatorWiring, TagWiring, TwinWiring


@dataclass(frozen=True)
class Spec:
    name: str
    unit: str
    low: float
    high: float


LEVEL = Spec("level", "m", 0.0, 2.0)
TEMP = Spec("temp", "K", 280.0, 360.0)
FLOW = Spec("flow", "m^3/s", -math.inf, math.inf)


def wiring(tags, actuators=(), time="event", jump=100.0):
    return TwinWiring(
        "tank", "m:f", {}, (), 1.0, time, 0.0, jump, "site", 1.0, tuple(tags), tuple(actuators), {}, "w.toml"
    )


def tag(name, field, unit=None, authority="plant"):
    return TagWiring(name, field, unit, None, authority, "plant")


TAGS = (tag("LT", "level", "cm"), tag("TT", "temp", "degC"), tag("FT", "flow", "gpm", "lab"))
BORDER = Border([bind(wiring(TAGS), [LEVEL, TEMP], [FLOW])])


def through(topic, payload, source="plant", border=BORDER, now=0.0):
    """A packet, all the way to rows."""
    rows = []
    for message in parse_mqtt(source, topic, payload if isinstance(payload, bytes) else json.dumps(payload).encode()):
        rows += border.admit(message, now)
    return rows


def test_good_messages_become_rows_in_the_units_of_the_twin():
    (row,) = through("pollux/site/LT", {"t": 10.0, "v": 150})
    assert (row.twin, row.port, row.t, row.value) == ("tank", 0, 10.0, pytest.approx(1.5))
    (row,) = through("pollux/site/TT", {"t": 10, "v": 20.0, "unit": "degC"})
    assert row.value == pytest.approx(293.15)
    (row,) = through("pollux/site/TT", {"t": 10, "v": 68.0, "unit": "degF"})  # declared, so converted
    assert row.value == pytest.approx(293.15)
    rows = through("pollux/site", {"t": 10, "values": {"LT": 100.0, "TT": None}})
    assert [(r.port, math.isnan(r.value)) for r in rows] == [(0, False), (1, True)]
    (row,) = through("pollux/site/FT", {"t": 10, "v": 1.0}, source="lab")
    assert row.value == pytest.approx(6.30902e-5)


@pytest.mark.parametrize(
    ("topic", "payload", "reason", "words"),
    [
        ("pollux/site/LT", b"{", "malformed", "JSON"),
        ("pollux/site/LT", b"\xff\xfe", "malformed", "JSON"),
        ("pollux/site/LT", b"", "malformed", "JSON"),
        ("pollux/site/LT", b"[1, 2]", "malformed", "object"),
        ("pollux/site/LT", b'{"t": 1, "t": 2, "v": 3}', "malformed", "once"),
        ("pollux/site/LT", {"v": 1}, "malformed", "`t` is required"),
        ("pollux/site/LT", {"t": 1}, "malformed", "`v` is required"),
        ("pollux/site/LT", {"t": 1, "v": "1.0"}, "malformed", "without quotes"),
        ("pollux/site/LT", {"t": 1, "v": True}, "malformed", "True"),
        ("pollux/site/LT", {"t": None, "v": 1}, "malformed", "`t` is a number"),
        ("pollux/site/LT", b'{"t": 1, "v": NaN}', "nonfinite", "null"),
        ("pollux/site/LT", b'{"t": 1, "v": -Infinity}', "nonfinite", "null"),
        ("pollux/site/LT", b'{"t": 1, "v": 1e999}', "nonfinite", "finite"),
        ("pollux/site/LT", b'{"t": 1, "v": 1' + b"0" * 400 + b"}", "nonfinite", "finite"),
        ("pollux/site/LT", b'{"t": 1, "v": 1' + b"0" * 9000 + b"}", "malformed", "JSON"),
        ("pollux/site/LT", {"t": 1.7e12, "v": 1}, "time", "milliseconds"),
        ("pollux/site/LT", {"t": 1, "v": 1e13}, "range", "within [-9, 11] m"),
        ("pollux/site/LT", {"t": 1, "v": 5000}, "range", "widen `within`"),
        ("pollux/site/FT", {"t": 1, "v": 1e13}, "authority", "'lab'"),
        ("pollux/site/LT", {"t": 1, "v": 1, "unit": "kPa"}, "unit", "'kPa'"),
        ("pollux/site/LT", {"t": 1, "v": 1, "unit": "xx"}, "unit", "'xx'"),
        ("pollux/site/LT", {"t": 1, "v": 1, "unit": 7}, "unit", "text"),
        ("pollux/site/LR", {"t": 1, "v": 1}, "unknown_tag", "Did you mean 'LT'?"),
        ("pollux/sight/LT", {"t": 1, "v": 1}, "unknown_tag", "Did you mean 'site'?"),
        ("other/site/LT", {"t": 1, "v": 1}, "topic", "pollux/<site>/<tag>"),
        ("pollux/site/a/b", {"t": 1, "v": 1}, "topic", "pollux/<site>/<tag>"),
        ("pollux/site", {"t": 1, "v": 1}, "malformed", "values"),
        ("pollux/site", {"t": 1, "values": {"LT": "x"}}, "malformed", "number"),
        ("pollux/site", {"t": 1, "values": dict.fromkeys(map(str, range(5000)), 1)}, "oversized", "4096"),
        ("pollux/site/LT", b'{"t": 1, "v": 1, "x": "' + b"x" * 70_000 + b'"}', "oversized", "65536"),
        ("pollux/site/LT", b'{"t": 1, "v": ' + b"[" * 60_000, "nested", "levels"),
        ("pollux/site/LT", {"t": 1, "v": 1, "x": [[[[[[[[[1]]]]]]]]]}, "nested", "levels"),
    ],
)  # fmt: skip
def test_bad_messages_are_refused_with_their_reason(topic, payload, reason, words):
    with pytest.raises(MessageError) as error:
        through(topic, payload)
    assert error.value.reason == reason
    assert reason in REASONS
    assert words in str(error.value)
    assert len(str(error.value)) < 600


def test_wall_time_is_bounded_by_the_clock():
    border = Border([bind(wiring(TAGS, time="wall", jump=5.0), [LEVEL, TEMP], [FLOW])])
    assert through("pollux/site/LT", {"t": 104.0, "v": 1}, border=border, now=100.0)
    with pytest.raises(MessageError, match="Set the sender's clock") as error:
        through("pollux/site/LT", {"t": 106.0, "v": 1}, border=border, now=100.0)
    assert error.value.reason == "future"


def test_a_body_is_taken_reading_by_reading():
    body = {
        "readings": [{"tag": "LT", "t": 1, "v": 2}, {"tag": "LT", "t": 1}, 7, {"site": "b", "t": 2, "values": {"x": 1}}]
    }
    messages, errors = parse_body("me", json.dumps(body).encode(), "a")
    assert [(m.source, m.site, m.tag) for m in messages] == [("me", "a", "LT"), ("me", "b", "x")]
    assert [e.reason for e in errors] == ["malformed", "malformed"]
    with pytest.raises(MessageError, match="readings"):
        parse_body("me", b'{"t": 1}')
    _, errors = parse_body("me", b'{"readings": [{"tag": "LT", "t": 1, "v": 2}]}')
    assert "`site` is a name" in str(errors[0])


@given(st.binary(max_size=200) | st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["t", "v", "values", "LT"]), inner),
).map(lambda v: json.dumps(v).encode()), st.sampled_from(["pollux/site", "pollux/site/LT", "x", ""]))  # fmt: skip
def test_anything_is_rows_or_a_message_error(payload, topic):
    reasons, rows = [], []
    try:
        rows = through(topic, payload)
    except MessageError as error:
        reasons.append(error.reason)
    assert set(reasons) <= set(REASONS)
    assert all(math.isfinite(r.t) and not math.isinf(r.value) for r in rows)


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ([tag("a", "levl")], "Did you mean 'level'?"),
        ([tag("a", "level", "kPa")], "'kPa'"),
        ([tag("a", "level"), tag("b", "sensor.level")], "is fed by 'a' already"),
    ],
)
def test_a_wiring_that_does_not_fit_the_twin_is_refused(tags, words):
    with pytest.raises(WiringError) as error:
        bind(wiring(tags), [LEVEL, TEMP], [FLOW])
    assert words in str(error.value)
    assert "w.toml" in str(error.value)


def test_commands_leave_in_the_units_of_the_wire():
    bound = bind(wiring((), [ActuatorWiring("P1", "flow", "L/s", "plant")]), [LEVEL], [FLOW])
    assert to_wire(bound, {"flow": 0.002}) == {("plant", "P1"): pytest.approx(2.0)}
    with pytest.raises(WiringError, match="actuator"):
        to_wire(bound, {"flw": 1.0})
    with pytest.raises(WiringError, match="sensor or an input"):
        bind(wiring((), [ActuatorWiring("P1", "level", None, "plant")]), [LEVEL], [FLOW])
    topic, payload = order_packet(Order("c1", 3, 10.0, 20.0, "site", "P1", 2.0))
    assert topic == "pollux/site/command/P1"
    assert json.loads(payload) == {"id": "c1", "sequence": 3, "t": 10.0, "expires": 20.0, "v": 2.0}


def test_acknowledgements_are_read_strictly():
    ack = parse_ack("site", b'{"id": "c1", "sequence": 3, "t": 11.0, "status": "done", "v": null}')
    assert (ack.id, ack.sequence, ack.status, ack.value) == ("c1", 3, "done", None)
    for bad in (b"{}", b'{"id": "c", "sequence": "3", "t": 1, "status": "done"}', b'{"id": 1, "status": "done"}'):
        with pytest.raises(MessageError):
            parse_ack("site", bad)


def test_one_tag_may_feed_two_twins():
    other = TwinWiring("b", "m:f", {}, (), 1.0, "event", 0.0, 9.0, "site", 1.0, (tag("LT", "level"),), (), {}, "w")
    border = Border([bind(wiring(TAGS), [LEVEL, TEMP], [FLOW]), bind(other, [LEVEL], [])])
    rows = border.admit(Message("plant", "site", "LT", 1.0, 1.5), 0.0)
    assert [(r.twin, r.value) for r in rows] == [("tank", pytest.approx(0.015)), ("b", 1.5)]
