"""What a twin shows to people: names, units, limits. Made once from its state space, and from then on plain data."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any


@dataclass(frozen=True)
class Signal:
    """One named number of a twin, as it is shown. `low`, `high` and `noise` are None where nothing is declared."""

    name: str
    label: str
    unit: str
    low: float | None
    high: float | None
    noise: float | None
    group: str


@dataclass(frozen=True)
class FaultKind:
    """A fault that a demo plant can be told to have."""

    kind: str
    where: tuple[str, ...]
    size: float
    unit: str


@dataclass(frozen=True)
class Margin:
    """One limit: its margin is below zero when it is violated."""

    name: str
    label: str
    unit: str = ""


@dataclass(frozen=True)
class TwinFace:
    """All that the faces (REST, MCP, command line, chat, dashboard) know about the definition of a twin."""

    name: str
    title: str
    kind: str
    doc: str
    states: tuple[Signal, ...]
    inputs: tuple[Signal, ...]
    sensors: tuple[Signal, ...]
    parameters: tuple[Signal, ...]
    margins: tuple[Margin, ...]
    tracked: tuple[str, ...] = ()
    schematic: str | None = None
    faults: tuple[FaultKind, ...] = ()

    @property
    def estimated(self) -> tuple[Signal, ...]:
        """What the belief's mean holds, in order: the states, then the tracked parameters."""
        by_name = {p.name: p for p in self.parameters}
        return self.states + tuple(by_name[name] for name in self.tracked)


def face_of(
    space: Any,
    *,
    name: str,
    title: str = "",
    kind: str = "",
    doc: str = "",
    tracked: Sequence[str] = (),
    schematic: str | None = None,
    faults: Sequence[FaultKind] = (),
) -> TwinFace:
    """The face of a `pollux.model.statespace.StateSpace` (not augmented), under the name that the project gives it."""
    return TwinFace(
        name=name,
        title=title or name,
        kind=kind or space.system.name,
        doc=doc,
        states=tuple(_signal(c) for c in space.x),
        inputs=tuple(_signal(c) for c in space.u),
        sensors=tuple(_signal(c) for c in space.y),
        parameters=tuple(_signal(c) for c in space.p),
        margins=tuple(Margin(n, n.replace("_", " ")) for n in space.system.margin_names),
        tracked=tuple(tracked),
        schematic=schematic,
        faults=tuple(faults),
    )


def _signal(channel: Any) -> Signal:
    group = channel.name.split("[")[0].split(".")[0] if any(c in channel.name for c in "[.") else ""
    return Signal(
        name=channel.name,
        label=channel.label or channel.name,
        unit=channel.unit,
        low=_known(channel.low),
        high=_known(channel.high),
        noise=channel.noise or None,
        group=group,
    )


def _known(value: float) -> float | None:
    return float(value) if isfinite(value) else None
