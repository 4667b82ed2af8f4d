"""Capabilities of fleets: what there is, who comes and who goes."""

from typing import Annotated, Any

from pydantic import Field

from pollux.core.errors import InputError, WiringError
from pollux.runtime.fleets.lane import FleetLane
from pollux.runtime.fleets.members import Member
from pollux.runtime.jsonable import number
from pollux.runtime.serve.capability import Call, Capability, NoParams
from pollux.runtime.serve.strict import Params
from pollux.runtime.tables import NAME

Fleet = Annotated[str, Field(max_length=64, description="Name of the fleet")]


class JoinParams(Params):
    """Who comes."""

    fleet: Fleet
    members: list[str] = Field(min_length=1, max_length=1000, description="Names")
    values: dict[str, float] = Field(
        {}, max_length=64, description="Parameters in which they differ from the definition"
    )


class LeaveParams(Params):
    """Who goes."""

    fleet: Fleet
    members: list[str] = Field(min_length=1, max_length=1000, description="Names")


async def fleets(call: Call[NoParams]) -> dict[str, Any]:
    """The fleets of the project."""
    return {"fleets": [_row(fleet) for fleet in call.host.fleets.values()]}


async def join_fleet(call: Call[JoinParams]) -> dict[str, Any]:
    """New members, from the belief of the definition."""
    p, lanes = call.params, call.host.lanes()
    fleet = _fleet(call, p.fleet)
    for name in p.members:
        if not NAME.fullmatch(name):
            raise InputError(f"A name has letters, digits, `_`, `.`, `-` (at most 64), received {name[:100]!r}")
        if name in lanes:
            raise InputError(f"Names are unique in a project: a twin is called {name!r} already; take another name")
    try:
        await fleet.join([Member(name, p.values) for name in p.members], call.who.name)
    except WiringError as error:  # a parameter that the definition does not have
        raise InputError(str(error)) from error
    return _row(fleet)


async def leave_fleet(call: Call[LeaveParams]) -> dict[str, Any]:
    """Members go; their history stays."""
    fleet = _fleet(call, call.params.fleet)
    await fleet.leave(call.params.members, call.who.name)
    return _row(fleet)


def _fleet(call: Call[Any], name: str) -> FleetLane:
    if name not in call.host.fleets:
        raise InputError(f"There is no fleet {name!r}; there are {sorted(call.host.fleets)}")
    return call.host.fleets[name]


def _row(fleet: FleetLane) -> dict[str, Any]:
    fold = fleet.fold
    return {
        "name": fleet.name,
        "kind": fleet.base.face.kind,
        "members": len(fold.slots),
        "capacity": fold.fleet.capacity,
        "t": number(fold.t),
        "period": fold.binding.period,
        "unfused": dict(fold.align.unfused),
    }


ENROLLING: tuple[Capability, ...] = (
    Capability(
        "fleets",
        "query",
        "viewer",
        NoParams,
        "{fleets: {name, kind, members, capacity, t, period, unfused}[]}",
        "List the fleets: how many members and free places they have, and what came too late.",
        fleets,
        scope="fleet",
    ),
    Capability(
        "join_fleet",
        "command",
        "engineer",
        JoinParams,
        "{name, members, capacity, ...}",
        "Add members to a fleet; it runs on, and nothing is compiled.",
        join_fleet,
        scope="fleet",
    ),
    Capability(
        "leave_fleet",
        "command",
        "engineer",
        LeaveParams,
        "{name, members, capacity, ...}",
        "Remove members from a fleet; their history stays.",
        leave_fleet,
        scope="fleet",
    ),
)
