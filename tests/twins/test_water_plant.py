"""The water plant as somebody else's asset: physics, commands, faults, wire."""

import json

import numpy as np
import pytest

pytest.importorskip("wntr", reason="the water plant needs `pollux[water]`")

from pollux.twins.water.broadcast import arguments, obey, recall, remember, schedule
from pollux.twins.water.clairvoyant import AREA
from pollux.twins.water.plant import MEAN_FLOW, START, STEP, Plant
from pollux.twins.water.station import DWELL, PATIENCE, Station

HOUR = round(3600 / STEP)


def message(**changes):
    return {"id": "a", "sequence": 1, "t": START, "expires": START + 1e6, "v": 1.0, **changes}


def run(plant, steps, commands=None):
    out = []
    for _ in range(steps):
        readings = plant.step(commands)
        out.append((readings, plant.truth()))
    return out


def test_water_is_conserved():
    with Plant(seed=3, noise=False) as plant:
        first = None
        volume = 0.0
        for k in range(24 * HOUR):
            plant.step({"pump": float(k // 30 % 2)})
            true = plant.truth()
            first = true.level if first is None else first
            assert true.pump_flow - true.tank_flow == pytest.approx(sum(true.demand.values()), abs=1e-3)
            volume += true.tank_flow * 1e-3 * STEP
        assert (plant.level() - first) * AREA == pytest.approx(volume, abs=0.5)


def test_same_seed_same_readings_and_other_seed_others():
    def record(seed):
        with Plant(seed=seed) as plant:
            return [plant.step() for _ in range(40)]

    assert record(5) == record(5)
    assert record(5) != record(6)


def test_mean_demand_is_net1s():
    flows = []
    for seed in range(4):
        with Plant(seed=seed, noise=False) as plant:
            flows += [sum(true.demand.values()) for _, true in run(plant, 7 * 24 * HOUR)]
    assert np.mean(flows) == pytest.approx(MEAN_FLOW, rel=0.05)


def test_own_controls_keep_the_tank_between_110_and_140_feet():
    with Plant(seed=1, noise=False) as plant:
        levels = [true.level for _, true in run(plant, 5 * 24 * HOUR)]
    assert min(levels) > 109 * 0.3048
    assert max(levels) < 141 * 0.3048
    assert np.ptp(levels) > 25 * 0.3048


def test_a_command_is_carried_out_once():
    with Plant() as plant:
        plant.step()
        assert plant.command("pump", message(v=0.0))["status"] == "done"
        assert plant.command("pump", message(v=1.0))["status"] == "duplicate"
        assert run(plant, 4)[-1][1].running is False


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"expires": START}, "expired"),
        ({"sequence": 0}, "refused"),
        ({"sequence": "2"}, "refused"),
        ({"v": 1.5}, "refused"),
        ({"v": float("nan")}, "refused"),
        ({"v": None}, "refused"),
        ({"id": ""}, "refused"),
        ({"sequence": 2}, "done"),
    ],
)
def test_a_bad_command_changes_nothing(changes, status):
    station = Station()
    assert station.command("pump", message(id="first", v=0.25), START)["status"] == "done"
    answer = station.command("pump", message(id="second", v=0.75) | changes, START + 1)
    assert answer["status"] == status
    assert station.duty == (0.75 if status == "done" else 0.25)


def test_unknown_actuator_is_refused():
    assert Station().command("valve_999", message(), START)["status"] == "refused"


def test_the_south_is_never_cut_off():
    station = Station()
    assert station.command("valve_121", message(v=0.0), START)["status"] == "done"
    assert station.command("valve_122", message(id="b", v=0.0), START)["status"] == "refused"
    assert station.command("valve_121", message(id="c", sequence=2, v=1.0), START)["status"] == "done"
    assert station.command("valve_122", message(id="d", sequence=3, v=0.0), START)["status"] == "done"


def test_without_commands_the_level_controls_take_over():
    with Plant(seed=2, noise=False) as plant:
        plant.step({"pump": 0.0})
        history = run(plant, 40 * HOUR)
    modes = [readings["station_mode"] for readings, _ in history]
    silent = round(PATIENCE / STEP)
    assert set(modes[: silent - 2]) == {0.0}
    assert set(modes[silent + 1 :]) == {1.0}
    assert min(true.level for _, true in history) > 33.0


@pytest.mark.parametrize(("duty", "low", "high"), [(0.0, 30.9, 31.7), (1.0, 44.9, 45.7)])
def test_the_safe_band_overrides_a_bad_command(duty, low, high):
    with Plant(seed=2, noise=False) as plant:
        history = run(plant, 30 * HOUR, {"pump": duty})
    levels = np.array([true.level for _, true in history])
    assert any(readings["station_mode"] == 2.0 for readings, _ in history)
    assert levels.min() > 30.7
    assert levels.max() < 45.7
    assert low < levels[-1] < high


@pytest.mark.parametrize("duty", [0.2, 0.5, 0.85])
def test_a_duty_is_proportioned_in_time_with_the_dwell_kept(duty):
    station, on, last, since = Station(running=False, since=START), [], False, 0
    for k in range(2000):
        t = START + k * STEP
        station.set("pump", duty, t)
        running = station.decide(t, 38.0, STEP)
        on.append(running)
        if running != last:
            assert (k - since) * STEP >= DWELL
            last, since = running, k
    assert np.mean(on) == pytest.approx(duty, abs=0.01)


@pytest.mark.parametrize("node", ["11", "23", "32"])
def test_a_leak_flows_where_and_how_much_it_says(node):
    def demand(leak):
        with Plant(seed=4, noise=False) as plant:
            if leak:
                plant.fault("leak", node, 20.0, 6 * 3600.0)
            return [dict(true.demand) for _, true in run(plant, 8 * HOUR)]

    sound, leaking = demand(False), demand(True)
    extra = np.array([[b[n] - a[n] for n in a] for a, b in zip(sound, leaking, strict=True)])
    at = list(sound[0]).index(node)
    assert extra[: 6 * HOUR, at] == pytest.approx(0.2 * MEAN_FLOW, rel=0.1)
    assert np.abs(np.delete(extra, at, axis=1)).max() < 1e-6
    assert np.abs(extra[6 * HOUR :]).max() < 1e-4


def test_a_surge_multiplies_the_demand():
    with Plant(seed=4, noise=False) as plant, Plant(seed=4, noise=False) as surged:
        surged.fault("demand_surge", "", 30.0)
        a, b = run(plant, 10)[-1][1].demand, run(surged, 10)[-1][1].demand
    assert sum(b.values()) == pytest.approx(1.3 * sum(a.values()), rel=1e-3)


def test_sensor_faults_do_what_they_say_and_leave_the_rest_alone():
    with Plant(seed=4) as plant, Plant(seed=4) as faulty:
        faulty.fault("sensor_bias", "p31", 1.0)
        faulty.fault("sensor_stuck", "level")
        faulty.fault("sensor_dropout", "p13", duration=5 * STEP)
        sound = [plant.step() for _ in range(10)]
        bad = [faulty.step() for _ in range(10)]
        assert [b["p31"] - a["p31"] for a, b in zip(sound, bad, strict=True)] == pytest.approx([1.0] * 10)
        assert len({b["level"] for b in bad}) == 1
        assert ["p13" in b for b in bad] == [False] * 5 + [True] * 5
        assert all(a[tag] == b[tag] for a, b in zip(sound, bad, strict=True) for tag in ("p22", "pump_flow", "pump"))
        faulty.fault("clear")
        assert faulty.step() == plant.step()


@pytest.mark.parametrize("fault", [("leak", "99", 5.0), ("sensor_bias", "nothing", 1.0), ("flood", "11", 1.0)])
def test_an_impossible_fault_is_refused_by_name(fault):
    with Plant() as plant, pytest.raises(ValueError, match=r"one of|knows"):
        plant.fault(*fault)


def test_noise_is_what_the_instruments_declare():
    from pollux.twins.water.instruments import INSTRUMENTS

    with Plant(seed=8) as plant, Plant(seed=8, noise=False) as quiet:
        pairs = [(plant.step(), quiet.step()) for _ in range(1500)]
    for instrument in INSTRUMENTS:
        error = [noisy[instrument.tag] - true[instrument.tag] for noisy, true in pairs]
        assert np.std(error) == pytest.approx(instrument.noise, rel=0.08), instrument.tag
        assert abs(np.mean(error)) < 4 * instrument.noise / np.sqrt(len(error))


def test_messages_of_the_wire():
    with Plant() as plant:
        plant.step()
        done = obey(plant, "water", "pollux/water/command/pump", json.dumps(message(v=0.5)).encode())
        assert done == {"id": "a", "sequence": 1, "t": plant.t, "status": "done", "v": 0.5}
        assert obey(plant, "water", "pollux/water/fault", b'{"kind": "leak", "where": "node_22", "size": 10}') is None
        plant.step()
        assert plant.truth().leak["22"] == pytest.approx(0.1 * MEAN_FLOW, rel=0.1)
        for nonsense in (b"", b"[]", b"{", b'{"kind": 5}', b'{"v": {}}', b"x" * 5000):
            obey(plant, "water", "pollux/water/fault", nonsense)
        assert obey(plant, "water", "pollux/water/command/pump", b"{}")["status"] == "refused"


def test_command_line():
    args = arguments(["--fault", "leak:31:20:2:6", "--speed", "0"])
    assert schedule(args.fault, 100.0) == [(100.0 + 7200, "leak", "31", 20.0, 6 * 3600.0)]
    with pytest.raises(SystemExit):
        schedule(["flood:1:2"], 0.0)


def test_a_restart_finds_the_tank_as_it_was(tmp_path):
    file = tmp_path / "plant.json"
    with Plant(seed=1) as plant:
        run(plant, 20)
        remember(plant, file)
        t, level = plant.t, plant.level()
    assert recall(t + STEP, file) == (level, True)
    assert recall(t + 2e5, file) == (None, True)
    with Plant(seed=1, start=t + STEP, level0=level) as plant:
        plant.step()
        assert plant.truth().level == pytest.approx(level)
    file.write_text("[1")
    assert recall(t, file) == (None, True)
    assert recall(t, None) == (None, True)
