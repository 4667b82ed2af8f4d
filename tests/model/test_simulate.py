"""`simulate`, its inputs and its result."""

import builtins

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from pollux import Record, Scalar, Signals, Twin, linearise, param, simulate, var
from pollux.core.errors import DefinitionError, InputError, MissingExtraError

TIMES = np.arange(0.0, 200.0, 4.0)


class Count(Signals):
    n: Scalar = var("1", start=2.0)


class Rate(Signals):
    r: Scalar = var("1", start=0.1)


class Seen(Signals):
    n: Scalar = var("1", noise=0.1)


class Growth(Twin[Count, Rate, Seen]):
    """A discrete twin: n' = keep n + r."""

    period = 2.0
    keep: Scalar = param("1", 0.9)

    def step(self, t: Scalar, x: Count, u: Rate) -> Count:
        return Count(n=self.keep * x.n + u.r)

    def observe(self, t: Scalar, x: Count, u: Rate) -> Seen:
        return Seen(n=x.n)


def test_every_form_of_input_gives_the_same_run(tank):
    q = 0.01 + 0.002 * np.sin(TIMES / 30)
    U = np.stack([q, np.full(len(TIMES), 1e4)], axis=1)
    expected = simulate(tank, U, times=TIMES).x
    frame = pd.DataFrame({"q_in": q, "heat": 1e4, "note": "x"}, index=TIMES)
    forms = [
        ({"q_in": q, "heat": 1e4}, TIMES),
        ({"t": TIMES, "q_in": q, "heat": 1e4}, None),
        (frame, None),
        (frame.reset_index(names="t"), None),
        (xr.Dataset({"q_in": ("t", q), "heat": ("t", U[:, 1])}, coords={"t": TIMES}), None),
        (simulate(tank, U, times=TIMES), None),
    ]
    for inputs, times in forms:
        np.testing.assert_array_equal(simulate(tank, inputs, times=times).x, expected)


def test_dates_become_seconds(tank):
    index = pd.date_range("2026-01-01", periods=5, freq="4s")
    run = simulate(tank, pd.DataFrame({"q_in": 0.01, "heat": 0.0}, index=index))
    assert run.t[0] == 1767225600.0
    np.testing.assert_allclose(np.diff(run.t), 4.0)


def test_inputs_are_held_and_a_missing_one_keeps_its_last_value(tank):
    q = np.full(len(TIMES), 0.01)
    q[10:] = 0.02
    holes = q.copy()
    holes[[5, 6, 20]] = np.nan
    run = simulate(tank, {"q_in": holes}, times=TIMES)
    np.testing.assert_array_equal(run["q_in"], q)
    np.testing.assert_array_equal(run["heat"], 0.0)  # not given: its start value
    np.testing.assert_allclose(run["h"][:11], 1.0, atol=1e-12)  # steady until the jump is felt
    assert run["h"][11] > 1.0


def test_what_does_not_fit_is_refused_by_name(tank):
    cases = [
        ({"q_inn": 0.01}, TIMES, "q_inn"),
        ({"q_in": np.zeros(3)}, TIMES, "50 values"),
        (np.zeros((4, 2)), TIMES, r"\(50, 2\)"),
        ({"q_in": [np.nan] + [0.01] * 49}, TIMES, "first value of input 'q_in'"),
        ({"q_in": 0.01}, None, "times"),
        (None, None, "times"),
        (None, [0.0, 2.0, 1.0], "strictly increasing"),
        ("fast", TIMES, "str"),
    ]
    for inputs, times, message in cases:
        with pytest.raises(InputError, match=message):
            simulate(tank, inputs, times=times)
    with pytest.raises(DefinitionError, match="no state 'level'"):
        simulate(tank, None, times=TIMES, x0={"level": 1.0})
    with pytest.raises(DefinitionError, match="shape"):
        simulate(tank, None, times=TIMES, x0=[1.0])


def test_the_result_is_read_by_name_and_by_instant(tank):
    run = simulate(tank, {"q_in": 0.012}, times=TIMES, x0={"h": 0.5})
    assert run.at(0).state.h == 0.5
    assert run.at(0).state.T == 293.15
    assert run.final.sensors.level == run["level"][-1] == run["sensor.level"][-1] == run["state.h"][-1]
    assert run.final.margins["dry"] == pytest.approx(run["h"][-1] - 0.2)
    assert len(run) == 50
    frame = run.frame()
    assert list(frame.columns) == ["h", "T", "q_in", "heat", "level", "temp", "dry", "hot"]
    np.testing.assert_array_equal(frame["h"], run["h"])
    text = repr(run)
    assert "Tank" in text
    assert "success" in text
    assert "level" in text
    with pytest.raises(DefinitionError, match="no signal 'depth'"):
        run["depth"]


def test_a_shared_name_carries_its_kind():
    run = simulate(Growth(), {"r": 0.0}, times=np.arange(0.0, 10.0, 2.0))
    np.testing.assert_allclose(run["state.n"], 2.0 * 0.9 ** np.arange(5))
    assert list(run.frame().columns) == ["n", "r", "sensor.n"]


def test_a_discrete_twin_keeps_its_period():
    with pytest.raises(InputError, match=r"2\.0 s apart"):
        simulate(Growth(), None, times=[0.0, 3.0])
    assert linearise(Growth()).A == [[0.9]]
    assert linearise(Growth()).stable


def test_plot_draws_one_panel_a_signal(tank):
    figure = simulate(tank, None, times=TIMES).plot("h", "q_in", "dry")
    assert [a.get_ylabel() for a in figure.axes] == ["h [m]", "q_in [m^3/s]", "dry"]


def test_a_missing_package_says_what_to_install(tank, monkeypatch):
    real = builtins.__import__
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    assert real
    with pytest.raises(MissingExtraError, match=r"pollux\[frames\]"):
        simulate(tank, None, times=TIMES).frame()


def test_a_run_becomes_a_record_with_noise_by_seed(tank):
    run = simulate(tank, None, times=np.arange(0.0, 8000.0, 4.0))
    clean, a, b, c = run.as_record(), run.as_record(1), run.as_record(1), run.as_record(2)
    assert isinstance(clean, Record)
    np.testing.assert_array_equal(clean.y, run.y)
    np.testing.assert_array_equal(a.y, b.y)
    assert not np.array_equal(a.y, c.y)
    np.testing.assert_allclose((a.y - run.y).std(axis=0), [0.005, 0.2], rtol=0.1)
    assert len(a[:100]) == 100
    assert list(a.frame().columns) == ["q_in", "heat", "level", "temp"]


def test_linearise_against_the_analytic_jacobian(tank):
    at = linearise(tank, x={"h": 0.64}, u={"q_in": 0.012, "heat": 5e4})
    np.testing.assert_allclose(at.A[0], [-0.01 / (2 * 0.8) / 0.5, 0.0])
    np.testing.assert_allclose(at.B[0], [2.0, 0.0])
    np.testing.assert_allclose(at.C, np.eye(2))
    assert at.stable
    Phi, Gamma = at.discrete(4.0)
    np.testing.assert_allclose(Phi[0, 0], np.exp(at.A[0, 0] * 4))
    np.testing.assert_allclose(Gamma[0, 0], 2.0 * np.expm1(at.A[0, 0] * 4) / at.A[0, 0])
