"""The unknowns of a fit: which parameters and first states are free, and the scaled coordinates z they are sought in.

    theta = c exp(z)      where the quantity is positive by its bounds or its prior
    theta = c + s z       otherwise, s = prior or belief deviation, a tenth of the range, |c| or 1

so that z = 0 is the declared value and a unit step is a natural one. A log-normal prior is N(0, sd^2) in z, a normal
one N(0, (sd/s)^2): priors become residual rows z / deviation.
"""

from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from pollux.core.errors import DefinitionError
from pollux.core.priors import LogNormal
from pollux.model.statespace import Channel, StateSpace

_FAR = 30.0  # |z| in the logarithm: a factor of 1e13 either way, before exp overflows anything downstream


@dataclass(frozen=True, eq=False)
class Coordinates:
    """Scaled coordinates of `names`, in order; `centre` is theta at z = 0."""

    names: tuple[str, ...]
    units: tuple[str, ...]
    log: Bool[np.ndarray, " k"] = field(repr=False)
    centre: Float[np.ndarray, " k"] = field(repr=False)
    scale: Float[np.ndarray, " k"] = field(repr=False)
    low: Float[np.ndarray, " k"] = field(repr=False)
    high: Float[np.ndarray, " k"] = field(repr=False)
    deviation: Float[np.ndarray, " k"] = field(repr=False)
    """Standard deviation of the prior in z; inf where there is none."""

    def __len__(self) -> int:
        """Number of unknowns."""
        return len(self.names)

    def value(self, z: Any) -> Any:
        """theta at z, both (k,); JAX or NumPy."""
        return to_value(z, self.log, self.centre, self.scale)

    def slope(self, z: np.ndarray) -> np.ndarray:
        """d theta / d z, (k,)."""
        return np.where(self.log, self.centre * np.exp(np.where(self.log, z, 0.0)), self.scale)

    def coordinate(self, theta: np.ndarray) -> np.ndarray:
        """z of theta."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.log, np.log(theta / self.centre), (theta - self.centre) / self.scale)


def to_value(z: Any, log: Any, centre: Any, scale: Any) -> Any:
    """theta = c exp(z) or c + s z; safe to differentiate through."""
    return jnp.where(log, centre * jnp.exp(jnp.where(log, z, 0.0)), centre + scale * z)


def coordinates(channels: tuple[Channel, ...], names: tuple[str, ...], centre: np.ndarray) -> Coordinates:
    """Coordinates of `channels`, called `names`, centred on `centre`."""
    k = len(channels)
    log, scale, deviation = np.zeros(k, bool), np.ones(k), np.full(k, np.inf)
    low, high = np.full(k, -np.inf), np.full(k, np.inf)
    for i, (c, value) in enumerate(zip(channels, centre, strict=True)):
        log[i] = value > 0 and (isinstance(c.prior, LogNormal) or (c.low >= 0 and c.prior is None))
        width = c.high - c.low
        natural = c.prior.deviation(value) if c.prior else 0.1 * width if np.isfinite(width) else abs(value)
        scale[i] = natural or 1.0
        if c.prior is not None:
            deviation[i] = c.prior.sd if log[i] else c.prior.deviation(value) / scale[i]
        if log[i]:
            low[i] = np.log(c.low / value) if c.low > 0 else -_FAR
            high[i] = np.log(c.high / value) if np.isfinite(c.high) else _FAR
        else:
            low[i], high[i] = (c.low - value) / scale[i], (c.high - value) / scale[i]
    return Coordinates(names, tuple(c.unit for c in channels), log, centre, scale, low, high, deviation)


def choose(space: StateSpace, free: tuple[str, ...] | None) -> tuple[int, ...]:
    """Positions of the free parameters. None: those with a prior, else all that are not constants.

    A name also stands for everything below it: "residual" frees `residual.w[0]`. Raises `DefinitionError` for a name
    that the twin does not have.
    """
    names = [c.name for c in space.p]
    if free is None:
        known = tuple(i for i, c in enumerate(space.p) if c.prior is not None and not c.constant)
        return known or tuple(i for i, c in enumerate(space.p) if not c.constant)
    chosen: list[int] = []
    for name in free:
        found = [i for i, n in enumerate(names) if n == name or n.startswith((f"{name}.", f"{name}["))]
        if not found:
            raise DefinitionError(f"`{space.system.name}` has no parameter {name!r} to calibrate; it has {names}")
        chosen.extend(i for i in found if i not in chosen)
    return tuple(sorted(chosen))
