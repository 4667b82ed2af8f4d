"""The table `connector` of `pollux.toml`: the kinds of connectors and the settings of each."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pollux.runtime.tables import NAME, Table, closest

KINDS = ("mqtt", "sparkplug", "opcua", "modbus", "http", "replay", "memory")
TEXT, NUMBER = (str,), (int, float)
TLS = {"ca": TEXT, "certificate": TEXT, "key": TEXT, "key_password_env": TEXT}
SETTINGS: Mapping[str, Mapping[str, tuple[type, ...]]] = {
    "mqtt": {
        "url": TEXT, "client_id": TEXT, "persistent": (bool,), "prefix": TEXT, "port": (int,), "protocol": TEXT,
        "keepalive": NUMBER, "password_env": TEXT, **TLS,
    },
    "sparkplug": {
        "url": TEXT, "client_id": TEXT, "persistent": (bool,), "protocol": TEXT, "keepalive": NUMBER,
        "password_env": TEXT, "group": TEXT, "site": TEXT, "metrics": (dict,), "actuators": (dict,), **TLS,
    },
    "opcua": {
        "url": TEXT, "nodes": (dict,), "actuators": (dict,), "site": TEXT, "period": NUMBER, "queue": (int,),
        "user": TEXT, "password_env": TEXT, "certificate": TEXT, "key": TEXT, "key_password_env": TEXT,
        "server_certificate": TEXT,
    },
    "modbus": {
        "url": TEXT, "unit": (int,), "period": NUMBER, "site": TEXT, "registers": (dict,), "actuators": (dict,), **TLS,
    },
    "http": {"site": TEXT},
    "memory": {},
    "replay": {
        "paths": (list,), "site": TEXT, "speed": NUMBER, "time": TEXT, "step": NUMBER, "origin": NUMBER,
        "layout": TEXT, "columns": (dict,), "tag": TEXT, "value": TEXT,
    },
}  # fmt: skip
"""Settings of each kind of connector and their types."""


@dataclass(frozen=True)
class ConnectorWiring:
    """One connection to the outside."""

    name: str
    kind: str
    """One of `KINDS`."""
    settings: Mapping[str, Any]


def read_connectors(table: Table) -> tuple[ConnectorWiring, ...]:
    """All connectors of the project. Raises `WiringError`."""
    found = []
    for name in table.values:
        entry = Table(table.source, ("connector", name), table.take(name))
        if not NAME.fullmatch(name):
            table.fail(name, "must be a name of letters, digits, `_`, `.`, `-`", ..., "Rename it.")
        kind = entry.text("kind", one_of=KINDS)
        settings = {k: v for k, v in entry.values.items() if k != "kind"}
        for key, value in settings.items():
            _check_setting(entry, kind, key, value)
        found.append(ConnectorWiring(name, kind, settings))
    return tuple(found)


def _check_setting(table: Table, kind: str, key: str, value: Any) -> None:
    known = SETTINGS[kind]
    if key not in known:
        table.fail(key, f"is not a setting of kind {kind!r}", ..., closest(key, known))
    wanted = known[key]
    if not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted):
        names = " or ".join(t.__name__ for t in wanted)
        table.fail(key, f"must be of type {names}", value, "Correct it.")
