"""Joining the wiring to the twin's fields: column, unit conversion and plausible range of every tag, computed once."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NoReturn, Protocol

import numpy as np

from pollux.core.errors import UnitError, WiringError
from pollux.core.units import affine
from pollux.runtime.tables import closest
from pollux.runtime.wiring import ActuatorWiring, TagWiring, TwinWiring

WIDEN = 10.0
"""A value further from the middle of its physical range than this many half-widths is refused."""

HUGE = 1e12
"""Values above this are refused everywhere."""

OPEN = 20_000
"""Ticks that may be open, waiting for late values; they are kept in memory and fused again when one changes."""


class Field(Protocol):
    """What is needed of a twin's sensor or input; `model.statespace.Channel` has it."""

    @property
    def name(self) -> str:
        """Name in the twin."""
        ...

    @property
    def unit(self) -> str:
        """Unit in the twin."""
        ...

    @property
    def low(self) -> float:
        """Lower physical bound, -inf when there is none."""
        ...

    @property
    def high(self) -> float:
        """Upper physical bound."""
        ...


@dataclass(frozen=True)
class Port:
    """One tag of a twin: value_field = scale * value_wire + shift goes into `column`."""

    tag: str
    field: str
    kind: Literal["sensor", "input"]
    column: int
    """Index into the sensors, or into the inputs."""
    unit: str
    """Unit on the wire."""
    field_unit: str
    scale: float
    shift: float
    low: float
    """What is below, in the field's unit, is refused."""
    high: float
    authority: str
    connector: str
    period: float
    """Seconds between two values."""
    offset: float = 0.0
    """Seconds that are added to the times its source sends."""


@dataclass(frozen=True)
class SourceRule:
    """What is known of one source (the authority of a tag) and its clock; see `watermark`."""

    name: str
    lag: float
    """Seconds that its rows may come behind the newest of all."""
    idle: float
    """Seconds of the others' event time that it may be silent before nobody waits for it."""
    period: float
    """Seconds between two values of its fastest tag."""
    offset: float = 0.0
    """Seconds that are added to the times it sends."""


@dataclass(frozen=True)
class ActuatorPort:
    """One input of the twin and its actuator: value_wire = scale * value_field + shift."""

    actuator: str
    field: str
    column: int
    unit: str
    scale: float
    shift: float
    connector: str


@dataclass(frozen=True)
class Binding:
    """One twin's wiring joined to its fields; the index of a port is the twin's local tag number."""

    twin: str
    site: str
    time: Literal["event", "wall"]
    period: float
    lag: float
    jump: float
    n_sensors: int
    n_inputs: int
    ports: tuple[Port, ...]
    actuators: tuple[ActuatorPort, ...]
    sources: tuple[SourceRule, ...] = ()
    """Every authority of a port, once."""
    pulse: int = 1
    """Ticks without any value are handed on at multiples of this many periods only."""

    @property
    def tags(self) -> tuple[str, ...]:
        """The names on the wire, in the order of `ports`."""
        return tuple(port.tag for port in self.ports)


_Entry = tuple[Literal["sensor", "input"], int, Field]


def bind(wiring: TwinWiring, sensors: Sequence[Field], inputs: Sequence[Field]) -> Binding:
    """Join; every sensor without a tag stays NaN. Raises `WiringError` for unknown fields and wrong units.

    A field that is both a sensor and an input is named `sensor.NAME` or `input.NAME`.
    """
    fields: dict[str, _Entry] = {}
    for column, member in enumerate(inputs):
        fields[f"input.{member.name}"] = fields[member.name] = ("input", column, member)
    for column, member in enumerate(sensors):
        fields[f"sensor.{member.name}"] = fields[member.name] = ("sensor", column, member)
    ports = tuple(_port(wiring, i, tag, fields) for i, tag in enumerate(wiring.tags))
    taken: dict[tuple[str, int], str] = {}
    for i, port in enumerate(ports):
        other = taken.setdefault((port.kind, port.column), port.tag)
        if other != port.tag:
            _fail(wiring, f"tag[{i}]", f"{port.field!r} is fed by {other!r} already", "Remove one of the two.")
    sources = _sources(wiring, ports)
    return Binding(
        twin=wiring.name,
        site=wiring.site,
        time=wiring.time,
        period=wiring.period,
        lag=wiring.lag,
        jump=wiring.jump,
        n_sensors=len(sensors),
        n_inputs=len(inputs),
        ports=ports,
        actuators=tuple(_actuator(wiring, i, a, fields) for i, a in enumerate(wiring.actuators)),
        sources=sources,
        pulse=1 if wiring.pulse is None else max(1, round(wiring.pulse / wiring.period)),
    )


def to_wire(binding: Binding, values: Mapping[str, float]) -> dict[tuple[str, str], float]:
    """Input values of a command as {(connector, actuator): value on the wire}. Raises `WiringError`."""
    found: dict[tuple[str, str], float] = {}
    by_field = {port.field: port for port in binding.actuators}
    for field, value in values.items():
        port = by_field.get(field)
        if port is None:
            raise WiringError(
                f"A command needs an actuator: twin {binding.twin!r} has none for {field!r}. "
                f"Add a [[twin.actuator]]. {closest(field, by_field)}"
            )
        found[port.connector, port.actuator] = port.scale * value + port.shift
    return found


def _port(wiring: TwinWiring, i: int, tag: TagWiring, fields: dict[str, _Entry]) -> Port:
    kind, column, field = _field(wiring, f"tag[{i}].field", tag.field, fields)
    unit = field.unit if tag.unit is None else tag.unit
    scale, shift = _affine(wiring, f"tag[{i}].unit", unit, field.unit, tag.field)
    low, high = _widened(field.low, field.high)
    return Port(
        tag.tag, field.name, kind, column, unit, field.unit, scale, shift, low, high, tag.authority, tag.connector,
        tag.period or wiring.period, next((s.offset for s in wiring.sources if s.name == tag.authority), 0.0),
    )  # fmt: skip


def _sources(wiring: TwinWiring, ports: tuple[Port, ...]) -> tuple[SourceRule, ...]:
    given = {source.name: source for source in wiring.sources}
    rules: list[SourceRule] = []
    for name in dict.fromkeys(port.authority for port in ports):
        source = given.get(name)
        period = min(port.period for port in ports if port.authority == name)
        lag = wiring.lag if source is None or source.lag is None else source.lag
        idle = period + max(lag, 3 * wiring.period) if source is None or source.idle is None else source.idle
        if lag > OPEN * wiring.period:
            _fail(
                wiring, f"lag of source {name!r}", f"must be at most {OPEN} periods of the twin: {lag:g} s is more "
                f"than {OPEN} x {wiring.period:g} s", "Choose a longer period or a shorter lag; what comes later is "
                "kept, and fused by `pollux refold`.",
            )  # fmt: skip
        rules.append(SourceRule(name, lag, idle, period, 0.0 if source is None else source.offset))
    for name in given:
        if all(rule.name != name for rule in rules):
            _fail(wiring, f"source.{name}", "must be the authority of a tag", closest(name, (r.name for r in rules)))
    return tuple(rules)


def _actuator(wiring: TwinWiring, i: int, actuator: ActuatorWiring, fields: dict[str, _Entry]) -> ActuatorPort:
    inputs = {name: entry for name, entry in fields.items() if entry[0] == "input"}
    name = f"input.{actuator.field}" if f"input.{actuator.field}" in inputs else actuator.field
    _, column, field = _field(wiring, f"actuator[{i}].field", name, inputs)
    unit = field.unit if actuator.unit is None else actuator.unit
    scale, shift = _affine(wiring, f"actuator[{i}].unit", field.unit, unit, actuator.field)
    return ActuatorPort(actuator.actuator, field.name, column, unit, scale, shift, actuator.connector)


def _field(wiring: TwinWiring, key: str, name: str, fields: dict[str, _Entry]):
    if name not in fields:
        _fail(wiring, key, f"must be a sensor or an input of the twin: got {name!r}", closest(name, fields))
    return fields[name]


def _affine(wiring: TwinWiring, key: str, source: str, target: str, field: str) -> tuple[float, float]:
    try:
        return affine(source, target)
    except UnitError as error:
        _fail(wiring, key, f"must agree with the unit of {field!r}", str(error))


def _widened(low: float, high: float) -> tuple[float, float]:
    if not (math.isfinite(low) and math.isfinite(high)):
        return -HUGE, HUGE
    middle, half = (low + high) / 2, WIDEN * max((high - low) / 2, np.finfo(float).tiny)
    return max(middle - half, -HUGE), min(middle + half, HUGE)


def _fail(wiring: TwinWiring, key: str, rule: str, way_out: str) -> NoReturn:
    raise WiringError(f"{wiring.where}, `{key}`: {rule}. {way_out}")
