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
    """Scaled coordinates of `names`, in order; `centre` is theta at z = 0. A fleet has an axis N behind k."""

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

    def value(self, z: np.ndarray) -> np.ndarray:
        """theta at z, both (k,)."""
        return np.where(self.log, self.centre * np.exp(np.where(self.log, z, 0.0)), self.centre + self.scale * z)

    def slope(self, z: np.ndarray) -> np.ndarray:
        """d theta / d z, (k,)."""
        return np.where(self.log, self.centre * np.exp(np.where(self.log, z, 0.0)), self.scale)

    def coordinate(self, theta: np.ndarray) -> np.ndarray:
        """z of theta."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.log, np.log(theta / self.centre), (theta - self.centre) / self.scale)


def to_value(z: Any, log: Any, centre: Any, scale: Any) -> Any:
    """`Coordinates.value` inside a program; safe to differentiate through."""
    return jnp.where(log, centre * jnp.exp(jnp.where(log, z, 0.0)), centre + scale * z)


def coordinates(channels: tuple[Channel, ...], names: tuple[str, ...], centre: np.ndarray) -> Coordinates:
    """Coordinates of `channels`, called `names`, centred on `centre` (k,), or (k, N) for a fleet."""
    shape = np.shape(centre)
    log, scale, deviation = np.zeros(shape, bool), np.ones(shape), np.full(shape, np.inf)
    low, high = np.empty(shape), np.empty(shape)
    for i, (c, value) in enumerate(zip(channels, centre, strict=True)):
        log[i] = (value > 0) & (isinstance(c.prior, LogNormal) or (c.low >= 0 and c.prior is None))
        width = c.high - c.low
        natural = c.prior.deviation(value) if c.prior else 0.1 * width if np.isfinite(width) else np.abs(value)
        scale[i] = np.where(natural, natural, 1.0)
        if c.prior is not None:
            deviation[i] = np.where(log[i], c.prior.sd, c.prior.deviation(value) / scale[i])
        with np.errstate(divide="ignore", invalid="ignore"):  # where the logarithm is not taken
            far = np.log(c.low / value) if c.low > 0 else -_FAR, np.log(c.high / value) if c.high < np.inf else _FAR
        low[i] = np.where(log[i], far[0], (c.low - value) / scale[i])
        high[i] = np.where(log[i], far[1], (c.high - value) / scale[i])
    return Coordinates(names, tuple(c.unit for c in channels), log, centre, scale, low, high, deviation)


def unknowns(
    space: StateSpace, chosen: tuple[int, ...], states: tuple[int, ...], p: np.ndarray, X0: np.ndarray, pulled: bool
) -> Coordinates:
    """Parameters first, then the free first states of record 0, 1, ...; p (n_p,), X0 (R, n), or with (..., N) last.

    `pulled`: the first state has the declared `spread` as its prior.
    """
    parts = [coordinates(tuple(space.p[i] for i in chosen), tuple(space.p[i].name for i in chosen), p[list(chosen)])]
    channels = tuple(space.x[i] for i in states)
    for r, first in enumerate(X0):
        mark = "(0)" if len(X0) == 1 else f"(0)[{r}]"
        c = coordinates(channels, tuple(f"{s.name}{mark}" for s in channels), first[list(states)])
        # a first state may reach zero: sought on its own scale, which is that of the first belief
        spread, low, high = (
            np.array([getattr(s, of) for s in channels]).reshape(-1, *(1,) * (first.ndim - 1)) * np.ones_like(c.centre)
            for of in ("spread", "low", "high")
        )
        deviation = np.full_like(spread, 1.0 if pulled else np.inf)
        still = np.zeros_like(c.log)
        low, high = (low - c.centre) / spread, (high - c.centre) / spread
        parts.append(Coordinates(c.names, c.units, still, c.centre, spread, low, high, deviation))
    arrays = ("log", "centre", "scale", "low", "high", "deviation")
    return Coordinates(
        sum((c.names for c in parts), ()),
        sum((c.units for c in parts), ()),
        *(np.concatenate([getattr(c, name) for c in parts]) for name in arrays),
    )


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
