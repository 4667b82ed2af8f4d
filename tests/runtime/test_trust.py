"""Whether an estimate can be trusted, judged from innovations that are drawn with known faults."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from live_tank import feed, make_host
from scipy import stats

from pollux.core.signals import Belief, Health, Readings
from pollux.runtime.alarms import AlarmBook
from pollux.runtime.rings import Ring
from pollux.runtime.trust import RECENT, WINDOW, health, trust

NAMES = ("level", "temp", "flow")


class Face:
    """As much of a face as is asked for."""

    sensors = tuple(type("S", (), {"name": n}) for n in NAMES)


def judged(
    innovation: np.ndarray,
    sd: float = 1.0,
    states: Any = None,
    now: tuple[Health, ...] | None = None,
    before: int = 0,
) -> dict:
    """The verdict over a run with these innovations (T, 3) where `sd` was predicted; NaN = no reading."""
    ring = Ring(5000, 1, 3, 0)
    states = np.full(innovation.shape, Health.GOOD, dtype=object) if states is None else states
    for k, nu in enumerate(innovation):
        used = np.isfinite(nu) & (states[k] == Health.GOOD)
        belief = Belief(
            "w", float(k), f"b{k}", f"r{k}", np.zeros(1), np.eye(1), np.zeros(0), np.zeros(3), nu,
            np.full(3, sd**2), tuple(states[k]), float(np.sum(nu[used] ** 2) / sd**2), int(used.sum()), np.zeros(3),
        )  # fmt: skip
        ring.add(Readings("w", float(k), f"r{k}", "", nu, np.zeros(0)), belief)
    last = type("B", (), {"health": now or tuple(states[-1]), "t": float(len(innovation) - 1)})
    state = type("State", (), {"belief": last, "alarms": AlarmBook()})
    if before:  # as a restart brings them back: times, values and estimates, and nothing of the innovations
        old = ring.rows()[:before].copy()
        old[:, 0] -= before
        old[:, 4:10] = np.nan
        old[:, -5:] = np.nan
        ring.load(np.vstack([old, ring.rows()]))
    return trust(Face, state, ring.last(WINDOW))  # type: ignore[arg-type]


def test_steps_that_a_restart_brought_back_are_not_missing_readings():
    assert judged(draws(), before=150) == judged(draws())


def draws(seed: int = 1, n: int = 800) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, 3))


def test_honest_noise_is_called_consistent_and_covered():
    for seed in range(5):
        out = judged(draws(seed))
        assert out["nis"]["verdict"] == "consistent"
        assert out["coverage"]["low"] < out["coverage"]["share"] < out["coverage"]["high"]
        assert all(s["health"] == 1.0 for s in out["sensors"].values())
    low, high = stats.chi2.ppf([0.005, 0.995], 2400) / 2400
    assert (out["nis"]["low"], out["nis"]["high"]) == pytest.approx((low, high), rel=1e-9)
    assert (out["steps"], out["nis"]["readings"], out["coverage"]["readings"]) == (800, 2400, 2400)


@pytest.mark.parametrize(("stated", "verdict"), [(0.5, "overconfident"), (2.0, "cautious")])
def test_noise_that_is_stated_wrong_is_found_and_its_coverage_is_that_of_the_normal(stated, verdict):
    out = judged(draws(), sd=stated)
    assert out["nis"]["verdict"] == verdict
    assert out["nis"]["ratio"] == pytest.approx(1 / stated**2, rel=0.1)
    expected = 1 - 2 * stats.norm.sf(1.959963984540054 * stated)
    assert out["coverage"]["share"] == pytest.approx(expected, abs=0.03)


def test_the_course_shows_since_when_the_filter_has_been_wrong():
    nu = draws(n=1000)
    nu[700:] *= 2.0
    course = judged(nu)["nis"]["course"]
    bad = [t for t, ratio, high in zip(course["t"], course["ratio"], course["high"], strict=True) if ratio > high]
    assert len(course["t"]) == 50
    assert len([t for t in bad if t < 700]) <= 2, "one in two hundred stretches is outside by chance"
    assert len([t for t in bad if t >= 720]) == 14, "every stretch of twenty steps from then on"


def test_a_sensor_is_as_healthy_as_its_last_readings_are_usable():
    states = np.full((800, 3), Health.GOOD, dtype=object)
    states[-30:, 0] = Health.GATED
    states[-60:, 1] = Health.SUSPECT
    out = judged(draws(), states=states)["sensors"]
    assert out["level"]["health"] == pytest.approx(1 - 30 / RECENT)
    assert out["temp"]["health"] == 0.0, "a fault is held against it"
    assert out["flow"]["health"] == 1.0


def test_a_slow_sensor_is_healthy_and_a_silent_one_is_not():
    nu = draws()
    nu[np.arange(800) % 10 != 0, 0] = np.nan
    nu[:, 1] = np.nan
    out = judged(nu, now=(Health.MISSING, Health.MISSING, Health.STALE))["sensors"]
    assert (out["level"]["health"], out["level"]["readings"]) == (1.0, 80)
    assert (out["temp"]["health"], out["temp"]["coverage"]) == (0.0, None)
    assert out["flow"]["health"] == 0.0, "it used to speak and has gone silent"


def test_a_suspected_sensor_does_not_spoil_the_verdict_on_the_others():
    nu, states = draws(), np.full((800, 3), Health.GOOD, dtype=object)
    nu[:, 2] += 50.0
    states[:, 2] = Health.SUSPECT
    out = judged(nu, states=states)
    assert out["nis"]["verdict"] == "consistent"
    assert out["coverage"]["readings"] == 1600
    assert out["sensors"]["flow"]["coverage"] is None


def test_a_twin_without_readings_is_unknown():
    out = judged(np.full((3, 3), np.nan))
    assert out["nis"]["verdict"] == "unknown"
    assert out["coverage"]["share"] is None
    assert health(Health.GOOD, np.array([])) == 0.0


def test_diagnose_tells_it_with_what_was_not_used(kit, tmp_path: Path):
    import asyncio

    from pollux.autonomy.policy import Principal
    from pollux.runtime.serve.capabilities import CAPABILITIES, run
    from pollux.runtime.serve.capability import NoParams

    host = make_host(kit, tmp_path)[0]
    assert host.lane is not None
    feed(host.lane.live, n=40)
    host.lane.unfused["late"] += 3
    who = Principal("v", "viewer", "person")
    out = asyncio.run(run(host, CAPABILITIES, CAPABILITIES["diagnose"], who, NoParams(), "tank"))
    assert out["unfused"] == {"late": 3, "duplicate": 0, "future": 0}
    assert out["refused"] == {"unit": 2}
    assert out["trust"]["nis"]["readings"] == 80
    assert out["trust"]["sensors"]["level"]["health"] == 1.0
