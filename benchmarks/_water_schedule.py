"""Seven days of pumping against a two-rate tariff: the station's own controls, Pollux, and the best in hindsight.

All three run on the same plant with the same demand. Costs are compared as  cost + V(end) - V(start)  with the
clairvoyant cost to go V of the tank's level, so that nobody gains by leaving the tank empty. A violation is a
true level or pressure outside the promised limits at any five-minute step.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import numpy as np

from benchmarks._water_walk import Tick, Walk
from pollux import build_mpc
from pollux.twins.water.clairvoyant import AREA, Hydraulics, Values, schedule, values
from pollux.twins.water.operation import SLOT, mpc_options, planned_twin
from pollux.twins.water.plant import STEP, Plant
from pollux.twins.water.tariff import LEVEL_HIGH, LEVEL_LOW, PRESSURE_LOW, price

LEVEL0 = 36.576
MARGIN = 1e-6
DAY = round(86400 / STEP)
SLOTS_A_DAY = 96


@dataclass
class Account:
    """What a week cost and what it did to the network."""

    cost: float = 0.0
    """Electricity, currency."""
    energy: float = 0.0
    """kWh."""
    lowest: float = np.inf
    highest: float = -np.inf
    weakest: float = np.inf
    """Least pressure, m."""
    violations: int = 0
    """Five-minute steps with a level or a pressure outside the promised limits."""
    switches: int = 0
    adjusted: float = 0.0
    """Cost, corrected for the water left in the tank."""
    _last: bool | None = None

    def add(self, plant: Plant) -> None:
        """Book the step that the plant has just done."""
        true = plant.truth()
        weakest = min(true.pressure.values())
        self.energy += true.power * STEP / 3600
        self.cost += true.power * STEP / 3600 * price(true.t)
        self.lowest, self.highest = min(self.lowest, true.level), max(self.highest, true.level)
        self.weakest = min(self.weakest, weakest)
        out = true.level < LEVEL_LOW - MARGIN or true.level > LEVEL_HIGH + MARGIN or weakest < PRESSURE_LOW
        self.violations += int(out)
        self.switches += int(self._last is not None and self._last != true.running)
        self._last = true.running

    def close(self, plant: Plant, v: Values, days: int) -> "Account":
        """Correct the cost for the water in the tank."""
        k = days * SLOTS_A_DAY
        self.adjusted = self.cost + v.at(k, plant.level()) - v.at(k, LEVEL0)
        return self

    def figures(self) -> dict[str, float]:
        """All of it, as plain numbers."""
        return {k: round(float(n), 3) for k, n in asdict(self).items() if not k.startswith("_")}


def own_controls(seed: int, days: int, v: Values) -> Account:
    """Net1's own level controls."""
    return _open_loop(seed, days, v, lambda k: None)


def clairvoyant(seed: int, days: int, v: Values, hydraulics: Hydraulics) -> Account:
    """The best schedule in hindsight, found by search and carried out on the plant."""
    plan = schedule(seed, hydraulics, v, days)
    return _open_loop(seed, days, v, lambda k: {"pump": float(plan[k // 3])})


def _open_loop(seed: int, days: int, v: Values, control: Callable[[int], Mapping[str, float] | None]) -> Account:
    account = Account()
    with Plant(seed=seed, noise=False) as plant:
        for k in range(days * DAY):
            plant.step(control(k))
            account.add(plant)
        return account.close(plant, v, days)


class Controller:
    """Pollux's economic MPC, compiled once."""

    def __init__(self) -> None:
        self.mpc = build_mpc(planned_twin(), mpc_options())
        self.level = self.mpc.space.index("x", "level")

    def run(self, walk: Walk, seed: int, days: int, v: Values) -> Account:
        """Mirror the noisy plant, plan every half hour for the slot that begins one step later, command the duty."""
        account, warm = Account(), None
        with Plant(seed=seed) as plant:
            ticks = walk.run(plant, days * DAY, detect=False)
            tick: Tick | None = next(ticks)
            while tick is not None:
                account.add(plant)
                commands: Mapping[str, float] | None = None
                if (tick.t + STEP) % SLOT == 0:
                    x = tick.belief.mean.copy()
                    x[self.level] += tick.raw["tank_flow"] / 3600 * STEP / AREA
                    plan = self.mpc.solve(tick.t + STEP, x, tick.belief.inputs, warm=warm)
                    warm = plan.shifted()
                    commands = {"pump": float(np.clip(plan.inputs[0, 0], 0.0, 1.0))}
                try:
                    tick = ticks.send(commands)
                except StopIteration:
                    tick = None
            return account.close(plant, v, days)


def week(seed: int, days: int, hydraulics: Hydraulics, walk: Walk, controller: Controller) -> dict[str, Account]:
    """One seed: all three."""
    v = values(seed, hydraulics, days + 2)
    return {
        "pollux": controller.run(walk, seed, days, v),
        "own controls": own_controls(seed, days, v),
        "clairvoyant": clairvoyant(seed, days, v, hydraulics),
    }
