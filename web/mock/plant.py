"""A made-up water works for the dashboard's own tests: every signal is a pure function of event time.

Nothing of Pollux is imported. The numbers only have to look like an asset, and to be the same on every run.
"""

import math
import random
from dataclasses import dataclass

DAY = 86_400.0
T0 = 1_795_478_400.0  # 2026-11-24 00:00 UTC
STEP = 60.0  # event seconds per tick


@dataclass(frozen=True)
class Wave:
    """value(t) = base + swing * sin(2 pi (t / period + phase)) + ripple * sin(...)."""

    label: str
    unit: str
    low: float | None
    high: float | None
    noise: float
    base: float
    swing: float
    period: float = DAY
    phase: float = 0.0
    ripple: float = 0.0


SENSORS = {
    "level": Wave("Tank level", "m", 1.0, 6.0, 0.02, 3.6, 1.1, DAY / 2, 0.1, 0.12),
    "p_north": Wave("Pressure north", "bar", 2.0, 6.5, 0.03, 4.2, 0.35, DAY, 0.3, 0.08),
    "p_hill": Wave("Pressure hill", "bar", 2.0, 6.5, 0.03, 2.7, 0.42, DAY, 0.3, 0.10),
    "q_supply": Wave("Supply flow", "m^3/h", 0.0, 400.0, 2.5, 210.0, 60.0, DAY / 2, 0.0, 12.0),
    "q_town": Wave("Town demand", "m^3/h", 0.0, 400.0, 3.0, 190.0, 75.0, DAY, 0.55, 18.0),
    "power": Wave("Pump power", "kW", 0.0, 120.0, 0.8, 62.0, 18.0, DAY / 2, 0.0, 4.0),
}
STATES = {
    "volume": Wave("Tank volume", "m^3", 0.0, 2400.0, 0.0, 1400.0, 420.0, DAY / 2, 0.1, 40.0),
    "demand_bias": Wave("Demand above normal", "m^3/h", -80.0, 80.0, 0.0, 6.0, 5.0, DAY / 3, 0.2, 1.0),
    "leak": Wave("Unaccounted outflow", "m^3/h", 0.0, 120.0, 0.0, 2.0, 1.0, DAY, 0.0, 0.4),
}
INPUTS = {
    "pump_1": Wave("Pump 1 speed", "1", 0.0, 1.2, 0.0, 0.8, 0.2, DAY / 2),
    "pump_2": Wave("Pump 2 speed", "1", 0.0, 1.2, 0.0, 0.4, 0.4, DAY / 2, 0.25),
    "valve_hill": Wave("Hill valve", "percent", 0.0, 100.0, 0.0, 60.0, 15.0, DAY / 4),
}
MARGINS = {
    "level_low": ("Tank level above 1 m", "m"),
    "level_high": ("Tank level below 6 m", "m"),
    "p_hill_low": ("Hill pressure above 2 bar", "bar"),
    "p_north_low": ("North pressure above 2 bar", "bar"),
    "power_high": ("Pump power below 100 kW", "kW"),
}
PARAMETERS = {
    "tank_area": ("Tank area", "m^2", 380.0),
    "roughness": ("Main roughness", "1", 118.0),
    "pump_gain": ("Pump curve factor", "1", 1.02),
}


def truth(w: Wave, t: float) -> float:
    """The noise-free value."""
    slow = w.swing * math.sin(2 * math.pi * (t / w.period + w.phase))
    return w.base + slow + w.ripple * math.sin(2 * math.pi * (7.3 * t / DAY + 3 * w.phase))


def step_input(w: Wave, t: float) -> float:
    """Inputs hold for an hour and move in tenths of their swing."""
    held = math.floor(t / 3600.0) * 3600.0
    return round(max(w.low or 0.0, min(w.high or 1.0, truth(w, held))), 2)


def noise(name: str, t: float) -> float:
    """Standard normal, fixed by name and time."""
    return random.Random(f"{name}{round(t / STEP)}").gauss(0.0, 1.0)


def effect(name: str, t: float, faults: list[dict]) -> float:
    """What injected faults add to a signal."""
    out = 0.0
    for f in faults:
        if t < f["t"] or (f["duration"] is not None and t > f["t"] + f["duration"]):
            continue
        ramp = min(1.0, (t - f["t"]) / 1800.0)
        if f["kind"] == "leak":
            out += ramp * {"p_hill": -0.9, "p_north": -0.3, "leak": f["size"], "q_supply": 15.0}.get(name, 0.0)
        elif f["kind"] == "sensor_bias" and f["where"] == name:
            out += f["size"]
    return out


def stuck(name: str, t: float, faults: list[dict]) -> str | None:
    """`stuck` or `dropout` when a sensor fault of that kind holds."""
    for f in faults:
        if f["where"] == name and t >= f["t"] and f["kind"] in {"sensor_stuck", "sensor_dropout"}:
            return f["kind"]
    return None
