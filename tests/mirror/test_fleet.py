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
