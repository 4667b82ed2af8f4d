"""Both back ends: fleets equal single twins, kernels are cached by structure, one switch chooses."""

import jax.numpy as jnp
import numpy as np
import pytest

from pollux import flatten
from pollux.core.errors import InputError
from pollux.mirror.ekf import Ekf
from pollux.mirror.method import program
from pollux.mirror.ukf import Ukf
from pollux.model.backend import SWITCH, Program, Xla, default
from pollux.model.native import Native, NoCache

N = 6


def filter_args(space, seed=0):
    g = np.random.default_rng(seed)
    ny = len(space.y)

    def many(a):
        return np.repeat(np.asarray(a, dtype=np.float64)[..., None], N, axis=-1)

    y = many(np.array([1.0, 293.0])) + g.standard_normal((ny, N)) * [[0.01], [0.3]]
    y[0, 1] = np.nan
    x = many(space.x0) * g.uniform(0.99, 1.01, (len(space.x), N))
    return (
        many(0.0), many(10.0), x, many(np.diag(space.P0)), many(space.u0), many(space.u0), y, np.ones((ny, N)),
        np.full((ny, N), 25.0), many(space.p0), space.Q, space.R,
    )  # fmt: skip


@pytest.mark.parametrize("method", [Ekf(), Ukf()], ids=["ekf", "ukf"])
def test_a_fleet_of_filters_is_the_same_on_both_back_ends_and_one_by_one(tank, method):
    space = flatten(tank)
    prog = program(method, space.system, 4, *space.bounds("x"))
    args = filter_args(space)
    native = Native(fallback=None, cache=NoCache())
    fleet, mapped = native.fleet(prog)(*args), Xla().fleet(prog)(*args)
    for i in range(N):
        single = native.one(prog)(*(a[..., i] if f else a for a, f in zip(args, prog.fleet, strict=True)))
        for a, b, c in zip(fleet, mapped, single, strict=True):
            np.testing.assert_allclose(a[..., i], b[..., i], rtol=1e-9, atol=1e-14)
            np.testing.assert_array_equal(a[..., i], c)


@pytest.mark.parametrize(("name", "kind"), [("xla", Xla), ("native", Native), ("", Native)])
def test_one_switch_forces_a_back_end(monkeypatch, name, kind):
    monkeypatch.setenv(SWITCH, name)
    assert isinstance(default(), kind)


def test_an_unknown_back_end_is_an_error(monkeypatch):
    monkeypatch.setenv(SWITCH, "gpu")
    with pytest.raises(InputError, match="received 'gpu'"):
        default()


def test_equal_programs_share_a_kernel():
    a = Program("twice", ("k", 1), lambda x: (2 * x,), (True,))
    b = Program("twice", ("k", 1), lambda x: (2 * x,), (True,))
    c = Program("twice", ("k", 2), lambda x: (2 * x,), (True,))
    back = Xla()
    assert back.one(a) is back.one(b)
    assert back.one(a) is not back.one(c)
    assert back.fleet(a) is back.fleet(b)


def test_a_constant_output_has_the_fleet_axis():
    prog = Program("constant", "constant", lambda x: (jnp.array([1.0, 2.0]), x, jnp.zeros(0)), (True,))
    one, x, none = Xla().fleet(prog)(np.arange(4.0)[None])
    assert one.shape == (2, 4)
    assert x.shape == (1, 4)
    assert none.shape == (0, 4)
