"""`pollux.toml`: which twins run, which tags feed which of their fields, over which connectors.

    [project]            name
    [[twin]]             name, definition ("package.module:factory" or "twin.py:Tank"), parameters, track, period, time,
                         lag, jump, pulse, site, connector, forecast_hours; the tables policy, mirror, detect, forecast,
                         plan, live are handed on as they are
    [twin.source.NAME]   offset, lag, idle: the clock and the delay of one authority
    [[twin.tag]]         tag, field, unit, period, authority, connector
    [[twin.actuator]]    actuator, field, unit, connector
    [[fleet]]            many twins of one definition: the keys of a twin that fit (no policy, no actuators), and
                         count or members (a CSV file: name, and a column for each parameter that differs), capacity
    [connector.NAME]     kind (one of `wiring_connectors.KINDS`), and that kind's settings
    [server]             host, port, certificate, key, exposed, names, opcua
    [store]              url, schema, password_env, ca: PostgreSQL keeps the journal; without `url` a file does;
                         keep, keep_thin: how long all readings, and how long their extremes and estimates are kept
    [demo]               module, speed: a plant that `pollux demo` starts in a process of its own

Durations are seconds, or texts like "5 min". Every error names the file, the line, the key, the rule and a way out.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pollux.core.errors import UnitError
from pollux.core.units import parse
from pollux.runtime.fleets.members import Member, counted, listed
from pollux.runtime.tables import NAME, Table, closest, pem, read_toml
from pollux.runtime.wiring_connectors import ConnectorWiring, read_connectors
from pollux.runtime.wiring_store import StoreWiring, read_store

FILE = "pollux.toml"
FREE_TABLES = ("policy", "mirror", "detect", "forecast", "plan", "live")
RESERVED = frozenset({"ack", "command", "fault"})
"""Third levels of a topic that are not tags."""

FORBIDDEN = set("/+#\x00")
"""Characters that mean something in a topic; a tag is one level of it."""


@dataclass(frozen=True)
class TagWiring:
    """One measured signal on the wire and the twin's field (sensor or input) that it feeds."""

    tag: str
    field: str
    unit: str | None
    """Unit on the wire; None: the field's own."""
    period: float | None
    """Seconds between two values; None: the twin's period."""
    authority: str
    """The one source that may write it: the connector's name, or the name of an HTTP caller."""
    connector: str


@dataclass(frozen=True)
class ActuatorWiring:
    """One input of the twin and the actuator on the wire that it commands."""

    actuator: str
    field: str
    unit: str | None
    connector: str


@dataclass(frozen=True)
class SourceWiring:
    """The clock and the delay of one source; its name is the authority of tags."""

    name: str
    offset: float = 0.0
    """Seconds that are added to the times it sends: -3600 for a clock that is an hour ahead."""
    lag: float | None = None
    """As of the twin, for its rows alone; None: the twin's."""
    idle: float | None = None
    """Seconds of the others' event time that it may be silent before nobody waits for it; None: its period and the
    larger of its lag and three periods of the twin."""


@dataclass(frozen=True)
class TwinWiring:
    """One twin of the project."""

    name: str
    definition: str
    parameters: Mapping[str, Any]
    track: tuple[str, ...]
    period: float
    """Seconds of event time between two ticks."""
    time: Literal["event", "wall"]
    """`event`: "now" is the newest event time (a plant that runs faster than the wall); `wall`: the machine's clock."""
    lag: float
    """Seconds that a tick waits for values that are on their way."""
    jump: float
    """Seconds by which one source alone may be ahead of the others (`event`) or of the clock (`wall`)."""
    site: str
    forecast_hours: float
    tags: tuple[TagWiring, ...]
    actuators: tuple[ActuatorWiring, ...]
    options: Mapping[str, Mapping[str, Any]]
    """The tables `policy`, `mirror`, `detect`, `forecast`, `plan`, `live` (empty where not given)."""
    where: str
    """`pollux.toml`, `twin[0]`: for the errors of whoever checks further."""
    sources: tuple[SourceWiring, ...] = ()
    pulse: float | None = None
    """Seconds between two ticks while nothing is said; None: the period."""


@dataclass(frozen=True)
class FleetWiring:
    """Many twins of one definition, stepped by one kernel."""

    each: TwinWiring
    """What they have in common; its name and site are the fleet's."""
    members: tuple[Member, ...]
    capacity: int
    """Slots: so many members fit without compiling anything."""


@dataclass(frozen=True)
class ServerWiring:
    """Where the pages and the API are served."""

    host: str
    port: int
    certificate: Path | None = None
    """PEM file of the server's certificate (and its chain); with it TLS is spoken."""
    key: Path | None = None
    exposed: bool = False
    """Said explicitly where other machines may reach it."""
    names: tuple[str, ...] = ()
    """Further host names under which clients reach it."""
    opcua: int | None = None
    """Port of the OPC UA face; None: there is none."""


@dataclass(frozen=True)
class DemoWiring:
    """A simulated plant: `python -m MODULE --broker URL --site SITE --speed SPEED --memory FILE [--start T]`."""

    module: str
    speed: float
    """Event seconds in one wall second."""


@dataclass(frozen=True)
class Wiring:
    """A whole project."""

    name: str
    folder: Path
    twins: tuple[TwinWiring, ...]
    connectors: tuple[ConnectorWiring, ...]
    server: ServerWiring
    demo: DemoWiring | None = None
    store: StoreWiring = field(default_factory=StoreWiring)
    fleets: tuple[FleetWiring, ...] = ()

    def connector(self, name: str) -> ConnectorWiring:
        """The connector of that name."""
        return next(c for c in self.connectors if c.name == name)


def read_wiring(folder: Path | str) -> Wiring:
    """The project in `folder` (or the file itself). Raises `WiringError`."""
    folder = Path(folder)
    file = folder if folder.suffix == ".toml" else folder / FILE
    source, values = read_toml(file)
    root = Table(source, (), values)
    project = Table(source, ("project",), root.take("project"))
    name = project.text("name", pattern=NAME)
    project.done()
    connectors = read_connectors(Table(source, ("connector",), root.take("connector", {})))
    server = _server(Table(source, ("server",), root.take("server", {})))
    demo = _demo(Table(source, ("demo",), root.take("demo", {})))
    store = read_store(Table(source, ("store",), root.take("store", {})), name)
    twins: list[TwinWiring] = []
    for table in root.tables("twin"):
        twin = _twin(table, connectors)
        if any(twin.name == other.name for other in twins):
            table.fail("name", "must be unique among the twins", twin.name, "Rename one of them.")
        twins.append(twin)
    fleets = _fleets(root, connectors, {t.name for t in twins})
    if not (twins or fleets):
        source.fail((), "a project has at least one [[twin]] or [[fleet]]", ..., "Add one.")
    root.done()
    return Wiring(name, file.parent, tuple(twins), connectors, server, demo, store, fleets)


def _fleets(root: Table, connectors: tuple[ConnectorWiring, ...], names: set[str]) -> tuple[FleetWiring, ...]:
    found: list[FleetWiring] = []
    for table in root.tables("fleet"):
        count, file = table.number("count", None, low=1), table.text("members", None)
        if (count is None) == (file is None):
            table.source.fail(table.path, "a fleet has either `count` or `members`", ..., "Give one of the two.")
        capacity = table.number("capacity", None, low=1)
        each = _twin(table, connectors)
        if each.actuators or each.options["policy"] or each.sources or each.pulse is not None:
            table.source.fail(
                table.path, "a fleet has no actuators, no policy, no sources and no pulse", ...,
                "Wire an asset that is commanded, or whose sensors have clocks of their own, as a [[twin]].",
            )  # fmt: skip
        folder = table.source.file.parent
        members = counted(each.name, int(count)) if file is None else listed(folder / file, each.where)
        for name in (each.name, *(m.name for m in members)):
            if name in names:
                table.fail("name", "must be unique among twins, fleets and their members", name, "Rename one of them.")
            names.add(name)
        size = len(members) if capacity is None else int(capacity)
        if size < len(members):
            table.fail("capacity", f"must hold all {len(members)} members", size, "Raise it, or leave it out.")
        found.append(FleetWiring(each, members, size))
    return tuple(found)


def _server(table: Table) -> ServerWiring:
    exposed = table.take("exposed", False)
    if not isinstance(exposed, bool):
        table.fail("exposed", "must be true or false", exposed, "Write it without quotes.")
    server = ServerWiring(
        table.text("host", "127.0.0.1"),
        int(table.number("port", 8850, low=0, high=65535)),
        pem(table, "certificate"),
        pem(table, "key"),
        exposed,
        table.texts("names"),
        int(table.number("opcua", low=1, high=65535)) if "opcua" in table.values else None,
    )
    if (server.certificate is None) != (server.key is None):
        table.fail("certificate", "needs `key`, and `key` needs it", ..., "Give both, or none.")
    table.done()
    return server


def _demo(table: Table) -> DemoWiring | None:
    if not table.values:
        return None
    demo = DemoWiring(table.text("module"), table.number("speed", 1.0, low=1e-3))
    table.done()
    return demo


def _twin(table: Table, connectors: tuple[ConnectorWiring, ...]) -> TwinWiring:
    name = table.text("name", pattern=NAME)
    definition = table.text("definition")
    if definition.count(":") != 1 or not all(definition.split(":")):
        table.fail(
            "definition", 'must be "package.module:Name" or "file.py:Name"', definition, "Add the part after `:`."
        )
    period = table.seconds("period", low=1e-6)
    twin = TwinWiring(
        name=name,
        definition=definition,
        parameters=table.free("parameters"),
        track=table.texts("track"),
        period=period,
        time="wall" if table.text("time", "event", one_of=("event", "wall")) == "wall" else "event",
        lag=table.seconds("lag", 0.0),
        jump=table.seconds("jump", max(3600.0, 100 * period), low=period),
        site=table.text("site", name, pattern=NAME),
        forecast_hours=table.number("forecast_hours", 24.0, low=1e-6),
        tags=_tags(table, connectors, _default(table, connectors)),
        actuators=_actuators(table, connectors, _default(table, connectors)),
        options={key: table.free(key) for key in FREE_TABLES},
        where=f"{table.source.file}: `{table.path[0]}[{table.path[-1]}]`",
        sources=_sources(table),
        pulse=table.seconds("pulse", None, low=period),
    )
    table.done()
    return twin


def _sources(twin: Table) -> tuple[SourceWiring, ...]:
    given = Table(twin.source, (*twin.path, "source"), twin.take("source", {}))
    found: list[SourceWiring] = []
    for name in given.values:
        table = Table(twin.source, (*given.path, name), given.take(name))
        source = SourceWiring(name, _signed(table, "offset"), table.seconds("lag", None), table.seconds("idle", None))
        table.done()
        found.append(source)
    return tuple(found)


def _signed(table: Table, key: str) -> float:
    """A duration of either sign."""
    return table.seconds(key, 0.0, low=-math.inf)


def _default(table: Table, connectors: tuple[ConnectorWiring, ...]) -> str | None:
    """The twin's connector; the only one of the project where it names none."""
    only = connectors[0].name if len(connectors) == 1 else None
    return _connector(table, connectors, only)


def _connector(table: Table, connectors: tuple[ConnectorWiring, ...], default: str | None) -> Any:
    name = table.text("connector", default)
    if name is not None and all(name != c.name for c in connectors):
        table.fail("connector", "must be one of the connectors", name, closest(name, (c.name for c in connectors)))
    return name


def _tags(twin: Table, connectors: tuple[ConnectorWiring, ...], default: str | None) -> tuple[TagWiring, ...]:
    tags: list[TagWiring] = []
    for table in twin.tables("tag"):
        tag = table.text("tag")
        if FORBIDDEN & set(tag) or len(tag) > 128:
            table.fail("tag", "must not hold `/`, `+` or `#` and has at most 128 characters", tag, "Rename it.")
        if tag in RESERVED:
            table.fail("tag", "must not be a reserved topic level", tag, "Rename it.")
        connector = _required(table, _connector(table, connectors, default))
        entry = TagWiring(
            tag=tag,
            field=table.text("field", tag),
            unit=_unit(table),
            period=table.seconds("period", None, low=1e-6),
            authority=table.text("authority", connector),
            connector=connector,
        )
        table.done()
        for key in ("tag", "field"):
            if any(getattr(entry, key) == getattr(other, key) for other in tags):
                table.fail(key, f"must be unique: another tag has the same {key}", getattr(entry, key), "Remove one.")
        tags.append(entry)
    return tuple(tags)


def _actuators(twin: Table, connectors: tuple[ConnectorWiring, ...], default: str | None) -> tuple[ActuatorWiring, ...]:
    actuators: list[ActuatorWiring] = []
    for table in twin.tables("actuator"):
        name = table.text("actuator")
        if FORBIDDEN & set(name) or len(name) > 128:
            table.fail("actuator", "must not hold `/`, `+` or `#` and has at most 128 characters", name, "Rename it.")
        connector = _required(table, _connector(table, connectors, default))
        entry = ActuatorWiring(name, table.text("field", name), _unit(table), connector)
        table.done()
        for key in ("actuator", "field"):
            if any(getattr(entry, key) == getattr(other, key) for other in actuators):
                table.fail(key, f"must be unique: another actuator has this {key}", getattr(entry, key), "Remove one.")
        actuators.append(entry)
    return tuple(actuators)


def _required(table: Table, connector: str | None) -> str:
    if connector is None:
        table.source.fail(
            table.path, "a connector is required", ..., "Name one in the twin or here: `connector = ...`."
        )
    return connector


def _unit(table: Table) -> str | None:
    unit = table.text("unit", None)
    if unit is not None:
        try:
            parse(unit)
        except UnitError as error:
            table.fail("unit", "must be a unit", unit, str(error))
    return unit
