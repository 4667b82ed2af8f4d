"""The cascaded-tanks twin: always on a synthetic rig, and on the real record where it is present."""

from pathlib import Path

import numpy as np
import pytest

from pollux import check, simulate
from pollux.runtime.wiring import read_wiring
from pollux.twins import cascaded_tanks
from pollux.twins.cascaded_tanks import CascadedTanks, Textbook
from pollux.twins.cascaded_tanks.fit import parameters
from pollux.twins.cascaded_tanks.judge import METHOD, coverage, free_run, one_step, rmse
from pollux.twins.cascaded_tanks.record import find, halves

REAL = pytest.mark.skipif(
    find() is None, reason="the cascaded-tanks record is not here (its licence forbids a copy): set POLLUX_DATA"
)
TIMES = 4.0 * np.arange(400)
NAMES = ("k1", "k3", "k4", "ratio", "caught", "rim", "sill", "drain")


@pytest.fixture(scope="module")
def drive():
    """A lively pump voltage that makes both tanks overflow once."""
    levels = np.random.default_rng(4).uniform(0.8, 3.8, 20)
    levels[[3, 4, 12]] = 6.4
    return np.repeat(levels, 20)


@pytest.fixture(scope="module")
def rig(drive):
    return simulate(CascadedTanks(), {"pump": drive}, times=TIMES, method=METHOD)


def test_both_tanks_overflow_and_the_sensor_saturates(rig):
    assert rig["upper_rim"].min() < CascadedTanks().soft  # the rim sets in over that width
    assert rig["lower"].max() > 10.2
    assert rig["level"].max() == pytest.approx(10.0, abs=0.02)
    twin = CascadedTanks()
    assert rig["lower"].max() < twin.rim + 1.0


def test_volume_is_conserved_below_the_rims():
    """Nothing spills and nothing is pumped: what leaves the upper tank arrives below, times the ratio of areas."""
    twin = CascadedTanks(k3=1e-3, drain=0.01)
    run = simulate(twin, {"pump": 0.0}, times=TIMES[:50], x0={"upper": 2.0, "lower": 3.5}, method=METHOD)
    drained = np.trapezoid(0.01 + 1e-3 * np.sqrt(run["lower"] - twin.sill), run.t)
    gained = run["lower"][-1] - 3.5 + drained
    assert gained == pytest.approx(twin.ratio * (2.0 - run["upper"][-1]), rel=1e-3)


def test_calibration_finds_the_rig_again(rig):
    """The real experiment in small: rough start, noise, one record; estimates within their errors."""
    fit = parameters(rig.as_record(seed=2), starts=3)
    assert fit.ok
    assert fit.identifiability.ok
    truth = CascadedTanks()
    for name in NAMES:
        assert abs(fit[name].value - getattr(truth, name)) < 4 * fit[name].error + 1e-9
    assert fit.rmse["level"] == pytest.approx(0.01346, rel=0.15)


def test_the_textbook_model_is_unidentifiable_and_says_in_which_direction():
    report = check(Textbook())
    assert not report.ok
    said = "\n".join(report["identifiability"].details)
    assert "log k1 : log k2 : log k4 : log upper(0) = 1/2 : -1/2 : 1 : 1" in said
    assert "log k2 : log k3 : log scale : log lower(0) = 1 : 1/2 : -1 : 1" in said
    assert check(CascadedTanks()).ok


def test_the_wiring_replays_the_test_half_in_shadow_mode():
    wiring = read_wiring(Path(cascaded_tanks.__file__).parent)
    (twin,) = wiring.twins
    assert not twin.actuators  # shadow: it can command nothing
    assert {tag.field for tag in twin.tags} == {"sensor.level", "input.pump"}
    assert wiring.connectors[0].settings["columns"] == {"uVal": "pump", "yVal": "level"}


@REAL
def test_the_recorded_parameters_are_those_of_the_estimation_half():
    estimation, _ = halves()
    fit = parameters(estimation, starts=1)
    twin = CascadedTanks()
    assert fit.ok
    for name in NAMES:
        assert getattr(twin, name) == pytest.approx(fit[name].value, rel=2e-3)
    assert fit.rmse["level"] < 0.165


@REAL
def test_on_the_test_half():
    """Point b of the foundation: free run at most 0.30 V, 95 % intervals that cover 93 to 97 %."""
    _, test = halves()
    twin = CascadedTanks()
    assert rmse(free_run(twin, test)) <= 0.30
    assert 0.93 <= coverage(one_step(twin, test)) <= 0.97
