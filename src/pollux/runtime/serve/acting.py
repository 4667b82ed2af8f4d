"""Capabilities that change something. Each is an intent that the live twin decides and the guard judges."""

from typing import Annotated, Any

from pydantic import Field

from pollux.runtime.events import Intent
from pollux.runtime.jsonable import number
from pollux.runtime.outlooks import forecast_json
from pollux.runtime.rings import Z95
from pollux.runtime.serve.capability import Call, Capability, NoParams
from pollux.runtime.serve.looking import Hours, Id, Values
from pollux.runtime.serve.strict import Params

Reason = Annotated[str, Field(max_length=1000, description="Why; it is recorded")]
GivenReason = Annotated[str, Field(min_length=1, max_length=1000, description="Why; it is recorded")]


class WhatIfParams(Params):
    """What to hold, and how far to look."""

    values: Values
    hours: Hours | None = None


class ProposeParams(Params):
    """What to do, for how long, and why."""

    values: Values
    hours: Hours | None = Field(None, description="How long the values are meant to hold; left out = the horizon")
    reason: Reason = ""


class ApproveParams(Params):
    """Exactly the action that was seen."""

    id: Id
    hash: str = Field(min_length=1, max_length=200, description="`hash` of the proposal, as it was shown")
    reason: Reason = ""


class RejectParams(Params):
    """Which action, and why not."""

    id: Id
    reason: Reason = ""


class AcknowledgeParams(Params):
    """Which alarm."""

    id: Id
    note: Reason = ""


class ShelveParams(Params):
    """Which alarm, for how long."""

    id: Id
    minutes: float = Field(gt=0, le=7 * 24 * 60)


class LevelParams(Params):
    """The level to set: 0 observe, 1 advise, 2 approve, 3 supervised, 4 automatic."""

    level: int = Field(ge=0, le=4)
    reason: GivenReason


class StopParams(Params):
    """Why to stop."""

    reason: Reason = ""


class ResetParams(Params):
    """Why it is safe again."""

    reason: GivenReason


class RefoldParams(Params):
    """From when on, and why."""

    start: float | None = Field(
        None, description="Seconds since 1970 UTC (event time): what is settled before it stays; left out = all"
    )
    reason: GivenReason


class FaultParams(Params):
    """Which fault a demo plant shall have."""

    kind: str = Field(max_length=50)
    where: str = Field("", max_length=100)
    size: float = Field(0.0, ge=-1e9, le=1e9)
    duration: float | None = Field(
        None, gt=0, le=1e9, description="Seconds (of the plant's time); left out = until cleared"
    )


async def what_if(call: Call[WhatIfParams]) -> dict[str, Any]:
    """Two forecasts from the same belief with the same samples: with the values held, and without."""
    live, p = call.live, call.params
    state = live.view
    acting = await call.lane.aside(live.foresee, p.values, state=state)
    idle = await call.lane.aside(live.foresee, state=state)
    return {
        "acting": forecast_json(live.face, acting, p.hours),
        "not_acting": forecast_json(live.face, idle, p.hours),
    }


async def optimise(call: Call[NoParams]) -> Any:
    """Ask the planner now; what it finds is a proposal of `mpc`, or null."""
    return await call.lane.ask_planner()


async def recalibrate(call: Call[NoParams]) -> dict[str, Any]:
    """The parameters that are tracked: their estimates now against what was declared."""
    live, b = call.live, call.live.state.belief
    n = len(live.face.states)
    return {
        "t": b.t,
        "estimates": [
            {
                "name": s.name, "label": s.label, "unit": s.unit, "mean": number(b.mean[n + i]),
                "low": number(b.mean[n + i] - Z95 * b.cov[n + i, n + i] ** 0.5),
                "high": number(b.mean[n + i] + Z95 * b.cov[n + i, n + i] ** 0.5),
            }
            for i, s in enumerate(live.face.estimated[n:])
        ],
    }  # fmt: skip


async def stop(call: Call[StopParams]) -> Any:
    """Stop the twin's whole site: every twin under the same latch gets its safe command."""
    others = [ln for ln in call.host.lanes().values() if ln is not call.lane and ln.switch is call.lane.switch]
    answer = await call.lane.act(_intent(call, "stop"))
    for lane in others:
        await lane.act(_intent(call, "stop"))
    return answer


async def refold(call: Call[RefoldParams]) -> Any:
    """Fuse what came later than its lag."""
    return await call.host.archive.refold(call.twin, call.who, call.params.start, call.params.reason)


async def fault(call: Call[FaultParams]) -> Any:
    """Give a demo plant a fault."""
    return await call.lane.fault(_intent(call, "fault"))


def _intent(call: Call[Any], kind: str) -> Intent:
    return Intent(kind, call.who, call.params.model_dump())


def _acts(kind: str) -> Any:
    async def handler(call: Call[Any]) -> Any:
        return await call.lane.act(_intent(call, kind))

    return handler


ACTING: tuple[Capability, ...] = (
    Capability(
        "what_if",
        "command",
        "viewer",
        WhatIfParams,
        "{acting: Forecast, not_acting: Forecast}",
        "Compare holding some inputs at given values with doing nothing. Changes nothing.",
        what_if,
    ),
    Capability(
        "propose",
        "command",
        "operator",
        ProposeParams,
        "Proposal",
        "Propose to hold some inputs at given values; the guard judges it, a person approves it.",
        _acts("propose"),
    ),
    Capability(
        "optimise",
        "command",
        "operator",
        NoParams,
        "Proposal | null",
        "Let the planner look for a better plan now and propose it.",
        optimise,
    ),
    Capability(
        "approve",
        "command",
        "operator",
        ApproveParams,
        "Proposal",
        "Approve exactly the action whose hash was shown; the guard checks it again and it is executed.",
        _acts("approve"),
        people=True,
    ),
    Capability(
        "reject",
        "command",
        "operator",
        RejectParams,
        "Proposal",
        "Turn an action down, also within its veto time.",
        _acts("reject"),
        people=True,
    ),
    Capability(
        "acknowledge",
        "command",
        "operator",
        AcknowledgeParams,
        "Alarm",
        "Say that an alarm was seen.",
        _acts("acknowledge"),
        people=True,
    ),
    Capability(
        "shelve",
        "command",
        "operator",
        ShelveParams,
        "Alarm",
        "Put an alarm out of sight for some minutes.",
        _acts("shelve"),
        people=True,
    ),
    Capability(
        "level",
        "command",
        "operator",
        LevelParams,
        "{granted, level, expires}",
        "Set how far the autonomy may go; above level 2 this needs role engineer, and expires.",
        _acts("level"),
        people=True,
    ),
    Capability(
        "stop",
        "command",
        "operator",
        StopParams,
        "{stopped}",
        "Stop at once: latched, safe command sent; only a person resets it.",
        stop,
    ),
    Capability(
        "reset_stop",
        "command",
        "operator",
        ResetParams,
        "{stopped}",
        "Release the stop.",
        _acts("reset_stop"),
        people=True,
    ),
    Capability(
        "fault",
        "command",
        "engineer",
        FaultParams,
        "{}",
        "Give a demo plant a fault (leak, sensor bias, ...), or clear it.",
        fault,
        people=True,
    ),
    Capability(
        "refold",
        "command",
        "engineer",
        RefoldParams,
        "{t, since, steps, before, belief, moved}",
        "Fuse values that came too late: the estimate goes on as if all had come in order; what was recorded stays.",
        refold,
        people=True,
    ),
    Capability(
        "recalibrate",
        "command",
        "operator",
        NoParams,
        "{estimates}",
        "The tracked parameters as estimated now.",
        recalibrate,
    ),
)
