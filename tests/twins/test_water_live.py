"""The water twin at work: blueprint and wiring fit, faults are found, the planner saves money. Short runs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("wntr", reason="the water plant needs `pollux[water]`")

import pollux.twins.water
from pollux import Readings, build_detector, build_mirror, build_mpc, flatten
from pollux.core.signals import Cause
from pollux.runtime.binding import bind
from pollux.runtime.wiring import read_wiring
from pollux.twins.water import operation as made
from pollux.twins.water.habits import level_control, usual_demand
from pollux.twins.water.instruments import INSTRUMENTS
from pollux.twins.water.plant import START, STEP, Plant
from pollux.twins.water.station import ACTUATORS
from pollux.twins.water.tariff import LEVEL_LOW, price
from pollux.twins.water.twin import Water

FOLDER = Path(pollux.twins.water.__file__).parent
WIRE = {"pump_flow": 1 / 3600, "tank_flow": 1 / 3600, "pump_power": 1e3}


@pytest.fixture(scope="module")
def mirror():
    return build_mirror(Water(), **made.mirror_options())


def fold(mirror, belief, raw, excluded=frozenset()):
    y = np.array([raw.get(c.name, np.nan) * WIRE.get(c.name, 1.0) for c in mirror.space.y])
    u = np.array([raw[c.name] for c in mirror.space.u])
    return mirror.update(belief, Readings(mirror.name, raw["t"], "r", "", y, u), excluded)


def test_wiring_covers_every_sensor_and_actuator_and_its_units_convert():
    wiring = read_wiring(FOLDER).twins[0]
    space = flatten(Water())
    binding = bind(wiring, space.y, space.u)
    assert {p.field for p in binding.ports if p.kind == "sensor"} == {c.name for c in space.y}
    assert {p.field for p in binding.ports if p.kind == "input"} == {c.name for c in space.u}
    assert {a.actuator for a in binding.actuators} == set(ACTUATORS)
    units = {i.tag: i.unit for i in INSTRUMENTS}
    for port in binding.ports:
        if port.kind == "sensor":
            assert port.unit == units[port.tag]
            assert port.scale == pytest.approx(WIRE.get(port.tag, 1.0))


def test_blueprint_and_schematic_name_signals_that_exist():
    blueprint = pollux.twins.water.blueprint()
    space = flatten(blueprint.twin)
    known = {c.name for c in (*space.x, *space.u, *space.y)}
    import re

    named = set(re.findall(r'data-(?:signal|level|on)="([^"]+)"', blueprint.schematic or ""))
    assert named <= known
    assert {"level", "pump", "p31"} <= named
    assert {f.kind for f in blueprint.faults} == {
        "leak", "demand_surge", "sensor_bias", "sensor_stuck", "sensor_dropout",
    }  # fmt: skip


def test_usual_demand_is_the_twins_and_the_outlook_is_the_stations(mirror):
    t = START + 900.0 * np.arange(96)
    assert usual_demand(t).mean() == pytest.approx(0.0694, rel=0.05)
    with Plant(seed=0, noise=False) as plant:
        running = [plant.step()["pump"] for _ in range(288)]
    expected = level_control(t, START, 36.576, 0.0, True)
    assert np.mean(expected == np.array(running)[::3]) > 0.85
    belief = mirror.start(START)
    ahead = made.outlook(belief, t)
    assert ahead.shape == (96, 4)
    assert set(np.unique(ahead[:, 0])) <= {0.0, 1.0}
    assert np.isnan(ahead[:, 1:]).all()


@pytest.fixture(scope="module")
def detector():
    return build_detector(Water(), **made.detector_options())


@pytest.mark.parametrize(
    ("fault", "cause", "subject"),
    [
        (("leak", "31", 20.0), Cause.PROCESS, "leak_southwest"),
        (("leak", "11", 20.0), Cause.PROCESS, "leak_north"),
        (("sensor_bias", "p22", 1.0), Cause.SENSOR, "p22"),
        (("sensor_stuck", "pump_flow", 0.0), Cause.SENSOR, "pump_flow"),
    ],
)
def test_a_fault_is_found_within_three_hours_and_called_what_it_is(mirror, detector, fault, cause, subject):
    with Plant(seed=51) as plant:
        belief, state = mirror.start(plant.t), detector.start()
        found, excluded = (), frozenset()
        for k in range(120 + 36):
            if k == 120:
                assert found == ()
                plant.fault(*fault)
            belief = fold(mirror, belief, plant.step(), excluded)
            state, found = detector.update(state, belief)
            excluded = frozenset(f.subject for f in found if f.cause is Cause.SENSOR)
    assert [(f.cause, f.subject) for f in found] == [(cause, subject)]


def test_planned_day_is_cheaper_than_the_stations_own_controls(mirror):
    """36 hours with a short horizon: less is paid although more water is left, and the tank keeps its reserve."""
    mpc = build_mpc(made.planned_twin(), replace(made.mpc_options(), steps=48, iterations=6))

    def week(planned):
        spent, levels, warm, commands = 0.0, [], None, None
        with Plant(seed=61) as plant:
            belief = mirror.start(plant.t)
            for _ in range(36 * 12):
                belief, commands = fold(mirror, belief, plant.step(commands)), None
                true = plant.truth()
                spent += true.power * STEP / 3600 * price(true.t)
                levels.append(true.level)
                if planned and belief.t % made.SLOT == made.SLOT - STEP:
                    plan = mpc.solve(belief.t + STEP, belief.mean, belief.inputs, warm=warm)
                    warm, commands = plan.shifted(), {"pump": float(plan.inputs[0, 0])}
            return spent, np.array([*levels, plant.level()])

    own, _ = week(planned=False)
    cost, levels = week(planned=True)
    assert cost < 0.9 * own
    assert levels.min() > LEVEL_LOW
