"""How the water twin is run live: its title, its planner, what happens when nobody acts, the faults of its plant."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pollux import Belief, Blueprint, Decision, FaultKind, MpcOptions, build_detector, build_mirror, build_planner

from .habits import level_control
from .instruments import INSTRUMENTS
from .plant import JUNCTIONS
from .twin import State, Water

SLOT = 1800.0
"""s; the planner holds its inputs for half an hour."""
RESERVE = 0.8
"""m; what the tank moves between two switches of the pump, kept off each limit by the planner."""
HORIZON = 32
"""h; beyond the end of the next night, so that the value of a full tank is seen."""
VALID = 4 * 3600.0
"""s; what a plan asks for, and how long it waits for an approval (two minutes of the demo's wall clock)."""
LEAST = 1.0
"""EUR; a plan that saves less over the horizon is not proposed."""
WORTH = 10.0
"""EUR per metre of tank at the end of the horizon: about what lifting it costs at the mean tariff."""


def make() -> Blueprint:
    """The blueprint; see `pollux.toml` beside this file for the wiring."""
    twin = Water()
    return Blueprint(
        twin=twin,
        title="City water",
        kind="city water",
        mirror=lambda: build_mirror(twin, **mirror_options()),
        detector=lambda: build_detector(twin, **detector_options()),
        planner=plan_with,
        outlook=outlook,
        check_step=300.0,
        prior_share=0.1,
        schematic=Path(__file__).with_name("schematic.svg").read_text("utf-8"),
        faults=faults(),
    )


def mirror_options() -> dict[str, Any]:
    """Options of the mirror: one Runge-Kutta step in five minutes is exact to millimetres of tank."""
    return {"substeps": 1, "dt_max": 600.0, "every": 300.0}


def detector_options() -> dict[str, Any]:
    """Options of the detector: leaks by quarter of the city, and a bias of any sensor."""
    return {
        "faults": ("leak_*",),
        "one_sided": ("leak_*",),
        "memory": 24 * 3600.0,
        "alarm_every": 90 * 86400.0,
        "threshold": 6.0,
        "substeps": 1,
        "dt_max": 600.0,
    }


def mpc_options() -> MpcOptions:
    """The pump's schedule: the price of energy, exact penalties on the promised limits, the worth of what is stored."""
    return MpcOptions(
        steps=round(HORIZON * 3600 / SLOT),
        step=SLOT,
        substeps=1,
        controls=("pump",),
        limit=200.0,
        price=50.0,
        worth={"level": WORTH},
        hessian="gauss_newton",
        iterations=15,
        tolerance=1e-4,
    )


def planned_twin() -> Water:
    """The twin that the planner plans with: the same, with `RESERVE` kept off the tank's limits."""
    return Water(reserve=RESERVE)


@dataclass(frozen=True)
class Committed:
    """A planner that looks `HORIZON` ahead and asks for the next `VALID` seconds only.

    The guard simulates all that is asked for without any correction on the way. A day of that, close to a limit, is
    rightly called risky; four hours, planned anew every hour, are what is really done.
    """

    planner: Any

    def plan(self, belief: Belief, *, outlook: tuple[np.ndarray, np.ndarray]) -> Decision | None:
        """The first hours of the best plan, with the figures of the whole."""
        found: Decision | None = self.planner.plan(belief, outlook=outlook)
        if found is None:
            return None
        soon = found.times < belief.t + VALID
        return replace(found, times=found.times[soon], plan=found.plan[soon])


def plan_with(forecaster: Any) -> Committed:
    """The planner; `forecaster` judges its plans with the twin that keeps no reserve."""
    options, twin = mpc_options(), planned_twin()
    cost = "energy cost [EUR]"
    return Committed(build_planner(twin, options, forecaster=forecaster, valid=VALID, least=LEAST, cost=cost))


def outlook(belief: Belief, times: np.ndarray) -> np.ndarray:
    """Inputs (k, u) that the station's own level control gives when nobody commands; NaN: as they are."""
    level, day = (belief.mean[list(State.infos()).index(name)] for name in ("level", "day"))
    pump = level_control(times, belief.t, float(level), float(day), belief.inputs[0] > 0.5)
    return np.column_stack([pump, np.full((len(times), len(belief.inputs) - 1), np.nan)])


def faults() -> tuple[FaultKind, ...]:
    """The faults that the plant can be told to have, with a telling size each."""
    tags = tuple(i.tag for i in INSTRUMENTS)
    bias = {
        (i.bias, i.unit): tuple(j.tag for j in INSTRUMENTS if (j.bias, j.unit) == (i.bias, i.unit)) for i in INSTRUMENTS
    }
    return (
        FaultKind("leak", JUNCTIONS, 20.0, "%"),
        FaultKind("demand_surge", JUNCTIONS, 50.0, "%"),
        *(FaultKind("sensor_bias", where, size, unit) for (size, unit), where in bias.items()),
        FaultKind("sensor_stuck", tags, 0.0, ""),
        FaultKind("sensor_dropout", tags, 0.0, ""),
    )
