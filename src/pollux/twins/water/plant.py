"""The water plant: EPANET's Net1 as somebody else's asset, in its own process, seen only through noisy
instruments.

    python -m pollux.twins.water.plant --broker mqtt://127.0.0.1:1883 --speed 600 --seed 1

Net1 and not Net3: one pump, one tank and nine junctions, so the best schedule in hindsight can be found by
search on the plant itself, and every figure of the twin can be held against it. Nothing here imports Pollux.

One `step` applies what the station decides, solves the network at time t, reads the instruments at t, and
lets the tank run to t + step. Readings of time t thus belong to the pump state of [t, t + step).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from . import epanet
from .demand import Demand
from .epanet import Epanet, wntr_folder
from .instruments import INSTRUMENTS, SENSOR_FAULTS, Instruments
from .station import ACTUATORS, MODES, VALVES, Station

JUNCTIONS: tuple[str, ...] = ("11", "12", "13", "21", "22", "23", "31", "32")
TANK, TANK_LINK, PUMP = "2", "110", "9"
STEP = 300.0
START = 1_767_571_200.0
"""Monday 2026-01-05 00:00 UTC."""
MEAN_FLOW = 69.4
"""L/s, the sum of Net1's base demands: what `%` of a leak or surge refers to."""
NOMINAL_PRESSURE = 80.0
HAIR = 1e-7
"""L/s per sqrt(m): coefficient of an emitter that has been mended."""
FAULTS: tuple[str, ...] = ("leak", *SENSOR_FAULTS, "demand_surge", "clear")
HOUR_PER_LITRE = 3.6
"""m^3/h in one L/s."""


@dataclass(frozen=True)
class Truth:
    """What really happens at one instant, for evaluation only."""

    t: float
    level: float
    """m above the tank's bottom."""
    running: bool
    pump_flow: float
    """L/s; so are all flows here."""
    tank_flow: float
    """L/s, into the tank."""
    power: float
    """kW."""
    demand: dict[str, float]
    """Delivered at each junction, leaks included, L/s."""
    leak: dict[str, float]
    pressure: dict[str, float]
    """m, junctions only."""


@dataclass
class _Load:
    """A leak (emitter) or a surge (extra share of demand) at a junction."""

    size: float
    until: float


@dataclass
class Plant:
    """Net1 with hidden demand, instruments and a station, stepped by the caller. Deterministic in `seed`."""

    seed: int = 1
    start: float = START
    noise: bool = True
    step_s: float = STEP
    station: Station = field(default_factory=Station)
    level0: float | None = None
    """First tank level, m; None: Net1's own."""

    def __post_init__(self) -> None:
        self.t = self.start
        self._net = net = Epanet(wntr_folder() / "library" / "networks" / "Net1.inp", int(self.step_s))
        net.drop_controls()
        net.flatten_pattern()
        self._nodes = {name: net.node(name) for name in JUNCTIONS}
        self._tank, self._tank_link, self._pump = net.node(TANK), net.link(TANK_LINK), net.link(PUMP)
        self._valves = {pipe: net.link(pipe) for pipe in VALVES}
        base = np.array([net.get_node(i, epanet.BASEDEMAND) for i in self._nodes.values()])
        self._tank_bottom = net.get_node(self._tank, epanet.ELEVATION)
        if self.level0 is not None:
            net.set_node(self._tank, epanet.TANKLEVEL, min(max(self.level0, 30.5), 45.7))
        self._demand = Demand(JUNCTIONS, base, self.start, self.step_s, self.seed)
        self._instruments = Instruments(self.seed, noise=self.noise)
        self._leaks: dict[str, _Load] = {}
        self._surges: dict[str, _Load] = {}
        self._hair: dict[str, float] = {}
        self._truth: Truth | None = None
        net.start()

    def step(self, commands: Mapping[str, float] | None = None) -> dict[str, float]:
        """Take commands (actuator -> value), run one step, and return the readings of its beginning under
        `t`.

        Tags are the instruments', plus `pump` (1 runs, 0 rests), `valve_*` (1 open) and `station_mode`
        (0 remote, 1 local level control, 2 safety override). A dropped sensor's tag is absent.
        """
        for actuator, value in (commands or {}).items():
            if actuator not in ACTUATORS:
                raise ValueError(f"No actuator {actuator!r}; the plant has {', '.join(ACTUATORS)}")
            self.station.set(actuator, value, self.t)
        t, net = self.t, self._net
        level = net.get_node(self._tank, epanet.HEAD) - self._tank_bottom if self._truth else self._initial_level()
        self.station.decide(t, level, self.step_s)
        self._apply(t)
        net.solve()
        truth = self._truth = self._observe(t)
        readings = {"t": t, **self._instruments.read(t, self._wire(truth))}
        readings["pump"] = 1.0 if truth.running else 0.0
        readings |= {f"valve_{pipe}": 1.0 if opened else 0.0 for pipe, opened in self.station.valves.items()}
        readings["station_mode"] = float(MODES.index(self.station.mode))
        self._advance()
        self.t = t + self.step_s
        return readings

    def command(self, actuator: str, message: dict[str, Any]) -> dict[str, Any]:
        """Hand a command message to the station; it acts at the next step. Returns the acknowledgement."""
        return self.station.command(actuator, message, self.t)

    def fault(self, kind: str, where: str = "", size: float = 0.0, duration: float | None = None) -> None:
        """Start a fault now, for `duration` seconds or until cleared.

        `leak`: `size` % of the mean flow out of junction `where` at 80 m of pressure (an orifice: it follows
        the pressure). `demand_surge`: demand of `where` (or of all junctions when empty) grows by `size` %.
        `sensor_bias`: `size` in the sensor's wire unit is added to tag `where`. `sensor_stuck`,
        `sensor_dropout`: tag `where`. `clear`: `where` or all.
        """
        until = float("inf") if duration is None else self.t + duration
        where = where.removeprefix("node_")
        if kind == "clear":
            self._clear(where or None)
        elif kind in SENSOR_FAULTS:
            tags = [i.tag for i in INSTRUMENTS]
            if where not in tags:
                raise ValueError(f"A {kind} needs a sensor, got {where!r}: one of {', '.join(tags)}")
            self._instruments.fail(kind, where, size, until)
        elif kind in ("leak", "demand_surge"):
            if where not in JUNCTIONS and not (kind == "demand_surge" and not where):
                raise ValueError(f"A {kind} needs a junction, got {where!r}: one of {', '.join(JUNCTIONS)}")
            if kind == "leak":
                self._leaks[where] = _Load(size, until)
            else:
                for name in [where] if where else JUNCTIONS:
                    self._surges[name] = _Load(size, until)
        else:
            raise ValueError(f"No fault {kind!r}; the plant knows {', '.join(FAULTS)}")

    def truth(self) -> Truth:
        """The instant that the last readings were taken of. For evaluation only; the twin never sees it."""
        if self._truth is None:
            raise RuntimeError("Nothing has happened yet: call `step` first")
        return self._truth

    def level(self) -> float:
        """True tank level now, after the last step, m."""
        return self._net.get_node(self._tank, epanet.HEAD) - self._tank_bottom

    def close(self) -> None:
        """Free the solver."""
        self._net.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _initial_level(self) -> float:
        return self._net.get_node(self._tank, epanet.TANKLEVEL)

    def _clear(self, where: str | None) -> None:
        self._instruments.clear(where)
        for loads in (self._leaks, self._surges):
            for name in [where] if where else list(loads):
                loads.pop(name, None)

    def _apply(self, t: float) -> None:
        net = self._net
        for loads in (self._leaks, self._surges):
            for name in [name for name, load in loads.items() if t >= load.until]:
                del loads[name]
        for (name, index), demand in zip(self._nodes.items(), self._demand.at(t), strict=True):
            surge, leak = self._surges.get(name), self._leaks.get(name)
            net.set_node(index, epanet.BASEDEMAND, float(demand) * (1 + surge.size / 100 if surge else 1.0))
            flow = leak.size / 100 * MEAN_FLOW if leak else 0.0
            # EPANET 2.2 keeps an emitter's last flow when its coefficient becomes 0; a hair's breadth closes it.
            net.set_node(index, epanet.EMITTER, max(flow / NOMINAL_PRESSURE**0.5, self._hair.get(name, 0.0)))
            if leak:
                self._hair[name] = HAIR
        net.set_link(self._pump, epanet.STATUS, 1.0 if self.station.running else 0.0)
        for pipe, index in self._valves.items():
            net.set_link(index, epanet.STATUS, 1.0 if self.station.valves[pipe] else 0.0)

    def _observe(self, t: float) -> Truth:
        net = self._net
        pressure = {name: net.get_node(i, epanet.PRESSURE) for name, i in self._nodes.items()}
        leak = {
            name: load.size / 100 * MEAN_FLOW * (max(pressure[name], 0.0) / NOMINAL_PRESSURE) ** 0.5
            for name, load in self._leaks.items()
        }
        return Truth(
            t=t,
            level=net.get_node(self._tank, epanet.HEAD) - self._tank_bottom,
            running=self.station.running,
            pump_flow=net.get_link(self._pump, epanet.FLOW),
            tank_flow=-net.get_link(self._tank_link, epanet.FLOW),
            power=net.get_link(self._pump, epanet.ENERGY),
            demand={name: net.get_node(i, epanet.DEMAND) for name, i in self._nodes.items()},
            leak=leak,
            pressure=pressure,
        )

    def _wire(self, truth: Truth) -> dict[str, float]:
        return {
            "level": truth.level,
            "pump_flow": truth.pump_flow * HOUR_PER_LITRE,
            "tank_flow": truth.tank_flow * HOUR_PER_LITRE,
            "pump_power": truth.power,
            **{f"p{name}": truth.pressure[name] for name in ("13", "21", "22", "31", "32")},
        }

    def _advance(self) -> None:
        """Run the tank over one step; EPANET cuts it at the instant when a tank fills or empties."""
        left = int(self.step_s)
        while left > 0:
            took = self._net.advance()
            left -= took
            if left > 0:
                self._net.solve()


def main() -> None:
    """Command line of the plant; see `broadcast.py`."""
    from .broadcast import main as run

    run()


if __name__ == "__main__":
    main()
