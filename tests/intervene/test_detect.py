"""The detector: what it calls, when, and how often it is wrong; charts and thresholds against simulation."""

import dataclasses

import numpy as np
import pytest
from scipy.stats import chi2

from pollux import (
    NoInput,
    PolluxError,
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
from pollux.core.signals import Cause
from pollux.intervene.cusum import cusum, cusum_threshold, run_length
from pollux.intervene.detect_bank import probabilities, scores, thinned
from pollux.intervene.detect_watch import Watch
from pollux.intervene.diagnose import kind_of


class State(Signals):
    a: Scalar = var("m", start=1.0, drift=0.003, within=(0.05, 5.0), spread=0.05)
    b: Scalar = var("m", start=1.0, drift=0.003, within=(0.05, 5.0), spread=0.05)


class Sensors(Signals):
    la: Scalar = var("m", noise=0.01)
    lb: Scalar = var("m", noise=0.01)
    flow: Scalar = var("m/s", noise=0.002)


class Pair(Twin[State, NoInput, Sensors]):
    """Two vessels in a row, fed at a constant rate; the flow between them is measured."""

    feed: Scalar = param("m/s", 0.02)
    k: Scalar = param("1/s", 0.02)
    leak: Scalar = param("m/s", 0.0, within=(0.0, 0.02))

    def dynamics(self, t: Scalar, x: State, u: NoInput) -> State:
        return State(a=self.feed - self.k * x.a - self.leak, b=self.k * (x.a - x.b))

    def observe(self, t: Scalar, x: State, u: NoInput) -> Sensors:
        return Sensors(la=x.a, lb=x.b, flow=self.k * x.a)


@pytest.fixture(scope="module")
def kernels():
    return compile(Pair())


@pytest.fixture(scope="module")
def mirror(kernels):
    return build_mirror(kernels, dt_max=100.0)


@pytest.fixture(scope="module")
def detector(kernels):
    return build_detector(kernels, faults=("leak",), one_sided=("leak",), alarm_every=1e7, dt_max=100.0, memory=3000.0)


def walk(kernels, mirror, detector, *, fault=None, seed=0, steps=300, at=100, until=200, dt=10.0):
    """[(step, {(cause, subject): finding})] wherever the set of findings changes."""
    g, space = np.random.default_rng(seed), kernels.space
    belief, state, x = mirror.start(0.0), detector.start(), space.x0
    excluded: frozenset[str] = frozenset()
    log, held = [(-1, {})], None
    for i in range(steps):
        p = space.p0
        on = at <= i < until
        if on and fault and fault[0] == "leak":
            p[space.index("p", "leak")] = fault[1]
        (x,) = kernels.flow(0.0, dt, x, space.u0, p)
        x = x + np.sqrt(dt * space.Q) * g.standard_normal(2)
        y = np.asarray(kernels.observe(0.0, x, space.u0, p)[0]) + np.sqrt(space.R) * g.standard_normal(3)
        if on and fault and fault[0] in space.system.y_names:
            y[space.index("y", fault[0])] += fault[1]
        if fault and fault[0] == "stuck" and on:
            held = y[1] if held is None else held
            y[1] = held
        if fault and fault[0] == "spike" and i == at:
            y[1] += fault[1]
        belief = mirror.update(belief, Readings("Pair", dt * (i + 1), f"r{i}", "", y, space.u0), excluded)
        state, findings = detector.update(state, belief)
        excluded = frozenset(f.subject for f in findings if f.cause is Cause.SENSOR)
        now = {(f.cause, f.subject): f for f in findings}
        if now.keys() != log[-1][1].keys():
            log.append((i, now))
    return log, state


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (("leak", 0.002), (Cause.PROCESS, "leak")),
        (("la", 0.08), (Cause.SENSOR, "la")),
        (("lb", -0.08), (Cause.SENSOR, "lb")),
        (("flow", 0.01), (Cause.SENSOR, "flow")),
    ],
)
def test_the_right_fault_is_called_and_withdrawn(kernels, mirror, detector, fault, expected):
    log, _ = walk(kernels, mirror, detector, fault=fault)
    called = [(i, found) for i, found in log if found]
    first, found = called[0]
    assert set(found) == {expected}
    assert 100 < first <= 125
    evidence = found[expected].evidence
    assert abs(evidence["score"]) > evidence["level"]
    assert evidence["probability"] > 0.9
    over = next(i for i, now in log if i > first and expected not in now)
    assert 200 < over <= 240
    assert log[-1][1] == {}
    assert all(set(now) <= {expected} for _, now in log)


def test_the_size_is_right(kernels, mirror, detector):
    _, state = walk(kernels, mirror, detector, fault=("lb", 0.06), steps=180, until=180)
    sizes = dict(zip([f.subject for f in detector.bank], state.B[0], strict=True))
    assert sizes["lb"] == pytest.approx(0.06, abs=0.01)
    assert [k for k, v in sizes.items() if v] == ["lb"]


def test_a_stuck_sensor_is_named(kernels, mirror, detector):
    log, _ = walk(kernels, mirror, detector, fault=("stuck", 0.0))
    first, found = next((i, now) for i, now in log if (Cause.SENSOR, "lb") in now)
    assert first <= 112
    assert "stuck" in found[Cause.SENSOR, "lb"].summary or first < 108
    assert log[-1][1] == {}


def test_a_spike_is_no_fault(kernels, mirror, detector):
    log, _ = walk(kernels, mirror, detector, fault=("spike", 3.0))
    assert [(i, list(found)) for i, found in log] == [(-1, []), (101, [(Cause.DATA, "lb")]), (102, [])]
    spike = log[1][1][Cause.DATA, "lb"]
    assert kind_of(spike.evidence) == "spike"
    assert spike.evidence["size"] == pytest.approx(3.0, abs=0.1)


def test_state_is_plain_and_the_fold_repeats(kernels, mirror, detector):
    _, a = walk(kernels, mirror, detector, fault=("leak", 0.002), steps=130)
    _, b = walk(kernels, mirror, detector, fault=("leak", 0.002), steps=130)
    for field in dataclasses.fields(a):
        left, right = getattr(a, field.name), getattr(b, field.name)
        for one, other in zip(
            *((vars(v).values() if isinstance(v, Watch) else (v,)) for v in (left, right)), strict=True
        ):
            assert isinstance(one, float | int | np.ndarray)
            np.testing.assert_array_equal(one, other)


def test_false_alarms_are_as_rare_as_stated(kernels, mirror):
    """Every finding of the whole detector on a twin that fits its model, once in 500 updates."""
    stated, steps, dt = 500.0, 8000, 10.0
    d = build_detector(kernels, faults=("leak",), one_sided=("leak",), alarm_every=stated * dt, dt_max=100.0)
    g, space = np.random.default_rng(11), kernels.space
    belief, state, x = mirror.start(0.0), d.start(), space.x0
    excluded, before, alarms = frozenset(), frozenset(), 0
    for i in range(steps):
        for _ in range(10):  # noise that enters all the time, as the mirror takes it
            (x,) = kernels.flow(0.0, dt / 10, x, space.u0, space.p0)
            x = x + np.sqrt(dt / 10 * space.Q) * g.standard_normal(2)
        y = np.asarray(kernels.observe(0.0, x, space.u0, space.p0)[0]) + np.sqrt(space.R) * g.standard_normal(3)
        belief = mirror.update(belief, Readings("Pair", dt * (i + 1), f"r{i}", "", y, space.u0), excluded)
        state, findings = d.update(state, belief)
        excluded = frozenset(f.subject for f in findings if f.cause is Cause.SENSOR)
        now = frozenset((f.cause, f.subject) for f in findings)
        alarms += len(now - before)
        before = now
    low, high = chi2.ppf([0.005, 0.995], [2 * alarms, 2 * alarms + 2]) / 2 / (steps / stated)
    assert low < 1.5
    assert high > 0.67


def test_cusum_run_length_is_as_stated():
    g = np.random.default_rng(2)
    h, N = cusum_threshold(300.0, 2.0), 4000
    up = down = np.zeros(N)
    first = np.full(N, np.nan)
    for i in range(4000):
        up, down = cusum(up, down, g.standard_normal(N), 2.0, 100.0)
        first = np.where(np.isnan(first) & (np.maximum(up, down) > h), i + 1, first)
    assert not np.isnan(first).any()
    assert np.mean(first) == pytest.approx(300, rel=0.1)
    assert run_length(h, 2.0) == pytest.approx(300.0)


def test_a_shift_is_seen_and_a_gap_is_not():
    up, down = cusum(np.zeros(2), np.zeros(2), np.array([3.0, np.nan]), 2.0, 10.0)
    assert up.tolist() == [2.0, 0.0]
    assert down.tolist() == [0.0, 0.0]


def test_onsets_keep_geometric_ages():
    ages = np.zeros(10)
    for _ in range(2000):
        ages[thinned(ages, 500.0)] = 0.0
        ages += 1.0
    a = np.sort(ages)
    assert a[0] == 1.0
    assert 150 < a[-1] <= 501
    assert ((a[1:] + 1) / (a[:-1] + 1)).max() < 4.0


def test_probabilities_and_scores():
    J = np.array([[[4.0, 1.0], [1.0, 9.0]]])
    z = scores(np.array([[4.0, 9.0]]), J, np.zeros(2))
    np.testing.assert_allclose(z, [[2.0, 3.0]])
    p = probabilities(z[0] ** 2 / 2)
    assert p.sum() == pytest.approx(1.0)
    assert p[1] / p[0] == pytest.approx(np.exp(2.5))
    weak = scores(np.array([[4.0, 9.0]]), J, np.array([100.0, 0.0]))
    assert weak[0, 0] < 0.5  # a size far beyond the scale counts for little


def test_a_band_is_watched(tank):
    d = build_detector(tank, faults=(), bands={"h": (0.8, 0.9)}, hold=100.0, shift=0.0)
    m = build_mirror(tank)
    b, s = m.start(0.0), d.start()
    for k in range(1, 30):
        b = m.update(b, Readings("Tank", 10.0 * k, "r", "", np.array([1.0, 293.0]), m.space.u0))
        s, found = d.update(s, b)
    assert [(f.cause, f.subject) for f in found if f.cause is Cause.PROCESS] == [(Cause.PROCESS, "h")]
    assert "above" in next(f for f in found if f.cause is Cause.PROCESS).summary


def test_a_wrong_name_is_refused(tank):
    with pytest.raises(PolluxError, match="leek"):
        build_detector(tank, faults=("leek_*",))
    with pytest.raises(PolluxError, match="tracked"):
        build_detector(tank, track=("k",), faults=("k",))
