"""The table `store` of `pollux.toml`: where the journal is kept, and for how long."""

import math
import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from pollux.runtime.tables import NAME, Table, pem

LOCAL = ("", "localhost", "127.0.0.1", "::1")
"""Hosts of this machine: a store there is reached without TLS."""

KEEP_LEAST = 3600.0
"""Seconds that all readings are kept at least."""


@dataclass(frozen=True)
class StoreWiring:
    """Where the journal is kept, and for how long."""

    url: str | None = None
    """`postgresql://[user@]host[:port]/database[?...]`, as libpq reads it; without a password. None: a file in the
    project's state folder."""
    schema: str = ""
    password_env: str = ""
    """Environment variable with the password."""
    keep: float = math.inf
    """Seconds for which all readings are kept; infinite: for ever."""
    keep_thin: float = math.inf
    """Seconds for which estimates and the extremes of the readings are kept."""


def read_store(table: Table, project: str) -> StoreWiring:
    """Where the project's journal is kept. Raises `WiringError`."""
    keep = table.seconds("keep", math.inf, low=KEEP_LEAST)
    keep_thin = table.seconds("keep_thin", math.inf, low=KEEP_LEAST)
    if keep > keep_thin:
        table.fail("keep_thin", "must be at least as long as `keep`", keep_thin, f"Write e.g. {keep:g}.")
    if table.values.keys() <= {"keep", "keep_thin"}:
        table.done()
        return StoreWiring(keep=keep, keep_thin=keep_thin)
    given = table.text("url")
    url = urlsplit(given)
    query = dict(parse_qsl(url.query))
    if url.scheme not in ("postgresql", "postgres"):
        table.fail("url", "must begin with postgresql://", given, 'Write e.g. "postgresql://pollux@host/town".')
    if url.password is not None or "password" in query:
        table.fail("url", "must hold no password", ..., "Put it into the variable that `password_env` names.")
    host = query.get("host", query.get("hostaddr", url.hostname or ""))
    ca = pem(table, "ca")
    tls = {} if ca is None else {"sslrootcert": str(ca)}
    if "sslmode" not in query and (tls or not (host in LOCAL or host.startswith("/"))):
        tls = {"sslmode": "verify-full", "sslrootcert": query.get("sslrootcert", "system"), **tls}
    more = urlencode(tls, safe="/", quote_via=quote)
    schema = "pollux_" + re.sub(r"\W", "_", project.lower(), flags=re.ASCII)
    store = StoreWiring(
        given + (f"{'&' if url.query else '?'}{more}" if more else ""),
        table.text("schema", schema[:63], pattern=NAME),
        table.text("password_env", "POLLUX_POSTGRES_PASSWORD"),
        keep,
        keep_thin,
    )
    table.done()
    return store
