"""The XLA back end: fleets of small programs are unrolled, others mapped; kernels are cached by structure."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pollux import flatten
from pollux.mirror.ekf import Ekf
from pollux.mirror.method import program
from pollux.mirror.ukf import Ukf
from pollux.model.backend import Program, Xla
from pollux.model.unroll_jax import fleet_tape

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
def test_a_filter_is_unrolled_and_equals_vmap_and_a_loop(tank, method):
    space = flatten(tank)
    prog = program(method, space.system, 4, *space.bounds("x"))
    args = filter_args(space)
    assert fleet_tape(prog.fn, args, prog.fleet) is not None
    fleet = Xla().fleet(prog)(*args)
    axes = tuple(-1 if f else None for f in prog.fleet)
    mapped = jax.jit(jax.vmap(prog.fn, in_axes=axes, out_axes=-1))(*args)
    one = Xla().one(prog)
    for i in range(N):
        single = one(*(a[..., i] if f else a for a, f in zip(args, prog.fleet, strict=True)))
        for a, b, c in zip(fleet, mapped, single, strict=True):
            np.testing.assert_allclose(a[..., i], np.asarray(b)[..., i], rtol=1e-9, atol=1e-14)
            np.testing.assert_allclose(a[..., i], c, rtol=1e-9, atol=1e-14)


def test_what_is_not_unrolled_is_mapped():
    prog = Program("sorted", "sorted", lambda x: (jnp.sort(x),), (True,))
    x = np.random.default_rng(0).standard_normal((5, N))
    assert fleet_tape(prog.fn, (x,), prog.fleet) is None
    np.testing.assert_array_equal(Xla().fleet(prog)(x)[0], np.sort(x, axis=0))


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
