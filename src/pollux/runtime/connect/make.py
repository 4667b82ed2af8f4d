"""From the wiring, whose settings have been checked, to connectors. Each kind is imported where it is made."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pollux.core.errors import WiringError
from pollux.core.time import Clock
from pollux.runtime.connect.base import Connector
from pollux.runtime.connect.credentials import secret, tls_context
from pollux.runtime.tables import closest
from pollux.runtime.wiring import Wiring
from pollux.runtime.wiring_connectors import ConnectorWiring


@dataclass(frozen=True)
class Place:
    """What a connector is made from besides its settings."""

    wiring: ConnectorWiring
    sites: Sequence[str]
    folder: Path
    clock: Clock
    url: str | None = None
    """That of the embedded broker, where it is used."""
    password: str | None = None
    after: float | None = None
    """The journal's last time, for a replay to resume."""

    @property
    def where(self) -> str:
        """For errors."""
        return f"`connector.{self.wiring.name}`"

    def site(self, what: str) -> str:
        """The one site that is fed. Raises `WiringError` when it is not clear which."""
        site = self.wiring.settings.get("site", self.sites[0] if len(self.sites) == 1 else None)
        if site is None:
            raise WiringError(
                f"{self.where}: {what} feeds one site: {', '.join(self.sites) or 'no'} twins use it. Name the `site`."
            )
        return site


def embedded(wiring: ConnectorWiring) -> bool:
    """Whether the connector needs the embedded broker."""
    return wiring.kind == "mqtt" and wiring.settings.get("url", "embedded") == "embedded"


def sites_of(wiring: Wiring, connector: str) -> tuple[str, ...]:
    """The sites whose tags or actuators are on a connector."""
    sites = {
        twin.site: None
        for twin in (*wiring.twins, *(fleet.each for fleet in wiring.fleets))
        if any(entry.connector == connector for entry in (*twin.tags, *twin.actuators))
    }
    return tuple(sites)


def make_connector(
    wiring: ConnectorWiring,
    sites: Sequence[str],
    folder: Path,
    clock: Clock,
    *,
    url: str | None = None,
    password: str | None = None,
    after: float | None = None,
) -> Connector:
    """A connector of the wired kind. Raises `WiringError`, or `MissingExtraError` where a kind needs an extra.

    `url` and `password` are those of the embedded broker, where it is used; `after` is the journal's last time, for a
    replay to resume.
    """
    return MAKERS[wiring.kind](Place(wiring, sites, folder, clock, url, password, after))


def _mqtt(place: Place) -> Connector:
    from pollux.runtime.connect.mqtt import MqttConnector

    s = place.wiring.settings
    return MqttConnector(
        place.wiring.name,
        _broker(place),
        place.sites,
        client_id=s.get("client_id"),
        persistent=s.get("persistent", False),
        prefix=s.get("prefix", "pollux"),
    )


def _broker(place: Place) -> Any:
    from pollux.runtime.connect.mqtt import PASSWORD, dial, read_url
    from pollux.runtime.connect.mqtt_packets import Version

    s = place.wiring.settings
    url = place.url if embedded(place.wiring) else s.get("url")
    if not url:
        raise WiringError(f"{place.where} needs a broker: none was started. Give it a `url`.")
    versions = {"3.1.1": Version.V311, "5": Version.V5}
    given = s.get("protocol", "3.1.1")
    if given not in versions:
        raise WiringError(
            f"{place.where}: `protocol` is one of '3.1.1', '5': got {given!r}. {closest(given, versions)}"
        )
    if given == "5" and embedded(place.wiring):
        raise WiringError(f"{place.where}: the embedded broker speaks MQTT 3.1.1: remove `protocol`, or give a `url`.")
    keepalive = float(s.get("keepalive", 15))
    if not 1 <= keepalive <= 3600:
        raise WiringError(f"{place.where}: `keepalive` is between 1 and 3600 s: got {keepalive:g}. Correct it.")
    own = embedded(place.wiring)
    return dial(
        url,
        password=place.password if own else secret(place.where, s, "password_env", PASSWORD),
        tls=tls_context(place.where, s, place.folder) if read_url(url)[3] else None,
        version=versions[given],
        keepalive=keepalive,
    )


def _sparkplug(place: Place) -> Connector:
    from pollux.runtime.connect.sparkplug import SparkplugConnector

    s = place.wiring.settings
    group = s.get("group", "")
    if not group or set("/+#") & set(group):
        raise WiringError(f"{place.where}: `group` is the group id of the edge nodes: got {group!r}. Name it.")
    return SparkplugConnector(
        place.wiring.name,
        _broker(place),
        group,
        _texts(place, "metrics", required=True),
        place.site("a Sparkplug connector"),
        place.clock,
        actuators=_texts(place, "actuators"),
        client_id=s.get("client_id"),
        persistent=s.get("persistent", False),
    )


def _opcua(place: Place) -> Connector:
    from pollux.runtime.connect.opcua import OpcUaConnector, OpcUaServer

    s, where = place.wiring.settings, place.where
    url, user = _url(place, "opc.tcp", "opc.tcp://host:4840"), s.get("user")
    security = _opcua_security(place)
    if user is not None and security is None:
        raise WiringError(
            f"{where}: a password needs an encrypted channel: `user` is given without `certificate`, `key` and "
            "`server_certificate`. Give them."
        )
    server = OpcUaServer(
        url,
        _texts(place, "nodes", required=True),
        _texts(place, "actuators"),
        period=_positive(place, "period", 1.0),
        queue=int(_positive(place, "queue", 1000)),
        user=user,
        password=secret(where, s, "password_env"),
        security=security,
    )
    return OpcUaConnector(place.wiring.name, server, place.site("an OPC UA connector"), place.clock)


def _opcua_security(place: Place) -> Any:
    from pollux.runtime.connect.opcua import Security
    from pollux.runtime.connect.opcua_certificate import ensure_certificate

    s, names = place.wiring.settings, ("certificate", "key", "server_certificate")
    given = [name for name in names if name in s]
    if not given:
        return None
    if len(given) < len(names):
        raise WiringError(
            f"{place.where}: security needs `certificate`, `key` and `server_certificate`: got only "
            f"{', '.join(f'`{name}`' for name in given)}. Give all three; ours are made where they do not exist."
        )
    own, key, theirs = (place.folder / s[name] for name in names)
    if not theirs.is_file():
        raise WiringError(
            f"{place.where}: `server_certificate` is the file with the server's certificate: {theirs} does not exist. "
            "Copy it from the server, and compare its fingerprint."
        )
    ensure_certificate(own, key, place.clock)
    return Security(own, key, theirs, secret(place.where, s, "key_password_env"))


def _url(place: Place, scheme: str, example: str) -> str:
    url = place.wiring.settings.get("url", "")
    try:
        parts = urlsplit(url)
        fine = parts.scheme == scheme and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fine, parts = False, urlsplit("")
    if parts.password is not None:
        raise WiringError(f"{place.where}: a password stands in no file: `url` holds one. Name it by `password_env`.")
    if not fine:
        raise WiringError(f"{place.where}: `url` reads {example!r}: got {url!r}. Correct it.")
    return url


def _texts(place: Place, key: str, *, required: bool = False) -> Mapping[str, str]:
    """A table of texts: tag -> address."""
    table = place.wiring.settings.get(key, {})
    for name, value in table.items():
        if not isinstance(value, str) or not value:
            raise WiringError(f"{place.where}: `{key}.{name}` must be a text: got {value!r}. Write it in quotes.")
    if required and not table:
        raise WiringError(f"{place.where} needs `{key}`: a table of tag = address. Add it.")
    return dict(table)


def _positive(place: Place, key: str, default: float) -> float:
    value = float(place.wiring.settings.get(key, default))
    if not 0 < value < math.inf:
        raise WiringError(f"{place.where}: `{key}` is above zero: got {value:g}. Correct it.")
    return value


def _modbus(place: Place) -> Connector:
    from pollux.runtime.connect.modbus import Device, ModbusConnector
    from pollux.runtime.connect.modbus_points import read_points

    s, where = place.wiring.settings, place.where
    secure = str(s.get("url", "")).startswith("modbuss:")
    scheme = "modbuss" if secure else "modbus"
    url = urlsplit(_url(place, scheme, "modbuss://host:802" if secure else "modbus://host:502"))
    unit = s.get("unit", 1)
    if not 0 <= unit <= 255:
        raise WiringError(f"{where}: `unit` is between 0 and 255: got {unit}. Correct it.")
    points = read_points(f"{where}: `registers`", s.get("registers", {}))
    if not points:
        raise WiringError(f"{where} needs `registers`: a table of tag = {{ address = 40 }}. Add it.")
    device = Device(
        url.hostname or "",
        url.port or (802 if secure else 502),
        points,
        read_points(f"{where}: `actuators`", s.get("actuators", {})),
        unit,
        _positive(place, "period", 1.0),
        tls=tls_context(where, s, place.folder) if secure else None,
    )
    wrong = [name for name, point in device.actuators.items() if point.area not in ("holding", "coil")]
    if wrong:
        raise WiringError(f"{where}: an actuator is a `holding` register or a `coil`: {wrong[0]!r} is not. Correct it.")
    return ModbusConnector(place.wiring.name, device, place.site("a Modbus connector"), place.clock)


def _http(place: Place) -> Connector:
    from pollux.runtime.connect.http import HttpConnector

    only = place.sites[0] if len(place.sites) == 1 else None
    return HttpConnector(place.wiring.name, place.wiring.settings.get("site", only))


def _memory(place: Place) -> Connector:
    from pollux.runtime.connect.memory import MemoryConnector

    return MemoryConnector(place.wiring.name)


def _replay(place: Place) -> Connector:
    from pollux.runtime.connect.files import ReplayConnector
    from pollux.runtime.connect.records import RecordFormat

    s, where = place.wiring.settings, place.where
    paths = [place.folder / str(path) for path in s.get("paths", [])]
    if not paths:
        raise WiringError(f"{where}: a replay needs `paths`: got none. Name the files.")
    for path in paths:
        if not path.is_file():
            near = closest(path.name, [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else [])
            raise WiringError(f"{where}: a replayed file must exist: {path} does not. {near}")
    form = RecordFormat(
        time=s.get("time", "t") or None,
        step=float(s.get("step", 1.0)),
        origin=float(s.get("origin", 0.0)),
        layout=s.get("layout", "wide"),
        columns=s.get("columns", {}),
        tag=s.get("tag", "tag"),
        value=s.get("value", "value"),
    )
    if form.layout not in ("wide", "long"):
        raise WiringError(f"{where}: `layout` is 'wide' or 'long': got {form.layout!r}. Correct it.")
    return ReplayConnector(
        place.wiring.name,
        paths,
        place.site("a replay"),
        place.clock,
        speed=float(s.get("speed", 1.0)),
        form=form,
        after=place.after,
    )


MAKERS: Mapping[str, Callable[[Place], Connector]] = {
    "mqtt": _mqtt,
    "sparkplug": _sparkplug,
    "opcua": _opcua,
    "modbus": _modbus,
    "http": _http,
    "memory": _memory,
    "replay": _replay,
}
"""How each kind of connector is made."""
