"""From the wiring, whose settings have been checked, to connectors. Each kind is imported where it is made."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pollux.core.errors import WiringError
from pollux.core.time import Clock
from pollux.runtime.connect.base import Connector
from pollux.runtime.connect.credentials import secret, tls_context
from pollux.runtime.tables import closest
from pollux.runtime.wiring import ConnectorWiring, Wiring


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
        for twin in wiring.twins
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
    "http": _http,
    "memory": _memory,
    "replay": _replay,
}
"""How each kind of connector is made."""
