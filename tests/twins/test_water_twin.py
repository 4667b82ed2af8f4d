"""The water twin against EPANET as an independent oracle, and its mirror against the plant."""

import jax
import numpy as np
import pytest

pytest.importorskip("wntr", reason="the water plant needs `pollux[water]`")

from pollux import Readings, build_mirror, flatten
from pollux.core.unitcheck import check_units
from pollux.twins.water import network
from pollux.twins.water.clairvoyant import probe, schedule, values
from pollux.twins.water.fit import ELEVATION
from pollux.twins.water.plant import START, STEP, Plant
from pollux.twins.water.tariff import price
from pollux.twins.water.twin import State, Water

WIRE = {"pump_flow": 1 / 3600, "tank_flow": 1 / 3600, "pump_power": 1e3}


@pytest.fixture(scope="module")
def mirror():
    return build_mirror(Water(), substeps=1, dt_max=600.0)


def readings_of(mirror, raw, k=0):
    values = [raw.get(c.name, np.nan) * WIRE.get(c.name, 1.0) for c in mirror.space.y]
    return Readings(
        mirror.name, raw["t"], str(k), "", np.array(values), np.array([raw[c.name] for c in mirror.space.u])
    )


def test_units_agree():
    check_units(Water())


@pytest.mark.parametrize("shut", [None, "112", "121", "122"])
def test_loops_give_epanets_heads(shut):
    """With C = 100, as in Net1, the twin's own solver and EPANET agree to 0.1 m, 1 mm with all valves open."""
    solve = jax.jit(lambda pump, d, valves: network.solve(pump, d, valves, np.ones(3)))
    bottom = 850 * 0.3048
    worst = 0.0
    with Plant(seed=5, noise=False) as plant:
        for k in range(120):
            commands = {"pump": float(k // 20 % 2)}
            if shut:
                commands[f"valve_{shut}"] = 0.0
            plant.step(commands)
            true = plant.truth()
            valves = np.array([float(pipe != shut) for pipe in network.VALVES])
            head = solve(true.pump_flow / 69.4, np.array(list(true.demand.values())) / 69.4, valves)
            pressure = np.asarray(head) + true.level + bottom - 0.3048 * np.array(list(ELEVATION.values()))
            worst = max(worst, np.abs(pressure - list(true.pressure.values())).max())
    assert worst < (0.1 if shut else 1e-3)


def test_loops_have_the_right_derivative():
    @jax.jit
    def heads(z):
        return network.solve(z[8], z[:8], z[9:12], np.ones(3))

    z = np.r_[np.linspace(0.05, 0.2, 8), 1.6, 1.0, 1.0, 1.0]
    exact = np.asarray(jax.jit(jax.jacfwd(heads))(z))[:, :9]
    for i in range(9):
        e = 1e-5 * np.eye(12)[i]
        assert (np.asarray(heads(z + e)) - np.asarray(heads(z - e))) / 2e-5 == pytest.approx(exact[:, i], abs=1e-4)


def test_mass_balance_of_the_loops():
    """Whatever flows around the loops, every junction but the tank's receives its demand and 11 the pump's flow."""
    rng = np.random.default_rng(0)
    given = rng.uniform(0, 1, 9)
    flows = network._E @ given + rng.uniform(-1, 1, 3) @ network._L
    for i, n in enumerate(network.JUNCTIONS):
        if n != "12":
            ends = [(a, b) for a, b, _, _ in network.PIPES.values()]
            received = sum(q * ((b == n) - (a == n)) for q, (a, b) in zip(flows, ends, strict=True))
            assert received + given[0] * (n == "11") == pytest.approx(given[1 + i])


def test_tariff_of_the_twin_is_the_operators():
    twin = Water()
    for hour in (0.0, 6.9, 7.1, 12.0, 22.9, 23.1):
        t = START + 3600 * hour
        assert float(twin.price(t)) * 3.6e6 == pytest.approx(price(t))


def test_mirror_is_consistent_and_predicts_the_plant(mirror):
    """Two days that no fit has seen: NIS near its degrees of freedom, the hidden total demand within 3 %."""
    space, twin = flatten(Water()), Water()
    total = jax.jit(lambda t, x: twin.demands(t, State(*x)).sum())
    assert space.system.x_names == tuple(State.infos())
    nis, error = [], []
    with Plant(seed=11) as plant:
        belief = mirror.start(plant.t)
        for k in range(2 * 288):
            belief = mirror.update(belief, readings_of(mirror, plant.step(), k))
            if k > 36:
                nis.append(belief.nis / belief.nis_dof)
                demand = float(total(belief.t, belief.mean))
                true = sum(plant.truth().demand.values()) / 69.4
                error.append(demand / true - 1)
    assert 0.86 < np.mean(nis) < 1.15
    assert np.sqrt(np.mean(np.square(error))) < 0.03


def test_open_loop_prediction_of_a_day(mirror):
    """From a belief, a day ahead with the true pump: the tank within 1.5 m although the demand is unknown."""
    errors = []
    for seed in (21, 22, 23):
        with Plant(seed=seed) as plant:
            belief = mirror.start(plant.t)
            for k in range(288):
                belief = mirror.update(belief, readings_of(mirror, plant.step(), k))
            for k in range(288):
                raw = plant.step()
                blind = {**{c.name: np.nan for c in mirror.space.y}, **{n: raw[n] for n in raw if n not in _SENSORS}}
                belief = mirror.update(belief, readings_of(mirror, blind, k))
            errors.append(belief.mean[0] - plant.truth().level)
    assert np.abs(errors).max() < 1.5


_SENSORS = ("level", "pump_flow", "tank_flow", "pump_power", "p13", "p21", "p22", "p31", "p32")


def test_clairvoyant_schedule_is_kept_by_the_plant_and_cheaper_than_its_own_controls():
    hydraulics = probe()
    assert hydraulics.residual < 1.0
    v = values(31, hydraulics, 3)
    plan = schedule(31, hydraulics, v, 2)

    def cost(control):
        spent, levels = 0.0, []
        with Plant(seed=31, noise=False) as plant:
            for k in range(2 * 288):
                plant.step(control(k))
                true = plant.truth()
                spent += true.power * STEP / 3600 * price(true.t)
                levels.append(true.level)
            return spent + v.at(2 * 96, plant.level()) - v.at(2 * 96, levels[0]), levels

    best, levels = cost(lambda k: {"pump": float(plan[k // 3])})
    own, _ = cost(lambda k: None)
    assert best < 0.8 * own
    assert min(levels) > 31.45
    assert max(levels) < 45.05
    assert best == pytest.approx(v.at(0, 36.576) - v.at(2 * 96, 36.576), rel=0.02)
