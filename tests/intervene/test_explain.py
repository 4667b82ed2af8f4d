"""Explanations: the gain against a textbook Kalman update, and every number in a text among its facts."""

import re

import numpy as np
import pytest

from pollux import Belief, LogNormal, Scalar, Signals, Twin, const, flatten, param, var
from pollux.core.errors import InputError
from pollux.core.signals import Cause, Crossing, Decision, Finding, Forecast, Health
from pollux.intervene.explain import Explanation, contributions, explain
from pollux.intervene.forecast import LEVELS
from pollux.model.augment import augment


class Pair(Signals):
    a: Scalar = var("m", start=1.0, label="Level A")
    b: Scalar = var("m", start=2.0, label="Level B")


class Flow(Signals):
    q: Scalar = var("m/s", start=0.0, within=(0.0, 1.0))


class Three(Signals):
    ya: Scalar = var("m", noise=0.1, label="Gauge A")
    yb: Scalar = var("m", noise=0.2, label="Gauge B")
    ysum: Scalar = var("m", noise=0.3, label="Sum")


class Vessels(Twin[Pair, Flow, Three]):
    k: Scalar = param("1/s", 0.1, prior=LogNormal(0.2), label="Exchange")
    offset: Scalar = const("m", 0.0)

    def dynamics(self, t: Scalar, x: Pair, u: Flow) -> Pair:
        return Pair(a=self.k * (x.b - x.a) + u.q, b=self.k * (x.a - x.b))

    def observe(self, t: Scalar, x: Pair, u: Flow) -> Three:
        return Three(ya=x.a + self.offset, yb=x.b, ysum=x.a + x.b)

    def margins(self, t: Scalar, x: Pair, u: Flow) -> dict[str, Scalar]:
        return {"spread_limit": 3.0 - x.a - 2.0 * x.b, "low": x.a}


H = np.array([[1.0, 0, 0], [0, 1.0, 0], [1.0, 1.0, 0]])


def update(health=(Health.GOOD,) * 3):
    """A textbook Kalman update of (a, b, k) by three sensors, of which some are used."""
    space = augment(flatten(Vessels()), ("k",))
    x, P, y = (
        np.array([1.0, 0.5, 0.1]),
        np.array([[0.3, 0.1, 0.02], [0.1, 0.4, -0.01], [0.02, -0.01, 0.01]]),
        [1.5, 0.4, 2.0],
    )
    nu = np.array(y) - H @ x
    S = H @ P @ H.T + np.diag(space.R)
    used = [i for i, h in enumerate(health) if h is Health.GOOD]
    Hu = H[used]
    K = P @ Hu.T @ np.linalg.inv(Hu @ P @ Hu.T + np.diag(space.R[used]))
    mean, cov = x + K @ nu[used], P - K @ Hu @ P
    belief = Belief(
        "vessels", 100.0, "vessels/belief/4", "vessels/readings/4", mean, cov, np.zeros(1), H @ x, nu, np.diag(S),
        health, 1.0, len(used), np.zeros(3),
    )  # fmt: skip
    return space, belief, K, used, x


FINDING = Finding(
    "vessels", 100.0, "f1", "vessels/belief/4", Cause.SENSOR, "ya", "Gauge A seems to be stuck", 2,
    {"size": 0.55, "score": 7.25},
)  # fmt: skip
QUANTILES = np.zeros((len(LEVELS), 2, 3))
FORECAST = Forecast(
    "vessels", 100.0, "fc1", "vessels/belief/4", np.array([100.0, 7300.0]), np.zeros((2, 1)), LEVELS, QUANTILES,
    QUANTILES, QUANTILES[..., :2],
    (Crossing("spread_limit", 0.375, 100 + 3600.0, 100 + 1800.0), Crossing("low", 0.0, np.nan, np.nan)), 64,
)  # fmt: skip
DECISION = Decision(
    "vessels", 100.0, "d1", "vessels/belief/4", "mpc", {"q": 0.25}, np.array([100.0]), np.full((1, 1), 0.25), 4000.0,
    "Cheaper",
    {"energy cost [EUR]": 12.5, "without_energy cost [EUR]": 20.0, "lowest low": 0.4, "without_lowest low": -0.1},
)  # fmt: skip


def quoted_numbers_are_facts(e: Explanation, also: str = "") -> None:
    text = e.text.replace(also, "")
    shown = {f"{abs(f.value):.3g}" for f in e.facts}
    for number in re.findall(r"\d+(?:\.\d+)?(?:e[+-]\d+)?", text):
        assert number in shown, (number, e.text)


@pytest.mark.parametrize("lost", [None, 0, 2])
def test_contributions_are_gain_times_innovation(lost):
    health = tuple(Health.GATED if i == lost else Health.GOOD for i in range(3))
    space, belief, K, used, x = update(health)
    found = contributions(space, belief, H, space.R)
    sd = np.sqrt(np.diag(belief.cov))
    np.testing.assert_allclose(found[:, used], K * belief.innovation[used] / sd[:, None], rtol=1e-10)
    np.testing.assert_allclose((found * sd[:, None]).sum(axis=1), belief.mean - x, rtol=1e-10)
    if lost is not None:
        assert not found[:, lost].any()


def test_an_update_names_the_readings_that_moved_it():
    space, belief, *_ = update()
    e = explain(belief, space, most=4)
    moved = contributions(space, belief, H, space.R)
    i, j = np.unravel_index(np.argmax(np.abs(moved)), moved.shape)
    first = e.facts[0]
    assert first.label == f"{space.x[i].label} moved by {space.y[j].label}"
    assert first.value == pytest.approx(moved[i, j])
    assert [link.kind for link in e.chain] == ["belief", "readings"]
    quoted_numbers_are_facts(e)


def test_a_finding_is_explained_with_what_follows():
    space, belief, *_ = update((Health.GATED, Health.GOOD, Health.GOOD))
    e = explain(FINDING, space, belief=belief, forecast=FORECAST)
    labels = [f.label for f in e.facts]
    assert labels[:2] == ["size", "score"]
    off = next(f for f in e.facts if f.label == "Gauge A: measured minus expected")
    assert off.value == pytest.approx(0.5)
    assert "sensor fault" in e.text
    assert "If nothing is done" in e.text
    assert [link.id for link in e.chain] == ["f1", "vessels/belief/4", "vessels/readings/4", "fc1"]
    quoted_numbers_are_facts(e)


def test_a_crossing_names_its_time_and_what_it_hangs_on():
    space, belief, *_ = update()
    e = explain(FORECAST.crossings[0], space, belief=belief, forecast=FORECAST)
    facts = {f.label: f.value for f in e.facts}
    assert facts["P(spread limit violated)"] == 37.5
    assert facts["spread limit: median time to the violation"] == 1.0
    assert facts["spread limit: early time to the violation"] == 0.5
    assert facts["spread limit: margin now"] == pytest.approx(3 - belief.mean[0] - 2 * belief.mean[1])
    assert facts["margin per sd of Level B"] == pytest.approx(-2 * np.sqrt(belief.cov[1, 1]))
    quoted_numbers_are_facts(e)
    with pytest.raises(InputError, match="forecast="):
        explain(FORECAST.crossings[0], space)


def test_a_limit_that_is_kept_is_said_to_be_kept():
    space, *_ = update()
    e = explain(FORECAST.crossings[1], space, forecast=FORECAST)
    assert "no member" in e.text.lower()


def test_a_decision_says_what_happens_without_it():
    space, belief, *_ = update()
    e = explain(DECISION, space, belief=belief)
    facts = {f.label: (f.value, f.unit) for f in e.facts}
    assert facts["energy cost, acting"] == (12.5, "EUR")
    assert facts["energy cost, not acting"] == (20.0, "EUR")
    assert facts["lowest low, not acting"] == (-0.1, "")
    assert e.chain[0].id == "d1"
    quoted_numbers_are_facts(e, DECISION.reason)


def test_plain_is_json_without_nan():
    space, belief, *_ = update()
    odd = Finding("v", 0.0, "f", "b", Cause.DATA, "ya", "Odd", 3, {"size": float("nan")})
    plain = explain(odd, space, belief=belief).plain()
    assert plain["facts"][0] == {"label": "size", "value": None, "unit": ""}
    assert set(plain) == {"id", "text", "facts", "chain"}


def test_a_real_update_of_the_mirror_is_explained(tank):
    from pollux import Readings
    from pollux.mirror.update import build_mirror

    mirror = build_mirror(tank, track=("k",))
    belief = mirror.start(0.0)
    for i in range(5):
        readings = Readings(
            mirror.name, 60.0 * (i + 1), f"r{i}", "", np.array([1.0 + 0.02 * i, 293.0]), np.array([0.01, 0.0])
        )
        prior, belief = belief, mirror.update(belief, readings)
    e = explain(belief, mirror.space, params=mirror.params, R=mirror.R)
    assert e.chain[-1].id == "r4"
    quiet = mirror.update(prior, Readings(mirror.name, belief.t, "r4", "", np.full(2, np.nan), np.array([0.01, 0.0])))
    moved = contributions(mirror.space, belief, np.eye(2, 3), mirror.R) * np.sqrt(np.diag(belief.cov))[:, None]
    np.testing.assert_allclose(moved.sum(axis=1), belief.mean - quiet.mean, rtol=1e-6, atol=1e-12)
