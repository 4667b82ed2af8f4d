"""One step of the estimate: belief, detector, suspects. The same for what is settled, present, and run again."""

from collections.abc import Set
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from pollux.core.errors import InputError
from pollux.core.signals import Belief, Cause, Finding, Readings
from pollux.runtime.ports import Detector, Mirror


class Estimated(Protocol):
    """What has an estimate: an `Estimate`, a `LiveState`."""

    @property
    def belief(self) -> Belief:
        """Where the asset is."""
        ...

    @property
    def detector(self) -> Any:
        """The detector's memory."""
        ...

    @property
    def seen(self) -> np.ndarray:
        """Last value of every sensor, NaN before the first."""
        ...

    @property
    def suspects(self) -> tuple[str, ...]:
        """Sensors that do not move the belief."""
        ...


class Kernels(Protocol):
    """What computes it; `live.Parts` has it."""

    mirror: Mirror | None
    detector: Detector | None


@dataclass(frozen=True)
class Estimate:
    """The part of a live state that readings alone determine."""

    belief: Belief
    detector: Any
    seen: np.ndarray
    suspects: tuple[str, ...] = ()


def estimate_of(state: Estimated) -> Estimate:
    """The estimate in a live state."""
    return Estimate(state.belief, state.detector, state.seen, state.suspects)


def begin(parts: Kernels, t: float, sensors: int) -> Estimate:
    """The estimate before any reading. Raises `InputError` while there is no mirror."""
    if parts.mirror is None:
        raise InputError("The mirror is still being compiled; keep the reading and step later")
    memory = None if parts.detector is None else parts.detector.start()
    return Estimate(parts.mirror.start(t), memory, np.full(sensors, np.nan))


def advance(
    parts: Kernels, sensors: Set[str], before: Estimated, readings: Readings
) -> tuple[Estimate, tuple[Finding, ...]]:
    """The estimate after one reading, and what the detector finds. `sensors` are the names that may be suspects."""
    mirror, detector = parts.mirror, parts.detector
    assert mirror is not None
    belief = mirror.update(before.belief, readings, frozenset(before.suspects))
    memory, found = detector.update(before.detector, belief) if detector else (None, ())
    seen = np.where(np.isnan(readings.values), before.seen, readings.values)
    suspects = tuple(sorted({f.subject for f in found if f.cause is Cause.SENSOR} & sensors))
    return Estimate(belief, memory, seen, suspects), found
