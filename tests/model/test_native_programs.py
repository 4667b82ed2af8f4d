"""Generated programs, lowered, against `vmap` and a loop over twins; and what the lowering leaves out and keeps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pollux.model.backend import Program
from pollux.model.native import Native, NoCache, UnsupportedError
from pollux.model.native.builder import Builder, arguments
from pollux.model.native.contract import contract
from pollux.model.native.rules import lower
from pollux.model.native.tape import walk

N = 4
FLEET = (True, True, False)
STRICT = Native(fallback=None, cache=NoCache(), threads=1)


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


def native(fn, args):
    return STRICT.fleet(Program("generated", object(), fn, FLEET))(*args)


def one_by_one(fn, args):
    twins = [fn(*(jnp.asarray(a[..., i] if f else a) for a, f in zip(args, FLEET, strict=True))) for i in range(N)]
    return [np.stack([np.asarray(t[k]) for t in twins], axis=-1) for k in range(2)]


@pytest.mark.parametrize("name", STEPS)
def test_every_step_equals_vmap(name):
    fn, args = program([name, "ratio"]), fleet(1)
    mapped = jax.vmap(fn, in_axes=(-1, -1, None), out_axes=-1)(*args)
    for a, b in zip(native(fn, args), mapped, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


SMOOTH = [n for n in STEPS if n not in ("scan", "loop", "table", "branch")]


@settings(max_examples=8, deadline=None)
@given(st.lists(st.sampled_from(SMOOTH), min_size=2, max_size=4), st.integers(0, 100))
def test_generated_programs_equal_a_loop(names, seed):
    fn, args = program(names), fleet(seed)
    for a, b in zip(native(fn, args), one_by_one(fn, args), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


@settings(max_examples=8, deadline=None)
@given(st.lists(st.sampled_from(SMOOTH), min_size=1, max_size=3), st.integers(0, 100), st.integers(0, 2))
def test_nan_stays_and_never_spreads_to_another_twin(names, seed, element):
    fn, args = program(names), fleet(seed)
    clean = native(fn, args)
    args[0][element, 2] = np.nan
    got = native(fn, args)
    mapped = jax.vmap(fn, in_axes=(-1, -1, None), out_axes=-1)(*args)
    others = [0, 1, 3]
    for a, b, c in zip(got, mapped, clean, strict=True):
        np.testing.assert_array_equal(a[..., others], c[..., others])
        # the lowered program may drop a product with a constant zero, so it may have fewer NaN, never more
        known = ~np.isnan(a)
        assert np.isnan(np.asarray(b))[np.isnan(a)].all()
        both = known & ~np.isnan(np.asarray(b))
        np.testing.assert_allclose(a[both], np.asarray(b)[both], rtol=1e-9, atol=1e-12)


def test_nan_passes_through_arithmetic():
    x, A, c = fleet(0)
    x[:, 1] = np.nan
    out, _ = native(program(["matvec", "wave"]), (x, A, c))
    assert np.isnan(out[:, 1]).all()
    assert np.isfinite(np.delete(out, 1, axis=1)).all()


def names_of(fn, *args):
    tape = contract(lower(jax.make_jaxpr(fn)(*args)))
    return [op.name for op in walk(tape.root)]


def test_structural_zeros_cost_nothing():
    def fn(x):
        return (jnp.diag(jnp.array([2.0, 0.0, 1.0])) @ x + jnp.zeros(3),)

    assert names_of(fn, jnp.zeros(3)) == ["load", "mul", "load"]


def test_a_bound_at_infinity_costs_nothing():
    def fn(x):
        return (jnp.clip(x, jnp.array([-jnp.inf, 0.0]), jnp.array([jnp.inf, jnp.inf])),)

    assert sorted(names_of(fn, jnp.zeros(2))) == ["load", "load", "max"]


def test_a_product_in_a_sum_is_fused_and_dead_code_goes():
    def fn(x):
        unused = jnp.exp(x[2])
        return (x[0] * x[1] + x[2], x[2] - x[0] * x[2], unused * 0.0)

    assert sorted(names_of(fn, jnp.zeros(3))) == ["fma", "fnma", "load", "load", "load"]


def test_what_does_not_change_leaves_its_loop_but_not_its_branch():
    def fn(x, u):
        def body(c, w):
            return jax.lax.cond(w > 0, lambda c: jnp.exp(jnp.tanh(x) * jnp.sin(x)).sum() + c, lambda c: c, c), None

        return (jax.lax.scan(lambda c, w: (c + jnp.cos(x[0]) * w, None), 0.0, u)[0], jax.lax.scan(body, 0.0, u)[0])

    tape = contract(lower(jax.make_jaxpr(fn)(jnp.zeros(9), jnp.zeros(5))))
    outside = [op.name for op in tape.root.ops]
    assert "cos" in outside
    assert "tanh" not in outside


def test_the_same_product_is_computed_once():
    b = Builder()
    (x,) = arguments(b, [((2,), "f8")])
    assert b.mul(x[0], x[1]) is b.mul(x[1], x[0])


def test_a_long_loop_stays_a_loop():
    names = names_of(lambda x: (jax.lax.fori_loop(0, 1000, lambda i, v: v * 0.9, x),), 1.0)
    assert len(names) < 6


@pytest.mark.parametrize("fn", [lambda x: (jnp.sort(x),), lambda x: (jnp.fft.fft(x).real,)])
def test_what_is_not_lowered_is_refused_by_name(fn):
    with pytest.raises(UnsupportedError, match="primitive"):
        lower(jax.make_jaxpr(fn)(jnp.zeros(3)))


def test_a_program_that_is_too_long_is_refused():
    with pytest.raises(UnsupportedError, match="more than 300 scalar operations"):
        lower(jax.make_jaxpr(lambda A: (A @ A @ A,))(jnp.zeros((8, 8))), limit=300)


def test_a_zero_that_every_turn_keeps_leaves_the_loop():
    def flow(x):
        def step(i, x):
            return x + 0.1 * jnp.array([-jnp.sqrt(x[0]), jnp.sqrt(x[0]) - jnp.sqrt(x[1])])

        return jax.lax.fori_loop(0, 5, step, x)

    def fn(x):  # the second state does not move the first: one of four tangents is zero in every turn
        return (jax.jacfwd(flow)(x),)

    tape = contract(lower(jax.make_jaxpr(fn)(jnp.ones(2))))
    (loop,) = (op.params["loop"] for op in walk(tape.root) if op.name == "scan")
    assert len([c for c in loop.carry if c.dtype.kind == "f"]) == 5
    x = np.array([1.3, 0.8])
    program = Program("generated", object(), fn, (True,))
    np.testing.assert_allclose(STRICT.one(program)(x)[0], jax.jacfwd(flow)(x), rtol=1e-12)
    assert STRICT.one(program)(x)[0][0, 1] == 0.0


def test_a_zero_that_some_turn_loses_stays_carried():
    def fn(x):
        def turn(c, _):
            a = c @ jnp.array([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0], [0.0, 0.0, 1.0]])
            return a, None

        start = jnp.zeros((3, 3)).at[0, 0].set(x[0])
        return (jax.lax.scan(turn, start, None, length=5)[0],)

    got = STRICT.one(Program("generated", object(), fn, (True,)))(np.array([2.0]))[0]
    np.testing.assert_array_equal(got[0], [2.0, 10.0, 20.0])
    np.testing.assert_array_equal(got[1:], 0.0)
