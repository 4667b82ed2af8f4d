"""The level of autonomy: lowered automatically, raised only by a person and only for a time.

Two kinds of lowering. A level that acts by itself (L3, L4) is *latched* down to L2 by any reason below, and a person
must raise it again. Below that each action needs a person anyway, so the remaining caps last only as long as their
reason does: with a stale or inconsistent belief nothing can be judged and the twin advises only (L1).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import isfinite, nan

from pollux.autonomy.policy import Policy, Principal
from pollux.core.errors import AccessError, InputError
from pollux.core.signals import Belief, Level

WINDOW = 50
"""Updates over which NIS is averaged."""
FEWEST = 5
"""Updates before the average means anything."""


@dataclass(frozen=True)
class LevelState:
    """The granted level, who granted it until when, why it was lowered, and the running consistency."""

    granted: Level
    by: str = "policy"
    expires: float | None = None
    """When a raise ends, s; None: never."""
    lowered: tuple[str, ...] = ()
    """Reasons of the last latched lowering."""
    mean: float = 1.0
    count: int = 0

    @property
    def consistency(self) -> float:
        """Running mean of NIS per degree of freedom; NaN (unknown) before `FEWEST` updates."""
        return self.mean if self.count >= FEWEST else nan


@dataclass(frozen=True)
class Watch:
    """What the lowering looks at. Unknown counts as bad."""

    alarm: int | None
    """Most urgent priority among active alarms (1 act now); None: no alarm."""
    data_age: float
    """Age of the belief, s."""
    consistency: float
    command_unknown: bool
    """A command was neither confirmed nor refused by its actuator in time."""
    in_domain: bool


def start(policy: Policy) -> LevelState:
    """The level of the wiring file."""
    return LevelState(policy.level)


def observe(state: LevelState, belief: Belief) -> LevelState:
    """Take one belief into the running mean of NIS per degree of freedom; one without measurements says nothing."""
    if belief.nis_dof <= 0:
        return state
    ratio = belief.nis / belief.nis_dof
    if not isfinite(ratio):
        ratio = 1e6  # a filter that cannot state its consistency is not consistent
    count = min(state.count + 1, WINDOW)
    return replace(state, mean=state.mean + (ratio - state.mean) / count, count=count)


def reasons(policy: Policy, watch: Watch) -> Iterator[tuple[str, Level]]:
    """(reason, highest level while it lasts) for everything that is wrong now."""
    low, high = policy.consistency
    if watch.alarm is not None and watch.alarm <= 1:
        yield "alarm of priority 1", Level.APPROVE
    if watch.command_unknown is not False:
        yield "state of a command unknown", Level.APPROVE
    if policy.domain and watch.in_domain is not True:
        yield "outside the operating domain", Level.APPROVE
    if not low <= watch.consistency <= high:
        yield "filter inconsistent", Level.ADVISE
    if not 0 <= watch.data_age <= policy.max_age:
        yield "data stale", Level.ADVISE


def lower(state: LevelState, policy: Policy, watch: Watch, now: float) -> LevelState:
    """End an expired raise and latch a level that acts by itself down to L2 when anything is wrong."""
    if state.expires is not None and now >= state.expires:
        state = replace(state, granted=min(state.granted, policy.level), by="expiry", expires=None)
    why = tuple(reason for reason, _ in reasons(policy, watch))
    if why and state.granted > Level.APPROVE:
        state = replace(state, granted=Level.APPROVE, by="guard", expires=None, lowered=why)
    return state


def effective(state: LevelState, policy: Policy, watch: Watch, now: float) -> Level:
    """The level that holds now: what is granted, capped by everything that is wrong."""
    state = lower(state, policy, watch, now)
    return min([state.granted, *(cap for _, cap in reasons(policy, watch))])


def change(
    state: LevelState, policy: Policy, to: int, who: Principal, reason: str, now: float, seconds: float | None = None
) -> LevelState:
    """A person sets the level. A raise above the wiring's level lasts at most `policy.raise_for` seconds.

    Raises `AccessError` when `who` is not a person, or raises without role engineer; `InputError` for a level that
    does not exist, is above the ceiling, or comes without a reason.
    """
    if isinstance(to, bool) or to not in set(Level):
        raise InputError(f"The level is a whole number from 0 to 4, got {to!r}")
    if who.kind != "person" or not who.may("operator"):
        raise AccessError(f"Only a person with role operator sets the level, {who.name!r} is a {who.kind} ({who.role})")
    level = Level(to)
    if level > policy.ceiling:
        raise InputError(f"Level {level:d} is above the ceiling {policy.ceiling:d} of the wiring file; change it there")
    if not reason.strip():
        raise InputError("A change of level needs a reason; say why")
    if level > state.granted and level > Level.APPROVE and not who.may("engineer"):
        raise AccessError(f"Role engineer is needed to raise above level 2, {who.name!r} is a {who.role}")
    if level <= policy.level:
        return replace(state, granted=level, by=who.name, expires=None, lowered=())
    last = policy.raise_for if seconds is None else min(seconds, policy.raise_for)
    if not last > 0:
        raise InputError(f"A raise lasts some time, got {seconds!r} s")
    expires = now + last
    if level < state.granted and state.expires is not None:
        expires = min(expires, state.expires)
    return replace(state, granted=level, by=who.name, expires=expires, lowered=())
