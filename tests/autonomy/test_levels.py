"""Levels: lowered by anything wrong, latched where the twin would act by itself, raised by people for a time."""

from dataclasses import replace

import pytest

from pollux.autonomy.levels import FEWEST, LevelState, Watch, change, effective, lower, observe, start
from pollux.core.errors import AccessError, InputError
from pollux.core.signals import Level

FINE = Watch(alarm=None, data_age=1.0, consistency=1.0, command_unknown=False, in_domain=True)
WRONG = {
    "alarm of priority 1": (replace(FINE, alarm=1), Level.APPROVE),
    "state of a command unknown": (replace(FINE, command_unknown=True), Level.APPROVE),
    "outside the operating domain": (replace(FINE, in_domain=False), Level.APPROVE),
    "filter inconsistent": (replace(FINE, consistency=9.0), Level.ADVISE),
    "data stale": (replace(FINE, data_age=31.0), Level.ADVISE),
}
UNKNOWN = [
    replace(FINE, command_unknown=None),
    replace(FINE, in_domain=None),
    replace(FINE, consistency=float("nan")),
    replace(FINE, data_age=float("nan")),
]


@pytest.mark.parametrize("reason", WRONG)
def test_each_reason_lowers_and_latches(world, reason):
    watch, cap = WRONG[reason]
    state = LevelState(Level.AUTOMATIC, expires=1e9)
    assert effective(state, world.policy, FINE, 0.0) == Level.AUTOMATIC
    assert effective(state, world.policy, watch, 0.0) == cap
    latched = lower(state, world.policy, watch, 0.0)
    assert (latched.granted, latched.lowered) == (Level.APPROVE, (reason,))
    assert effective(latched, world.policy, FINE, 1.0) == Level.APPROVE


@pytest.mark.parametrize("watch", UNKNOWN)
def test_unknown_lowers(world, watch):
    assert effective(LevelState(Level.AUTOMATIC), world.policy, watch, 0.0) <= Level.APPROVE


def test_below_automatic_a_cap_lasts_as_long_as_its_reason(world):
    state = start(world.policy)
    stale = WRONG["data stale"][0]
    assert lower(state, world.policy, stale, 0.0) == state
    assert effective(state, world.policy, stale, 0.0) == Level.ADVISE
    assert effective(state, world.policy, FINE, 0.0) == Level.APPROVE
    assert effective(state, world.policy, replace(FINE, alarm=2), 0.0) == Level.APPROVE


def test_a_raise_needs_a_person_a_reason_and_ends(world):
    state = start(world.policy)
    up = change(state, world.policy, 4, world.bob, "night shift", 100.0)
    assert (up.granted, up.expires) == (Level.AUTOMATIC, 100.0 + 28800.0)
    assert effective(up, world.policy, FINE, 28899.0) == Level.AUTOMATIC
    assert effective(up, world.policy, FINE, 28900.0) == Level.APPROVE
    assert change(state, world.policy, 3, world.bob, "x", 0.0, seconds=60.0).expires == 60.0
    assert change(state, world.policy, 3, world.bob, "x", 0.0, seconds=1e9).expires == 28800.0
    with pytest.raises(AccessError, match="Only a person"):
        change(state, world.policy, 3, world.agent, "x", 0.0)
    with pytest.raises(AccessError, match="Only a person"):
        change(state, world.policy, 3, world.eve, "x", 0.0)
    with pytest.raises(AccessError, match="engineer"):
        change(state, world.policy, 3, world.alice, "x", 0.0)
    with pytest.raises(InputError, match="reason"):
        change(state, world.policy, 3, world.bob, " ", 0.0)
    with pytest.raises(InputError, match="ceiling"):
        change(state, replace(world.policy, ceiling=Level.SUPERVISED), 4, world.bob, "x", 0.0)
    with pytest.raises(InputError, match="0 s"):
        change(state, world.policy, 3, world.bob, "x", 0.0, seconds=0.0)
    for nonsense in (5, -1, True, 2.5, "3"):
        with pytest.raises(InputError, match="whole number"):
            change(state, world.policy, nonsense, world.bob, "x", 0.0)


def test_an_operator_lowers_at_once_and_raises_to_two(world):
    up = change(start(world.policy), world.policy, 4, world.bob, "x", 0.0, seconds=500.0)
    down = change(up, world.policy, 3, world.alice, "careful", 100.0)
    assert (down.granted, down.expires) == (Level.SUPERVISED, 500.0)
    off = change(up, world.policy, 0, world.alice, "maintenance", 100.0)
    assert (off.granted, off.expires) == (Level.OBSERVE, None)
    assert change(off, world.policy, 2, world.alice, "done", 200.0).granted == Level.APPROVE


def test_consistency_is_a_running_mean_and_unknown_at_first(world):
    state = start(world.policy)
    for k in range(200):
        assert (state.consistency != state.consistency) == (k < FEWEST)
        state = observe(state, world.belief(nis=2.0, nis_dof=1))
    assert state.consistency == pytest.approx(2.0)
    assert observe(state, world.belief(nis=0.0, nis_dof=0)) is state
    assert observe(state, world.belief(nis=float("nan"), nis_dof=1)).consistency > 3.0
