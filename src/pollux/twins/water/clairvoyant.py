"""The best schedule in hindsight: dynamic programming with the plant's own hydraulics, then run on the plant itself.

The search knows the demand of every step to come, which no controller does; its cost is what a perfect forecast would
be worth. State: tank level on a grid; decision: pump on or off for each slot of `SLOT` (the station's minimum dwell).

    V_k(h) = min_u  c_k(h, u) + V_{k+1}(h + (u Q(h, D_k) - D_k) dt / A)

Q(h, D) and the pump's power are fitted to EPANET solves over the range of level and demand.
Levels outside the limits cost a penalty. The schedule is then produced *on the plant*: at every slot the action that
minimises cost plus V at the level which the plant really has, so errors of the fit do not add up.

`V` also prices water: a controller that ends the week with a fuller tank has `V_end` less to pay later. Costs of all
controllers are compared as  cost + V_end(h_end) - V_end(h_start).
"""

from dataclasses import dataclass

import numpy as np

from .demand import DAY, Demand
from .plant import JUNCTIONS, START, STEP, Plant
from .tariff import LEVEL_HIGH, LEVEL_LOW, price

SLOT = 900.0
GRID = np.linspace(30.5, 45.7, 761)
PENALTY = 1e3
AREA = np.pi / 4 * (50.5 * 0.3048) ** 2
"""m^2, Net1's tank."""


@dataclass(frozen=True)
class Hydraulics:
    """Pump flow (L/s) and power (kW) as quadratic polynomials of level (m) and total demand (L/s)."""

    flow: np.ndarray
    power: np.ndarray
    residual: float
    """Largest error of the flow fit, L/s."""

    @staticmethod
    def _terms(level: np.ndarray, total: np.ndarray | float) -> np.ndarray:
        h, d = np.asarray(level) - 38.0, np.asarray(total) / 70.0 - 1.0
        one = np.ones(np.broadcast(h, d).shape)
        return np.stack([one, h * one, d * one, h**2 * one, h * d, d**2 * one], axis=-1)

    def q(self, level: np.ndarray, total: float) -> np.ndarray:
        """Pump flow, L/s."""
        return self._terms(level, total) @ self.flow

    def p(self, level: np.ndarray, total: float) -> np.ndarray:
        """Pump power, kW."""
        return self._terms(level, total) @ self.power


def probe(seed: int = 99) -> Hydraulics:
    """Fit `Hydraulics` to a week of the plant with the pump forced on and off by turns, so that all levels are met."""
    rows, flow, power = [], [], []
    with Plant(seed=seed, noise=False) as plant:
        up = True
        for _ in range(int(14 * DAY / STEP)):
            level = plant.level() if rows else 36.6
            up = level < 45.2 if up else level < 31.2
            plant.step({"pump": 1.0 if up else 0.0})
            true = plant.truth()
            if true.running:
                rows.append((true.level, sum(true.demand.values())))
                flow.append(true.pump_flow)
                power.append(true.power)
    level, total = np.array(rows).T
    X = Hydraulics._terms(level, total)
    cf, *_ = np.linalg.lstsq(X, np.array(flow), rcond=None)
    cp, *_ = np.linalg.lstsq(X, np.array(power), rcond=None)
    return Hydraulics(cf, cp, float(np.abs(X @ cf - flow).max()))


@dataclass(frozen=True)
class Values:
    """Cost to go by slot and level, in EUR."""

    V: np.ndarray
    """(slot + 1, grid)."""
    total: np.ndarray
    """Total demand by step, L/s."""

    def at(self, slot: int, level: float) -> float:
        """Cost to go from `level` at the beginning of `slot`."""
        return float(np.interp(level, GRID, self.V[slot]))


def values(seed: int, hydraulics: Hydraulics, days: int, *, start: float = START) -> Values:
    """Backward pass over `days` for the demand of plant `seed`.

    Beyond the horizon water is worth the night price of lifting it, which matters less with every day added.
    """
    base = _base()
    demand = Demand(JUNCTIONS, base, start, STEP, seed)
    steps = int(days * DAY / STEP)
    total = np.array([demand.at(start + k * STEP).sum() for k in range(steps)])
    per = int(SLOT / STEP)
    slots = steps // per
    V = np.empty((slots + 1, len(GRID)))
    lift = float(hydraulics.p(np.array(38.0), 70.0) / hydraulics.q(np.array(38.0), 70.0)) / 3.6  # kWh/m^3
    V[-1] = -price(0.0) * lift * AREA * (GRID - GRID[0])
    for k in range(slots - 1, -1, -1):
        best = []
        for on in (0.0, 1.0):
            cost, level = _slot(hydraulics, total, start, k, on, GRID)
            best.append(cost + np.interp(level, GRID, V[k + 1]) + PENALTY * _outside(level))
        V[k] = np.minimum(*best)
    return Values(V, total)


def _slot(
    hydraulics: Hydraulics, total: np.ndarray, start: float, k: int, on: float, level: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    cost = np.zeros_like(level)
    per = int(SLOT / STEP)
    for j in range(per * k, per * (k + 1)):
        q = on * hydraulics.q(level, total[j])
        cost = cost + on * hydraulics.p(level, total[j]) * STEP / 3600 * price(start + j * STEP)
        level = level + (q - total[j]) * 1e-3 * STEP / AREA
        cost = cost + PENALTY * _outside(level)
    return cost, level


def _outside(level: np.ndarray) -> np.ndarray:
    return np.maximum(LEVEL_LOW - level, 0) + np.maximum(level - LEVEL_HIGH, 0)


def schedule(seed: int, hydraulics: Hydraulics, v: Values, days: int) -> list[bool]:
    """Forward pass on the plant: on or off for each slot, greedy against `v` at the plant's true level."""
    out: list[bool] = []
    with Plant(seed=seed, noise=False) as plant:
        level = np.array(36.576)
        for k in range(int(days * DAY / SLOT)):
            price_of = []
            for on in (0.0, 1.0):
                cost, after = _slot(hydraulics, v.total, plant.start, k, on, level)
                price_of.append(float(cost) + v.at(k + 1, float(after)))
            out.append(price_of[1] < price_of[0])
            for _ in range(int(SLOT / STEP)):
                plant.step({"pump": 1.0 if out[-1] else 0.0})
            level = np.array(plant.level())
    return out


def _base() -> np.ndarray:
    from . import epanet

    net = epanet.Epanet(epanet.wntr_folder() / "library" / "networks" / "Net1.inp", int(STEP))
    try:
        return np.array([net.get_node(net.node(name), epanet.BASEDEMAND) for name in JUNCTIONS])
    finally:
        net.close()
