"""Thinning for charts: never more points than asked, extremes and the newest stay, order stays."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pollux.runtime.store.base import Track
from pollux.runtime.store.thin import thin_channel, thin_track

times = st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=300).map(lambda x: np.sort(np.array(x)))


@given(times, st.integers(2, 100), st.integers(0, 2**32 - 1))
def test_extremes_stay_and_the_rest_is_thinned(t, points, seed):
    rng = np.random.default_rng(seed)
    value = np.where(rng.random(len(t)) < 0.2, np.nan, rng.standard_normal(len(t)))
    thin_t, thin_v = thin_channel(t, value, points)
    assert len(thin_t) <= max(points, 2)
    assert np.all(np.diff(thin_t) >= 0)
    pairs = set(zip(t.tolist(), value.view(np.uint64).tolist(), strict=True))
    assert set(zip(thin_t.tolist(), thin_v.view(np.uint64).tolist(), strict=True)) <= pairs
    if not np.isnan(value).all():
        assert np.nanmax(thin_v) == np.nanmax(value)
        assert np.nanmin(thin_v) == np.nanmin(value)


@given(times, st.integers(1, 100))
def test_the_newest_estimate_stays(t, points):
    track = thin_track(Track(t, t[:, None], t[:, None]), points)
    assert len(track) <= points or len(t) <= points
    assert track.t[-1] == t[-1]
    assert np.array_equal(track.mean[:, 0], track.t)


def test_a_gap_stays_a_gap():
    t = np.r_[np.arange(1000.0), 9000.0 + np.arange(1000.0)]
    thin_t, _ = thin_channel(t, np.sin(t), 200)
    assert np.diff(thin_t).max() > 7500
