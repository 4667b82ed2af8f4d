"""Kernels on whole arrays against XLA: each primitive in several layouts, loops and branches, and where they lie."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.scipy.linalg import solve_triangular

from pollux.model.backend import Program, Xla
from pollux.model.native import Native, NoCache
from pollux.model.native import compiled as forms
from pollux.model.native.arrays.nodes import flatten, size, wide

RNG = np.random.default_rng(0)
A = RNG.normal(size=(19, 20))
B = RNG.normal(size=(20, 37))
C = A @ A.T + np.eye(19)
STACK = RNG.normal(size=(3, 5, 6))


def compare(monkeypatch, fn, *args: Any, tol: float = 1e-12) -> None:
    """The loops over arrays, which the fallback may not replace, give what XLA gives."""

    def refuse(*_: Any) -> Any:
        raise forms.UnsupportedError("scalars are not what is tested here")

    monkeypatch.setattr(forms, "assembly", refuse)

    def program() -> Program:
        return Program("arrays", object(), lambda *a: tuple(jax.tree.leaves(fn(*a))), (False,) * len(args))

    got = Native(fallback=None, cache=NoCache()).one(program())(*args)
    for a, b in zip(got, Xla().one(program())(*args), strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        np.testing.assert_allclose(a, b, rtol=tol, atol=tol)


CASES = {
    "element by element": (lambda a, b: (a + 1, jnp.exp(b) * 2, a > 0, jnp.where(a > 0, a, -a)), A, B),
    "rows and columns spread": (lambda a: (a * a[:1] + a[:, :1], a - jnp.mean(a, 0), a - a.sum(1)[:, None]), A),
    "transposed operands": (lambda a: (a.T + 1.0, a.T[:5] * a[:, :5].T, (a.T + a[:, ::-1].T).T), A),
    "sums": (lambda a: (a.sum(0), a.sum(1), a.sum(), a.T.sum(0), a[:, 3].sum(), a.max(1), a.min(0), (a > 0).any(1)), A),
    "sums of a stack": (lambda a: (a.sum(1), a.sum((0, 2)), a.prod(2), jnp.moveaxis(a, 0, 2).sum(1)), STACK),
    "products": (lambda a, b: (a @ b, a @ a.T, a.T @ a, b.T @ a.T, a[:7, :3] @ b[:3, :9]), A, B),
    "products with vectors": (lambda a: (a @ a[0], a[0] @ a.T, a[0] @ a[1], a[:, 3] @ a, a.T @ a[:, 1]), A),
    "products of stacks": (lambda a: (a @ jnp.swapaxes(a, 1, 2), jnp.einsum("bij,bik->jk", a, a)), STACK),
    "factor": (lambda c: (jnp.linalg.cholesky(c), jnp.linalg.cholesky(c[:8, :8]), jnp.linalg.cholesky(c[:3, :3])), C),
    "no factor": (lambda c: (jnp.linalg.cholesky(-c), jnp.linalg.cholesky(c - 30.0 * jnp.eye(19))), C),
    "factors of a stack": (lambda a: jnp.linalg.cholesky(a @ jnp.swapaxes(a, 1, 2) + jnp.eye(5)), STACK),
    "lower": (lambda c, a: (solve_triangular(c, a, lower=True), solve_triangular(c, a, lower=True, trans=1)), C, A),
    "upper": (lambda c, a: (solve_triangular(c, a), solve_triangular(c, a, trans=1)), C, A),
    "ones on the diagonal": (lambda c, a: solve_triangular(c / 9, a[:, 0], lower=True, unit_diagonal=True), C, A),
    "from the right": (lambda c, a: lax.linalg.triangular_solve(c, a.T, left_side=False, lower=True), C, A),
    "moves": (
        lambda a: (
            jnp.pad(a, ((1, 2), (0, 3))), jnp.concatenate([a, a[:2]]), jnp.concatenate([a.T, a[:20].T], 1), a[::-1],
        ),
        A,
    ),
    "shapes": (
        lambda a: (a.reshape(20, 19), a.T.reshape(-1), a.reshape(19, 4, 5).transpose(1, 0, 2).reshape(76, 5)), A,
    ),
    "borders": (
        lambda a: (
            lax.pad(a, 7.0, ((-1, 2, 0), (0, -3, 1))), lax.pad(a, 7.0, ((-3, -2, 2), (1, 1, 0))),
            lax.pad(a[:2], 7.0, ((-1, 0, 4), (0, 0, 0))),
        ),
        A,
    ),
    "along an axis": (
        lambda a: (
            jnp.cumsum(a, 0), jnp.cumsum(a, 1), lax.cumsum(a, 1, reverse=True), lax.cummax(a, 0), jnp.cumsum(a[0]),
        ),
        A,
    ),
    "the best": (lambda a: (jnp.argmax(a, 1), jnp.argmin(a, 0), jnp.argmax(a.at[3, 2].set(jnp.nan), 1)), A),
    "known places": (
        lambda a: (jnp.diag(a), a[jnp.array([3, 1, 1])], a[:, ::3], a[jnp.array([0, 5]), jnp.array([7, 2])]), A,
    ),
    "places": (
        lambda a, i: (
            a[i], a[:, i],
            lax.dynamic_slice(a, (i[0], i[1]), (3, 4)), lax.dynamic_update_slice(a, a[:2, :2], (i[1], i[2])),
            a.at[i].set(1.0), a.at[i, 2].add(a[i, 3]), a.at[i].add(0.5, mode="drop"),
            jnp.take(a, i, axis=0, mode="fill"),
        ),
        A,
        np.array([3, -1, 40]),
    ),
    "small numbers": (
        lambda a: (a.astype(np.float32) * 2, (a * 9).astype(np.int32) // 2, (a * 9).astype(np.uint8)), abs(A),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_kernels_equal_xla(monkeypatch, name):
    fn, *args = CASES[name]
    compare(monkeypatch, fn, *args, tol=1e-6 if name == "small numbers" else 1e-12)


LOOPS = {
    "rows": (lambda a: lax.scan(lambda c, x: (c * 0.5 + x, c.sum()), jnp.zeros(20), a), A),
    "backwards": (lambda a: lax.scan(lambda c, x: (c * 0.5 + x, (c, x)), jnp.zeros(20), a, reverse=True), A),
    "carries change places": (
        lambda a: lax.scan(lambda c, x: ((c[1], c[0] * 0.5 + x, c[2]), c[0].sum()), (a[0], a[1], a[2]), a), A,
    ),
    "one inside another": (
        lambda a: lax.scan(lambda c, x: (lax.fori_loop(0, 3, lambda i, v: v * 0.9 + x, c), c[:3]), a[0], a), A,
    ),
    "until": (lambda a: lax.while_loop(lambda s: s[0].sum() < 99.5, lambda s: (s[0] + 1, s[1] * 0.9), (a[0], a)), A),
    "never": (lambda a: lax.while_loop(lambda s: s.sum() > 1e9, lambda s: s + 1, a), A),
    "branches": (
        lambda a: [lax.cond(a[k, 0] > 0, lambda: a.T @ a, lambda: jnp.eye(20) * a[0]) for k in range(4)], A,
    ),
    "a switch": (
        lambda a, i: [lax.switch(k, [lambda: a, lambda: a * 2, lambda: -a[::-1]]) for k in i],
        A,
        np.array([-4, 0, 1, 2, 9]),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LOOPS)
def test_loops_and_branches_equal_xla(monkeypatch, name):
    compare(monkeypatch, *LOOPS[name])


def test_what_is_handed_back_may_be_an_argument_or_a_constant(monkeypatch):
    compare(monkeypatch, lambda a: (a, a.T, a[3], jnp.ones((2, 3)), a.reshape(-1), a), A)


def test_arrays_that_are_large_are_not_kept_and_arguments_are_not_written(monkeypatch):
    a = RNG.normal(size=(200, 50))
    before = a.copy()
    compare(monkeypatch, lambda a: (a[::-1], a + 1), a)
    assert np.array_equal(a, before)


def test_a_program_on_large_arrays_is_lowered_as_loops():
    """A filter that can run for a fleet stays scalars: one twin has the bits that it has there."""
    big, small = jax.make_jaxpr(lambda a: a @ a.T)(A), jax.make_jaxpr(lambda a: a @ a.T)(A[:2, :2])
    assert (wide(big), wide(small)) == (True, False)
    assert size(flatten(big)) == 2
    kernel = Native(fallback=None, cache=NoCache())
    lone = kernel.one(Program("lone", object(), lambda a: (a @ a.T,), (False,)))
    fleet = kernel.one(Program("fleet", object(), lambda a: (a @ a.T,), (True,)))
    np.testing.assert_allclose(lone(A)[0], fleet(A)[0], rtol=1e-13)
    assert lone.reports[0].operations == 2 < 1000 < fleet.reports[0].operations
