"""Kernels on whole arrays where programs are odd: what lies in the same memory, what is empty, what is not a number."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from .array_kernel import ArrayKernel

RNG = np.random.default_rng(1)
A = RNG.normal(size=(19, 20))


def equal(fn, *args, tol=1e-12):
    """The loops over arrays give what XLA gives."""
    got = ArrayKernel(fn, args)(*args)
    for a, b in zip(got, jax.tree.leaves(jax.jit(fn)(*args)), strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        np.testing.assert_allclose(a, b, rtol=tol, atol=tol)


def test_a_row_that_is_stacked_twice_is_written_twice():
    def body(c, x):
        y = x * 2 + c
        return y, (y, x, y)

    equal(lambda a: lax.scan(body, a[0], a), A)


def test_a_block_of_a_carry_is_read_before_that_carry_changes():
    def turn(c):
        return c[0] + 1.0, lax.dynamic_slice(c[0], (c[2],), (10,)), c[2] + 1

    start = (A[0], A[1, :10], np.int64(1))
    equal(lambda *c: lax.scan(lambda c, _: (turn(c), None), c, None, length=3)[0], *start)
    equal(lambda *c: lax.while_loop(lambda c: c[2] < 4, turn, c), *start)


def test_a_block_of_an_argument_may_be_fed_back():
    """Outputs lie where inputs do, where a filter's belief goes round."""
    kernel = ArrayKernel(lambda a, i: (a + 1.0, lax.dynamic_slice(a, (i, i), (3, 4))), (A, np.int64(2)))
    a, block = A.copy(), np.zeros((3, 4))
    work = np.zeros(kernel.about["work"] + 64, np.uint8)
    kernel.run([a, np.array(2)], [a, block], work.ctypes.data)
    np.testing.assert_array_equal(block, A[2:5, 2:6])
    np.testing.assert_array_equal(a, A + 1.0)


@pytest.mark.parametrize(
    "fn",
    [
        lambda a: lax.scan(lambda c, x: ((c[0] + x, c[1] + 1.0), (c[1] * 2, x)), (a[0], a[:0]), a),
        lambda a: a.at[jnp.array([1, 2])[:0]].add(a[:0]),
        lambda a: a.at[a[:0, 0].astype(int)].set(a[:0]),
        lambda a: lax.scan(lambda c, x: (c + x, c), a[0], a[:0]),
        lambda a: (jnp.concatenate([a[:0], a, a[:0]]), jnp.pad(a[:0], ((2, 1), (0, 0)))),
        lambda a: lax.while_loop(lambda c: c[1][0, 0] < 3, lambda c: (c[0] * 2, c[1] + 1), (a[:, :0], a)),
        lambda a: lax.cond(a[0, 0] > 0, lambda: (a[:0], a), lambda: (a[:0] + 1, -a)),
        lambda a: lax.dynamic_update_slice(a, a[:0], (a[0, 0].astype(int), 1)),
        lambda a: (a[:0].T, a[:, :0].reshape(0), a[:0].astype(int)),
    ],
    ids=["carry", "add", "set", "no rows", "join", "until", "branch", "block", "views"],
)
def test_an_axis_may_be_empty(fn):
    equal(fn, A)
