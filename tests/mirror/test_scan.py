"""A record as steps, and its walk in stretches: the same bits as in one go, for any length and any method."""

import math

import numpy as np
import plants
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pollux import Ekf, Enkf, Record, Ukf, assimilate, means
from pollux.core.errors import InputError
from pollux.mirror import scan
from pollux.model import pieces

METHODS = (Ekf(), Ukf(), Enkf(6))


@pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
@pytest.mark.parametrize("size", [7, 10, 29])
def test_stretches_give_the_bits_of_one_walk(monkeypatch, method, size):
    """29 is one row short of two equal stretches of 15."""
    y, u = plants.drive(29, 2)
    y[[3, 11, 12]] = np.nan
    record = Record(np.arange(29.0), u, y, ("a",), ("place", "speed"))
    whole = assimilate(plants.Cart(), record, method=method)
    monkeypatch.setattr(scan, "STRETCH", size)
    cut = assimilate(plants.Cart(), record, method=method)
    for a, b in ((whole.mean, cut.mean), (whole.cov, cut.cov), (whole.nis, cut.nis), (whole.used, cut.used)):
        assert np.array_equal(a, b, equal_nan=True)
    assert np.array_equal(means(plants.Cart(), record, method=method), whole.mean)


def test_a_gate_that_opens_again_remembers_across_stretches(monkeypatch):
    y = np.zeros((40, 2))
    y[10:] = 50.0
    record = Record(np.arange(40.0), np.zeros((40, 1)), y, ("a",), ("place", "speed"))
    whole = assimilate(plants.Cart(), record, reopen=5)
    monkeypatch.setattr(scan, "STRETCH", 12)
    cut = assimilate(plants.Cart(), record, reopen=5)
    assert whole.used[10:].min() == 0
    assert whole.used[10:].max() == 1
    assert np.array_equal(whole.used, cut.used)


@given(
    st.one_of(st.none(), st.floats(0.1, 10.0)),
    st.one_of(st.just(math.inf), st.floats(0.01, 100.0)),
    st.lists(st.floats(0.0, 1e4), min_size=1, max_size=20),
)
def test_the_most_pieces_are_the_largest_count(period, dt_max, times):
    t = np.sort(np.array(times))
    start = np.concatenate([t[:1], t[:-1]])
    counted = [pieces.count(period, dt_max, a, b) for a, b in zip(start.tolist(), t.tolist(), strict=True)]
    assert pieces.most(period, dt_max, start, t) == max(counted)


def test_a_record_without_rows_is_refused():
    record = (np.zeros(0), np.zeros((0, 1)), np.zeros((0, 2)))
    with pytest.raises(InputError):
        assimilate(plants.Cart(), Record(*record, ("a",), ("place", "speed")))
