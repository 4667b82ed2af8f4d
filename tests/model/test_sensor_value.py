"""What a sensor is worth: closed forms, the discrete Riccati equation of SciPy, and the covariance of the mirror."""

import numpy as np
import pytest
from scipy.linalg import expm, solve_discrete_are

from pollux import NoInput, PolluxError, Readings, Record, Scalar, Signals, Twin, build_mirror, param, sensor_value, var
from pollux.model.check import Mark, check


class Two(Signals):
    a: Scalar = var("m", start=1.0, drift=0.01, spread=1.0)
    b: Scalar = var("m", start=1.0, drift=0.02, spread=1.0)


class Three(Signals):
    la: Scalar = var("m", noise=0.1)
    lb: Scalar = var("m", noise=0.2)
    both: Scalar = var("m", noise=0.1)


class Chain(Twin[Two, NoInput, Three]):
    """b follows a."""

    k: Scalar = param("1/s", 0.1)

    def dynamics(self, t: Scalar, x: Two, u: NoInput) -> Two:
        return Two(a=-self.k * x.a, b=self.k * (x.a - x.b))

    def observe(self, t: Scalar, x: Two, u: NoInput) -> Three:
        return Three(la=x.a, lb=x.b, both=x.a + x.b)


class Walk(Signals):
    w: Scalar = var("m", start=0.0, drift=0.5, spread=3.0)


class Seen(Signals):
    w: Scalar = var("m", noise=0.7)


class RandomWalk(Twin[Walk, NoInput, Seen]):
    """dw = 0.5 dB."""

    still: Scalar = param("m/s", 0.0)

    def dynamics(self, t: Scalar, x: Walk, u: NoInput) -> Walk:
        return Walk(w=self.still)

    def observe(self, t: Scalar, x: Walk, u: NoInput) -> Seen:
        return Seen(w=x.w)


def instants(n, dt, ny):
    return Record(dt * np.arange(n), np.zeros((n, 0)), np.zeros((n, ny)), (), ("la", "lb", "both")[:ny])


def test_a_random_walk_has_its_closed_form():
    """Steady state: P- = (q + sqrt(q^2 + 4 q r)) / 2, P+ = P- - q; without the sensor it grows by q an interval."""
    n, dt = 400, 2.0
    record = Record(dt * np.arange(n), np.zeros((n, 0)), np.zeros((n, 1)), (), ("w",))
    value = sensor_value(RandomWalk(), record, candidates={"w": 0.7})
    q, r = 0.25 * dt, 0.49
    before = (q + np.sqrt(q * q + 4 * q * r)) / 2
    assert value.sd[0] ** 2 == pytest.approx(before - q, rel=1e-9)
    assert value.without[0, 0] ** 2 == pytest.approx(9.0 + q * (n - 1), rel=1e-9)
    twice = (q + np.sqrt(q * q + 4 * q * r / 2)) / 2 - q  # two equal sensors are one of half the variance
    assert value.added[0, 0] ** 2 == pytest.approx(twice, rel=1e-9)


@pytest.mark.parametrize("installed", [("la",), ("lb",), ("both",), ("la", "lb"), ("la", "lb", "both")])
def test_a_linear_twin_ends_where_the_riccati_equation_does(installed):
    dt, names = 1.0, ("la", "lb", "both")
    value = sensor_value(Chain(), instants(600, dt, 3), installed=installed)

    def riccati(which):
        F = expm(dt * np.array([[-0.1, 0.0], [0.1, -0.1]]))
        Q = np.diag([0.01, 0.02]) ** 2
        H = np.array([[1.0, 0], [0, 1], [1, 1]])[[names.index(w) for w in which]]
        R = np.diag(np.array([0.01, 0.04, 0.01])[[names.index(w) for w in which]])
        P = solve_discrete_are(F.T, H.T, F @ (dt / 2 * Q) @ F.T + dt / 2 * Q, R)
        return np.sqrt(np.diag(P - P @ H.T @ np.linalg.solve(H @ P @ H.T + R, H @ P)))

    np.testing.assert_allclose(value.sd, riccati(installed), rtol=1e-5)
    assert value.installed == installed
    for k, name in enumerate(installed):
        rest = tuple(n for n in installed if n != name)
        if rest:
            np.testing.assert_allclose(value.without[k], riccati(rest), rtol=1e-5)
    for k, name in enumerate(value.candidates[: 3 - len(installed)]):
        np.testing.assert_allclose(value.added[k], riccati((*installed, name)), rtol=1e-5)
    assert (value.loss >= 1 - 1e-12).all()
    assert (value.gain >= 1 - 1e-12).all()


def test_the_covariance_is_that_of_the_mirror(tank):
    n = 60
    t = 10.0 * np.arange(n)
    y = np.tile([1.0, 293.15], (n, 1))
    y[::3, 1] = np.nan
    u = np.tile([0.01, 1e4], (n, 1))
    value = sensor_value(tank, Record(t, u, y, ("q_in", "heat"), ("level", "temp")), track=("k",))
    mirror = build_mirror(tank, track=("k",), gate=0.0)
    belief = mirror.start(0.0)
    for k in range(n):
        belief = mirror.update(belief, Readings("Tank", t[k], f"r{k}", "", y[k], u[k]))
    np.testing.assert_allclose(value.sd, np.sqrt(np.diag(belief.cov)), rtol=0.02)  # its path bends with the readings
    assert value.states == ("h", "T", "k")


def test_it_says_what_matters():
    value = sensor_value(Chain(), instants(300, 1.0, 3), installed=("la", "lb"))
    assert value.best("a")[0] == "la"
    assert value.next("a")[0] in ("both", "a")
    text = str(value)
    assert "`a` is known to" in text
    assert "without it" in text
    plain = value.to_dict()
    assert set(plain["without"]) == {"la", "lb"}
    assert set(plain["added"]) == {"both", "a", "b"}


def test_a_sensor_that_adds_nothing_is_named():
    class Poor(Signals):
        la: Scalar = var("m", noise=0.01)
        lb: Scalar = var("m", noise=0.01)
        both: Scalar = var("m", noise=50.0)

    class Spare(Twin[Two, NoInput, Poor]):
        k: Scalar = param("1/s", 0.1)

        def dynamics(self, t: Scalar, x: Two, u: NoInput) -> Two:
            return Two(a=-self.k * x.a, b=self.k * (x.a - x.b))

        def observe(self, t: Scalar, x: Two, u: NoInput) -> Poor:
            return Poor(la=x.a, lb=x.b, both=x.a + x.b)

    assert "`both` could be missed" in str(sensor_value(Spare(), instants(100, 1.0, 3)))


def test_check_reports_it(tank):
    report = check(tank)
    item = report["sensor value"]
    assert item.mark is Mark.PASS
    assert any("`h` is known to" in line and "`level`" in line for line in item.details)
    assert set(report.to_dict()["sensor_value"]["without"]) == {"level", "temp"}


def test_wrong_names_are_refused(tank):
    with pytest.raises(PolluxError, match="pressure"):
        sensor_value(tank, candidates={"pressure": 1.0})
    with pytest.raises(PolluxError, match="above 0"):
        sensor_value(tank, candidates={"h": 0.0})
    with pytest.raises(PolluxError, match="nothing"):
        sensor_value(tank, installed=("nothing",))
