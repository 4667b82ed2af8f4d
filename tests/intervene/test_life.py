"""Time of event against closed forms, against the same experiment in plain NumPy, and against ProgPy."""

import dataclasses
import math
from statistics import NormalDist

import jax
import numpy as np
import pytest

from pollux import Belief, LogNormal, Scalar, Signals, Twin, const, param, var
from pollux.core.errors import DefinitionError, InputError
from pollux.core.signals import Health
from pollux.intervene.life import Events, Life, build_life
from pollux.model.backend import Xla
from pollux.model.random import Stream, normal
from pollux.model.statespace import StateSpace


class Tank(Signals):
    h: Scalar = var("m", start=1.0)
    age: Scalar = var("s", start=0.0)


class Draw(Signals):
    out: Scalar = var("m/s", start=0.1)


class Eye(Signals):
    h: Scalar = var("m", noise=0.01)


class Drain(Twin[Tank, Draw, Eye]):
    """A level that falls as it is told to, and a clock."""

    share: Scalar = param("1", 1.0, prior=LogNormal(0.2))
    old: Scalar = const("s", 1e9)
    rate: Scalar = const("1", 1.0)

    def dynamics(self, t: Scalar, x: Tank, u: Draw) -> Tank:
        return Tank(h=-self.share * u.out, age=self.rate)

    def observe(self, t: Scalar, x: Tank, u: Draw) -> Eye:
        return Eye(h=x.h)

    def margins(self, t: Scalar, x: Tank, u: Draw) -> dict[str, Scalar]:
        return {"worn": self.old - x.age, "empty": x.h}


class Walk(Signals):
    x: Scalar = var("m", start=1.0, drift=0.1)


class Walker(Twin[Walk, Draw, Eye]):
    """Brownian motion before a cliff."""

    def dynamics(self, t: Scalar, x: Walk, u: Draw) -> Walk:
        return Walk(x=u.out)

    def observe(self, t: Scalar, x: Walk, u: Draw) -> Eye:
        return Eye(h=x.x)

    def margins(self, t: Scalar, x: Walk, u: Draw) -> dict[str, Scalar]:
        return {"cliff": x.x}


class Burst(Walker):
    """Leaves the finite numbers at t = 1 / x(0) = 1."""

    one: Scalar = const("1/m/s", 1.0)

    def dynamics(self, t: Scalar, x: Walk, u: Draw) -> Walk:
        return Walk(x=self.one * x.x**2)


class Coin(Walker):
    period = 10.0
    keep: Scalar = const("1", 0.5)
    limit: Scalar = const("m", 0.1)

    def step(self, t: Scalar, x: Walk, u: Draw) -> Walk:
        return Walk(x=self.keep * x.x)

    def margins(self, t: Scalar, x: Walk, u: Draw) -> dict[str, Scalar]:
        return {"cliff": x.x - self.limit}


class Free(Walker):
    def margins(self, t: Scalar, x: Walk, u: Draw) -> dict[str, Scalar]:
        return {}


def belief(space: StateSpace, mean: list[float], sd: list[float], inputs: list[float], t: float = 0.0) -> Belief:
    nothing = np.full(1, np.nan)
    return Belief(
        "twin", t, "twin/belief/7", "r7", np.array(mean), np.diag(np.square(sd)), np.array(inputs),
        nothing, nothing, nothing, (Health.MISSING,), 0.0, 0, np.zeros(1),
    )  # fmt: skip


@pytest.fixture(scope="module")
def drain() -> Life:
    return build_life(Drain(), step=0.7)


@pytest.fixture(scope="module")
def walker() -> Life:
    return build_life(Walker(), step=0.25)


def test_a_straight_fall_is_timed_exactly_whatever_the_step(drain: Life):
    b = belief(drain.space, [1.0, 0.0], [0.0, 0.0], [0.1], t=1000.0)
    found = drain.time_of_event(b, 100.0, samples=3)
    np.testing.assert_allclose(found.times, 1010.0, rtol=1e-12)
    assert found.which.tolist() == [1, 1, 1]
    assert found.shares() == {"worn": 0.0, "empty": 1.0}
    assert found.probability() == 1.0
    assert found.probability(before=1009.9) == 0.0


def test_none_within_the_horizon_is_infinite(drain: Life):
    b = belief(drain.space, [1.0, 0.0], [0.0, 0.0], [0.1])
    found = drain.time_of_event(b, 9.99, samples=4)
    assert np.all(np.isinf(found.times))
    assert found.which.tolist() == [-1] * 4
    assert found.probability() == 0.0
    assert np.all(np.isinf(found.quantiles()))


def test_a_plan_holds_from_each_time_to_the_next(drain: Life):
    b = belief(drain.space, [1.0, 0.0], [0.0, 0.0], [0.1])
    times, plan = np.array([2.0, 5.0, 6.5]), np.array([[0.0], [0.4], [0.02]])
    found = drain.time_of_event(b, 100.0, times, plan, samples=1)
    np.testing.assert_allclose(found.times, 6.5 + (1.0 - 0.2 - 0.6) / 0.02, rtol=1e-12)
    replaced = drain.time_of_event(b, 100.0, np.array([0.0]), np.array([[0.5]]), samples=1)
    np.testing.assert_allclose(replaced.times, 2.0, rtol=1e-12)
    late = drain.time_of_event(b, 5.0, np.array([4.0, 50.0]), np.array([[0.1], [100.0]]), samples=1)
    assert np.isinf(late.times[0])


def test_the_limit_that_is_met_first_within_a_step_counts():
    for old, name, t in ((0.35, "worn", 0.35), (0.65, "empty", 0.5)):
        life = build_life(Drain(old=old), step=0.7)
        found = life.time_of_event(belief(life.space, [0.05, 0.0], [0.0, 0.0], [0.1]), 10.0, samples=1)
        np.testing.assert_allclose(found.times, t, rtol=1e-12)
        assert found.names[found.which[0]] == name


def test_what_begins_beyond_its_limit_ends_at_once(drain: Life):
    found = drain.time_of_event(belief(drain.space, [-0.1, 0.0], [0.0, 0.0], [-5.0], t=7.0), 10.0, samples=1)
    assert found.times.tolist() == [7.0]
    assert found.which.tolist() == [1]


def test_first_passage_of_brownian_motion(walker: Life):
    """P(T < t) = 2 Phi(-x0 / (sigma sqrt t)), with the correction for watching every h seconds.

    Source: Broadie, Glasserman and Kou, A continuity correction for discrete barrier options, Math. Finance 7 (1997).
    """
    T, h, sigma, x0, N = 100.0, 0.25, 0.1, 1.0, 20_000
    found = walker.time_of_event(belief(walker.space, [x0], [0.0], [0.0]), T, samples=N, seed=5)
    barrier = x0 + 0.5826 * sigma * math.sqrt(h)
    for t in (25.0, 50.0, 100.0):
        p = 2 * NormalDist().cdf(-barrier / (sigma * math.sqrt(t)))
        assert abs(found.probability(before=t) - p) < 4 * math.sqrt(p * (1 - p) / N)
    early, late = found.quantiles((0.1, 0.9))
    assert abs(early - (barrier / (sigma * NormalDist().inv_cdf(1 - 0.1 / 2))) ** 2) < 1.0
    assert late == np.inf


def test_equals_the_plain_experiment():
    """Own loop over members and steps, with the same draws."""
    life = build_life(Drain(), step=1.0, prior_share=1.0, Q=np.array([0.01, 0.0]))
    N, seed = 40, 3
    b = belief(life.space, [1.0, 0.0], [0.05, 0.0], [0.1])
    found = life.time_of_event(b, 60.0, np.array([5.0]), np.array([[0.05]]), samples=N, seed=seed)

    def draws(stream, steps, size):
        of_member = jax.vmap(lambda i, k: normal(seed, stream, i, k, size), (None, 0))
        return np.asarray(jax.jit(jax.vmap(of_member, (0, None)))(np.arange(N), np.arange(steps)))

    z0, zp = (draws(s, 1, n)[:, 0] for s, n in ((Stream.LIFE_START, 2), (Stream.LIFE_PARAMETERS, 1)))
    w = draws(Stream.LIFE_NOISE, 60, 1)[..., 0]
    for i in range(N):
        # the eigenvectors of a covariance come sorted by size, so that the level moves with the second draw
        h, share, expected = 1.0 + 0.05 * z0[i, 1], math.exp(0.2 * zp[i, 0]), math.inf
        for k in range(60):
            after = h - share * (0.1 if k < 5 else 0.05) + 0.1 * w[i, k]
            if after < 0:
                expected = k + h / (h - after)
                break
            h = after
        assert found.times[i] == pytest.approx(expected, rel=1e-9)
    assert np.isfinite(found.times).any()


def test_laws_of_the_draws(walker: Life):
    b = belief(walker.space, [0.3], [0.1], [0.0])
    small, large = (walker.time_of_event(b, 50.0, samples=n, seed=1) for n in (20, 100))
    np.testing.assert_array_equal(small.times, large.times[:20])
    other = walker.time_of_event(b, 50.0, samples=20, seed=2)
    assert not np.array_equal(small.times, other.times)
    worse = walker.time_of_event(dataclasses.replace(b, inputs=np.array([-0.01])), 50.0, samples=100, seed=1)
    assert np.all(worse.times <= large.times)


def test_back_ends_agree(walker: Life):
    b = belief(walker.space, [0.5], [0.1], [0.01])
    times, plan = np.array([10.0, 33.3]), np.array([[0.0], [-0.02]])
    xla = build_life(Walker(), step=0.25, backend=Xla()).time_of_event(b, 50.0, times, plan, samples=100)
    here = walker.time_of_event(b, 50.0, times, plan, samples=100)
    np.testing.assert_allclose(here.times, xla.times, rtol=1e-12)
    np.testing.assert_array_equal(here.which, xla.which)


def test_a_member_that_is_not_finite_is_lost_when_it_happens():
    life = build_life(Burst(), step=0.01, Q=np.zeros(1))
    found = life.time_of_event(belief(life.space, [1.0], [0.0], [0.0]), 5.0, samples=1)
    assert 1.0 < found.times[0] < 1.2
    assert found.which[0] == 0


def test_a_discrete_twin_steps_by_its_period():
    life = build_life(Coin(), step=1.0, Q=np.zeros(1))
    b = belief(life.space, [1.0], [0.0], [0.0])
    found = life.time_of_event(b, 100.0, samples=1)
    np.testing.assert_allclose(found.times, 30 + 10 * (0.125 - 0.1) / (0.125 - 0.0625), rtol=1e-12)
    with pytest.raises(InputError, match="whole periods"):
        life.time_of_event(b, 95.0, samples=1)


def test_quantiles_are_order_statistics():
    e = Events(0.0, 10.0, ("a",), np.array([3.0, np.inf, 1.0, 2.0]), np.array([0, -1, 0, 0]))
    assert e.quantiles((0.0, 0.25, 0.5, 0.75, 0.76, 1.0)).tolist() == [1.0, 1.0, 2.0, 3.0, np.inf, np.inf]
    assert e.probability() == 0.75


def test_nothing_recompiles_for_another_belief_plan_or_seed(walker: Life):
    b = belief(walker.space, [0.5], [0.1], [0.0])
    times, plan = np.array([10.0, 33.3]), np.array([[0.0], [-0.02]])
    walker.time_of_event(b, 50.0, times, plan, samples=100)
    before = len(getattr(walker.kernel, "reports", ()))
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda name, *_, **__: compiled.append(name) if "backend_compile" in name else None
    )
    for i in range(3):
        walker.time_of_event(
            dataclasses.replace(b, t=5.0, mean=b.mean + i), 80.0 + i, times + i, plan, samples=100, seed=i
        )
    assert compiled == []
    assert len(getattr(walker.kernel, "reports", ())) == before


@pytest.mark.parametrize(
    ("horizon", "times", "plan", "word"),
    [
        (0.0, None, None, "horizon above 0"),
        (10.0, np.array([1.0]), np.array([[np.nan]]), "finite row"),
        (10.0, np.array([1.0]), np.zeros((2, 1)), "finite row"),
        (10.0, np.array([-1.0]), np.zeros((1, 1)), "do not begin before"),
        (10.0, np.array([1.0, 1.0]), np.zeros((2, 1)), "rise"),
    ],
)
def test_bad_plans_are_refused(walker: Life, horizon, times, plan, word):
    with pytest.raises(InputError, match=word):
        walker.time_of_event(belief(walker.space, [0.5], [0.1], [0.0]), horizon, times, plan)


def test_refuses_what_it_cannot_do():
    with pytest.raises(DefinitionError, match="margins"):
        build_life(Free(), step=1.0)
    with pytest.raises(DefinitionError, match="step > 0"):
        build_life(Walker(), step=0.0)


def test_the_battery_of_progpy_ends_at_the_same_step():
    pytest.importorskip("progpy")
    from benchmarks import life

    result = life.without_noise()
    assert math.ceil(result["pollux"]) == result["progpy"]
