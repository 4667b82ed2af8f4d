"""Decisions: figures that repeat, reasons that quote them, duties against their theory, and what-if."""

import dataclasses
import re

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pollux import Belief, MpcOptions, Scalar, Signals, Twin, const, param, var
from pollux.core.errors import DefinitionError, InputError
from pollux.core.priors import Normal
from pollux.core.signals import Decision, Health
from pollux.intervene.decide import Planner, Targets, build_planner, what_if
from pollux.intervene.duty import Duty, resample, switch
from pollux.intervene.forecast import build_forecaster

HOUR = 3600.0


class Level(Signals):
    level: Scalar = var("m", start=3.0, within=(0.0, 10.0), drift=5e-4)


class Drive(Signals):
    valve: Scalar = var("1", start=1.0, within=(0.0, 1.0), label="outlet valve")
    pump: Scalar = var("1", start=0.0, within=(0.0, 1.0), label="pump duty")


class Gauge(Signals):
    gauge: Scalar = var("m", noise=0.02)


class Store(Twin[Level, Drive, Gauge]):
    """Tank with a tracked leak, a two-rate tariff; only the pump is decided."""

    area: Scalar = const("m^2", 200.0)
    flow: Scalar = const("m^3/s", 0.05)
    demand: Scalar = const("m^3/s", 0.02)
    leak: Scalar = param("m^3/s", 0.0, prior=Normal(0.002))
    power: Scalar = const("kW", 30.0)
    price: Scalar = const("EUR/kW/s", 1e-5)

    def dynamics(self, t: Scalar, x: Level, u: Drive) -> Level:
        return Level(level=(self.flow * u.pump - self.demand * u.valve - self.leak) / self.area)

    def observe(self, t: Scalar, x: Level, u: Drive) -> Gauge:
        return Gauge(gauge=x.level)

    def goal(self, t: Scalar, x: Level, u: Drive) -> Scalar:
        hour = (t / HOUR) % 24
        return self.price * self.power * u.pump * jnp.where((hour >= 7) & (hour < 22), 3.0, 1.0)

    def margins(self, t: Scalar, x: Level, u: Drive) -> dict[str, Scalar]:
        return {"low": x.level - 2.0, "high": 6.0 - x.level}


OPTIONS = MpcOptions(
    steps=48, step=1800.0, substeps=2, controls=("pump",), limit=10.0, price=20.0, floor={"level": 20.0}, reserve=0.7
)


def _targets(_: Belief) -> Targets:
    return Targets(floor={"level": 3.0})


@pytest.fixture(scope="module")
def planner() -> Planner:
    forecaster = build_forecaster(Store(), horizon=24 * HOUR, step=1800.0, track=("leak",))
    return build_planner(
        Store(),
        OPTIONS,
        forecaster=forecaster,
        targets=lambda b: Targets(floor={"level": 3.0}),
        cost="energy cost [EUR]",
    )


def belief(level: float = 3.0, leak: float = 0.0, t: float = 0.0, pump: float = 0.4) -> Belief:
    nothing = np.full(1, np.nan)
    return Belief(
        "store", t, "store/belief/9", "r9", np.array([level, leak]), np.diag([0.02**2, 0.0005**2]),
        np.array([1.0, pump]), nothing, nothing, nothing, (Health.GOOD,), 0.0, 0, np.zeros(1),
    )  # fmt: skip


def test_a_decision_carries_what_the_guard_and_a_person_need(planner: Planner):
    b = belief()
    d = planner.plan(b)
    assert isinstance(d, Decision)
    assert set(d.values) == {"pump"}
    assert (d.twin, d.source, d.proposer) == ("store", b.id, "mpc")
    assert d.plan.shape == (48, 2)
    assert np.all(d.plan[:, 0] == 1.0)  # what is not decided stays as it is
    assert d.expires == b.t + 3600.0
    assert d.values["pump"] == d.plan[0, 1]
    for key in [k for k in d.expected if not k.startswith("without_")]:
        assert f"without_{key}" in d.expected


def test_it_saves_and_keeps_the_limits(planner: Planner):
    found = planner.reckon(belief())
    figures = found.decision.expected
    assert figures["energy cost [EUR]"] < 0.75 * figures["without_energy cost [EUR]"]
    assert figures["P(low violated)"] < 0.05
    assert figures["P(high violated)"] < 0.05
    assert found.saving > 0
    # the figure is the integral of the goal of the plan, by hand
    d, hours = found.decision, np.arange(48) * 0.5
    rate = np.where((hours >= 7) & (hours < 22), 3.0, 1.0)
    assert figures["energy cost [EUR]"] == pytest.approx(np.sum(1e-5 * 30 * 1800 * rate * d.plan[:, 1]), rel=1e-9)


def test_the_reason_quotes_recorded_numbers_only(planner: Planner):
    found = planner.reckon(belief(level=2.4, t=8 * HOUR))
    d, reason = found.decision, found.decision.reason
    known = [*d.expected.values(), *(100 * v for v in d.expected.values()), 24.0]
    known += [100 * abs(1 - d.expected["energy cost [EUR]"] / d.expected["without_energy cost [EUR]"])]
    known += [*found.plan.multipliers.ravel(), *((found.plan.times + 1800 - found.plan.t) / HOUR)]
    for text in re.findall(r"\d+(?:\.\d+)?(?:e-?\d+)?", reason):
        digits = len(text.replace(".", "").lstrip("0")) or 1
        assert any(abs(float(text) - v) <= 0.51 * 10 ** (np.floor(np.log10(max(abs(v), 1e-9))) + 1 - digits) + 0.051
                   for v in known), (text, reason)  # fmt: skip
    assert "binds" in reason


def test_a_tracked_leak_changes_the_plan(planner: Planner):
    sound, leaking = (planner.plan(belief(leak=leak)) for leak in (0.0, 0.008))
    assert leaking.plan[:, 1].sum() > sound.plan[:, 1].sum() + 5
    expected = 48 * (0.02 + 0.008) / 0.05
    assert leaking.plan[:, 1].sum() == pytest.approx(expected, rel=0.02)


def test_it_is_pure(planner: Planner):
    outlook = (np.array([0.0, 4 * HOUR]), np.array([[1.0, 0.4], [1.0, 0.6]]))
    one, two = (planner.plan(belief(), outlook=outlook) for _ in range(2))
    assert one.plan.tobytes() == two.plan.tobytes()
    assert one.expected == two.expected
    assert one.reason == two.reason


def test_too_little_gain_and_a_broken_belief_give_no_decision(planner: Planner):
    greedy = dataclasses.replace(planner, least=1e6)
    assert greedy.plan(belief()) is None
    assert planner.plan(dataclasses.replace(belief(), mean=np.array([np.nan, 0.0]))) is None


def test_following_the_plan_leaves_nothing_to_gain(planner: Planner):
    d = planner.plan(belief())
    again = planner.reckon(belief(), outlook=(d.times, d.plan))
    assert again.saving == pytest.approx(0.0, abs=1e-3)


def test_duties_switch_in_slots(planner: Planner):
    duty = Duty("pump", 900.0, min_on=1800.0, min_off=1800.0)
    d = dataclasses.replace(planner, duties=(duty,)).plan(belief())
    relaxed = planner.plan(belief())
    pump = d.plan[:, 1]
    assert len(d.times) == 96
    assert set(np.unique(pump)) <= {0.0, 1.0}
    lasts = np.diff(np.flatnonzero(np.diff(pump)))
    assert np.all(lasts >= 2)
    assert abs(pump.mean() - relaxed.plan[:, 1].mean()) < 2 / 96


@given(st.lists(st.floats(0, 1), min_size=1, max_size=80), st.booleans(), st.integers(0, 4))
def test_rounding_owes_at_most_a_slot_or_a_dwell(duty, on, dwell):
    slot = 300.0
    out = switch(np.array(duty), slot, on, min_on=dwell * slot, min_off=dwell * slot)
    owed = np.cumsum(np.array(duty) - out) * slot
    assert np.abs(owed).max() <= max(slot, dwell * slot) + 1e-6
    changes = np.flatnonzero(np.diff(out))
    assert np.all(np.diff(changes) >= dwell)


@given(st.integers(1, 8), st.integers(1, 12), st.integers(0, 1000))
def test_resampling_keeps_the_integral(k, n, seed):
    r = np.random.default_rng(seed)
    times = np.cumsum(r.uniform(0.1, 3.0, k))
    rows = r.normal(size=(k, 2))
    wanted = times[0] + np.linspace(0.0, 10.0, n, endpoint=False)
    got = resample(times, rows, wanted, 10.0 / n)
    fine = times[0] + (np.arange(20000) + 0.5) * 10.0 / 20000
    held = rows[np.searchsorted(times, fine, side="right") - 1]
    np.testing.assert_allclose(got.mean(axis=0), held.mean(axis=0), atol=5e-3)
    same = resample(times, rows, times, 1.0)
    np.testing.assert_allclose(same, rows, atol=1e-9)


def test_what_if_holds_values_for_the_asked_time(planner: Planner):
    acting, idle = what_if(planner.forecaster, belief(), {"pump": 1.0}, hours=6.0)
    np.testing.assert_array_equal(acting.plan[:12, 1], 1.0)
    np.testing.assert_array_equal(acting.plan[12:, 1], 0.4)
    np.testing.assert_array_equal(idle.plan[:, 1], 0.4)
    rise = acting.states[2, 12, 0] - idle.states[2, 12, 0]
    assert rise == pytest.approx(0.6 * 0.05 * 6 * HOUR / 200, rel=0.02)
    assert acting.id != idle.id


@pytest.mark.parametrize("values", [{}, {"pomp": 1.0}, {"pump": np.nan}])
def test_bad_questions_are_refused(planner: Planner, values):
    with pytest.raises(InputError, match="pump"):
        what_if(planner.forecaster, belief(), values)


def test_bad_duties_are_refused():
    with pytest.raises(DefinitionError, match="slot above 0"):
        Duty("pump", 0.0)
    with pytest.raises(InputError, match="share one slot"):
        build_planner(Store(), OPTIONS, duties=(Duty("pump", 900.0), Duty("valve", 600.0)))
