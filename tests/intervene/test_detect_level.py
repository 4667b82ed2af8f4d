"""The theory of the detector's false alarms against simulation and known limits; the judgement on misread sensors."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pollux.intervene.cusum import (
    MOST,
    cap,
    cusum,
    cusum_threshold,
    run_length,
    scatter,
    scatter_length,
    scatter_threshold,
)  # fmt: skip
from pollux.intervene.detect_level import _factors, chance, compared, solve
from pollux.intervene.detect_misread import Leg, Misreading, judge_readings


@pytest.mark.parametrize("theta", [0.2, 0.5, 1.0])
def test_a_run_of_one_is_siegmunds_overshoot(theta):
    begun, stays = _factors(theta, 1)
    assert begun == pytest.approx(theta**2 / 2 * math.exp(-0.583 * theta), rel=0.01)
    assert stays == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("theta", [0.5, 1.5])
def test_a_run_of_three_is_as_simulated(theta):
    g, N = np.random.default_rng(0), 200_000
    y, ok = g.exponential(size=N), np.ones(N, dtype=bool)
    for _ in range(2):
        y = y + theta * g.standard_normal(N) - theta**2 / 2
        ok &= y > 0
    past, never, run = y[ok], np.ones(ok.sum(), dtype=bool), np.zeros(ok.sum())
    for i in range(200):
        past = past + theta * g.standard_normal(len(past)) - theta**2 / 2
        never &= (past <= 0) if i == 0 else True
        run = np.where(past > 0, run + 1, 0)
        never &= run < 3
    begun, stays = _factors(theta, 3)
    assert stays == pytest.approx(ok.mean(), rel=0.02)
    assert begun == pytest.approx(never.sum() / N, rel=0.03)


def test_a_walk_of_growing_information_exceeds_its_level_as_often_as_computed():
    """z = S_n / sqrt(n) for n up to 200, run of three, one side: first time beyond, by 60,000 walks."""
    level, N, last = 3.2, 60_000, 200
    g, total, run, done = np.random.default_rng(1), np.zeros(N), np.zeros(N), np.zeros(N, dtype=bool)
    expected = 0.0
    for n in range(1, last + 1):
        total += g.standard_normal(N)
        if n < 3:
            continue
        run = np.where(total / math.sqrt(n) > level, run + 1, 0)
        done |= run >= 3
        if n >= 5:
            one = np.ones(1)
            c = compared(np.array([[[float(n)]]]), np.array([[[n - 1.0]]]), 0 * one, 0 * one, one, np.array([n == 5]))
            expected += chance(level, c, 3)
    assert done.mean() == pytest.approx(expected, rel=0.15)


@settings(max_examples=50, deadline=None)
@given(st.floats(1e-7, 1e-3), st.integers(1, 10), st.integers(1, 5))
def test_the_level_spends_what_it_may(spend, rows, faults):
    J = (np.arange(5.0, 5.0 + rows) ** 2)[:, None, None] * np.eye(faults)
    c = compared(J, J - 1.0, np.zeros(faults), np.zeros(faults), np.full(faults, 2.0), np.zeros(rows, dtype=bool))
    level = solve(5.0, spend, c, 3)
    for _ in range(5):
        level = solve(level, spend, c, 3)
    assert level == 3.0 or chance(level, c, 3) == pytest.approx(spend, rel=0.15)


def test_charts_speak_as_rarely_as_stated():
    g, N, T = np.random.default_rng(3), 1000, 2500
    h, hs = cusum_threshold(3000.0, 1.0, 10), scatter_threshold(3000.0, 5)
    assert run_length(h, 1.0, 10) == pytest.approx(3000.0)
    assert scatter_length(hs, 5) == pytest.approx(3000.0)
    up = down = loud = mean = odd = long = np.zeros(N)
    alarms = [0, 0]
    for _ in range(T):
        e = g.standard_normal(N)
        up, down = cusum(up, down, e, 1.0, cap(h))
        odd = np.where(np.maximum(up, down) > h, odd + 1, 0)
        loud, mean = scatter(loud, mean, e, cap(hs))
        long = np.where(loud > hs, long + 1, 0)
        for k, spoke in enumerate((odd >= 10, long >= 5)):
            alarms[k] += int(spoke.sum())
        up, down, odd = (np.where(odd >= 10, 0.0, a) for a in (up, down, odd))
        loud, long = (np.where(long >= 5, 0.0, a) for a in (loud, long))
    assert alarms[0] / (N * T / 3000) == pytest.approx(1.0, abs=0.15)
    assert alarms[1] / (N * T / 3000) == pytest.approx(1.0, abs=0.25), "its running mean correlates it a little"


def test_a_rate_that_no_chart_can_tell_is_the_rarest_that_one_can():
    """A year at 1 kHz and more, and an update that takes no time at all."""
    for threshold in (lambda n: cusum_threshold(n, 1.0, 3), lambda n: cusum_threshold(n, 0.5), scatter_threshold):
        rarest = threshold(1e11)
        assert threshold(1e9) < rarest == threshold(1e12) == threshold(math.inf) < MOST


def test_an_offset_is_told_from_a_unit_by_its_scatter():
    """100 times too large with 100 times the scatter is centimetres; with the scatter of metres it is an offset."""
    bank = (Misreading("unit slip", (Leg(0, 0, 0.01, 0.0),), 0.3, "cm"),)
    g, mu, S, R = np.random.default_rng(0), np.ones((3, 1)), np.full((3, 1), 2e-4), np.array([1e-4])
    noise = 0.01 * g.standard_normal((3, 1))
    k, p = judge_readings(0, bank, 100.0 * (1.0 + noise), mu, S, R)
    assert (k, p > 0.99) == (0, True)
    k, p = judge_readings(0, bank, 100.0 + noise, mu, S, R)
    assert k == -1
    assert p > 0.5
