"""Limits with memory: rounding, budgets of any 24 hours, and what planners are told."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pollux.autonomy.guard_limits import GuardState, admissible, broken, commit, follow, settle, spent
from pollux.autonomy.policy import Actuator, Policy

PUMP = Actuator("q", "m^3/s", 0.0, 0.05, slew=0.001, step=0.02, dwell=60.0, travel=0.1, moves=6, resolution=0.001)
POLICY = Policy((PUMP,))


@given(st.floats(-1e6, 1e6), st.sampled_from([0.0, 0.001, 0.1, 0.25, 3.0, 1e-6]))
def test_settle_is_idempotent_and_nearest(value, resolution):
    once = settle(value, resolution)
    assert settle(once, resolution) == once
    assert abs(once - value) <= resolution / 2 * (1 + 1e-9) + 1e-9 * abs(value)


def test_settle_gives_the_decimal_that_a_person_would_write():
    assert [settle(k * 0.1, 0.1) for k in range(4)] == [0.0, 0.1, 0.2, 0.3]
    assert str(settle(-0.04, 0.1)) == "0.0"


@given(st.lists(st.tuples(st.floats(0.0, 20_000.0), st.floats(0.0, 0.05)), max_size=60))
def test_any_24_hours_keep_the_budget(moves):
    """Property: whatever is asked, what `broken` lets through keeps slew, dwell and the exact rolling budget."""
    state, now = follow(GuardState(), {"q": 0.0}, 0.0), 0.0
    done = [(0.0, 0.0)]
    for wait, value in moves:
        now += wait
        value = settle(value, PUMP.resolution)
        if broken(PUMP, state, value, now):
            continue
        if value != done[-1][1]:
            done.append((now, value))
            turns = [(t, abs(v - w)) for (t, v), (_, w) in zip(done[1:], done, strict=False)]
            day = [size for t, size in turns if t > now - 86400.0]
            assert len(day) <= 6
            assert sum(day) <= 0.1 * (1 + 1e-8)
            assert len(turns) < 2 or turns[-1][0] - turns[-2][0] >= 60.0
        state = commit(POLICY, state, {"q": value}, now, now)
    assert len(state.spent.get("q", ())) <= 25


@given(st.floats(0.0, 4000.0), st.floats(0.0, 0.05), st.floats(0.0, 1.0))
def test_what_planners_are_told_is_what_is_let_through(wait, start, share):
    limit = replace(PUMP, resolution=0.0)
    state = follow(GuardState(), {"q": start}, 0.0)
    low, high = admissible(limit, state, wait)
    assert limit.low <= low <= start <= high <= limit.high
    assert broken(limit, state, low + share * (high - low), wait) is None or high - low < 1e-12


def test_admissible_of_what_was_never_seen_is_the_range():
    assert admissible(PUMP, GuardState(), 0.0) == (0.0, 0.05)


def test_a_day_later_the_budget_is_back():
    state = follow(GuardState(), {"q": 0.0}, 0.0)
    for k in range(6):
        state = commit(POLICY, state, {"q": 0.01 * (k % 2 == 0)}, 100.0 * (k + 1), 100.0 * (k + 1))
    assert broken(PUMP, state, 0.01, 80_000.0)[0] == "moves"
    assert broken(PUMP, state, 0.01, 86400.0 + 7200.0) is None
    assert spent(state, "q", 80_000.0) == (pytest.approx(0.06), 6)


def test_a_repeated_value_costs_nothing():
    state = follow(GuardState(), {"q": 0.01}, 0.0)
    after = commit(POLICY, state, {"q": 0.01}, 10.0, 10.0)
    assert spent(after, "q", 10.0) == (0.0, 0)
    assert (after.held["q"].changed, after.held["q"].commanded) == (0.0, 10.0)


def test_follow_takes_a_hand_move_and_ignores_nan():
    state = follow(GuardState(), {"q": 0.01}, 0.0)
    state = follow(state, {"q": float("nan")}, 5.0)
    assert state.held["q"].value == 0.01
    state = follow(state, {"q": 0.03}, 9.0)
    assert (state.held["q"].value, state.held["q"].changed) == (0.03, 9.0)


def test_each_limit_holds_on_its_edge_and_not_beyond():
    limit = Actuator("q", "1", 0.0, 10.0, slew=0.5, step=4.0, dwell=8.0, travel=6.0, moves=2)
    state = follow(GuardState(), {"q": 2.0}, 0.0)
    assert broken(limit, state, 6.0, 8.0) is None
    assert broken(limit, state, 6.0, 7.9)[0] == "slew"
    assert broken(limit, state, 6.01, 100.0)[0] == "step"
    assert broken(limit, state, 2.1, 7.9)[0] == "dwell"
    assert broken(limit, state, 2.0, 0.1) is None
    assert broken(limit, state, 2.5, -1.0)[0] == "slew"
    policy = Policy((limit,))
    once = commit(policy, state, {"q": 6.0}, 100.0, 100.0)
    assert broken(limit, once, 4.0, 200.0) is None
    assert broken(limit, once, 3.9, 200.0)[0] == "travel"
    twice = commit(policy, once, {"q": 5.5}, 200.0, 200.0)
    assert broken(limit, twice, 5.4, 300.0)[0] == "moves"
    assert broken(limit, twice, 5.5, 300.0) is None
    assert twice.sequence == 2
    assert (twice.t, twice.held["q"].decided) == (200.0, 200.0)


def test_planners_are_told_the_edge_of_each_limit():
    limit = Actuator("q", "1", 0.0, 10.0, slew=0.5, step=4.0, dwell=8.0, travel=6.0, moves=2)
    state = follow(GuardState(), {"q": 5.0}, 0.0)
    assert admissible(limit, state, 7.9) == (5.0, 5.0)
    assert admissible(limit, state, 8.0) == (1.0, 9.0)
    assert admissible(replace(limit, dwell=0.0), state, 4.0) == (3.0, 7.0)
    once = commit(Policy((limit,)), state, {"q": 9.0}, 100.0, 100.0)
    assert admissible(limit, once, 200.0) == (7.0, 10.0)
    twice = commit(Policy((limit,)), once, {"q": 8.0}, 200.0, 200.0)
    assert admissible(limit, twice, 300.0) == (8.0, 8.0)


def test_old_buckets_are_forgotten_and_new_ones_counted():
    state = follow(GuardState(), {"q": 0.0}, 0.0)
    for k in range(80):
        state = commit(POLICY, state, {"q": 0.001 * (k % 7 + 1)}, 3600.0 * k + 1.0, 3600.0 * k + 1.0)
    buckets = state.spent["q"]
    assert [b[0] for b in buckets] == list(range(55, 80))
    assert spent(state, "q", 3600.0 * 79 + 1.0)[1] == 25
    assert spent(state, "q", 3600.0 * 103 + 3599.0)[1] == 1
    assert spent(state, "q", 3600.0 * 104)[1] == 0


def test_a_first_command_without_a_known_position_is_charged_as_a_move():
    state = commit(POLICY, GuardState(), {"q": 0.01}, 50.0, 40.0)
    assert spent(state, "q", 50.0) == (0.0, 1)
    assert (state.held["q"].changed, state.held["q"].commanded, state.held["q"].decided) == (50.0, 50.0, 40.0)
