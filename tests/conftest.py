"""Shared by all tests: the tank of the README, compiled once."""

import jax.numpy as jnp
import pytest

from pollux import LogNormal, Scalar, Signals, Twin, const, param, var


class State(Signals):
    h: Scalar = var("m", start=1.0, within=(0.1, 2.0), drift=1e-4)
    T: Scalar = var("K", start=293.15, within=(280.0, 360.0), drift=1e-3)


class Input(Signals):
    q_in: Scalar = var("m^3/s", start=0.01, within=(0.0, 0.05))
    heat: Scalar = var("W", start=0.0, within=(0.0, 2e5))


class Sensors(Signals):
    level: Scalar = var("m", noise=0.005)
    temp: Scalar = var("K", noise=0.2)


class Tank(Twin[State, Input, Sensors]):
    """Heated buffer tank. Energy balance as in Seborg et al., Process Dynamics and Control, ch. 2."""

    A: Scalar = param("m^2", 0.5)
    k: Scalar = param("m^5/2/s", 0.01, prior=LogNormal(0.2))
    UA: Scalar = param("W/K", 50.0, prior=LogNormal(0.5))
    rho_c: Scalar = const("J/(m^3 K)", 4.18e6)
    ambient: Scalar = const("K", 293.0)

    def dynamics(self, t: Scalar, x: State, u: Input) -> State:
        dh = (u.q_in - self.k * jnp.sqrt(x.h)) / self.A
        heating = (u.heat - self.UA * (x.T - self.ambient)) / (self.rho_c * self.A * x.h)
        mixing = u.q_in * (self.ambient - x.T) / (self.A * x.h)
        return State(h=dh, T=heating + mixing)

    def observe(self, t: Scalar, x: State, u: Input) -> Sensors:
        return Sensors(level=x.h, temp=x.T)

    def margins(self, t: Scalar, x: State, u: Input) -> dict[str, Scalar]:
        return {"dry": x.h - 0.2, "hot": 350.0 - x.T}


@pytest.fixture(scope="session")
def tank() -> Tank:
    return Tank()


@pytest.fixture(scope="session")
def tank_class() -> type[Tank]:
    return Tank
