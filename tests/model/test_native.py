"""Native kernels against XLA: the same programs, primitives and control flow, one twin and fleets of any size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pollux.model.backend import Program, Xla
from pollux.model.native import Native, NoCache, UnsupportedError

STRICT = Native(fallback=None, cache=NoCache(), threads=1)


def agree(fn, *args, fleet=None, rtol=1e-12, atol=1e-300):
    """One twin against XLA; then a fleet of 11 whose members must have the bits of the single twin."""
    program = Program("test", object(), lambda *a: tuple(jax.tree.leaves(fn(*a))), fleet or (True,) * len(args))
    args = tuple(np.asarray(a) for a in args)
    expected = Xla().one(program)(*args)
    alone = STRICT.one(program)(*args)
    for a, b in zip(alone, expected, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)
    moved = [tuple(_nudged(a, j) if f else a for a, f in zip(args, program.fleet, strict=True)) for j in range(11)]
    stacked = tuple(np.stack([m[i] for m in moved], axis=-1) if f else args[i] for i, f in enumerate(program.fleet))
    together = STRICT.fleet(program)(*stacked)
    for j, own in enumerate(moved):
        single = STRICT.one(program)(*own)
        for a, b in zip(together, single, strict=True):
            np.testing.assert_array_equal(a[..., j], b)
    return alone


def _nudged(a, j):
    return a * (1 + 0.01 * j) if a.dtype.kind == "f" else a


X = np.array([0.7, -1.3, 2.1])
M = np.array([[2.0, 0.3, 0.1], [0.3, 1.5, -0.2], [0.1, -0.2, 1.1]])


def test_scan_carries_reads_and_stacks():
    def fn(x, u):
        def body(c, row):
            c = 0.9 * c + row[0] * jnp.sin(c)
            return c, (c * row[1], c.sum())

        return jax.lax.scan(body, x, u)

    agree(fn, X, np.random.default_rng(0).normal(size=(17, 2)))


def test_scan_backwards_over_stacked_values():
    def fn(x, u):
        end, path = jax.lax.scan(lambda c, w: (c + w * jnp.cos(c),) * 2, x, u)
        back, costs = jax.lax.scan(lambda a, s: (0.5 * a + s * s, a.sum()), end, path, reverse=True)
        return path, back, costs

    agree(fn, X, np.linspace(0.1, 0.9, 12))


def test_scan_over_constants_and_computed_rows():
    table = np.linspace(0, 1, 9)

    def fn(x, u):
        rows = u * 2.0
        return jax.lax.scan(lambda c, r: (c * r[0] + r[1] + r[2], c[0]), x, (table, rows, jnp.arange(9.0)))

    agree(fn, X, np.linspace(-1, 1, 9))


def test_output_with_a_first_row():
    def fn(x, u):
        _, path = jax.lax.scan(lambda c, w: (c + w,) * 2, x, u)
        return jnp.concatenate([x[None], path]), path[-1]

    agree(fn, X, np.linspace(-1, 1, 9))


def test_fori_loop():
    def fn(x, dt):
        return jax.lax.fori_loop(0, 7, lambda i, x: x + dt * jnp.array([x[1], -x[0], i * 0.1]), x)

    agree(fn, X, 0.05)


def test_while_with_lanes_that_end_at_different_times():
    def fn(x, tol):
        def body(s):
            x, n = s
            return 0.5 * (x + 2.0 / x), n + 1

        return jax.lax.while_loop(lambda s: (jnp.abs(s[0] ** 2 - 2) > tol) & (s[1] < 50), body, (x, 0))

    def many(tol):
        return fn(jnp.float64(1000.0) * tol, 1e-9)

    agree(many, 0.37)
    agree(lambda x: fn(x, 1e-30), 3.0)


def test_loops_in_loops_and_branches():
    def fn(x, u):
        def inner(c):
            return jax.lax.fori_loop(0, 5, lambda i, v: v * 0.9 + jnp.exp(-v * v), c)

        def body(c, w):
            c = jax.lax.cond(w > 0, inner, lambda c: c - jnp.tanh(c), c)
            c = jax.lax.switch(jnp.int32(w * 3), [jnp.sin, lambda c: c / 2, lambda c: c + 1], c)
            return c, c[1]

        return jax.lax.scan(body, x, u)

    agree(fn, X, np.array([-0.5, 0.4, 0.9, -0.1, 0.05, 1.4]))


def test_while_around_a_scan():
    def fn(x, u):
        def sweep(s):
            x, n, path = s
            x, path = jax.lax.scan(lambda c, w: (0.5 * c + w,) * 2, x, u)
            return x, n + 1, path

        return jax.lax.while_loop(
            lambda s: (s[1] < 9) & (jnp.max(jnp.abs(s[0])) > 0.3), sweep, (x, 0, jnp.zeros((6, 3)))
        )

    agree(fn, X, np.linspace(-0.2, 0.3, 6))


def test_large_carried_arrays_change_places_each_lane_for_as_long_as_it_runs():
    def fn(x, u):
        def sweep(s):
            path, other, n, flags = s
            end, new = jax.lax.scan(lambda c, r: (0.5 * c + r[0] * r[1], c + r[0]), x, (path, other))
            moved = other.at[3].add(end)
            return moved, new, n + 1, (new > 0.1) | flags

        start = (jnp.outer(u, x), jnp.outer(u, x) ** 2, 0, jnp.zeros((14, 3), bool))
        path, other, n, flags = jax.lax.while_loop(lambda s: s[2] < 4 + 10 * x[0], sweep, start)
        same, zeros, _ = jax.lax.while_loop(
            lambda s: s[2] < n, lambda s: (s[0], s[1] + s[0][::-1], s[2] + 1), (path, jnp.zeros((14, 3)), 0)
        )
        return path, other, n, flags, same, zeros

    agree(fn, X, np.linspace(-0.2, 0.3, 14))


def test_arrays_without_elements():
    """A twin without margins has no rows: sums over them are zero, and loops carry and stack nothing."""

    def fn(x, u):
        R = jnp.zeros((0, 3))

        def body(c, row):
            return c + (R @ c) @ R + jnp.sum(row[1]), (c, R @ c, jnp.all(row[1] < 0))

        return jax.lax.scan(body, x, (u, jnp.zeros((7, 0))))

    agree(fn, X, np.linspace(-0.2, 0.3, 7))


@pytest.mark.parametrize("lower", [True, False])
def test_linear_algebra(lower):
    def fn(m, x):
        L = jnp.linalg.cholesky(m)
        y = jax.scipy.linalg.cho_solve(jax.scipy.linalg.cho_factor(m, lower=lower), x)
        return L, y, jnp.linalg.solve(m + jnp.triu(m), x), m @ m.T @ x, jnp.linalg.inv(m)

    agree(fn, M, X)


def test_integers_bits_and_truth_values():
    def fn(a, b, x):
        u = a.astype(jnp.uint32)
        product = u.astype(jnp.uint64) * jnp.uint64(0xD2511F53)
        bits = jax.lax.bitcast_convert_type(x, jnp.int64)
        return (
            a // b, a % b, jax.lax.div(a, b), jax.lax.rem(a, b), a << 3, a >> 1, u >> 5, a & b, a | b, a ^ b, ~a,
            -a, abs(a),
            (product >> 32).astype(jnp.uint32), product.astype(jnp.uint32), bits, (a > b) & (x > 0.0), ~(a > b),
            jnp.sign(a), jnp.sign(x), jnp.minimum(a, b), jnp.maximum(a, b), x.astype(jnp.int32), a.astype(jnp.float64),
            jnp.where(a > b, a, b), jnp.any(a > b), jnp.all(a > -100), jnp.argmax(x), jnp.argmin(x), jnp.clip(a, -2, 2),
        )  # fmt: skip

    agree(fn, np.array([7, -9, 4, 0]), np.array([2, 4, -3, 5]), np.array([1.5, -2.25, 0.0, 9.75]))


def test_indices_known_and_unknown():
    def fn(x, i, m):
        return (
            x[::-1], x[np.array([2, 0])], m[1], m[:, 1], jax.lax.dynamic_index_in_dim(m, i, 0, False), m.at[i].set(x),
            x.at[1].add(2.0), x.at[i].add(2.0), jax.lax.dynamic_slice(x, (i,), (2,)), jnp.roll(x, 1), jnp.cumsum(x),
            jax.lax.dynamic_update_slice(m, x[None], (i, 0)), jnp.pad(x, 1), jnp.diag(m), jnp.diff(x), m[i, 1],
        )  # fmt: skip

    for i in (0, 1, 2):
        agree(fn, X, np.int64(i), M)


def test_missing_stays_missing():
    def fn(x):
        return x + 1, jnp.maximum(x, 0.0), jnp.minimum(x, 0.0), jnp.sqrt(x), jnp.sign(x), jnp.sum(x), x > 0, x == x

    x = np.array([np.nan, 1.0, -4.0, np.inf, -0.0])
    out = agree(fn, x)
    assert np.isnan(out[0][0])
    assert np.isnan(out[1][0])
    assert np.isnan(out[3][2])


def test_what_is_not_lowered_is_named():
    program = Program("sorted", "sorted", lambda x: (jnp.sort(x),), (True,))
    with pytest.raises(UnsupportedError, match="`sort`"):
        STRICT.one(program)(X)
    kernel = Native(cache=NoCache()).one(program)
    np.testing.assert_array_equal(kernel(X)[0], np.sort(X))
    assert kernel.reason is not None
    assert "`sort`" in kernel.reason
