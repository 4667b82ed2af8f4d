"""Factor once, solve many times, against LAPACK."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pollux.model.lu import SMALL, factor, solve


@pytest.mark.parametrize("n", [1, 2, 3, 5, 8, SMALL, SMALL + 3])
def test_solutions_are_those_of_lapack(n):
    g = np.random.default_rng(n)
    both = jax.jit(lambda W, b: solve(factor(W), b))
    for _ in range(20):
        W, b = g.standard_normal((n, n)) * 10.0 ** g.uniform(-3, 3, (n, 1)), g.standard_normal(n)
        expected = np.linalg.solve(W, b)
        error = np.linalg.norm(np.asarray(both(W, b)) - expected) / np.linalg.norm(expected)
        assert error < 50 * np.linalg.cond(W) * np.finfo(float).eps


def test_a_zero_pivot_is_exchanged_and_a_small_one_does_no_harm():
    W = jnp.asarray([[0.0, 2.0, 1.0], [1.0, 0.0, 0.0], [1e-20, 1.0, 3.0]])
    x = jax.jit(lambda W, b: solve(factor(W), b))(W, jnp.asarray([1.0, 2.0, 3.0]))
    np.testing.assert_allclose(W @ x, [1.0, 2.0, 3.0], rtol=1e-14)


def test_a_singular_matrix_gives_what_is_not_finite():
    W = jnp.asarray([[1.0, 2.0], [2.0, 4.0]])
    assert not np.all(np.isfinite(jax.jit(lambda W, b: solve(factor(W), b))(W, jnp.ones(2))))


def test_tangents_follow_the_implicit_function():
    """d(W^{-1} b) = W^{-1} (db - dW W^{-1} b), through pivoting."""
    g = np.random.default_rng(0)
    W, dW, b, db = (jnp.asarray(g.standard_normal(s)) for s in ((4, 4), (4, 4), 4, 4))
    x, dx = jax.jvp(jax.jit(lambda W, b: solve(factor(W), b)), (W, b), (dW, db))
    np.testing.assert_allclose(dx, np.linalg.solve(W, db - dW @ x), rtol=1e-10)
