"""Time and chance are injected: nothing else in Pollux reads a clock or draws a number.

`pollux.runtime.clock` holds the one implementation that reads the machine's clock.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np


class Clock(Protocol):
    """Where time comes from."""

    def now(self) -> float:
        """Seconds since 1970 UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary start, never going back."""
        ...


@dataclass
class ManualClock:
    """A clock that moves only when told to: for tests and for replay."""

    t: float = 0.0

    def now(self) -> float:
        """Seconds since 1970 UTC."""
        return self.t

    def monotonic(self) -> float:
        """The same time; it never goes back because `advance` refuses to."""
        return self.t

    def advance(self, dt: float) -> None:
        """Move forward by `dt` seconds."""
        if dt < 0:
            raise ValueError(f"A clock never goes back: dt = {dt}")
        self.t += dt


def rng(seed: int, *key: int) -> np.random.Generator:
    """A counter-based generator (Philox) for one purpose, independent of every other `key` under the same seed."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, *key])))
