"""Alignment: the result depends on the set of rows alone; late, doubled and leaping rows are marked, not fused."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pollux.runtime.align import MAX_EMPTY, bin_of, push, start
from pollux.runtime.binding import bind
from pollux.runtime.wiring import TagWiring, TwinWiring


@dataclass(frozen=True)
class Spec:
    name: str
    unit: str = "1"
    low: float = -math.inf
    high: float = math.inf


def binding(*, period=1.0, lag=0.0, jump=100.0, time="event", tags="abc", sources=None):
    sources = sources or dict.fromkeys(tags, "plant")
    wired = tuple(TagWiring(t, t, None, None, sources[t], "plant") for t in tags)
    wiring = TwinWiring("w", "m:f", {}, (), period, time, lag, jump, "w", 1.0, wired, (), {}, "test")
    return bind(wiring, [Spec(t) for t in tags[:2]], [Spec(t) for t in tags[2:]])


def bits(readings):
    return [(r.t, r.id, r.source, r.values.tobytes(), r.inputs.tobytes()) for r in readings]


def run(b, rows):
    result = push(b, start(b), rows)
    return result.readings, result.outcomes


def drained(b, rows):
    """Readings after the clock has moved far enough that every bin has been handed on."""
    end = max(t for _, t, _ in rows) + b.lag + 2 * b.period
    return run(b, [*rows, (len(b.ports), end, 0.0)])


def test_a_tick_is_handed_on_when_every_tag_has_a_value_at_its_own_time():
    b = binding()
    readings, _ = run(b, [(0, 1.0, 10.0), (1, 1.0, 20.0), (2, 1.0, 30.0), (0, 2.0, 11.0)])
    assert [r.t for r in readings] == [1.0]  # the first waits for the next to begin: earlier rows might come
    state = push(b, start(b), [(0, 1.0, 10.0), (0, 2.0, 11.0), (1, 2.0, 21.0)]).state
    result = push(b, state, [(2, 2.0, 31.0)])
    assert [r.t for r in result.readings] == [2.0]
    np.testing.assert_array_equal(result.readings[0].values, [11.0, 21.0])
    np.testing.assert_array_equal(result.readings[0].inputs, [31.0])


def test_the_newest_value_of_a_bin_counts_and_missing_is_nan():
    b = binding(period=10.0)
    readings, outcomes = run(b, [(0, 3.0, 1.0), (0, 9.0, 3.0), (0, 5.0, 2.0), (1, 4.0, math.nan), (0, 11.0, 9.0)])
    assert [r.t for r in readings] == [10.0]
    np.testing.assert_array_equal(readings[0].values, [3.0, math.nan])
    assert np.isnan(readings[0].inputs).all()
    assert outcomes == ()


def test_late_and_doubled_rows_are_marked():
    b = binding(lag=1.0, tags="ab")
    rows = [(0, 1.0, 1.0), (0, 1.0, 1.0), (0, 3.5, 2.0), (1, 1.0, 5.0), (1, 3.0, 6.0), (0, 3.5, 2.0)]
    readings, outcomes = run(b, rows)
    assert [(o.port, o.t, o.reason) for o in outcomes] == [
        (0, 1.0, "duplicate"),
        (1, 1.0, "late"),
        (0, 3.5, "duplicate"),
    ]
    assert [r.t for r in readings] == [1.0, 2.0]  # 2.0 is empty and expired: 3.5 > 2.0 + 1.0


def test_a_lone_clock_never_moves_the_watermark():
    b = binding(tags="ab", sources={"a": "plant", "b": "lab"})
    rows = [(0, 1.0, 1.0), (1, 1.0, 1.0), (0, 2.0, 1.0)]
    state = push(b, start(b), rows).state
    for k in range(50):
        result = push(b, state, [(1, 1e6 + k, 7.0)])
        assert [o.reason for o in result.outcomes] == ["future"]
        assert result.state.watermark == 2.0
        state = result.state
    result = push(b, state, [(0, 3.0, 1.0)])
    assert result.outcomes == ()
    result = push(b, result.state, [(0, 1e6 + 60, 2.0)])  # the other source agrees
    assert result.outcomes == ()
    assert result.state.watermark == 1e6 + 60


def test_a_source_that_is_alone_is_believed_after_three_times():
    b = binding(tags="ab")
    state = push(b, start(b), [(0, 1.0, 1.0), (0, 2.0, 1.0)]).state
    result = push(b, state, [(0, 5000.0, 1.0), (0, 5000.0, 1.0), (0, 5001.0, 1.0), (0, 5002.0, 1.0), (0, 5003.0, 1.0)])
    assert [o.reason for o in result.outcomes] == ["future"] * 3
    assert result.state.watermark == 5003.0


def test_a_long_silence_is_skipped():
    b = binding(jump=1e9, tags="a")
    readings, _ = run(b, [(0, 1.0, 1.0), (0, 1e8, 2.0), (0, 1e8 + 1, 3.0)])
    assert len(readings) == 1 + MAX_EMPTY + 2
    assert [r.t for r in readings[-2:]] == [1e8, 1e8 + 1]
    assert [r.id for r in readings] == [f"w:r{i}" for i in range(len(readings))]


@given(st.integers(1, 10**11), st.sampled_from([0.1, 0.25, 1.0, 5.0, 60.0, 300.0]))
def test_decimal_times_fall_on_the_grid(k, period):
    k = k % max(1, int(4e9 / period))
    assert bin_of(k * period, period) == k
    assert bin_of(round(k * period, 6), period) == k


@st.composite
def disordered(draw):
    """Rows on and off the grid, some doubled, in an order in which none is more than `lag` behind the newest."""
    lag = draw(st.sampled_from([0.0, 0.5, 2.0, 7.0]))
    times = st.one_of(st.integers(0, 20).map(float), st.floats(0, 20).map(lambda t: round(t, 3)))
    keys = draw(st.lists(st.tuples(st.integers(0, 2), times), min_size=1, max_size=40, unique=True))
    values = np.random.default_rng(draw(st.integers(0, 99))).standard_normal(len(keys))
    rows = [(p, t, float(v)) for (p, t), v in zip(keys, values, strict=True)]
    rows += [rows[i] for i in draw(st.lists(st.integers(0, len(rows) - 1), max_size=5))]
    waiting, order, newest = sorted(rows, key=lambda r: r[1]), [], -math.inf
    while waiting:  # a row may come as long as no older one would be left more than `lag` behind
        limit = waiting[0][1] + lag
        allowed = [i for i, r in enumerate(waiting) if r[1] <= limit]
        row = waiting.pop(draw(st.sampled_from(allowed)))
        newest = max(newest, row[1])
        order.append(row)
    return lag, rows, order


@settings(max_examples=300, deadline=None)
@given(disordered(), st.sampled_from([1.0, 2.5]))
def test_any_order_within_the_lag_gives_the_same_bits(case, period):
    lag, rows, order = case
    b = binding(period=period, lag=lag)
    in_order = sorted(rows, key=lambda r: (r[1], r[0]))
    expected, _ = drained(b, in_order)
    got, outcomes = drained(b, order)
    assert bits(got) == bits(expected)
    assert not [o for o in outcomes if o.reason == "future"]


@settings(max_examples=100, deadline=None)
@given(disordered(), st.integers(1, 5))
def test_the_fold_may_be_cut_anywhere(case, size):
    lag, _, order = case
    b = binding(lag=lag)
    whole = push(b, start(b), order)
    state, readings = start(b), []
    for i in range(0, len(order), size):
        result = push(b, state, order[i : i + size])
        before = bits(result.readings)
        assert bits(push(b, state, order[i : i + size]).readings) == before  # pure: the state was not written
        state = result.state
        readings += result.readings
    assert bits(readings) == bits(whole.readings)
    assert repr(state) == repr(whole.state)


@settings(max_examples=100, deadline=None)
@given(disordered())
def test_readings_agree_with_a_plain_grouping(case):
    """Oracle: for each bin and tag, the value with the largest time."""
    _, rows, order = case
    b = binding(lag=100.0, period=2.0)
    readings, _ = drained(b, order)
    for r in readings:
        for port, got in enumerate([*r.values, *r.inputs]):
            inside = [(t, v) for p, t, v in rows if p == port and r.t - 2.0 < t <= r.t]
            expected = max(inside)[1] if inside else math.nan
            assert got == pytest.approx(expected, nan_ok=True, abs=0)
