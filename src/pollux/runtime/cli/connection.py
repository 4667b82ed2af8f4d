"""The command line as a client of the running server: where it is, with which token, over plain REST."""

import http.client
import json
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from pollux.core.errors import AccessError, InputError, PolluxError, StoreError
from pollux.runtime.serve.capability import Capability
from pollux.runtime.serve.presence import FILE, read_presence
from pollux.runtime.serve.tokens import token_of

TIMEOUT = 120.0
"""Longest wait for an answer, s."""
MOST = 20
"""Names that an error gives."""


class Refused(PolluxError):
    """The server said no. Carries its rule and way out; the exit status tells the kind."""

    def __init__(self, status: int, rule: str, message: str, way_out: str):
        super().__init__(message)
        self.status, self.rule, self.way_out = status, rule, way_out
        kinds = {401: AccessError, 403: AccessError, 429: AccessError, 503: StoreError}
        self.exit_code = kinds.get(status, InputError if status < 500 else PolluxError).exit_code


@dataclass(frozen=True)
class Connection:
    """One server and one token."""

    url: str
    token: str
    certificate: Path | None = None

    def run(self, capability: Capability, twin: str, params: dict[str, Any]) -> Any:
        """Call a capability. Raises `Refused`, or `InputError` when nobody answers."""
        path = f"/api/v1/{capability.name}"
        if capability.scope == "twin":
            path = f"/api/v1/twins/{quote(twin or self.only_twin(), safe='')}/{capability.name}"
        if capability.kind == "query":
            given = {k: v for k, v in params.items() if v is not None}
            return self.request("GET", f"{path}?{urlencode(given)}" if given else path)
        return self.request("POST", path, params)

    def only_twin(self) -> str:
        """The name of the only twin. Raises `InputError` when there is not exactly one."""
        names = [card["name"] for card in self.request("GET", "/api/v1/twins")["twins"]]
        if len(names) == 1:
            return names[0]
        more = f" and {len(names) - MOST} more, which `pollux twins` lists" if len(names) > MOST else ""
        known = names[:MOST] or "none yet, the project is starting"
        raise InputError(f"Say which twin with `--twin NAME`: there are {known}{more}")

    def request(self, method: str, path: str, body: Any = None) -> Any:
        """One request. Raises `Refused` for an error answer, `InputError` when the server cannot be reached."""
        parts = urlsplit(self.url)
        headers = {"Authorization": f"Bearer {self.token}", "Accept": "application/json"}
        data = None
        if body is not None:
            data = json.dumps(body, allow_nan=False).encode()
            headers["Content-Type"] = "application/json"
        host = parts.hostname or "127.0.0.1"
        if parts.scheme == "https":
            context = ssl.create_default_context(cafile=str(self.certificate) if self.certificate else None)
            link: http.client.HTTPConnection = http.client.HTTPSConnection(
                host, parts.port, timeout=TIMEOUT, context=context
            )
        else:
            link = http.client.HTTPConnection(host, parts.port, timeout=TIMEOUT)
        try:
            link.request(method, path, data, headers)
            answer = link.getresponse()
            raw = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise InputError(
                f"No server answers at {self.url} ({error}); start the project with `pollux run`, or give `--url`"
            ) from None
        finally:
            link.close()
        try:
            value = json.loads(raw)
        except ValueError:
            raise InputError(f"{self.url} does not speak Pollux's API; give `--url` of a Pollux server") from None
        if answer.status >= 400:
            said = value.get("error", {}) if isinstance(value, dict) else {}
            raise Refused(answer.status, said.get("rule", ""), said.get("message", ""), said.get("way_out", ""))
        return value


def connect(
    url: str | None = None, token: str | None = None, state: Path | None = None, *, kind: str = "person"
) -> Connection:
    """The server that runs on this machine, or the one at `url`.

    Without `url` the address is read from the state folder of the running project: `state`, or the only one below
    `.pollux` of the working folder. Raises `InputError`, `AccessError` that say what to give.
    """
    if url is not None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError(f"`--url` is an address such as http://127.0.0.1:8850, received {url!r}")
        if token is not None:
            return Connection(url, token)
    folder = state or _only_running()
    return Connection(url or read_presence(folder).url, token or token_of(folder, kind))


def _only_running() -> Path:
    found = sorted(p.parent for p in Path(".pollux").glob(f"*/{FILE}"))
    if len(found) == 1:
        return found[0]
    what = f"{len(found)} projects" if found else "no project"
    raise InputError(
        f"There is {what} below .pollux in this folder; name one with `--state FOLDER`, or the server with `--url` "
        "and `--token`"
    )
