"""`Fleet` equals a loop of mirrors; twins come and go without compiling; one bad twin changes no other."""

import dataclasses

import jax
import numpy as np
import pytest

from pollux import Ekf, PolluxError, Readings, Ukf, build_fleet, build_mirror


@pytest.mark.parametrize("method", [Ekf(), Ukf()], ids=["ekf", "ukf"])
def test_a_fleet_is_a_loop_over_mirrors(tank, method):
    N = 3
    fleet, mirror = build_fleet(tank, N, method=method), build_mirror(tank, method=method)
    g = np.random.default_rng(1)
    p = fleet.space.p0[:, None] * np.linspace(0.999, 1.001, N)
    belief = fleet.start(0.0, p)
    singles = [mirror.start(0.0) for _ in range(N)]
    for k in range(1, 9):
        t = 10.0 * k + np.array([0.0, 1.0, 2.0])
        y = np.array([1.0, 293.2])[:, None] + np.array([0.003, 0.1])[:, None] * g.standard_normal((2, N))
        y[0, k % 3] = np.nan
        y[1, 0] += 50.0 * (k == 4)
        u = np.array([0.01, 1e4])[:, None] * np.ones(N)
        belief = fleet.update(belief, t, y, u)
        for i in range(N):
            one = dataclasses.replace(mirror, params=p[:, i])
            singles[i] = one.update(singles[i], Readings("Tank", t[i], "r", "", y[:, i], u[:, i]))
            np.testing.assert_allclose(belief.mean[:, i], singles[i].mean, rtol=1e-11)
            np.testing.assert_allclose(belief.cov[..., i], singles[i].cov, rtol=1e-8, atol=1e-15)
            np.testing.assert_allclose(belief.nis[i], singles[i].nis, rtol=1e-7, atol=1e-9)
            assert belief.nis_dof[i] == singles[i].nis_dof


def test_coming_and_going_compiles_nothing(tank):
    fleet = build_fleet(tank, 4)
    belief = fleet.start(0.0, count=2)
    y = np.array([1.0, 293.0])[:, None] * np.ones(4)
    belief = fleet.update(belief, 10.0, y)
    compiled: list[str] = []

    def listen(event: str, *args: object, **kwargs: object) -> None:
        if event.endswith("backend_compile_duration"):
            compiled.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        belief, slots = fleet.add(belief, 2, 10.0, fleet.space.p0 * 1.01)
        belief = fleet.update(belief, 20.0, y)
        belief = fleet.remove(belief, slots[:1])
        belief = fleet.update(belief, 30.0, y)
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert compiled == []
    assert belief.active.tolist() == [True, True, False, True]
    assert belief.nis_dof.tolist() == [2, 2, 0, 2]
    assert belief.t.tolist() == [30.0, 30.0, 20.0, 30.0]
    with pytest.raises(PolluxError, match="capacity"):
        fleet.add(belief, 2, 30.0)


def test_one_bad_twin_changes_no_other(tank):
    fleet = build_fleet(tank, 4)
    p = np.repeat(fleet.space.p0[:, None], 4, axis=1)
    bad = p.copy()
    bad[:, 2] = np.nan
    y = np.array([1.01, 293.3])[:, None] * np.ones(4)
    clean, dirty = fleet.start(0.0, p), fleet.start(0.0, bad)
    for k in range(1, 4):
        clean, dirty = fleet.update(clean, 10.0 * k, y), fleet.update(dirty, 10.0 * k, y)
    others = [0, 1, 3]
    np.testing.assert_array_equal(clean.mean[:, others], dirty.mean[:, others])
    np.testing.assert_array_equal(clean.cov[..., others], dirty.cov[..., others])
    np.testing.assert_array_equal(dirty.mean[:, 2], fleet.space.x0)
    assert np.isinf(dirty.nis[2])


def test_time_does_not_go_back(tank):
    fleet = build_fleet(tank, 4)
    belief = fleet.update(fleet.start(0.0), 10.0, np.full((2, 4), np.nan))
    with pytest.raises(PolluxError, match="slot 1"):
        fleet.update(belief, np.array([10.0, 9.0, 11.0, 12.0]), np.full((2, 4), np.nan))


@pytest.mark.parametrize("shared", [True, False])
def test_a_run_is_the_same_as_its_updates(tank, shared):
    N, T = 5, 12
    fleet = build_fleet(tank, N)
    g = np.random.default_rng(4)
    p = fleet.space.p0[:, None] * np.linspace(0.99, 1.01, N)
    y = np.array([1.0, 293.0])[:, None] + 0.01 * g.standard_normal((T, 2, N))
    y[3, 0, 1] = np.nan
    y[5:9, 1, 2] += 40.0  # refused until it is believed
    u = np.array([0.01, 1e4]) * g.uniform(0.9, 1.1, (T, 2))
    u[4, 0] = np.nan
    times = 10.0 * np.arange(1, T + 1)
    start = fleet.start(0.0, p[:, :4], count=4)
    one = start
    for t, values, inputs in zip(times, y, u, strict=True):
        one = fleet.update(one, t, values, np.repeat(inputs[:, None], N, axis=1))
    run = fleet.run(start, times, y, u if shared else np.repeat(u[..., None], N, axis=2))
    for name, value in vars(one).items():
        np.testing.assert_array_equal(value[..., :4], getattr(run, name)[..., :4], err_msg=name)


def test_a_run_with_a_gap_or_back_in_time(tank):
    fleet = build_fleet(tank, 2, dt_max=15.0)
    start = fleet.start(0.0)
    y = np.array([1.0, 293.0])[:, None] * np.ones((3, 1, 1)) * np.ones(2)
    one = start
    for t, values in zip((10.0, 60.0, 70.0), y, strict=True):
        one = fleet.update(one, t, values)
    np.testing.assert_array_equal(fleet.run(start, np.array([10.0, 60.0, 70.0]), y).mean, one.mean)
    with pytest.raises(PolluxError, match="older"):
        fleet.run(one, np.array([60.0, 80.0, 90.0]), y)
    with pytest.raises(PolluxError, match="older"):
        fleet.run(start, np.array([10.0, 5.0, 12.0]), y)
