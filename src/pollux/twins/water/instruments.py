"""The plant's instruments: noise on every reading, and the faults that instruments have."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

SensorFault = Literal["sensor_bias", "sensor_stuck", "sensor_dropout"]
SENSOR_FAULTS: tuple[SensorFault, ...] = ("sensor_bias", "sensor_stuck", "sensor_dropout")


@dataclass(frozen=True)
class Instrument:
    """One sensor:

    the tag it publishes, its wire unit, its noise (standard deviation) and the size of a telling bias.
    """

    tag: str
    unit: str
    noise: float
    bias: float
    label: str


INSTRUMENTS: tuple[Instrument, ...] = (
    Instrument("level", "m", 0.02, 0.5, "Tank level"),
    Instrument("pump_flow", "m^3/h", 2.5, 25.0, "Pump flow"),
    Instrument("tank_flow", "m^3/h", 2.5, 25.0, "Flow into the tank"),
    Instrument("pump_power", "kW", 0.5, 6.0, "Pump power"),
    Instrument("p13", "m", 0.10, 1.0, "Pressure at 13, north-east"),
    Instrument("p21", "m", 0.10, 1.0, "Pressure at 21, west"),
    Instrument("p22", "m", 0.10, 1.0, "Pressure at 22, centre"),
    Instrument("p31", "m", 0.10, 1.0, "Pressure at 31, south-west"),
    Instrument("p32", "m", 0.10, 1.0, "Pressure at 32, south-east"),
)


@dataclass
class _Fault:
    kind: SensorFault
    size: float
    until: float
    held: float | None


class Instruments:
    """Turns true values into readings. A tag that dropped out is absent from the result."""

    def __init__(self, seed: int, *, noise: bool = True):
        self._rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, 2])))
        self._noise = noise
        self._faults: dict[str, _Fault] = {}

    def fail(self, kind: SensorFault, tag: str, size: float, until: float) -> None:
        """Start a fault of one sensor that ends at event time `until`."""
        self._faults[tag] = _Fault(kind, size, until, None)

    def clear(self, tag: str | None = None) -> None:
        """Mend one sensor, or all."""
        if tag is None:
            self._faults.clear()
        else:
            self._faults.pop(tag, None)

    def read(self, t: float, true: Mapping[str, float]) -> dict[str, float]:
        """Readings at time `t` from true values in wire units."""
        # One draw per instrument and step whatever has failed: a fault changes nothing else in a seeded run.
        draws = self._rng.standard_normal(len(INSTRUMENTS))
        out: dict[str, float] = {}
        for instrument, draw in zip(INSTRUMENTS, draws, strict=True):
            value = true[instrument.tag] + (instrument.noise * float(draw) if self._noise else 0.0)
            fault = self._faults.get(instrument.tag)
            if fault is not None and t >= fault.until:
                del self._faults[instrument.tag]
                fault = None
            if fault is None:
                out[instrument.tag] = value
            elif fault.kind == "sensor_bias":
                out[instrument.tag] = value + fault.size
            elif fault.kind == "sensor_stuck":
                fault.held = value if fault.held is None else fault.held
                out[instrument.tag] = fault.held
        return out
