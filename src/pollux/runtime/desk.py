"""The desk between a live twin and its guard: what the guard is told, and what of its state an event carries.

Pure. The decisions themselves are made in `pollux.autonomy`; nothing here can let a command pass.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from pollux.autonomy import levels
from pollux.autonomy.approve import Approvals, Pending, trimmed
from pollux.autonomy.authorise import Authority, AutonomyState, seen
from pollux.autonomy.guard_facts import recorded
from pollux.autonomy.judgement import Context
from pollux.autonomy.policy import Principal
from pollux.core.signals import Belief, Level, Readings
from pollux.runtime.state import LiveState


def watch(authority: Authority, state: LiveState, now: float, unknown: bool) -> levels.Watch:
    """What the automatic lowering of the level looks at."""
    policy = authority.policy
    urgent = [a.priority for a in state.alarms.open() if a.loud]
    facts = recorded(authority.plant, state.belief)
    inside = all(low <= facts.get(name, float("nan")) <= high for name, low, high in policy.domain)
    assert state.autonomy is not None
    return levels.Watch(
        alarm=min(urgent) if urgent else None,
        data_age=now - state.belief.t,
        consistency=state.autonomy.levels.consistency,
        command_unknown=unknown,
        in_domain=inside,
    )


def level(authority: Authority | None, state: LiveState, now: float, unknown: bool = False) -> Level:
    """The level that holds now; a twin without a policy observes only."""
    if authority is None or state.autonomy is None:
        return Level.OBSERVE
    return levels.effective(state.autonomy.levels, authority.policy, watch(authority, state, now, unknown), now)


def measured(authority: Authority, before: LiveState, readings: Readings) -> Mapping[str, tuple[float, float]]:
    """What every actuator is measured at, and since when; an actuator that says nothing stays as it was."""
    found = dict(before.measured)
    for actuator in authority.policy.actuators:
        value = float(readings.inputs[authority.plant.inputs.index(actuator.name)])
        known = found.get(actuator.name)
        if np.isfinite(value) and (known is None or abs(value - known[0]) > max(actuator.resolution, 1e-9)):
            found[actuator.name] = (value, readings.t)
    return found


def follow(authority: Authority, before: LiveState, belief: Belief, unknown: bool) -> AutonomyState:
    """The autonomy's state after a step: consistency of the filter, level lowered, set-points that were measured."""
    state = before.autonomy
    assert state is not None
    now = belief.t
    held = levels.observe(state.levels, belief)
    state = replace(state, levels=held)
    look = watch(authority, replace(before, belief=belief, autonomy=state), now, unknown)
    if held.count >= levels.FEWEST:  # before, the level is capped (nothing is known), which is no reason to latch it
        state = replace(state, levels=levels.lower(held, authority.policy, look, now))
    moved = _by_hand(authority, state, before.measured, now)
    return seen(state, moved, max(now, state.guard.t)) if moved else state


def context(
    authority: Authority,
    state: LiveState,
    who: Principal,
    now: float,
    *,
    stopped: bool,
    unknown: bool,
    outlook: tuple[np.ndarray, np.ndarray] | None,
    at: Level | None = None,
) -> Context:
    """What the guard is told; `at` replaces the level (for advice, which is judged as if it could be approved)."""
    assert state.autonomy is not None
    return Context(
        now=max(now, state.autonomy.guard.t),
        principal=who,
        level=level(authority, state, now, unknown) if at is None else at,
        stopped=stopped,
        belief=state.belief,
        consistency=state.autonomy.levels.consistency,
        model_hash=authority.plant.model_hash,
        outlook=outlook,
    )


def change(before: AutonomyState, after: AutonomyState, encode: Callable[[AutonomyState], Any]) -> Any:
    """What of `after` differs, as `encode` writes it: the actions that are the same in `before` are left out."""
    old = {p.id: p for p in before.approvals.items}
    new = tuple(p for p in after.approvals.items if old.get(p.id) is not p)
    return encode(replace(after, approvals=Approvals(after.approvals.count, new)))


def merge(before: AutonomyState, said: AutonomyState) -> AutonomyState:
    """`before` with a decoded `change` put in."""
    changed: Mapping[str, Pending] = {p.id: p for p in said.approvals.items}
    kept = tuple(changed.get(p.id, p) for p in before.approvals.items)
    known = {p.id for p in kept}
    items = kept + tuple(p for p in said.approvals.items if p.id not in known)
    return replace(said, approvals=Approvals(said.approvals.count, trimmed(items)))


def _by_hand(
    authority: Authority, state: AutonomyState, measured: Mapping[str, tuple[float, float]], now: float
) -> dict[str, float]:
    """Set-points that are news: first ones, and ones that have stayed elsewhere than where we put them.

    They must have stayed for `hold`, because a duty is measured as a switch that goes on and off.
    """
    found: dict[str, float] = {}
    for actuator in authority.policy.actuators:
        value, since = measured.get(actuator.name, (float("nan"), now))
        held = state.guard.held.get(actuator.name)
        if not np.isfinite(value):
            continue
        if held is None:
            found[actuator.name] = value
            continue
        settled = now - max(since, held.commanded) >= max(authority.policy.hold, authority.policy.command_expiry)
        if settled and abs(value - held.value) > max(actuator.resolution, 1e-9):
            found[actuator.name] = value
    return found
