"""Corners of the lowering, each of which was once wrong or might be: against XLA, exactly where numbers are whole."""

from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from pollux.core.errors import InputError
from pollux.model.backend import Program, Xla
from pollux.model.native import Native, NoCache, UnsupportedError
from pollux.model.native.fingerprint import digest

STRICT = Native(fallback=None, cache=NoCache(), threads=1)


def check(fn, *args):
    """One twin against XLA, and a fleet of equal twins against the one."""
    program = Program("corner", object(), lambda *a: tuple(jax.tree.leaves(fn(*a))), (True,) * len(args))
    args = tuple(np.asarray(a) for a in args)
    alone = STRICT.one(program)(*args)
    for a, b in zip(alone, Xla().one(program)(*args), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-300)
    for a, b in zip(STRICT.fleet(program)(*(np.repeat(a[..., None], 11, -1) for a in args)), alone, strict=True):
        np.testing.assert_array_equal(a, np.repeat(b[..., None], 11, -1))


X = np.array([1.5, -2.5, 0.49999999999999994, -0.5, 3.5])
LEAST = -(2**63)
CASES = {
    "one function in two precisions": (lambda x: (jnp.exp(x), jnp.exp(x.astype(jnp.float32))), X),
    "halves away from zero": (
        lambda x: (lax.round(x), jnp.round(x), lax.round(jnp.array([2.5, X[2], -0.5, 2.0**52 + 1])) + x[0]), X
    ),
    "a vector taken apart": (lambda x: (*jnp.unstack(x), *jnp.unstack(jnp.outer(x, x))), X),
    "powers": (
        lambda x: (x**0.5, lax.pow(x, jnp.float64(np.nan)), lax.pow(x, jnp.float64(np.inf)), 1 / x**0.5),
        np.array([-np.inf, -0.0, 2, np.nan, np.inf, -3]),
    ),
    "constants to whole numbers": (
        lambda x: x.astype(int) + jnp.array([1e20, -1e20, np.nan, np.inf, -1.7]).astype(jnp.int32), X
    ),
    "numbers to whole numbers": (
        lambda x: tuple(x.astype(d) for d in (jnp.int8, jnp.uint8, jnp.int32, jnp.uint32, jnp.int64, jnp.uint64)),
        np.array([np.nan, np.inf, -np.inf, -1.5, 300.0, -200.0, 3e9, 1e20, 2.0**63]),
    ),
    "shifts of constants": (
        lambda i: (
            i + lax.shift_right_arithmetic(jnp.int64(-8), jnp.int64(-1)),
            i + lax.shift_right_arithmetic(jnp.uint32(2**31), jnp.uint32(3)).astype(int),
            lax.shift_left(jnp.int64(3), i + 63), lax.shift_right_logical(jnp.int64(-3), i + 62),
        ),
        np.int64(1),
    ),
    "a sum wider than its factors": (
        lambda x: (
            lax.dot(x.astype(jnp.float32), x.astype(jnp.float32), preferred_element_type=jnp.float64),
            lax.dot(x.astype(jnp.int8), x.astype(jnp.int8), preferred_element_type=jnp.int32),
        ),
        X,
    ),
    "a singular determinant": (lambda a: jnp.linalg.det(a), np.outer(np.arange(1.0, 5), np.arange(1.0, 5))),
    "a column without a pivot": (jax.scipy.linalg.lu_factor, np.array([[0.0, 2, 3], [0, 4, 6], [0, 1, 1]])),
    "an indefinite matrix": (jnp.linalg.cholesky, np.array([[1.0, 2], [2, 1]])),
    "a semidefinite matrix": (jnp.linalg.cholesky, np.array([[1.0, 1], [1, 1]])),
    "reading out of range": (
        lambda x, i: (
            x.at[i].get(mode="fill", fill_value=7.0), x.at[9].get(mode="fill", fill_value=7.0),
            x.at[9].get(mode="fill"), x.at[jnp.stack([i, jnp.int64(9)])].get(mode="fill"), x[i],
            x.at[jnp.int64(2**40)].get(mode="clip"),
        ),
        X, np.int64(9),
    ),
    "writing out of range": (
        lambda x, i: (
            x.at[i].set(3.0, mode="clip"), x.at[i].set(3.0), x.at[i].add(3.0, mode="clip"),
            x.at[9].set(1.0, mode="clip"), x.at[2**40].set(1.0), x.at[-1 - i].set(2.0),
        ),
        X, np.int64(9),
    ),
    "zero by zero": (lambda i: (lax.div(jnp.int64(0), i), 0 // i, lax.rem(jnp.int64(0), i)), np.int64(0)),
    "the angle of a zero": (lambda x: (jnp.arctan2(0.0 - x[0], x[1]), jnp.arctan2(-x[0], x[1])), np.array([0.0, -1.0])),
    "constant and repeated results": (
        lambda x, unused: (jnp.float64(3), jnp.zeros((0, 3)), jnp.arange(3), x, x, x[::-1], jnp.array(True)), X, X
    ),
    "truth values": (
        lambda b, c: (
            b & c, b ^ c, ~b, jnp.where(b, 1.0, 2.0), b < c, jnp.maximum(b, c), jnp.argmax(b), jnp.sum(b),
            jnp.cumsum(b),
        ),
        np.array([True, False, True]), np.array([True, True, False]),
    ),
    "unsigned numbers": (
        lambda u: (
            u.astype(float), u // 3, u % np.uint64(3), u * u, u - 1, u.astype(jnp.float32), u >> np.uint64(63), -u,
            u.astype(jnp.int32), jnp.sign(u), u < np.uint64(5), jnp.maximum(u, np.uint64(2**63)), jnp.argmax(u),
        ),
        np.array([2**64 - 1, 2**63 + 1, 0, 5], np.uint64),
    ),
    "the least number": (
        lambda i: (i // -1, i % -1, jnp.abs(i), -i, i * i, lax.div(i, jnp.int64(-1)), jnp.sign(i), jnp.clip(i, -3, 3)),
        np.array([LEAST, -LEAST - 1, -1, 0]),
    ),
    "remainders": (
        lambda x, y: (lax.rem(x, y), x % y, x // y, jnp.fmod(x, y)), X, np.array([0.3, -0.7, 1e-3, np.inf, 0.0])
    ),
    "short numbers": (
        lambda i: (i.astype(jnp.int8) * jnp.int8(3), i.astype(jnp.uint8), i.astype(jnp.int16) // 7),
        np.array([-300, 127, 128, 5]),
    ),
    "loops in step": (
        lambda x: jax.vmap(lambda r, y: lax.while_loop(lambda s: s[0] < 5, lambda s: (s[0] * 2 + 1, s[1] + r), (r, y)))(
            x, jnp.outer(x, x)
        ),
        np.array([0.1, 0.7, 9.0, -0.5]),
    ),
    "the largest among NaN": (
        lambda x: (jnp.argmax(x), jnp.argmin(x), jnp.nanargmax(x), jnp.max(x), jnp.nanmax(x)),
        np.array([1.0, np.nan, 3.0, np.nan, 5]),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_as_xla(name):
    check(*CASES[name])


@pytest.mark.parametrize(
    "fn",
    [
        lambda x: x.astype(jnp.float16),
        lambda x: jnp.abs(x + 1j),
        lambda x: jax.random.normal(jax.random.key(0), (2,)) + x[0],
    ],
    ids=["half", "complex", "key"],
)
def test_numbers_without_a_machine_type_are_refused(fn):
    with pytest.raises(UnsupportedError, match="numbers of type"):
        STRICT.one(Program("types", object(), lambda x: (fn(x),), (True,)))(X)


def test_division_by_the_least_number_does_not_overflow():
    kernel = STRICT.one(Program("tiny", object(), lambda x: (x / 5e-324,), (True,)))
    np.testing.assert_array_equal(kernel(np.array([0.0, 1e-320]))[0], np.array([0.0, 1e-320]) / 5e-324)


def test_without_x64_arrays_are_converted():
    """JAX then takes float64 for float32, and the kernel must not read the one as the other."""
    with jax.enable_x64(False):
        for backend in (STRICT, Xla()):
            (got,) = backend.one(Program("narrow", object(), lambda x: (x * 2,), (True,)))(X)
            np.testing.assert_array_equal(got, (X * 2).astype(np.float32))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda x: jnp.pad(x, (1, 10)), lambda x: jnp.pad(x, (11, 0))),
        (lambda x: x + np.array([1.0, 2.0]), lambda x: x + np.array([1.0, 3.0])),
        (lambda x: lax.scan(lambda c, _: (c + np.array([1.0, 2.0]), None), x, None, length=5)[0],
         lambda x: lax.scan(lambda c, _: (c + np.array([1.0, 3.0]), None), x, None, length=5)[0]),
        (lambda x: lax.scan(lambda c, _: (c + 1.0, None), x, None, length=5)[0],
         lambda x: lax.scan(lambda c, _: (c + 1.0, None), x, None, length=6)[0]),
        (lambda x: lax.custom_linear_solve(lambda v: 2.0 * v, x, lambda mv, b: b / 2.0),
         lambda x: lax.custom_linear_solve(lambda v: 2.0 * v, x, lambda mv, b: b / 2.0000001)),
        (lambda x: lax.round(x), lambda x: lax.round(x, lax.RoundingMethod.TO_NEAREST_EVEN)),
        (lambda x: jnp.searchsorted(np.array([0.0, 1.0]), x),
         lambda x: jnp.searchsorted(np.array([0.0, 1.0]), x, side="right")),
        (lambda x: x.at[1].get(mode="fill", fill_value=1.0), lambda x: x.at[1].get(mode="fill", fill_value=2.0)),
        (lambda x: lax.cond(x[0] > 0, lambda v: v, lambda v: v + 1.0, x),
         lambda x: lax.cond(x[0] > 0, lambda v: v + 1.0, lambda v: v, x)),
    ],
)  # fmt: skip
def test_other_programs_have_other_keys(one, other):
    spec = jax.ShapeDtypeStruct((2,), np.float64)
    assert digest(jax.make_jaxpr(one)(spec)) != digest(jax.make_jaxpr(other)(spec))
    assert digest(jax.make_jaxpr(one)(spec)) == digest(jax.make_jaxpr(one)(spec))


def fleet(fn, *args):
    program = Program("fleet", object(), lambda *a: tuple(jax.tree.leaves(fn(*a))), (True,) * len(args))
    return STRICT.fleet(program)(*args)


def test_a_lane_that_does_not_take_a_branch_does_not_keep_its_loop_running():
    def fn(x):
        def halve(v):  # would never end where x is 5 or more
            return lax.while_loop(lambda s: s > 1e-3, lambda s: s * jnp.where(x < 5, 0.5, 1.0), v)

        return lax.cond(x < 5, halve, lambda v: v, x)

    (got,) = fleet(fn, np.array([1.0, 9.0, 3.0]))
    np.testing.assert_array_equal(got, [2.0**-10, 9.0, 3 * 2.0**-12])


def test_a_lane_that_has_ended_does_not_keep_an_inner_loop_running():
    def fn(x, end):
        def turn(s):  # the inner loop would never end where t has reached the end
            t, n = s
            return t + 1, n + lax.while_loop(lambda k: k < t, lambda k: k + (t < end) * 1.0, 0.0)

        return lax.while_loop(lambda s: s[0] < end, turn, (x, 0.0))

    t, n = fleet(fn, np.array([1.0, 2.0, 3.0]), np.array([3.0, 9.0, 3.0]))
    np.testing.assert_array_equal(t, [3, 9, 3])
    np.testing.assert_array_equal(n, [3, 35, 0])


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((np.ones(3), np.ones(4)), "equally long"),
        ((np.ones((2, 3)), np.ones(2)), "equally long"),
        ((np.float64(1), np.ones(3)), "needs the fleet axis"),
        ((np.ones(3),), "takes 2 arguments"),
    ],
)
def test_fleets_of_different_sizes_are_refused(args, message):
    with pytest.raises(InputError, match=message):
        STRICT.fleet(Program("two", object(), lambda x, y: (x.sum() + y,), (True, True)))(*args)


def test_a_fleet_without_twins_and_one_without_a_fleet_axis():
    (got,) = fleet(lambda x: x * 2, np.ones((3, 0)))
    assert got.shape == (3, 0)
    with pytest.raises(InputError, match="no argument that carries the fleet axis"):
        STRICT.fleet(Program("shared", object(), lambda x: (x,), (False,)))(np.ones(3))


def test_arrays_of_any_layout_and_kind():
    x = np.arange(24.0).reshape(2, 3, 4)
    y = x[:, :, :2]
    for array in (x[:, :, ::2], x[::-1, :, :2], np.asfortranarray(y), y.astype(">f8"), y.tolist()):
        (got,) = fleet(lambda x: x * 2, array)
        np.testing.assert_array_equal(got, np.asarray(array, float) * 2)
    kernel = STRICT.fleet(Program("kinds", object(), lambda x: (x + 1,), (True,)))
    for kind in (np.float32, np.int32, np.uint8, np.float64, np.int64):
        (got,) = kernel(np.arange(5).astype(kind))
        assert got.dtype == kind
        np.testing.assert_array_equal(got, np.arange(5) + 1)


@pytest.mark.parametrize(
    "room", [np.zeros(4), np.zeros(3, np.float32), np.zeros(6)[::2], np.zeros((3, 1)), np.broadcast_to(0.0, 3)]
)
def test_rooms_that_do_not_fit_are_refused(room):
    kernel = STRICT.fleet(Program("rooms", object(), lambda x: (x + 1,), (True,)))
    with pytest.raises(InputError, match="contiguous, writeable array"):
        kernel(np.ones(3), out=(room,))
    with pytest.raises(InputError, match="1 outputs, received 2"):
        kernel(np.ones(3), out=(np.ones(3), np.ones(3)))
    with pytest.raises(InputError, match="of shape"):
        STRICT.one(Program("rooms", object(), lambda x: (x + 1,), (True,)))(np.ones(3), out=(np.ones((2, 3)),))


def test_an_output_may_lie_where_an_argument_does():
    """A loop writes its output turn by turn while it still reads the argument from the other end."""

    def fn(x):
        return (lax.scan(lambda c, v: (c + v, c + v), 0.0, x[::-1])[1],)

    program = Program("reversed", object(), fn, (True,))
    x = np.random.default_rng(0).normal(size=(40, 9))
    expected = STRICT.fleet(program)(x)[0]
    STRICT.fleet(program)(x, out=(x,))
    np.testing.assert_array_equal(x, expected)


def test_many_threads_call_one_kernel():
    def fn(x):
        return lax.fori_loop(0, 50, lambda i, v: v * 0.9 + jnp.sin(v), x), jnp.flip(x)

    program = Program("busy", object(), lambda x: fn(x), (True,))
    backend = Native(fallback=None, cache=NoCache(), threads=2)
    many, one = backend.fleet(program), backend.one(program)
    inputs = np.random.default_rng(0).normal(size=(8, 3, 4001))
    expected = [STRICT.fleet(program)(x) for x in inputs]

    def work(k):
        same = all(np.array_equal(a, b) for a, b in zip(many(inputs[k]), expected[k], strict=True))
        return same and all(np.array_equal(one(inputs[k][:, j])[0], expected[k][0][:, j]) for j in range(0, 4001, 40))

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(work, list(range(8)) * 3))


def test_results_that_are_fed_back():
    kernel = STRICT.one(Program("swap", object(), lambda x, y: (y, x, x.sum()), (True, True)))
    bound = kernel.bind(np.arange(3.0), np.arange(3.0) + 10, feed={0: 0, 1: 1})
    bound()
    np.testing.assert_array_equal(bound.inputs, [[10, 11, 12], [0, 1, 2]])
    with pytest.raises(InputError, match="cannot be fed back as one input"):
        kernel.bind(np.arange(3.0), np.arange(3.0), feed={0: 0, 1: 0})


@pytest.mark.parametrize("lanes", [0, 1, 3, 128])
def test_lanes_that_no_register_has_are_refused(lanes):
    with pytest.raises(InputError, match="power of two"):
        Native(lanes=lanes)
