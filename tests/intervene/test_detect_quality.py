"""Each kind of sensor fault: called by its name, on the right sensor, no harm to the belief, and over by itself."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest

from pollux import (
    Readings,
    Scalar,
    Signals,
    Twin,
    build_detector,
    build_mirror,
    compile,
    param,
    var,
)
from pollux.core.signals import Cause, Finding
from pollux.core.units import convert
from pollux.intervene.detect_stuck import at_edge
from pollux.intervene.diagnose import kind_of
from pollux.model.statespace import Channel

DT = 10.0
AT, UNTIL, STEPS = 150, 250, 400


class State(Signals):
    a: Scalar = var("m", start=1.0, drift=0.002, within=(0.0, 5.0), spread=0.05)
    b: Scalar = var("m", start=2.0, drift=0.002, within=(0.0, 5.0), spread=0.05)
    T: Scalar = var("K", start=300.0, drift=0.02, within=(250.0, 400.0), spread=1.0)


class Input(Signals):
    feed: Scalar = var("m", start=1.0, within=(0.0, 3.0))


class Sensors(Signals):
    la: Scalar = var("m", noise=0.01, label="first level")
    lb: Scalar = var("m", noise=0.01, within=(0.0, 2.6), label="second level")
    temp: Scalar = var("K", noise=0.2, label="temperature")
    flow: Scalar = var("m/s", noise=0.002, label="flow")


class Vessels(Twin[State, Input, Sensors]):
    """Two vessels that fill and drain, and a temperature."""

    k: Scalar = param("1/s", 0.02)

    def dynamics(self, t: Scalar, x: State, u: Input) -> State:
        return State(a=self.k * (1.0 - x.a), b=self.k * (u.feed + x.a - x.b), T=0.005 * self.k / 0.02 * (300.0 - x.T))

    def observe(self, t: Scalar, x: State, u: Input) -> Sensors:
        return Sensors(la=x.a, lb=x.b, temp=x.T, flow=self.k * x.b)


@dataclass
class Story:
    """What happened: the findings by step, estimate and truth."""

    found: list[dict[tuple[Cause, str], Finding]] = field(default_factory=list)
    mean: list[np.ndarray] = field(default_factory=list)
    excluded: list[frozenset[str]] = field(default_factory=list)

    def first(self, subject: str, cause: Cause = Cause.SENSOR) -> tuple[int, Finding]:
        return next((i, found[cause, subject]) for i, found in enumerate(self.found) if (cause, subject) in found)

    def kinds(self) -> set[tuple[str, str]]:
        return {(subject, kind_of(f.evidence)) for found in self.found for (_, subject), f in found.items()}


@pytest.fixture(scope="module")
def parts():
    kernels = compile(Vessels())
    return (
        kernels,
        build_mirror(kernels, dt_max=100.0),
        build_detector(kernels, faults=(), alarm_every=1e8, dt_max=100.0),
    )


Spoil = Callable[[int, np.ndarray, np.ndarray, np.random.Generator], None]


def live(parts, spoil: Spoil | None = None, *, seed=0, steps=STEPS, feed=1.0) -> Story:
    """Walk the twin; `spoil(i, y, past, g)` changes the readings y in place. `feed` holds while the fault is on."""
    kernels, mirror, detector = parts
    g, h, space = np.random.default_rng(seed), np.random.default_rng(seed + 999), kernels.space
    belief, state, x, story = mirror.start(0.0), detector.start(), space.x0, Story()
    out: frozenset[str] = frozenset()
    past = np.zeros((steps, len(space.y)))
    for i in range(steps):
        u = np.array([feed if on(i) else 1.0])
        (x,) = kernels.flow(0.0, DT, x, u, space.p0)
        x = x + np.sqrt(DT * space.Q) * g.standard_normal(3) * math.sqrt(0.8)
        y = np.asarray(kernels.observe(0.0, x, u, space.p0)[0]) + np.sqrt(space.R) * g.standard_normal(4)
        following = np.array([feed if on(i + 1) else 1.0])  # what holds from this reading on
        past[i] = y
        if spoil is not None:
            spoil(i, y, past, h)
        belief = mirror.update(belief, Readings("Vessels", DT * (i + 1), f"r{i}", "", y, following), out)
        state, findings = detector.update(state, belief)
        out = frozenset(f.subject for f in findings if f.cause is Cause.SENSOR)
        story.found.append({(f.cause, f.subject): f for f in findings})
        story.mean.append(belief.mean)
        story.excluded.append(out)
    return story


def on(i: int) -> bool:
    return AT <= i < UNTIL


def silenced(*sensors: int) -> Spoil:
    """The same sensors give nothing at all while the fault lasts."""

    def spoil(i, y, past, g):
        if on(i):
            y[list(sensors)] = np.nan

    return spoil


def test_a_sound_plant_has_no_findings(parts):
    for seed in range(3):
        assert not any(live(parts, seed=seed).found)


SLIPS = (("la", 0, "m", "cm"), ("la", 0, "m", "ft"), ("lb", 1, "m", "in"), ("temp", 2, "K", "degC"),
         ("temp", 2, "K", "degF"), ("flow", 3, "m/s", "km/h"))  # fmt: skip


@pytest.mark.parametrize(("name", "i", "unit", "slipped"), SLIPS)
def test_a_unit_slip_is_named_never_believed_and_over_by_itself(parts, name, i, unit, slipped):
    def spoil(k, y, past, g):
        if on(k):
            y[i] = convert(y[i], unit, slipped)

    story = live(parts, spoil)
    at, finding = story.first(name)
    assert at == AT + 2, "before the gate opens, which is after five"
    assert kind_of(finding.evidence) == "unit slip"
    assert "Nothing was converted" in finding.summary
    finding = story.found[AT + 12][Cause.SENSOR, name]
    assert f"probably {slipped} (" in finding.summary
    assert finding.evidence[f"probability of {slipped}"] > 0.9
    assert story.kinds() == {(name, "unit slip")}
    # as if the values had never come, until the sensor is back; then it takes part again within a few readings
    never = live(parts, silenced(i))
    np.testing.assert_array_equal(story.mean[UNTIL - 1], never.mean[UNTIL - 1])
    back = next(k for k in range(UNTIL, STEPS) if not story.excluded[k])
    assert back <= UNTIL + 4
    assert not any(story.found[back:])
    np.testing.assert_allclose(story.mean[-1], never.mean[-1], atol=1e-3)


def test_swapped_channels_are_both_named(parts):
    def spoil(k, y, past, g):
        if on(k):
            y[0], y[1] = y[1], y[0]

    story = live(parts, spoil)
    at, finding = story.first("la")
    assert at == AT + 2
    assert story.kinds() == {("la", "swapped"), ("lb", "swapped")}
    assert "second level" in finding.summary
    never = live(parts, silenced(0, 1))
    np.testing.assert_array_equal(story.mean[UNTIL - 1], never.mean[UNTIL - 1])
    assert not any(story.excluded[UNTIL + 6 :])


def test_a_spike_is_named_and_moves_nothing(parts):
    def spoil(k, y, past, g):
        y[2] += 50.0 * (k == AT)

    story = live(parts, spoil)
    at, finding = story.first("temp", Cause.DATA)
    assert at == AT + 1
    assert kind_of(finding.evidence) == "spike"
    assert finding.evidence["size"] == pytest.approx(50.0, abs=1.0)
    assert story.kinds() == {("temp", "spike")}
    assert not any(story.excluded)


def test_a_dropout_is_named_and_over_with_the_next_value(parts):
    story = live(parts, silenced(2))
    at, finding = story.first("temp", Cause.DATA)
    assert AT + 3 <= at <= AT + 5
    assert kind_of(finding.evidence) == "dropout"
    assert story.kinds() == {("temp", "dropout")}
    assert not any(story.found[UNTIL:])


def test_a_slow_sensor_has_not_dropped_out(parts):
    def spoil(k, y, past, g):
        if k % 7 or g.random() < 0.3:
            y[2] = np.nan

    assert not any(live(parts, spoil).found)


def test_a_stuck_sensor_is_named(parts):
    def spoil(k, y, past, g):
        if on(k):
            y[0] = past[AT, 0]

    story = live(parts, spoil)
    at, _ = story.first("la")
    assert at <= AT + 8
    assert kind_of(story.found[AT + 20][Cause.SENSOR, "la"].evidence) == "stuck"
    assert not any(story.excluded[UNTIL:])


def test_a_saturated_sensor_is_told_from_a_stuck_one(parts):
    """b rises above 2.6 m, the end of its gauge; the flow meter tells the model so."""

    def spoil(k, y, past, g):
        y[1] = min(y[1], 2.6)

    story = live(parts, spoil, feed=2.2)
    _, finding = story.first("lb")
    assert kind_of(finding.evidence) == "saturated"
    assert finding.evidence["value"] == 2.6
    assert finding.evidence["expected"] > 2.6
    assert ("lb", "stuck") not in story.kinds()
    assert not any(story.excluded[UNTIL + 60 :])


def test_an_idle_meter_at_the_end_of_its_range_is_not_saturated():
    """At rest it reads exactly zero, and so does the model."""
    meter = Channel("q", "m/s", 0.0, 0.0, 1.0, noise=0.01)
    edge = at_edge(
        np.zeros(1), np.array([5.0]), np.zeros(1), np.array([0.001]), np.array([1e-4]), (meter,), np.zeros(1),
        np.ones(1), np.array([8.0]),
    )  # fmt: skip
    assert edge[0] == 0.0


@pytest.mark.parametrize("factor", [4.0, 30.0])
def test_noise_is_named(parts, factor):
    def spoil(k, y, past, g):
        if on(k):
            y[0] += factor * 0.01 * g.standard_normal()

    story = live(parts, spoil)
    at, finding = story.first("la")
    assert AT < at <= AT + 30
    assert kind_of(finding.evidence) == "noise"
    assert {subject for subject, _ in story.kinds()} == {"la"}
    assert not any(story.excluded[UNTIL + 40 :])


def test_a_drift_is_told_from_a_bias(parts):
    def drift(k, y, past, g):
        if on(k):
            y[1] += 0.002 * (k - AT)

    def bias(k, y, past, g):
        if on(k):
            y[1] += 0.06

    story = live(parts, drift)
    at, _ = story.first("lb")
    assert at <= AT + 40
    late = story.found[UNTIL - 1][Cause.SENSOR, "lb"]
    assert kind_of(late.evidence) == "drift"
    assert late.evidence["per hour"] == pytest.approx(0.002 * 360, rel=0.2)
    assert {k for k, f in story.found[-1].items()} == set()
    story = live(parts, bias)
    assert story.kinds() == {("lb", "bias")}
    assert not any(story.found[-1])
