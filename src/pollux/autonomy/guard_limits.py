"""Range, slew, dwell and budgets of actuators, with the memory they need; the memory survives restarts.

The budget of a rolling day is kept in hourly buckets, and every bucket that touches the last 24 h counts whole: the
memory is bounded by 25 entries an actuator and no window of 24 h can exceed the budget.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import floor, isfinite, log10

from pollux.autonomy.policy import Actuator, Policy

HOUR = 3600.0
SLACK = 1e-9
"""Relative slack of slew and budgets against rounding errors of a planner; the range has none."""


@dataclass(frozen=True)
class Held:
    """The set-point that an actuator was last given, as far as Pollux knows."""

    value: float
    changed: float
    """Time of the last change, s."""
    commanded: float
    """Time of the last command, s."""
    decided: float
    """Time `t` of the decision behind it: older decisions are superseded."""


@dataclass(frozen=True)
class GuardState:
    """Memory of the guard for one twin. `spent` holds (hour, travel, moves) per actuator."""

    t: float = 0.0
    sequence: int = 0
    held: Mapping[str, Held] = field(default_factory=dict)
    spent: Mapping[str, tuple[tuple[int, float, int], ...]] = field(default_factory=dict)


def settle(value: float, resolution: float) -> float:
    """The value on the actuator's grid, nearest multiple of `resolution` (idempotent); -0.0 becomes 0.0."""
    if resolution > 0:
        value = round(round(value / resolution) * resolution, 12 - floor(log10(resolution)))
    return float(value) + 0.0


def follow(state: GuardState, measured: Mapping[str, float], now: float) -> GuardState:
    """Take measured set-points as what is held: at first start and after a person moved an actuator by hand."""
    held = dict(state.held)
    for name, value in measured.items():
        if isfinite(value):
            old = held.get(name)
            changed = now if old is None or old.value != value else old.changed
            decided = now if old is None else old.decided
            held[name] = Held(float(value), changed, now, decided)
    return replace(state, held=held, t=max(state.t, now))


def spent(state: GuardState, name: str, now: float) -> tuple[float, int]:
    """(travel, moves) that count against the last 24 h."""
    since = floor(now / HOUR) - 24
    live = [b for b in state.spent.get(name, ()) if b[0] >= since]
    return sum(b[1] for b in live), sum(b[2] for b in live)


def broken(limit: Actuator, state: GuardState, value: float, now: float) -> tuple[str, str] | None:
    """(rule, reason) of the first dynamic limit that a rounded value breaks; None when it keeps all of them."""
    held = state.held.get(limit.name)
    if held is None:
        return "held", f"{limit.name}: the present set-point is unknown; wait for its measurement"
    change = abs(value - held.value)
    if change == 0.0:
        return None
    allowed = limit.slew * max(now - held.commanded, 0.0)
    if not change <= allowed * (1 + SLACK):
        return (
            "slew",
            f"{limit.name}: change {change:.6g} {limit.unit} > {allowed:.6g} allowed since the last command",
        )
    if not change <= limit.step * (1 + SLACK):
        return "step", f"{limit.name}: change {change:.6g} {limit.unit} > {limit.step:.6g} allowed at once"
    if not now - held.changed >= limit.dwell:
        return "dwell", f"{limit.name}: changed {now - held.changed:.6g} s ago, must rest {limit.dwell:.6g} s"
    travel, moves = spent(state, limit.name, now)
    if not moves + 1 <= limit.moves:
        return "moves", f"{limit.name}: {moves} changes in 24 h, {limit.moves:.6g} allowed"
    if not travel + change <= limit.travel * (1 + SLACK):
        return (
            "travel",
            f"{limit.name}: travel {travel + change:.6g} {limit.unit} in 24 h > {limit.travel:.6g} allowed",
        )
    return None


def admissible(limit: Actuator, state: GuardState, now: float) -> tuple[float, float]:
    """(low, high) that `broken` and the range would let through now: for planners, before they plan."""
    held = state.held.get(limit.name)
    if held is None:
        return limit.low, limit.high
    travel, moves = spent(state, limit.name, now)
    reach = min(limit.slew * max(now - held.commanded, 0.0), limit.step, limit.travel - travel)
    if now - held.changed < limit.dwell or moves + 1 > limit.moves or reach < 0:
        reach = 0.0
    return max(limit.low, held.value - reach), min(limit.high, held.value + reach)


def commit(policy: Policy, state: GuardState, values: Mapping[str, float], now: float, decided: float) -> GuardState:
    """The memory after a command was issued: issued counts as done, because unknown is never free."""
    held, book = dict(state.held), dict(state.spent)
    hour, since = floor(now / HOUR), floor(now / HOUR) - 24
    for name, value in values.items():
        old = held.get(name)
        change = 0.0 if old is None else abs(value - old.value)
        moved = old is None or change > 0.0
        held[name] = Held(value, now if moved or old is None else old.changed, now, decided)
        if moved:
            buckets = {b[0]: b for b in book.get(name, ()) if b[0] >= since}
            _, travel, moves = buckets.get(hour, (hour, 0.0, 0))
            buckets[hour] = (hour, travel + change, moves + 1)
            book[name] = tuple(sorted(buckets.values()))
    return GuardState(max(state.t, now), state.sequence + 1, held, book)
