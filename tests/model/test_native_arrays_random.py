"""Random programs on whole arrays of any layout, against XLA; and the same for narrower vectors, in any memory.

A program is a list of steps on a pool of arrays of any shape, by kind: `f` float64, `s` float32, `i` int64, `u` uint64,
`v` uint32, `b` bool. A step picks its operands by number; where it needs another shape than they have, they are turned,
cut, turned round and repeated until they have it, which makes views upon views. Steps and checks are otherwise those of
`test_native_random`, whose element-wise operations are used here on arrays.

POLLUX_EXAMPLES says how many programs are tried; with it they are drawn anew.
"""

import math
import os
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

from pollux.model.native.machine import AARCH64, AVX2, host
from pollux.model.native.tape import UnsupportedError

from .array_kernel import ArrayKernel
from .test_native_random import COMMON, KINDS, NONE, OPS, SPECIAL, WHOLE, Pool, compare, held, steps

EXAMPLES = int(os.environ.get("POLLUX_EXAMPLES", "20"))
SIZES = (1, 2, 3, 4, 5, 7, 8, 9, 12, 16, 17, 19)
LARGEST = 3000
"""Elements of an array."""
ELEMENTWISE = (
    "add", "sub", "mul", "fma", "div", "scale", "shift", "neg", "abs", "sqrt", "rsqrt", "power", "whole power", "pow",
    "exp", "log", "trig", "arc", "hyper", "error", "max", "limit", "floor", "away", "rest", "sign", "cbrt", "where",
    "which", "number", "large", "truth", "widen", "narrow", "single", "single function", "whole", "shifted", "small",
    "from real", "chosen", "signed", "bits of a number", "short", "unsigned", "natural", "natural own", "words",
    "narrow natural", "wide product", "from real natural", "less", "less whole", "less natural", "logic", "known",
    "odd",
)  # fmt: skip


class Dice:
    """Choices made by one number, while a program is traced."""

    def __init__(self, seed):
        self.g = np.random.default_rng(seed)

    def __call__(self, *options):
        return options[self.g.integers(len(options))]

    def below(self, n):
        return int(self.g.integers(n))

    def order(self, n):
        return tuple(map(int, self.g.permutation(n)))

    def shape(self, least=1, most=4, largest=LARGEST):
        shape = []
        for _ in range(self.g.integers(least, most + 1)):
            shape.append(self(*(n for n in SIZES if n * math.prod(shape) <= largest)))
        return tuple(shape)


def turned(x, dice):
    """The same elements, or some of them, in another layout."""
    for _ in range(dice.below(3)):
        way = dice.below(5)
        if way == 0:
            x = jnp.transpose(x, dice.order(x.ndim))
        elif way == 1 and x.ndim:
            x = lax.rev(x, [a for a in range(x.ndim) if dice.below(2)])
        elif way == 2 and x.ndim:
            x = cut(x, dice)
        elif way == 3:
            x = x.reshape(split(x.size, dice))
        elif way == 4 and x.ndim < 4:
            n = dice(*(n for n in (1, 2, 3, 5, 8) if n * x.size <= LARGEST), 1)
            axis = dice.below(x.ndim + 1)
            shape = (*x.shape[:axis], n, *x.shape[axis:])
            x = lax.broadcast_in_dim(x, shape, [a for a in range(x.ndim + 1) if a != axis])
    return x


def cut(x, dice):
    starts = [dice.below(n) for n in x.shape]
    limits = [a + 1 + dice.below(n - a) for a, n in zip(starts, x.shape, strict=True)]
    return lax.slice(x, starts, limits, [dice(1, 1, 2, 3) for _ in x.shape])


def split(size, dice):
    """A shape of so many elements."""
    shape = []
    while size > 1 and len(shape) < 3 and dice.below(4):
        n = dice(*(d for d in range(1, size + 1) if size % d == 0))
        shape.append(n)
        size //= n
    return (*shape, size)


def fit(x, shape, dice):
    """An array of a shape out of the elements of another, as a view where that can be had."""
    if x.shape == shape and dice.below(3):
        return x
    x, need = jnp.transpose(x, dice.order(x.ndim)), math.prod(shape)
    if len(shape) == x.ndim and all(n >= m for n, m in zip(x.shape, shape, strict=True)):
        steps = [dice(*range(1, (n - 1) // max(m - 1, 1) + 1), 1) for n, m in zip(x.shape, shape, strict=True)]
        limits = [(m - 1) * s + 1 for m, s in zip(shape, steps, strict=True)]
        return lax.slice(x, [0] * x.ndim, limits, steps)
    flat = x.reshape(-1)
    if flat.size < need:
        again = -(-need // flat.size)
        flat = lax.broadcast_in_dim(flat, (again, flat.size), (1,)).reshape(-1) if dice.below(2) else (
            lax.broadcast_in_dim(flat, (flat.size, again), (0,)).reshape(-1))  # fmt: skip
    flat = lax.slice(flat, (flat.size - need,), (flat.size,)) if dice.below(2) else flat[:need]
    order = dice.order(len(shape))
    made = flat.reshape([shape[a] for a in order])
    return jnp.transpose(made, [int(k) for k in np.argsort(order)])


def axes_of(x, dice):
    return tuple(a for a in range(x.ndim) if dice.below(2))


def total(x, dice):
    axes, n = axes_of(x, dice), x.size
    how = dice.below(4)
    if how == 0:
        return jnp.sum(x, axes) / max(n, 1)
    if how == 1:
        return held(jnp.prod(jnp.where(jnp.abs(x) < 1e-3, 0.5, x / jnp.maximum(jnp.abs(x), 1)), axes))
    return (jnp.max if how == 2 else jnp.min)(x, axes)


def total_whole(x, dice):
    return dice(jnp.sum, jnp.prod, jnp.max, jnp.min)(x, axes_of(x, dice))


def place(x, dice):
    return dice(lax.argmax, lax.argmin)(x, dice.below(x.ndim), dice(np.dtype("i8"), np.dtype("i4"))).astype(int)


def running(x, dice):
    axis, back = dice.below(x.ndim), bool(dice.below(2))
    how = dice(lax.cumsum, lax.cummax, lax.cummin)
    return held(how(x / (16 if how is lax.cumsum else 1), axis, reverse=back))


def running_whole(x, dice):
    return dice(lax.cumsum, lax.cumprod, lax.cummax, lax.cummin)(x, dice.below(x.ndim), reverse=bool(dice.below(2)))


def product(a, b, dice, most=4):
    """`dot_general` with any dimension numbers."""
    axes = list(dice.order(a.ndim))
    batch, summed = [], []
    for axis in axes:
        way = dice.below(4)
        (batch if way == 0 else summed if way in (1, 2) else []).append(axis)
    rest = a.size // math.prod([a.shape[i] for i in summed], start=1)
    known = math.prod([a.shape[i] for i in (*batch, *summed)], start=1)
    free = list(dice.shape(0, max(0, most - len(batch) - len(summed)), max(1, LARGEST // max(rest, known))))
    roles = [*(("b", i) for i in batch), *(("s", i) for i in summed), *(("f", k) for k in range(len(free)))]
    roles = [roles[i] for i in dice.order(len(roles))]
    shape = tuple(free[k] if role == "f" else a.shape[k] for role, k in roles)
    b = fit(b, shape, dice)
    where = {r: i for i, r in enumerate(roles)}
    numbers = (summed, [where["s", i] for i in summed]), (batch, [where["b", i] for i in batch])
    return held(lax.dot_general(a, b, numbers) / max(math.prod([a.shape[i] for i in summed]) ** 0.5, 1))


def square(x, dice):
    n = dice(1, 2, 3, 5, 8, 9, 15, 16, 17)
    lead = dice((), (), (1,), (2,), (3, 2))
    return fit(x, (*lead, n, n), dice)


def solid(x):
    n = x.shape[-1]
    return x @ jnp.swapaxes(x, -1, -2) / (8 * n) + 2.0 * jnp.eye(n)


def root(x, dice):
    """Of what is finite: LAPACK spreads an infinite or missing number otherwise than the formula does."""
    x = solid(square(jnp.where(jnp.isfinite(x), x, 1.0), dice))
    return lax.linalg.cholesky(turned_square(x, dice), symmetrize_input=False)


def turned_square(x, dice):
    return jnp.swapaxes(x, -1, -2) if dice.below(2) else x


def substitute(a, b, dice):
    a = square(a, dice)
    n, left = a.shape[-1], bool(dice.below(2))
    a = jnp.clip(turned_square(a, dice), -1, 1) / n + 2.0 * jnp.eye(n)
    m = dice(1, 2, 3, 5, 8, 9, 17)
    b = fit(b, (*a.shape[:-2], n, m) if left else (*a.shape[:-2], m, n), dice)
    flags = [bool(dice.below(2)) for _ in range(3)]
    return held(
        lax.linalg.triangular_solve(a, b, left_side=left, lower=flags[0], transpose_a=flags[1], unit_diagonal=flags[2])
    )


MODES = ("clip", "fill", "drop", "promise_in_bounds")


def indices(i, x, dice, safe):
    """Places along some axes of x, as NumPy's indices."""
    axes = sorted(dice.order(x.ndim)[: 1 + dice.below(min(2, x.ndim))])
    shape = dice.shape(0, 2, 20)
    out: list[Any] = [slice(None)] * x.ndim
    for axis in axes:
        k = fit(turned(i, dice), shape, dice) % (x.shape[axis] if safe else x.shape[axis] + 3)
        out[axis] = k if safe else k - 1
    return tuple(out)


def gathered(x, i, dice):
    mode = dice(*MODES)
    places = indices(i, x, dice, mode == "promise_in_bounds")
    out = x.at[places].get(mode=mode) if mode != "drop" else x[places]
    return out if out.size <= LARGEST else out.reshape(-1)[:LARGEST]


def scattered(x, i, b, dice):
    mode = dice(*MODES)
    places = indices(i, x, dice, mode == "promise_in_bounds")
    seen = jax.eval_shape(lambda x: x.at[places].get(mode="clip"), x).shape
    if math.prod(seen) > LARGEST:
        return x
    update = fit(b, seen, dice)
    ref = x.at[places]
    if x.dtype.kind == "f":
        return held(dice(ref.add, ref.max, ref.min, ref.multiply)(update / 2, mode=mode)) if dice.below(2) else (
            set_apart(x, places, update, mode))  # fmt: skip
    return dice(ref.add, ref.max, ref.min)(update, mode=mode)


def set_apart(x, places, update, mode):
    """Where a place is written twice, with the same."""
    first = jnp.ones(update.shape, update.dtype) * update.reshape(-1)[0]
    return x.at[places].set(first, mode=mode)


def block(x, i, dice):
    sizes = [1 + dice.below(n) for n in x.shape]
    return lax.dynamic_slice(x, [i.reshape(-1)[k % i.size] % 24 - 3 for k in range(x.ndim)], sizes)


def replaced(x, b, i, dice):
    b = fit(b, tuple(1 + dice.below(n) for n in x.shape), dice)
    return lax.dynamic_update_slice(x, b, [i.reshape(-1)[k % i.size] % 24 - 3 for k in range(x.ndim)])


def joined(a, b, dice):
    axis = dice.below(a.ndim)
    n = dice(*SIZES)
    b = fit(b, (*a.shape[:axis], n, *a.shape[axis + 1 :]), dice)
    out = jnp.concatenate([a, b, a] if dice.below(2) else [b, a], axis)
    return out if out.size <= LARGEST else a


def bordered(x, dice):
    config = []
    for n in x.shape:
        inner = dice(0, 0, 1, 2)
        low, high = dice(-1, 0, 1, 2), dice(-2, -1, 0, 1)
        config.append((low, high, inner) if n + (n - 1) * inner + low + high > 0 else (0, 1, inner))
    out = lax.pad(x, jnp.asarray(0.5, x.dtype), config)
    return out if out.size <= LARGEST else x


def parts(x, dice):
    axis = dice.below(x.ndim)
    n = x.shape[axis]
    at = dice.below(n) if n > 1 else 0
    a, b = jnp.split(x, [at], axis) if at else (x, x)
    return jnp.stack([a, a[::-1]], dice.below(a.ndim + 1)) if a.size < LARGEST // 2 else b


def parity(x, dice):
    return dice(jnp.any, jnp.all)(x, axes_of(x, dice))


# (kinds of the operands, kind of the result, function of the operands and of the dice)
ARRAY: dict[str, tuple[str, str, Any]] = {
    **{f"view {k}": (k, k, turned) for k in KINDS if k != "m"},
    **{f"cut {k}": (k, k, cut) for k in "fisb"},
    **{f"join {k}": (k + k, k, joined) for k in "fvb"},
    **{f"border {k}": (k, k, bordered) for k in "fi"},
    **{f"parts {k}": (k, k, parts) for k in "fs"},
    **{f"places {k}": (k + "i", k, gathered) for k in "fsb"},
    **{f"block {k}": (k + "i", k, block) for k in "fsi"},
    **{f"put {k}": (k + k + "i", k, replaced) for k in "fub"},
    "at f": ("fif", "f", scattered), "at i": ("iii", "i", scattered),
    "total": ("f", "f", total), "total s": ("s", "f", lambda x, dice: jnp.max(x, axes_of(x, dice)).astype(float)),
    "total i": ("i", "i", total_whole), "total u": ("u", "u", total_whole), "parity": ("b", "b", parity),
    "count": ("b", "i", lambda x, dice: jnp.sum(x, axes_of(x, dice))),
    "place": ("f", "i", place), "place i": ("i", "i", place), "place v": ("v", "i", place),
    "running": ("f", "f", running), "running i": ("i", "i", running_whole),
    "product": ("ff", "f", product), "product again": ("ff", "f", product), "product s": ("ss", "s", product),
    "gram": ("f", "f", lambda x, dice: product(x, x, dice)),
    "root": ("f", "f", root), "substitute": ("ff", "f", substitute),
    "constant": ("f", "f", lambda x, dice: dice(jnp.ones, jnp.zeros)(x.shape) + (
        np.arange(x.size).reshape(x.shape) / x.size if dice.below(2) else 0.5)),
}  # fmt: skip


class Arrays(Pool):
    """A pool of arrays of any shape."""

    def add(self, kind, value):
        value = jnp.asarray(value)
        super().add(kind, value if value.ndim else value[None])

    def inner(self, **more):
        out = Arrays(self.values, self.noise, self.count)
        for kind, value in more.items():
            out.values[kind].append(value)
        return out

    def fitted(self, kinds, shapes, dice):
        return tuple(fit(self.values[k][-1], s, dice) for k, s in zip(kinds, shapes, strict=True))


def run(pool, program):
    for name, picks, k, inside in program:
        dice = Dice(k)
        if name in CONTROL:
            CONTROL[name](pool, picks, dice, inside)
            continue
        kinds, result, fn = OPS[name] if name in ELEMENTWISE else ARRAY[name]
        args = [pool.pick(kind, p) for kind, p in zip(kinds, picks, strict=False)]
        if name in ELEMENTWISE:
            shape = dice(*(a.shape for a in args))
            pool.add(result, fn(*(fit(a, shape, dice) for a in args), dice.below(60)))
        else:
            pool.add(result, fn(*args, dice))
    return pool


def scan(pool, picks, dice, inside):
    """Carries that stay, change places or are read elsewhere; rows that are views, the carry, or stacked twice."""
    length, way = dice(1, 1, 2, 3, 5, 9), dice.below(6)
    f, g, i, b = (pool.pick(kind, p) for kind, p in zip("ffib", picks, strict=True))
    g = fit(g, f.shape, dice)
    xs = [
        fit(turned(pool.pick(kind, p), dice), (length, *dice.shape(0, 3, 150)), dice)
        for kind, p in zip("fib", picks, strict=False)
    ]
    shape = dice.shape(1, 2, 30)

    def body(c, x):
        inner = pool.inner(f=c[0], i=c[2], b=c[3])
        inner.values["f"] += [c[1], jnp.atleast_1d(x[0])]
        inner.values["i"] += [jnp.atleast_1d(x[1])]
        inner.values["b"] += [jnp.atleast_1d(x[2])]
        run(inner, inside[0])
        new_f, new_i, new_b = inner.fitted("fib", (f.shape, i.shape, b.shape), Dice(way))
        first, second = [(new_f, c[1]), (c[1], c[0]), (c[0], new_f), (new_f, c[0]), (c[1], new_f), (new_f, new_f)][way]
        (out,) = inner.fitted("f", (shape,), Dice(way))
        rows = (out, first, new_i if way % 2 else c[2], inner.fitted("s", (shape,), Dice(way))[0], out.T, c[0], x[2])
        return (first, second, new_i, c[3] if way % 3 else new_b), (*rows, out if way % 2 else x[0])

    carry, rows = lax.scan(body, (f, g, i, b), tuple(xs), reverse=bool(dice.below(2)))
    for kind, value in zip("ffib", carry, strict=True):
        pool.add(kind, value)
    for kind, value in zip("ffisffbf", rows, strict=True):
        if value.size <= LARGEST:
            pool.add(kind, value)


def until(pool, picks, dice, inside):
    end, way = dice.below(4), dice.below(5)
    f, g, i = (pool.pick(kind, p) for kind, p in zip("ffi", picks, strict=False))
    limit = pool.pick("i", picks[3]).reshape(-1)[0] % 3 + end

    def body(c):
        n, f, g, i = c
        inner = run(pool.inner(f=f, i=i), inside[0])
        inner.values["f"].insert(-1, g)
        new_f, new_i = inner.fitted("fi", (f.shape, i.shape), Dice(way))
        f_as_g, g_as_f = fit(f, g.shape, Dice(way)), fit(g, f.shape, Dice(way))
        new_as_g = fit(new_f, g.shape, Dice(way))
        f, g = [
            (new_f, g), (g_as_f, f_as_g), (f[::-1], held(g + 1)), (new_f, new_as_g), (jnp.roll(f, 1, 0), f_as_g),
        ][way]  # fmt: skip
        return n + 1, f, g, new_i

    n, f, g, i = lax.while_loop(lambda c: (c[0] < limit) & ~jnp.all(c[1] > 7.9), body, (jnp.int64(0), f, g, i))
    for kind, value in zip("ffii", (f, g, i, n), strict=True):
        pool.add(kind, value)


def branch(pool, picks, dice, inside):
    shapes = tuple(pool.values[k][-1].shape for k in "fibs")
    seed, twice = dice.below(99), dice.below(2)

    def side(program):
        def fn(x):
            inner = run(pool.inner(f=x), program)
            out = inner.fitted("fibs", shapes, Dice(seed))
            return (*out, out[0] if twice else x)

        return fn

    x = turned(pool.pick("f", picks[1]), dice)
    if dice.below(2):
        out = lax.cond(pool.pick("b", picks[0]).reshape(-1)[0], side(inside[0]), side(inside[1]), x)
    else:
        n = pool.pick("i", picks[0]).reshape(-1)[-1]
        out = lax.switch(n, [side(inside[0]), side(inside[1]), side([])], x) if not twice else (
            lax.switch(n, [side([]), side(inside[0])], x))  # fmt: skip
    for kind, value in zip("fibsf", out, strict=True):
        pool.add(kind, value)


CONTROL = {"scan": scan, "while": until, "cond": branch}


lists = partial(steps, choices=9999)
BASE = [*ELEMENTWISE, *sorted(ARRAY) * 2]
INNERMOST = lists(BASE, 1, 4, NONE)
INNER = lists([*BASE, *sorted(CONTROL) * 8], 1, 4, INNERMOST)
PROGRAMS = lists([*BASE, *sorted(CONTROL) * 12], 2, 9, INNER)


def inputs(seed, special):
    """Two arrays of float64, two of int64, one of each other kind; of any shapes."""
    dice = Dice(seed)
    g = dice.g
    f, h, i, j, u, v, b = (dice.shape(1, 4, 400) for _ in range(7))
    out = [
        g.normal(size=f), g.normal(size=h), g.integers(-4, 40, i), g.integers(-4, 5, j),
        g.integers(0, 2**64, u, dtype=np.uint64), g.integers(0, 2**32, v, dtype=np.uint32), g.random(b) < 0.5,
    ]  # fmt: skip
    if special:
        for k, values in ((0, SPECIAL), (1, SPECIAL), (2, np.array(WHOLE)), (4, np.zeros(1, np.uint64))):
            out[k] = np.where(g.random(out[k].shape) < 0.1, g.choice(values, out[k].shape), out[k])
    return tuple(out)


def function(program, kept):
    def fn(*args):
        f, h, i, j, u, v, b, *noise = map(jnp.asarray, args)
        noise = noise[0] if noise else None
        values = {"f": [f, h], "m": [], "s": [f.astype(jnp.float32)], "i": [i, j], "u": [u], "v": [v], "b": [b]}
        pool = run(Arrays(values, noise), program)
        return tuple(x for k in KINDS for x in pool.values[k][-kept:])

    return fn


def lowered(fn, args, **how):
    """The kernel; None where the program is one that is said not to be lowered."""
    try:
        return ArrayKernel(fn, args, **how)
    except UnsupportedError as error:
        if not any(word in str(error) for word in ("more than", "a bit cast of float64")):
            raise
        return None


@settings(COMMON, max_examples=EXAMPLES)
@given(PROGRAMS, st.integers(0, 999), st.booleans(), st.sampled_from([1, 2, 99]))
def test_random_programs_equal_xla(program, seed, special, kept):
    fn, args = function(program, kept), inputs(seed, special)
    kernel = lowered(fn, args)
    if kernel is None:
        return
    got = kernel(*args)
    expected = [np.asarray(x) for x in jax.jit(fn)(*args)]
    for a, b in zip(got, expected, strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
    compare(fn, args, got, expected)
    for a, b in zip(got, kernel(*args, filling=0x3C), strict=True):
        assert a.tobytes() == b.tobytes(), "what the workspace held before is seen in a result"


@settings(COMMON, max_examples=max(3, EXAMPLES // 5))
@given(PROGRAMS, st.integers(0, 999))
def test_narrower_vectors_give_the_same(program, seed):
    """On AVX2, which this machine has where it has AVX-512; code for AArch64 is assembled."""
    fn, args = function(program, 1), inputs(seed, False)
    if lowered(fn, args, target=AARCH64) is None:
        return
    if not host().triple.startswith("x86_64"):
        return
    narrow = lowered(fn, args, target=replace(host(), cpu=AVX2.cpu, features="", width=AVX2.width))
    assert narrow is not None
    got = narrow(*args)
    compare(fn, args, got, [np.asarray(x) for x in jax.jit(fn)(*args)])
