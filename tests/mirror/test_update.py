"""`Mirror`: gaps, gates, exclusion, ages, bounds, bad input."""

import dataclasses
import math

import numpy as np
import plants
import pytest

from pollux import PolluxError, Readings, build_mirror
from pollux.core.signals import Health
from pollux.model.native import Lowered, Native, NoCache


@pytest.fixture(scope="module")
def mirror(tank):
    return build_mirror(tank, every={"level": 10.0}, name="t1")


def reading(t, level=np.nan, temp=np.nan, q=np.nan, heat=np.nan, twin="t1"):
    return Readings(twin, t, f"r{t}", "", np.array([level, temp]), np.array([q, heat]))


def test_start_is_what_was_declared(mirror, tank):
    b = mirror.start(5.0)
    assert (b.t, b.id, b.nis_dof) == (5.0, "t1/belief/0", 0)
    np.testing.assert_array_equal(b.mean, [1.0, 293.15])
    assert b.health == (Health.MISSING, Health.MISSING)
    assert np.isnan(b.innovation).all()


def test_a_missing_input_holds_the_last(mirror):
    b = mirror.update(mirror.start(0.0), reading(0.0, q=0.02, heat=5e4))
    b = mirror.update(b, reading(10.0, q=np.nan, heat=0.0))
    np.testing.assert_array_equal(b.inputs, [0.02, 0.0])


def test_silence_widens_and_ages(mirror):
    b = mirror.update(mirror.start(0.0), reading(0.0, level=1.0, temp=293.0))
    later = mirror.update(b, reading(40.0))
    heard = mirror.update(b, reading(40.0, level=1.0, temp=293.0))
    assert (np.diag(later.cov) > np.diag(heard.cov)).all()
    np.testing.assert_array_equal(later.age, [40.0, 40.0])
    assert later.health == (Health.STALE, Health.MISSING)  # `temp` has no stated period
    assert later.nis_dof == 0
    assert later.nis == 0.0


def test_a_spike_is_as_if_it_had_never_come(mirror):
    b = mirror.update(mirror.start(0.0), reading(0.0, level=1.0, temp=293.0))
    spike = mirror.update(b, reading(10.0, level=1.9, temp=293.0))
    none = mirror.update(b, reading(10.0, temp=293.0))
    assert spike.health == (Health.GATED, Health.GOOD)
    np.testing.assert_array_equal(spike.mean, none.mean)
    np.testing.assert_array_equal(spike.cov, none.cov)
    assert spike.nis == none.nis
    assert abs(spike.innovation[0]) > 0.8  # reported all the same
    assert spike.innovation_var[0] > 0


def test_a_gate_does_not_stay_shut(mirror):
    b = mirror.update(mirror.start(0.0), reading(0.0, level=1.0, temp=293.0))
    health = []
    for k in range(1, 8):
        b = mirror.update(b, reading(10.0 * k, level=1.5, temp=293.0))
        health.append(b.health[0])
    assert health[:5] == [Health.GATED] * 5
    assert health[5] is Health.GOOD
    assert b.mean[0] > 1.0


def test_an_excluded_sensor_is_reported_and_not_used(mirror):
    b = mirror.update(mirror.start(0.0), reading(0.0, level=1.0, temp=293.0))
    out = mirror.update(b, reading(10.0, level=1.01, temp=293.0), frozenset({"level"}))
    none = mirror.update(b, reading(10.0, temp=293.0))
    assert out.health[0] is Health.SUSPECT
    np.testing.assert_array_equal(out.mean, none.mean)
    assert np.isfinite(out.innovation[0])


def test_irregular_steps_compose(mirror):
    b = mirror.update(mirror.start(0.0), reading(0.0, level=1.0, temp=293.0, q=0.01, heat=1e4))
    far = mirror.update(b, reading(60.0))
    near = b
    for t in (3.0, 20.0, 21.0, 60.0):
        near = mirror.update(near, reading(t))
    np.testing.assert_allclose(near.mean, far.mean, rtol=1e-9)
    np.testing.assert_allclose(near.cov, far.cov, rtol=1e-3, atol=1e-12)


def test_a_long_gap_is_cut_into_pieces(tank):
    usual, fine = (build_mirror(tank, dt_max=d) for d in (None, 5.0))
    r = reading(4000.0, twin="Tank")
    a, b = (m.update(m.start(0.0), r) for m in (usual, fine))
    np.testing.assert_allclose(a.mean, b.mean, rtol=1e-6)
    np.testing.assert_allclose(np.sqrt(np.diag(a.cov)), np.sqrt(np.diag(b.cov)), rtol=0.05)


def test_a_gap_without_end_starts_anew(tank):
    m = build_mirror(tank, dt_max=1.0)
    b = m.update(m.start(0.0), reading(1e7, twin="Tank"))
    np.testing.assert_array_equal(b.mean, m.start(0.0).mean)


def test_the_mean_stays_within_its_bounds(tank):
    m = build_mirror(tank, gate=0.0)
    b = m.update(m.start(0.0), reading(0.0, level=2.6, temp=293.0, twin="Tank"))
    assert b.mean[0] == 2.0
    assert b.cov[0, 0] > 0


def test_a_blow_up_keeps_the_last_good_belief(tank):
    m = build_mirror(tank)
    b = m.start(0.0)
    bad = dataclasses.replace(m, params=m.params * np.nan)
    out = bad.update(b, reading(10.0, level=1.0, twin="Tank"))
    np.testing.assert_array_equal(out.mean, b.mean)
    assert math.isinf(out.nis)
    assert out.nis_dof == 0


@pytest.mark.parametrize(
    ("readings", "match"),
    [
        (reading(-1.0), "older"),
        (reading(math.nan), "older"),
        (reading(1.0, twin="other"), "one twin"),
        (reading(1.0, level=math.inf), "infinite"),
        (Readings("t1", 1.0, "r", "", np.zeros(3), np.zeros(2)), "2 sensors"),
    ],
)
def test_bad_readings_are_refused(mirror, readings, match):
    with pytest.raises(PolluxError, match=match):
        mirror.update(mirror.start(0.0), readings)


def test_bad_settings_are_refused(tank):
    with pytest.raises(PolluxError, match="every"):
        build_mirror(tank, every={"levle": 1.0})
    with pytest.raises(PolluxError, match="gate"):
        build_mirror(tank, gate=1.5)


def test_a_discrete_twin_moves_with_its_clock():
    m = build_mirror(plants.Cart(), gate=0.0)
    b = m.update(m.start(0.0), Readings("Cart", 0.0, "r", "", np.array([np.nan, 0.5]), np.zeros(1)))
    same = m.update(b, Readings("Cart", 0.4, "r", "", np.full(2, np.nan), np.full(1, np.nan)))
    np.testing.assert_array_equal(same.mean, b.mean)
    np.testing.assert_allclose(same.cov, b.cov, rtol=1e-14)
    two = m.update(same, Readings("Cart", 2.3, "r", "", np.full(2, np.nan), np.full(1, np.nan)))
    np.testing.assert_allclose(two.mean, plants.F @ plants.F @ b.mean, rtol=1e-14)


def test_tracked_parameter_is_found(tank):
    """The outflow coefficient is 20 % larger than declared; level and inflow tell."""
    from pollux import compile

    k = compile(tank)
    p = k.space.p0
    p[k.space.index("p", "k")] *= 1.2
    m = build_mirror(k, track=("k",))
    b, x, u = m.start(0.0), k.space.x0, np.array([0.012, 1e4])
    g = np.random.default_rng(0)
    for i in range(1, 150):
        (x,) = k.flow(0.0, 10.0, x, u, p)
        b = m.update(b, Readings("Tank", 10.0 * i, "r", "", x + np.sqrt(m.R) * g.standard_normal(2), u))
    sd = math.sqrt(b.cov[2, 2])
    assert abs(b.mean[2] - 0.012) < 3 * sd
    assert sd < 0.0003


def test_ticks_compile_one_native_kernel(tank):
    mirror = build_mirror(tank, backend=Native(fallback=None, cache=NoCache()))
    belief = mirror.start(0.0)
    for k, values in enumerate(([1.0, 293.0], [np.nan, 293.1], [np.nan, np.nan], [1.01, 400.0]), 1):
        readings = Readings(mirror.name, 7.0 * k, f"r{k}", "", np.array(values), np.full(2, np.nan))
        belief = mirror.update(belief, readings, excluded=frozenset({"level"} if k == 2 else ()))
    assert isinstance(mirror.kernel, Lowered)
    assert len(mirror.kernel.reports) == 1
