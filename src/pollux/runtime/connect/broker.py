"""The embedded broker: amqtt on the loopback interface, for one machine without a broker of its own.

It keeps nothing on the disk; in production use an external broker by URL. With accounts, each name may publish and
receive only what its patterns allow; without, everybody on this machine may (the loopback is the border then).
"""

import hmac
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from amqtt.broker import Broker
from amqtt.contexts import Action
from amqtt.errors import BrokerError
from amqtt.plugins.base import BaseAuthPlugin, BaseTopicPlugin
from amqtt.session import Session

from pollux.runtime.connect.base import ConnectorError


@dataclass(frozen=True)
class Account:
    """Who may connect: topic patterns (`+` one level, `#` the rest) that it may publish to and receive."""

    name: str
    password: str
    publish: tuple[str, ...]
    receive: tuple[str, ...]


def plant_account(site: str, password: str) -> Account:
    """What a plant needs: its own readings and acknowledgements out, its own commands and faults in."""
    base = f"pollux/{site}"
    return Account(f"plant-{site}", password, (base, f"{base}/+"), (f"{base}/command/#", f"{base}/fault"))


def pollux_account(password: str) -> Account:
    """What Pollux needs: every site's readings in, commands and faults out."""
    return Account("pollux", password, ("pollux/+/command/+", "pollux/+/fault"), ("pollux/+", "pollux/+/+"))


class EmbeddedBroker:
    """Runs inside the event loop. `start` returns the URL; port 0 takes any free one."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0, accounts: Sequence[Account] = ()):
        self.host, self.port = host, port
        accounts_config = {a.name: [a.password, list(a.publish), list(a.receive)] for a in accounts}
        plugins: dict[str, Any] = (
            {f"{__name__}.{plugin.__name__}": {"accounts": accounts_config} for plugin in (AccountAuth, AccountTopics)}
            if accounts
            else {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
        )
        for name in ("amqtt", "transitions"):  # a broker that reports every packet drowns what matters
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self._broker = Broker({"listeners": {"default": {"type": "tcp", "bind": f"{host}:{port}"}}, "plugins": plugins})

    async def start(self) -> str:
        """Open the port. Raises `ConnectorError` when it is occupied."""
        try:
            await self._broker.start()
        except (BrokerError, OSError) as error:
            raise ConnectorError(
                f"The embedded broker needs a free port: {self.host}:{self.port} cannot be opened ({error}). "
                "Choose another port, or name the broker that runs there by its URL."
            ) from error
        server: Any = self._broker._servers["default"].instance
        self.port = server.sockets[0].getsockname()[1]
        return self.url

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"mqtt://{self.host}:{self.port}"

    async def stop(self) -> None:
        """Close the port and all connections."""
        await self._broker.shutdown()


class AccountAuth(BaseAuthPlugin):
    """amqtt plugin: name and password."""

    @dataclass
    class Config(BaseAuthPlugin.Config):
        """Accounts by name: [password, patterns to publish, patterns to receive]."""

        accounts: dict[str, list[Any]] = field(default_factory=dict)

    async def authenticate(self, *, session: Session) -> bool | None:
        """Whether the session may connect; compared in constant time."""
        known = _accounts(self.config).get(session.username or "")
        password = known[0] if known else ""
        same = hmac.compare_digest((session.password or "").encode(), str(password).encode())
        return known is not None and same


class AccountTopics(BaseTopicPlugin):
    """amqtt plugin: which topics a session may publish to and receive."""

    @dataclass
    class Config(BaseTopicPlugin.Config):
        """As in `AccountAuth`."""

        accounts: dict[str, list[Any]] = field(default_factory=dict)

    async def topic_filtering(
        self, *, session: Session | None = None, topic: str | None = None, action: Action | None = None
    ) -> bool | None:
        """Whether the action is allowed; a subscription is allowed when its filter is within a pattern."""
        known = _accounts(self.config).get((session.username if session else None) or "")
        if known is None or topic is None:
            return False
        return any(covers(pattern, topic) for pattern in known[1 if action == Action.PUBLISH else 2])


def covers(pattern: str, topic: str) -> bool:
    """Whether every topic that `topic` (itself perhaps with wildcards) stands for is within `pattern`."""
    wanted, given = pattern.split("/"), topic.split("/")
    for i, level in enumerate(wanted):
        if level == "#":
            return True
        if i >= len(given) or given[i] == "#" or (level != "+" and level != given[i]):
            return False
    return len(wanted) == len(given)


def _accounts(config: Any) -> Mapping[str, list[Any]]:
    return config.accounts
