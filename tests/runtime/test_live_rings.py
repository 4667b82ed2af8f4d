"""The ring of charts: what comes out is what went in, thinned without losing the newest or a spike."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pollux.core.signals import Belief, Health, Readings
from pollux.runtime.rings import Ring


def filled(capacity, count, spike=None):
    ring = Ring(capacity, 2, 1, 1)
    for k in range(count):
        value = 100.0 if k == spike else 0.1 * (k % 3)
        readings = Readings("w", float(k), f"r{k}", "", np.array([value]), np.array([1.0]))
        belief = Belief(
            "w", float(k), f"b{k}", f"r{k}", np.array([k, -k], float), np.diag([4.0, 9.0]), np.array([1.0]),
            np.zeros(1), np.array([value]), np.ones(1), (Health.GOOD,), 1.0, 1, np.zeros(1),
        )  # fmt: skip
        ring.add(readings, belief)
    return ring


@settings(max_examples=80, deadline=None)
@given(st.integers(2, 60), st.integers(0, 200), st.integers(2, 50))
def test_the_last_rows_are_there_in_order_and_the_newest_always(capacity, count, points):
    ring = filled(capacity, count)
    span = ring.span(-np.inf, np.inf, points)
    kept = min(capacity, count)
    assert len(span.t) <= max(points, 2)
    assert np.all(np.diff(span.t) > 0)
    if count:
        assert span.t[-1] == count - 1
        assert span.t[0] >= count - kept
        np.testing.assert_array_equal(span.mean[:, 0], span.t)
        np.testing.assert_array_equal(span.sd, np.tile([2.0, 3.0], (len(span.t), 1)))
    if kept <= points:
        np.testing.assert_array_equal(span.t, np.arange(count - kept, count))


def test_a_spike_of_one_sample_stays_visible():
    span = filled(5000, 5000, spike=1234).span(-np.inf, np.inf, 40)
    assert 1234.0 in span.t
    assert span.measured.max() == 100.0


def test_a_stretch_of_time_is_cut_out():
    assert filled(100, 100).span(10.0, 20.0, 1000).t.tolist() == list(range(10, 21))


def test_rows_come_back_after_a_restart_and_foreign_ones_are_ignored():
    ring, other = filled(50, 80), Ring(30, 2, 1, 1)
    other.load(ring.rows())
    np.testing.assert_array_equal(other.rows(), ring.rows()[-30:])
    other.load(np.zeros((5, 3)))
    np.testing.assert_array_equal(other.rows(), ring.rows()[-30:])
