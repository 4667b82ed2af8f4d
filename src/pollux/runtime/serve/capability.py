"""What a capability is: one thing that can be asked of a twin or told to it, with its role and its parameters."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from pollux.autonomy.policy import Principal
from pollux.core.errors import InputError
from pollux.runtime.lane import Lane
from pollux.runtime.live import LiveTwin
from pollux.runtime.ports import Host
from pollux.runtime.serve.strict import Params

if TYPE_CHECKING:
    from pollux.runtime.serve.capabilities import Table

T = TypeVar("T", bound=Params)


class NoParams(Params):
    """A capability that takes none."""


@dataclass(frozen=True)
class Call(Generic[T]):
    """One call: of whom, by whom, with what."""

    host: Host
    table: "Table"
    who: Principal
    params: T
    twin: str = ""

    @property
    def lane(self) -> Lane:
        """The twin's lane. Raises `InputError` for an unknown twin."""
        lanes = self.host.lanes()
        if self.twin not in lanes:
            known = sorted(lanes) or "none yet: the project is starting"
            raise InputError(f"There is no twin {self.twin[:100]!r}; there are {known}")
        return lanes[self.twin]

    @property
    def live(self) -> LiveTwin:
        """The live twin."""
        return self.lane.live


@dataclass(frozen=True)
class Capability:
    """One row of the table. Faces add nothing to it.

    `people` marks what only a person may do: it is not offered to agents, and `autonomy` would refuse them anyway.
    """

    name: str
    kind: Literal["query", "command"]
    role: Literal["viewer", "operator", "engineer", "admin"]
    params: type[Params]
    returns: str
    summary: str
    handler: Callable[[Call[Any]], Awaitable[Any]] = field(repr=False)
    scope: Literal["twin", "fleet"] = "twin"
    people: bool = False
