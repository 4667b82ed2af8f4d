"""Priors of parameters, as values. Each gives a transform to an unbounded coordinate and a standard deviation.

A prior is centred on the parameter's declared value, so that `param("W/K", 50.0, prior=LogNormal(0.5))` reads as
"50 W/K, known to about a factor e^0.5".
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Normal:
    """theta ~ N(value, sd^2), in the parameter's unit."""

    sd: float

    def __post_init__(self):
        _positive("Normal", self.sd)

    def deviation(self, value: float) -> float:
        """Standard deviation in the parameter's unit."""
        return self.sd


@dataclass(frozen=True)
class LogNormal:
    """log(theta) ~ N(log(value), sd^2); theta stays positive."""

    sd: float

    def __post_init__(self):
        _positive("LogNormal", self.sd)

    def deviation(self, value: float) -> float:
        """Standard deviation in the parameter's unit, exact for the log-normal: |value| sqrt(e^{sd^2} - 1)."""
        return abs(value) * math.sqrt(math.expm1(self.sd**2))


Prior = Normal | LogNormal


def _positive(name: str, sd: float) -> None:
    if not (math.isfinite(sd) and sd > 0):
        raise ValueError(f"`{name}` needs a positive, finite standard deviation, received {sd!r}")
