"""What the runtime consumes, as Protocols: kernels that are opaque to it, and the doors to the outside world."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from pollux.core.signals import Belief, Command, Decision, Finding, Forecast, Readings
from pollux.core.time import Clock
from pollux.runtime.events import Event

if TYPE_CHECKING:
    from pollux.runtime.archive import Archive
    from pollux.runtime.fleets.lane import FleetLane
    from pollux.runtime.lane import Lane
    from pollux.runtime.roster import Roster


class Mirror(Protocol):
    """The state estimator of one twin."""

    def start(self, t: float) -> Belief:
        """The first belief, before any reading."""
        ...

    def update(self, belief: Belief, readings: Readings, excluded: frozenset[str] = frozenset()) -> Belief:
        """The belief after a reading; `excluded` names sensors that must not move it."""
        ...


class Detector(Protocol):
    """Finds anomalies in the stream of beliefs."""

    def start(self) -> Any:
        """State of the detector before the first belief: plain dataclasses of arrays, numbers and strings."""
        ...

    def update(self, state: Any, belief: Belief) -> tuple[Any, tuple[Finding, ...]]:
        """Next state, and every anomaly that is active now."""
        ...


class Forecaster(Protocol):
    """Predicts from a belief under a plan of inputs."""

    def forecast(
        self, belief: Belief, plan_times: np.ndarray, plan: np.ndarray, *, samples: int, seed: int
    ) -> Forecast:
        """Quantiles at `plan_times` (k,) under `plan` (k, u). The same seed gives the same samples."""
        ...


class Planner(Protocol):
    """Looks for a better plan of inputs."""

    def plan(self, belief: Belief, *, outlook: tuple[np.ndarray, np.ndarray]) -> Decision | None:
        """A decision whose expiry and figures are set, or None when nothing better is known.

        `outlook` holds the expected inputs: times (k,) and values (k, u), each row held until the next.
        """
        ...


class Gauge(Protocol):
    """Evaluates the margins of a twin at a belief's mean."""

    def __call__(self, belief: Belief) -> np.ndarray:
        """Margins (m,), below zero = limit violated."""
        ...


class EventJournal(Protocol):
    """Where events are kept."""

    async def append(self, events: Sequence[Event]) -> None:
        """Return when the events are durable."""
        ...


class Actuators(Protocol):
    """The way to the plant."""

    async def send(self, command: Command) -> None:
        """Send a command; what becomes of it comes back by the connector."""
        ...


class Site(Protocol):
    """A demo plant that can be told to have a fault."""

    async def fault(self, kind: str, where: str, size: float, duration: float | None) -> None:
        """Ask the plant for the fault; it goes away by itself after `duration` seconds, or by the kind `clear`."""
        ...


class AuditTrail(Protocol):
    """The audit chain, as the faces read it."""

    def last(self, n: int) -> tuple[list[dict[str, Any]], bool]:
        """The last `n` records, oldest first, and whether the whole chain verifies."""
        ...


class Host(Protocol):
    """What the server asks of the engine."""

    clock: Clock
    phase: str
    """`starting`, `live`, `stopping`, or `failed: why`."""
    roster: "Roster"
    """The fleet as a table."""
    archive: "Archive"
    """The past."""

    @property
    def fleets(self) -> "Mapping[str, FleetLane]":
        """The fleets by name."""
        ...

    def lanes(self) -> Mapping[str, "Lane"]:
        """The live twins by name; members of fleets are found by name, and not listed."""
        ...

    def refused(self) -> Mapping[str, int]:
        """Messages in the quarantine since the start, by reason, of all twins."""
        ...

    async def push(self, readings: list[dict[str, Any]], source: str) -> dict[str, Any]:
        """Take readings that the caller `source` sent; what is answered as accepted is durable."""
        ...
