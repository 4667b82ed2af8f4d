"""A draining tank: the small project of tests and of the crash evidence."""

import jax.numpy as jnp

from pollux import LogNormal, Scalar, Signals, Twin, param, var


class State(Signals):
    h: Scalar = var("m", start=1.0, within=(0.05, 2.0), drift=1e-3)


class Input(Signals):
    q: Scalar = var("m^3/s", start=0.01, within=(0.0, 0.05))


class Sensors(Signals):
    level: Scalar = var("m", noise=0.01, within=(0.0, 2.5))


class Tank(Twin[State, Input, Sensors]):
    """A draining tank."""

    A: Scalar = param("m^2", 0.5)
    k: Scalar = param("m^5/2/s", 0.01, prior=LogNormal(0.1), drift=1e-6)

    def dynamics(self, t, x, u):
        return State(h=(u.q - self.k * jnp.sqrt(x.h)) / self.A)

    def observe(self, t, x, u):
        return Sensors(level=x.h)

    def margins(self, t, x, u):
        return {"dry": x.h - 0.1, "full": 1.9 - x.h}
