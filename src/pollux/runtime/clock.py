"""The machine's clock and the source of chance: the only place in Pollux that reads either."""

import secrets
import time

import numpy as np

from pollux.core.time import rng


class SystemClock:
    """Reads the machine's clock; a `Clock` as in `pollux.core.time`."""

    def now(self) -> float:
        """Seconds since 1970 UTC."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds from an arbitrary start, never going back."""
        return time.monotonic()


class Rng:
    """Generators for named purposes under one seed: the same seed and purpose always give the same draws."""

    def __init__(self, seed: int):
        self.seed = seed

    def generator(self, *key: int) -> np.random.Generator:
        """A generator of its own for this purpose."""
        return rng(self.seed, *key)


def token(n_bytes: int = 24) -> str:
    """A secret from the operating system: for access tokens, never for simulation."""
    return secrets.token_urlsafe(n_bytes)
