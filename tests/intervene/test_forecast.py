"""Forecasts against closed forms (Gaussian, first passage), against a simulated truth, and their laws."""

import dataclasses
import math
from statistics import NormalDist

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pollux import Belief, LogNormal, Scalar, Signals, Twin, const, flatten, param, var
from pollux.core.errors import DefinitionError, InputError
from pollux.core.signals import Health
from pollux.intervene.crossing import crossings, quantiles
from pollux.intervene.forecast import LEVELS, Forecaster, build_forecaster
from pollux.model.backend import Xla
from pollux.model.statespace import StateSpace


class Warm(Signals):
    T: Scalar = var("K", start=300.0, drift=0.05)


class Heat(Signals):
    power: Scalar = var("W", start=0.0, within=(0.0, 2000.0))


class Probe(Signals):
    probe: Scalar = var("K", noise=0.3)


class Block(Twin[Warm, Heat, Probe]):
    """A block that loses heat to a room: linear, so that its forecast is Gaussian and known."""

    C: Scalar = const("J/K", 1e4)
    loss: Scalar = param("W/K", 5.0, prior=LogNormal(0.2))
    room: Scalar = const("K", 290.0)
    limit: Scalar = const("K", 310.0)

    def dynamics(self, t: Scalar, x: Warm, u: Heat) -> Warm:
        return Warm(T=(u.power - self.loss * (x.T - self.room)) / self.C)

    def observe(self, t: Scalar, x: Warm, u: Heat) -> Probe:
        return Probe(probe=x.T)

    def goal(self, t: Scalar, x: Warm, u: Heat) -> Scalar:
        return 1e-3 * u.power

    def margins(self, t: Scalar, x: Warm, u: Heat) -> dict[str, Scalar]:
        return {"room": x.T - 280.0, "hot": self.limit - x.T}


class Walk(Signals):
    x: Scalar = var("m", start=1.0, drift=0.1)


class Wind(Signals):
    push: Scalar = var("m/s", start=0.0, within=(-1.0, 1.0))


class Eye(Signals):
    x: Scalar = var("m", noise=0.01)


class Walker(Twin[Walk, Wind, Eye]):
    """Brownian motion before a cliff."""

    scale: Scalar = const("1", 1.0)

    def dynamics(self, t: Scalar, x: Walk, u: Wind) -> Walk:
        return Walk(x=self.scale * u.push)

    def observe(self, t: Scalar, x: Walk, u: Wind) -> Eye:
        return Eye(x=x.x)

    def margins(self, t: Scalar, x: Walk, u: Wind) -> dict[str, Scalar]:
        return {"cliff": x.x}


class Coin(Twin[Walk, Wind, Eye]):
    period = 10.0
    keep: Scalar = const("1", 0.9)
    second: Scalar = const("s", 1.0)

    def step(self, t: Scalar, x: Walk, u: Wind) -> Walk:
        return Walk(x=self.keep * x.x + self.second * u.push)

    def observe(self, t: Scalar, x: Walk, u: Wind) -> Eye:
        return Eye(x=x.x)


def belief(space: StateSpace, mean: list[float], sd: list[float], inputs: list[float], t: float = 0.0) -> Belief:
    ny = len(space.y)
    nothing = np.full(ny, np.nan)
    return Belief(
        "twin", t, "twin/belief/7", "r7", np.array(mean), np.diag(np.square(sd)), np.array(inputs),
        nothing, nothing, nothing, (Health.MISSING,) * ny, 0.0, 0, np.zeros(ny),
    )  # fmt: skip


@pytest.fixture(scope="module")
def block() -> Forecaster:
    return build_forecaster(Block(), horizon=3600.0, step=600.0, samples=64, substeps=4)


@pytest.fixture(scope="module")
def tracked() -> Forecaster:
    return build_forecaster(Block(), horizon=3600.0, step=600.0, samples=64, substeps=4, track=("loss",))


def test_linear_gaussian_closed_form(block: Forecaster):
    """Mean, variance and quantiles of an Ornstein-Uhlenbeck process; the noise of the method is exact to h."""
    N = 20_000
    f = block.forecast(belief(block.space, [305.0], [2.0], [100.0]), samples=N, seed=3)
    a, h = 5.0 / 1e4, 150.0
    for k, t in enumerate(f.times):
        F = math.exp(-a * h)
        n = round(t / h)
        mean = 290 + 100 / 5 + (305 - 310) * F**n
        variance = 4 * F ** (2 * n) + 0.05**2 * h * sum(F ** (2 * i) for i in range(n))
        for extra, table in ((0.0, f.states), (0.09, f.sensors)):
            law = NormalDist(mean, math.sqrt(variance + extra))
            for q, level in enumerate(LEVELS):
                se = math.sqrt(level * (1 - level) / N) / law.pdf(law.inv_cdf(level))
                assert abs(table[q, k, 0] - law.inv_cdf(level)) < 4.5 * se
    spent = block.ensemble(belief(block.space, [305.0], [2.0], [100.0])).goal
    np.testing.assert_allclose(spent, 1e-3 * 100 * 3600, rtol=1e-12)


def test_first_passage_of_brownian_motion():
    """P(min X < 0 by T) = 2 Phi(-x0 / (sigma sqrt T)), with the correction for watching every h seconds.

    Source: Broadie, Glasserman and Kou, A continuity correction for discrete barrier options, Math. Finance 7 (1997).
    """
    T, h, sigma, x0, N = 100.0, 0.25, 0.1, 1.0, 4000
    f = build_forecaster(Walker(), horizon=T, step=1.0, samples=N, substeps=4)
    found = f.forecast(belief(f.space, [x0], [0.0], [0.0]), seed=5).crossings[0]
    barrier = x0 + 0.5826 * sigma * math.sqrt(h)
    p = 2 * NormalDist().cdf(-barrier / (sigma * math.sqrt(T)))
    assert abs(found.probability - p) < 4 * math.sqrt(p * (1 - p) / N)
    median = (barrier / (sigma * NormalDist().inv_cdf(1 - p / 4))) ** 2
    assert abs(found.t_median - median) < 3.0
    assert found.t_early < found.t_median < T


def test_intervals_cover_a_simulated_truth(tracked: Forecaster):
    """Stated 95 % and 50 % intervals, 64 members each, over 1,500 truths by another integrator; seeds fixed."""
    r = np.random.default_rng(2026)
    n, truths = 1500, []
    inside = np.zeros((2, n))
    for i in range(n):
        mean = [r.uniform(295, 315), math.exp(r.normal(math.log(5.0), 0.2))]
        sd = [1.0, 0.4]
        b = belief(tracked.space, mean, sd, [float(r.uniform(0, 300))])
        f = tracked.forecast(b, seed=i)
        T, loss = r.normal(mean, sd)
        fine = 20.0
        for _ in range(180):  # Euler-Maruyama
            T += fine * (b.inputs[0] - loss * (T - 290)) / 1e4 + 0.05 * math.sqrt(fine) * r.standard_normal()
        y = T + 0.3 * r.standard_normal()
        truths.append(T)
        for j, (low, high) in enumerate(((0, 4), (1, 3))):
            inside[j, i] = f.sensors[low, -1, 0] <= y <= f.sensors[high, -1, 0]
    assert 0.93 <= inside[0].mean() <= 0.97
    assert 0.46 <= inside[1].mean() <= 0.54


def test_a_tracked_parameter_widens_the_forecast(tracked: Forecaster):
    narrow, wide = (tracked.forecast(belief(tracked.space, [400.0, 5.0], [0.1, sd], [0.0])) for sd in (0.01, 1.0))
    assert np.ptp(wide.states[:, -1, 0]) > 3 * np.ptp(narrow.states[:, -1, 0])
    assert wide.states.shape == (5, 7, 2)


def test_untracked_priors_widen_it_when_asked():
    sure = build_forecaster(Block(), horizon=600.0, step=600.0)
    unsure = build_forecaster(Block(), horizon=600.0, step=600.0, prior_share=1.0)
    b = belief(sure.space, [330.0], [0.01], [0.0])
    assert np.ptp(unsure.forecast(b).states[:, -1, 0]) > 1.2 * np.ptp(sure.forecast(b).states[:, -1, 0])


def test_same_seed_same_bits_and_a_larger_ensemble_contains_the_smaller(block: Forecaster):
    b = belief(block.space, [305.0], [2.0], [100.0])
    one, two = block.forecast(b, seed=1), block.forecast(b, seed=1)
    assert one.states.tobytes() == two.states.tobytes()
    assert one.id == two.id
    assert one.source == b.id
    small, large = (block.ensemble(b, samples=n, seed=1) for n in (64, 200))
    np.testing.assert_array_equal(small.states, large.states[..., :64])
    np.testing.assert_array_equal(small.first, large.first[..., :64])
    assert not np.array_equal(small.states, block.ensemble(b, seed=2).states)


def test_back_ends_agree(block: Forecaster):
    options = {"horizon": 3600.0, "step": 600.0, "samples": 64, "substeps": 4, "prior_share": 0.5}
    here, xla = build_forecaster(Block(), **options), build_forecaster(Block(), backend=Xla(), **options)
    b = belief(here.space, [305.0], [2.0], [100.0])
    one, other = here.ensemble(b, seed=1), xla.ensemble(b, seed=1)
    for field in dataclasses.fields(one):
        np.testing.assert_allclose(getattr(one, field.name), getattr(other, field.name), rtol=1e-12)
    assert 0 < np.isfinite(one.first[1]).sum() < 64


def test_two_plans_meet_the_same_disturbances(block: Forecaster):
    b = belief(block.space, [300.0], [2.0], [0.0])
    times = block.grid(b)
    off, on = (block.ensemble(b, times, np.full((len(times), 1), power)) for power in (0.0, 1000.0))
    gain = on.states - off.states
    assert np.ptp(gain, axis=-1).max() < 1e-9  # linear: every member gains the same
    assert on.worst[1].max() < off.worst[1].min()


def test_a_plan_holds_from_each_time_to_the_next(block: Forecaster):
    b = belief(dataclasses.replace(block.space), [300.0], [0.0], [0.0], t=50.0)
    times = np.array([50.0, 650.0, 1250.0, 1850.0, 2450.0, 3050.0, 3650.0])
    plan = np.array([0, 0, 2000, 0, 0, 0, 0.0])[:, None]
    quiet = dataclasses.replace(block, Q=np.zeros(1))
    m = quiet.ensemble(b, times, plan).states[:, 0, 0]
    assert m[2] < m[1] < m[0]
    assert m[3] > m[2] + 50
    assert m[4] < m[3]


def test_nothing_recompiles_on_the_tick_path(block: Forecaster):
    b = belief(block.space, [305.0], [2.0], [100.0])
    block.forecast(b)
    native = len(getattr(block.kernel, "reports", ()))
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda name, *_, **__: compiled.append(name) if "backend_compile" in name else None
    )
    for i in range(3):
        block.forecast(dataclasses.replace(b, t=100.0 * i, mean=b.mean + i), seed=i)
    assert compiled == []
    assert len(getattr(block.kernel, "reports", ())) == native


def test_discrete_twin_steps_by_its_period():
    f = build_forecaster(Coin(), horizon=100.0, step=20.0, samples=4)
    quiet = dataclasses.replace(f, Q=np.zeros(1))
    x = quiet.ensemble(belief(f.space, [1.0], [0.0], [0.0])).states[:, 0, 0]
    np.testing.assert_allclose(x, 0.81 ** np.arange(6), rtol=1e-12)
    with pytest.raises(DefinitionError, match="multiple of the period"):
        build_forecaster(Coin(), horizon=100.0, step=25.0)


def test_margins_keep_their_declared_order():
    space = flatten(Block())
    assert space.system.margin_names == ("room", "hot")
    np.testing.assert_allclose(space.system.margins(0.0, jnp.array([300.0]), space.u0, space.p0), [20.0, 10.0])


def test_substeps_resolve_the_fastest_mode(block: Forecaster):
    assert build_forecaster(Block(), horizon=3600.0, step=600.0).kernel is block.kernel  # 0.3 of a time constant: 4
    f = build_forecaster(Block(loss=5000.0), horizon=3600.0, step=600.0, samples=8)  # 300 of them
    e = f.ensemble(belief(f.space, [400.0], [0.0], [0.0]))
    assert np.abs(e.states[1:, 0] - 290.0).max() < 1.0


def test_states_stay_within_their_declared_range(tank):
    f = build_forecaster(tank, horizon=3600.0, step=600.0, samples=64)
    b = belief(f.space, [0.15, 300.0], [0.2, 1.0], [0.0, 0.0])
    e = f.ensemble(b)
    assert e.states[:, 0].min() >= 0.1
    assert np.isfinite(e.states).all()
    assert e.first[0].min() == b.t  # some members begin below the limit


@pytest.mark.parametrize(
    ("times", "plan", "word"),
    [
        (np.array([0.0, 600.0]), np.zeros((3, 1)), "finite row"),
        (np.array([0.0, 600.0]), np.array([[0.0], [np.nan]]), "finite row"),
        (np.array([-10.0, 600.0]), np.zeros((2, 1)), "do not begin before"),
        (np.array([0.0, 0.0]), np.zeros((2, 1)), "rise"),
    ],
)
def test_bad_plans_are_refused(block: Forecaster, times, plan, word):
    with pytest.raises(InputError, match=word):
        block.forecast(belief(block.space, [300.0], [1.0], [0.0]), times, plan)


@settings(deadline=None)  # a busy machine is no failure
@given(st.integers(1, 200), st.integers(0, 10_000))
def test_quantiles_are_definition_six(n, seed):
    values = np.random.default_rng(seed).normal(size=(3, n))
    oracle = np.quantile(values, LEVELS, axis=-1, method="weibull")
    np.testing.assert_allclose(quantiles(values, LEVELS), oracle, rtol=1e-12, atol=1e-12)


def test_lost_members_are_left_out_of_quantiles():
    values = np.array([[1.0, np.nan, 3.0, np.inf], [np.nan] * 4])
    found = quantiles(values, (0.5,))[0]
    assert found[0] == 2.0
    assert np.isnan(found[1])


def test_crossings_without_any_violation():
    found = crossings(("a", "b"), np.array([[np.inf] * 4, [1.0, 2.0, 3.0, np.inf]]))
    assert found[0].probability == 0.0
    assert math.isnan(found[0].t_median)
    assert (found[1].probability, found[1].t_median) == (0.75, 2.0)
