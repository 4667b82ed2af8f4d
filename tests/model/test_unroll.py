"""Unrolled programs against `vmap` and against a loop over twins, on generated programs and on real filters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pollux.model.unroll import Scalars, UnsupportedError
from pollux.model.unroll_jax import fleet_tape, play
from pollux.model.unroll_rules import unroll

N = 4
FLEET = (True, True, False)


def chol(A):
    return jnp.linalg.cholesky(A @ A.T + 2.0 * jnp.eye(3))


def residual(x, A, c):
    return jnp.sum(jnp.tanh(A @ x - c) ** 2)


STEPS = {
    "matvec": lambda x, A, c: (A @ x, A),
    "vecmat": lambda x, A, c: (x @ A + c, A),
    "wave": lambda x, A, c: (jnp.sin(x) * x + jnp.exp(-(x**2)), A),
    "ratio": lambda x, A, c: (x / (1.0 + x**2), A),
    "where": lambda x, A, c: (jnp.where(x > c, x, 0.1 * x), A),
    "flip": lambda x, A, c: (x[::-1], A.T),
    "roll": lambda x, A, c: (jnp.roll(x, 1), A),
    "take": lambda x, A, c: (x[jnp.array([2, 0, 0])], A),
    "set": lambda x, A, c: (x.at[1].set(x[2]), A.at[0, 1].add(x[0])),
    "outer": lambda x, A, c: (x, A + jnp.outer(x, c)),
    "clip": lambda x, A, c: (jnp.clip(x, -1.0, 1.0), A),
    "running": lambda x, A, c: (jnp.cumsum(x) / 3.0, A),
    "reduce": lambda x, A, c: (x - jnp.max(x) + jnp.min(A) + jnp.mean(A, axis=0), A),
    "stack": lambda x, A, c: (jnp.stack([x[0], c[1], x[1] * 1.0]), A),
    "cholesky": lambda x, A, c: (x, chol(A)),
    "triangular": lambda x, A, c: (jax.scipy.linalg.solve_triangular(chol(A), x, lower=True), A),
    "transposed": lambda x, A, c: (jax.scipy.linalg.solve_triangular(chol(A), x, lower=True, trans="T"), A),
    "solve": lambda x, A, c: (jnp.linalg.solve(A + 3.0 * jnp.eye(3), x), A),
    "loop": lambda x, A, c: (jax.lax.fori_loop(0, 4, lambda i, v: jnp.tanh(A @ v) + 0.1 * i, x), A),
    "scan": lambda x, A, c: (jax.lax.scan(lambda v, row: (v * 0.5 + row, v[0]), x, A)[1], A),
    "branch": lambda x, A, c: (jax.lax.cond(x[0] > 0, jnp.sin, lambda v: 2 * v, x), A),
    "table": lambda x, A, c: (jnp.stack([jnp.interp(v, jnp.arange(4.0), jnp.array([0.0, 2, 1, 3])) for v in x]), A),
    "gradient": lambda x, A, c: (jax.grad(residual)(x, A, c), A),
    "jacobian": lambda x, A, c: (x, jax.jacfwd(lambda x: jnp.tanh(A @ x))(x)),
    "hinge": lambda x, A, c: (jax.nn.softplus(x) - jax.nn.relu(x), A),
}  # fmt: skip


def program(names):
    def fn(x, A, c):
        for name in names:
            x, A = STEPS[name](x, A, c)
        return x, A

    return fn


def fleet(seed):
    g = np.random.default_rng(seed)
    return g.standard_normal((3, N)), g.standard_normal((3, 3, N)) / 2, g.standard_normal(3)


def unrolled(fn, args):
    tape = fleet_tape(fn, args, FLEET)
    assert tape is not None
    return [np.asarray(o) for o in play(tape, args, FLEET, N)]


def one_by_one(fn, args):
    twins = [fn(*(jnp.asarray(a[..., i] if f else a) for a, f in zip(args, FLEET, strict=True))) for i in range(N)]
    return [np.stack([np.asarray(t[k]) for t in twins], axis=-1) for k in range(2)]


@pytest.mark.parametrize("name", STEPS)
def test_every_step_equals_vmap(name):
    fn, args = program([name, "ratio"]), fleet(1)
    mapped = jax.vmap(fn, in_axes=(-1, -1, None), out_axes=-1)(*args)
    for a, b in zip(unrolled(fn, args), mapped, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


SMOOTH = [n for n in STEPS if n not in ("scan", "loop", "table", "branch")]


@settings(max_examples=8, deadline=None)
@given(st.lists(st.sampled_from(SMOOTH), min_size=2, max_size=4), st.integers(0, 100))
def test_generated_programs_equal_a_loop(names, seed):
    fn, args = program(names), fleet(seed)
    for a, b in zip(unrolled(fn, args), one_by_one(fn, args), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-10)


@settings(max_examples=8, deadline=None)
@given(st.lists(st.sampled_from(SMOOTH), min_size=1, max_size=3), st.integers(0, 100), st.integers(0, 2))
def test_nan_stays_and_never_spreads_to_another_twin(names, seed, element):
    fn, args = program(names), fleet(seed)
    clean = unrolled(fn, args)
    args[0][element, 2] = np.nan
    got = unrolled(fn, args)
    mapped = jax.vmap(fn, in_axes=(-1, -1, None), out_axes=-1)(*args)
    others = [0, 1, 3]
    for a, b, c in zip(got, mapped, clean, strict=True):
        np.testing.assert_array_equal(a[..., others], c[..., others])
        # the unrolled program may drop a product with a constant zero, so it may have fewer NaN, never more
        known = ~np.isnan(a)
        assert np.isnan(np.asarray(b))[np.isnan(a)].all()
        both = known & ~np.isnan(np.asarray(b))
        np.testing.assert_allclose(a[both], np.asarray(b)[both], rtol=1e-8, atol=1e-10)


def test_nan_passes_through_arithmetic():
    x, A, c = fleet(0)
    x[:, 1] = np.nan
    out, _ = unrolled(program(["matvec", "wave"]), (x, A, c))
    assert np.isnan(out[:, 1]).all()
    assert np.isfinite(np.delete(out, 1, axis=1)).all()


def test_structural_zeros_cost_nothing():
    def fn(x):
        return (jnp.diag(jnp.array([2.0, 0.0, 1.0])) @ x + jnp.zeros(3),)

    tape = unroll(jax.make_jaxpr(fn)(jnp.zeros(3)))
    live = [op.name for op, used in zip(tape.ops, tape.used(), strict=True) if used]
    assert live == ["input", "input", "mul"]


def test_the_same_product_is_computed_once():
    s = Scalars()
    a, b = s.input(0, 0, "f8"), s.input(0, 1, "f8")
    assert s.mul(a, b) is s.mul(a, b)


def test_a_long_loop_stays_a_loop():
    tape = unroll(jax.make_jaxpr(lambda x: (jax.lax.fori_loop(0, 1000, lambda i, v: v * 0.9, x),))(1.0))
    assert len(tape) < 10
    (loop,) = (op for op in tape.ops if op.name == "loop")
    assert dict(loop.params)["count"] == 1000


@pytest.mark.parametrize("fn", [lambda x: (jnp.sort(x),), lambda x: (jnp.fft.fft(x).real,)])
def test_what_is_not_unrolled_is_refused_by_name(fn):
    with pytest.raises(UnsupportedError, match="primitive"):
        unroll(jax.make_jaxpr(fn)(jnp.zeros(3)))


def test_a_large_program_is_refused():
    with pytest.raises(UnsupportedError, match="more than 100"):
        unroll(jax.make_jaxpr(lambda A: (A @ A,))(jnp.zeros((9, 9))), limit=100)
