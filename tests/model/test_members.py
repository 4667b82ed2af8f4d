"""Members of an ensemble: the law that they are drawn from, and that each depends on its own number alone."""

from dataclasses import replace

import numpy as np
import pytest

from pollux import NoInput, Normal, Scalar, Signals, Twin, param, var
from pollux.core.priors import LogNormal
from pollux.model.backend import Program, default
from pollux.model.members import Widened, draw_parameters, members_program, root_of, widened
from pollux.model.random import Stream
from pollux.model.statespace import flatten

N = 20_000


class Level(Signals):
    x: Scalar = var("1", start=1.0)


class Reading(Signals):
    y: Scalar = var("1", noise=0.1)


class Relax(Twin[Level, NoInput, Reading]):
    fixed: Scalar = param("1", 3.0)
    rate: Scalar = param("1/s", 0.5, prior=LogNormal(0.3))
    shift: Scalar = param("1", 2.0, prior=Normal(0.1), within=(1.9, 2.5))

    def dynamics(self, t: Scalar, x: Level, u: NoInput) -> Level:
        return Level(x=self.shift - self.rate * x.x)

    def observe(self, t: Scalar, x: Level, u: NoInput) -> Reading:
        return Reading(y=self.fixed * x.x)


@pytest.fixture(scope="module")
def space():
    return flatten(Relax())


def parameters(space, wide, n=N, seed=1):
    program = Program("test", wide, lambda p, i: (draw_parameters(wide, p, wide.widths, seed, 0, i),), (False, True))
    return default().fleet(program)(space.p0, np.arange(n))[0]


def test_parameters_follow_their_priors(space):
    p = parameters(space, widened(space))
    assert np.all(p[0] == 3.0)
    assert np.log(p[1]).mean() == pytest.approx(np.log(0.5), abs=4 * 0.3 / np.sqrt(N))
    assert np.log(p[1]).std() == pytest.approx(0.3, rel=0.02)
    assert np.median(p[2]) == pytest.approx(2.0, abs=0.005)
    assert p[2].min() == 1.9
    assert (p[2] == 1.9).mean() == pytest.approx(0.15866, abs=0.01)
    assert abs(np.corrcoef(p[1], p[2])[0, 1]) < 4 / np.sqrt(N)


def test_share_and_known_parameters(space):
    half = parameters(space, widened(space, share=0.5, known=("shift",)))
    assert np.log(half[1]).std() == pytest.approx(0.15, rel=0.02)
    assert np.all(half[2] == 2.0)
    assert widened(space, share=0.0).index == ()
    np.testing.assert_array_equal(parameters(space, widened(space, share=0.0), 3), np.tile(space.p0[:, None], 3))


def test_programs_are_told_apart_by_structure_not_by_values(space):
    wide = widened(space)
    assert wide == replace(wide, widths=2 * wide.widths)
    assert hash(wide) == hash(widened(space, share=0.5))
    assert wide != widened(space, known=("rate",))


def test_states_have_the_mean_and_covariance_of_the_belief():
    """A singular covariance too: two states that are known only together."""
    half = np.array([[1.0, 0.0, 0.0], [2.0, 0.0, 0.0], [0.5, 0.3, 0.0]])
    cov, mean = half @ half.T, np.array([1.0, -1.0, 0.0])
    np.testing.assert_allclose(root_of(cov) @ root_of(cov).T, cov, atol=1e-12)
    bounds = ((-np.inf,) * 3, (np.inf, np.inf, 0.1))
    kernel = default().fleet(
        members_program(Widened((), (), np.zeros((3, 0))), bounds, Stream.LIFE_START, Stream.LIFE_PARAMETERS)
    )

    def draw(n):
        return kernel(mean, root_of(cov), np.zeros(0), np.zeros((3, 0)), np.int64(3), np.arange(n))[0]

    x = draw(N)
    np.testing.assert_allclose(x[1], 2 * x[0] - 3, atol=1e-6)
    np.testing.assert_allclose(np.cov(x[:2]), cov[:2, :2], rtol=0.05)
    assert x[2].max() == 0.1
    np.testing.assert_array_equal(draw(5), x[:, :5])
