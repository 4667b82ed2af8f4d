"""The border of the server: which hosts and origins may speak to it, how much, and with which headers it answers."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from pollux.core.errors import AccessError
from pollux.runtime.serve.problems import Problem

HEADERS: tuple[tuple[str, str], ...] = (
    (
        "content-security-policy",
        "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "frame-ancestors 'none'; base-uri 'none'; form-action 'self'; object-src 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), microphone=(), geolocation=()"),
)
"""Sent with every answer."""

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


@dataclass(frozen=True)
class Listen:
    """Where the server listens. Anything but loopback needs TLS files and `exposed`, said explicitly."""

    host: str = "127.0.0.1"
    port: int = 8850
    certificate: str | None = None
    key: str | None = None
    exposed: bool = False
    names: tuple[str, ...] = field(default=())
    """Further host names under which clients reach it."""

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise AccessError(f"A port lies between 0 and 65535, received {self.port!r}; leave it out for 8850")
        if is_loopback(self.host):
            return
        if not (self.exposed and self.certificate and self.key):
            raise AccessError(
                f"The server listens on this machine only; {self.host!r} is reachable from others. That needs "
                "`exposed = true` in `[server]` with `certificate` and `key` (TLS); tokens are asked for in any case"
            )

    @property
    def scheme(self) -> str:
        """`https` where there is a certificate."""
        return "https" if self.certificate else "http"

    @property
    def url(self) -> str:
        """Where a browser on this machine finds it."""
        return f"{self.scheme}://{self.host}:{self.port}/"


def is_loopback(host: str) -> bool:
    """Whether an address to listen on is this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_host(host: str | None, listen: Listen) -> str:
    """The host name that was asked for. Raises `Problem` 421 for a foreign name that points here (DNS rebinding)."""
    name = _name(host or "")
    if name not in (*LOOPBACK, _bracketed(listen.host), *listen.names):
        raise Problem(
            421, "border.host", f"This server does not answer for the host {name[:100]!r}", f"Use {listen.url}"
        )
    return name


def check_origin(origin: str | None, host: str, scheme: str) -> None:
    """Raise `Problem` 403 for a page of another origin; programs send no origin."""
    if origin is None:
        return
    parts = urlsplit(origin)
    if parts.netloc != host or parts.scheme != scheme:
        raise Problem(
            403, "border.origin", f"A page of {origin[:100]!r} may not use this server", "Open the server's own page"
        )


def check_json(headers: Mapping[str, str]) -> None:
    """Raise `Problem` 415 unless the body says that it is JSON: no form can say so."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Problem(
            415, "border.type", f"A body is JSON, received {kind[:60]!r}", "Send `Content-Type: application/json`"
        )


def _name(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.rpartition(":")[0] if ":" in host else host


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
