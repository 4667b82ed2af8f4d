"""Two plants for the work item `quality`: the heated tank of the README, and two vessels with a leak and four sensors.

Readings are simulated with noise that enters all the time (Euler and Maruyama, `FINE` steps an update), as the mirror
takes it; a fault is a function that changes the readings.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from pollux import LogNormal, Readings, Scalar, Signals, Twin, build_detector, build_mirror, compile, const, param, var

DT = 10.0
FINE = 10


class TankState(Signals):
    """Level and temperature."""

    h: Scalar = var("m", start=1.0, within=(0.1, 2.0), drift=1e-4)
    T: Scalar = var("K", start=293.15, within=(280.0, 360.0), drift=1e-3)


class TankInput(Signals):
    """Inflow and heater."""

    q_in: Scalar = var("m^3/s", start=0.01, within=(0.0, 0.05))
    heat: Scalar = var("W", start=0.0, within=(0.0, 2e5))


class TankSensors(Signals):
    """Both states."""

    level: Scalar = var("m", noise=0.005)
    temp: Scalar = var("K", noise=0.2)


class Tank(Twin[TankState, TankInput, TankSensors]):
    """Heated buffer tank. Energy balance as in Seborg et al., Process Dynamics and Control, ch. 2."""

    A: Scalar = param("m^2", 0.5)
    k: Scalar = param("m^5/2/s", 0.01, prior=LogNormal(0.2))
    UA: Scalar = param("W/K", 50.0, prior=LogNormal(0.5))
    rho_c: Scalar = const("J/(m^3 K)", 4.18e6)
    ambient: Scalar = const("K", 293.0)

    def dynamics(self, t: Scalar, x: TankState, u: TankInput) -> TankState:
        """Volume and energy balance."""
        dh = (u.q_in - self.k * jnp.sqrt(x.h)) / self.A
        heating = (u.heat - self.UA * (x.T - self.ambient)) / (self.rho_c * self.A * x.h)
        mixing = u.q_in * (self.ambient - x.T) / (self.A * x.h)
        return TankState(h=dh, T=heating + mixing)

    def observe(self, t: Scalar, x: TankState, u: TankInput) -> TankSensors:
        """Each state has its sensor."""
        return TankSensors(level=x.h, temp=x.T)


class State(Signals):
    """Two levels and a temperature."""

    a: Scalar = var("m", start=1.0, drift=0.002, within=(0.0, 5.0), spread=0.05)
    b: Scalar = var("m", start=2.0, drift=0.002, within=(0.0, 5.0), spread=0.05)
    T: Scalar = var("K", start=300.0, drift=0.02, within=(250.0, 400.0), spread=1.0)


class Input(Signals):
    """What is fed to the second vessel."""

    feed: Scalar = var("m", start=1.0, within=(0.0, 3.0))


class Sensors(Signals):
    """Two levels, the temperature, and the flow between the vessels."""

    la: Scalar = var("m", noise=0.01)
    lb: Scalar = var("m", noise=0.01, within=(0.0, 2.6))
    temp: Scalar = var("K", noise=0.2)
    flow: Scalar = var("m/s", noise=0.0005)


class Vessels(Twin[State, Input, Sensors]):
    """Two vessels that fill and drain, one with a leak, and a temperature that relaxes."""

    k: Scalar = param("1/s", 0.02)
    warm: Scalar = param("1/s", 0.005)
    leak: Scalar = param("m/s", 0.0, within=(0.0, 0.02))

    def dynamics(self, t: Scalar, x: State, u: Input) -> State:
        """First order each."""
        return State(
            a=self.k * (1.0 - x.a) - self.leak, b=self.k * (u.feed + x.a - x.b), T=self.warm * (300.0 - x.T)
        )  # fmt: skip

    def observe(self, t: Scalar, x: State, u: Input) -> Sensors:
        """The flow is seen besides the levels."""
        return Sensors(la=x.a, lb=x.b, temp=x.T, flow=self.k * x.b)


@dataclass(frozen=True)
class Plant:
    """A compiled twin with its mirror and detector."""

    name: str
    kernels: Any
    mirror: Any
    detector: Any

    def readings(
        self, seed: int, spoil: "Spoil | None" = None, feed: Callable[[int], float] | None = None
    ) -> Iterator[Readings]:
        """Readings without end; `spoil(i, y, g)` changes them in place, `feed(i)` sets the first input."""
        space, flow, observe = self.kernels.space, self.kernels.flow, self.kernels.observe
        g, other, x, i = np.random.default_rng(seed), np.random.default_rng([seed, 1]), space.x0, 0
        step, shake, noise, p = DT / FINE, np.sqrt(DT / FINE * space.Q), np.sqrt(space.R), space.p0
        while True:
            u = space.u0.copy()
            if feed is not None:
                u[0] = feed(i)
            for w in g.standard_normal((FINE, len(x))):
                (x,) = flow(0.0, step, x, u, p)
                x = x + shake * w
            y = np.asarray(observe(0.0, x, u, p)[0]) + noise * g.standard_normal(len(noise))
            if spoil is not None:
                spoil(i, y, other)
            following = u if feed is None else np.array([feed(i + 1), *u[1:]])
            i += 1
            yield Readings(space.system.name, DT * i, f"r{i}", "", y, following)


Spoil = Callable[[int, np.ndarray, np.random.Generator], None]
"""(update, readings to change in place, generator)."""


def plant(name: str, alarm_every: float) -> Plant:
    """`tank` or `vessels`; `alarm_every` in updates."""
    twin, faults = (Tank(), None) if name == "tank" else (Vessels(), ("leak",))
    kernels = compile(twin)
    detector = build_detector(kernels, faults=faults, one_sided=("leak",), alarm_every=alarm_every * DT)
    return Plant(name, kernels, build_mirror(kernels), detector)


def share(part: int, whole: int) -> float:
    """part / whole, NaN for none."""
    return part / whole if whole else math.nan
