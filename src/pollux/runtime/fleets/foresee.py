"""Forecasts of the members of a fleet: one compiled forecaster for all, made when the first is asked for."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pollux.core.signals import Belief, Forecast


class OneForAll:
    """The forecaster that the members share; each looks ahead with its own parameters."""

    def __init__(self, make: Callable[[], Any]):
        self._make, self._lock = make, threading.Lock()
        self._made: Any = None

    def made(self) -> Any:
        """The compiled forecaster; the first to ask waits for it. Call it from a worker thread."""
        with self._lock:
            if self._made is None:
                self._made = self._make()
            return self._made


@dataclass(frozen=True)
class MemberForecaster:
    """The `Forecaster` of one member."""

    shared: OneForAll
    params: Callable[[], np.ndarray]

    def forecast(
        self, belief: Belief, plan_times: np.ndarray, plan: np.ndarray, *, samples: int, seed: int
    ) -> Forecast:
        """As of any twin."""
        own = replace(self.shared.made(), params=self.params())
        return own.forecast(belief, plan_times, plan, samples=samples, seed=seed)
