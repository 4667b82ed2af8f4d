"""A command becomes an order for each actuator, and is done only when all of them say so."""

import asyncio

import pytest

from pollux.core.signals import Command
from pollux.runtime.actuators import WiredActuators
from pollux.runtime.binding import ActuatorPort, Binding
from pollux.runtime.connect.base import Ack, ConnectorError, ConnectorState
from pollux.runtime.connect.memory import MemoryConnector

BINDING = Binding(
    "tank", "site", "event", 1.0, 0.0, 10.0, 1, 2, (),
    (
        ActuatorPort("FV1", "q", 0, "L/s", 1000.0, 0.0, "field"),
        ActuatorPort("HV1", "heat", 1, "kW", 1e-3, 0.0, "field"),
    ),
)  # fmt: skip
COMMAND = Command("tank", 5.0, "tank:c1", "d1", {"q": 0.02, "heat": 1500.0}, 1, 60.0)


@pytest.fixture
def field():
    connector = MemoryConnector("field")
    connector.state = ConnectorState.CONNECTED
    return connector


def test_orders_in_units_of_the_wire(field):
    asyncio.run(WiredActuators(BINDING, {"field": field}).send(COMMAND))
    assert [(o.id, o.actuator, o.value, o.sequence) for o in field.orders] == [
        ("tank:c1/FV1", "FV1", 20.0, 1), ("tank:c1/HV1", "HV1", 1.5, 1),
    ]  # fmt: skip


@pytest.mark.parametrize(("second", "verdict"), [("done", "done"), ("duplicate", "done"), ("refused", "refused")])
def test_answered_when_all_orders_are(field, second, verdict):
    actuators = WiredActuators(BINDING, {"field": field})
    asyncio.run(actuators.send(COMMAND))
    assert actuators.answered(Ack("site", "tank:c1/FV1", 1, 6.0, "done")) is None
    assert actuators.answered(Ack("site", "tank:c1/HV1", 1, 6.0, second)) == ("tank:c1", verdict)


def test_answer_after_a_restart_counts_for_its_command(field):
    assert WiredActuators(BINDING, {"field": field}).answered(Ack("site", "tank:c1/FV1", 1, 6.0, "done")) == (
        "tank:c1", "done",
    )  # fmt: skip


def test_what_cannot_be_sent_is_named(field):
    field.broken = True
    with pytest.raises(ConnectorError, match=r"FV1.*HV1"):
        asyncio.run(WiredActuators(BINDING, {"field": field}).send(COMMAND))
