"""The water twin's walk in one process: plant -> mirror -> detector, as the live engine does it, for the work items."""

from collections.abc import Generator, Mapping
from dataclasses import dataclass

import numpy as np

from pollux import Readings, build_detector, build_mirror
from pollux.core.signals import Belief, Cause, Finding
from pollux.twins.water.plant import Plant
from pollux.twins.water.twin import Water

WIRE = {"pump_flow": 1 / 3600, "tank_flow": 1 / 3600, "pump_power": 1e3}
"""From the wire's m^3/h and kW to the twin's units; the rest is the same."""


@dataclass(frozen=True)
class Tick:
    """One step of the walk, after the reading of time `t` was folded in."""

    t: float
    belief: Belief
    findings: tuple[Finding, ...]
    raw: Mapping[str, float]


class Walk:
    """Mirror and detector of the water twin, compiled once; each `run` is a fold of its own."""

    def __init__(self) -> None:
        from pollux.twins.water.operation import detector_options, mirror_options

        self.mirror = build_mirror(Water(), **mirror_options())
        self.detector = build_detector(Water(), **detector_options())
        self.sensors = [c.name for c in self.mirror.space.y]
        self.inputs = [c.name for c in self.mirror.space.u]

    def readings(self, raw: Mapping[str, float], k: int) -> Readings:
        """What the border makes of a message."""
        y = np.array([raw.get(n, np.nan) * WIRE.get(n, 1.0) for n in self.sensors])
        return Readings(self.mirror.name, raw["t"], f"r{k}", "", y, np.array([raw[n] for n in self.inputs]))

    def run(
        self, plant: Plant, steps: int, *, detect: bool = True
    ) -> Generator[Tick, Mapping[str, float] | None, None]:
        """Ticks; `send` commands into the generator to have them carried out at the next step."""
        belief, state = self.mirror.start(plant.t), self.detector.start()
        suspects: frozenset[str] = frozenset()
        commands: Mapping[str, float] | None = None
        for k in range(steps):
            raw = plant.step(commands)
            belief = self.mirror.update(belief, self.readings(raw, k), suspects)
            found: tuple[Finding, ...] = ()
            if detect:
                state, found = self.detector.update(state, belief)
                suspects = frozenset(f.subject for f in found if f.cause is Cause.SENSOR) & set(self.sensors)
            commands = yield Tick(belief.t, belief, found, raw)
