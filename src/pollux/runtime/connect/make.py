"""From the wiring, whose settings have been checked, to connectors."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pollux.core.errors import WiringError
from pollux.core.time import Clock
from pollux.runtime.connect.base import Connector
from pollux.runtime.connect.files import ReplayConnector
from pollux.runtime.connect.http import HttpConnector
from pollux.runtime.connect.memory import MemoryConnector
from pollux.runtime.connect.records import RecordFormat
from pollux.runtime.tables import closest
from pollux.runtime.wiring import ConnectorWiring, Wiring


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
    """A connector of the wired kind. Raises `WiringError`.

    `url` is that of the embedded broker, where it is used; `after` the journal's last time, for a replay to resume.
    """
    s = wiring.settings
    match wiring.kind:
        case "mqtt":
            from pollux.runtime.connect.mqtt import MqttConnector

            target = url if embedded(wiring) else s["url"]
            if target is None:
                raise WiringError(f"Connector {wiring.name!r} needs a broker: none was started. Give it a `url`.")
            return MqttConnector(
                wiring.name,
                target,
                sites,
                password=password,
                client_id=s.get("client_id"),
                persistent=s.get("persistent", False),
                prefix=s.get("prefix", "pollux"),
            )
        case "http":
            return HttpConnector(wiring.name, s.get("site", sites[0] if len(sites) == 1 else None))
        case "replay":
            return _replay(wiring, sites, folder, clock, after)
        case _:
            return MemoryConnector(wiring.name)


def _replay(
    wiring: ConnectorWiring, sites: Sequence[str], folder: Path, clock: Clock, after: float | None
) -> ReplayConnector:
    s: Mapping[str, Any] = wiring.settings
    where = f"`connector.{wiring.name}`"
    paths = [folder / str(path) for path in s.get("paths", [])]
    if not paths:
        raise WiringError(f"{where}: a replay needs `paths`: got none. Name the files.")
    for path in paths:
        if not path.is_file():
            near = closest(path.name, [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else [])
            raise WiringError(f"{where}: a replayed file must exist: {path} does not. {near}")
    site = s.get("site", sites[0] if len(sites) == 1 else None)
    if site is None:
        raise WiringError(
            f"{where}: a replay feeds one site: {', '.join(sites) or 'no'} twins use it. Name the `site`."
        )
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
    return ReplayConnector(wiring.name, paths, site, clock, speed=float(s.get("speed", 1.0)), form=form, after=after)
