"""Random per-twin programs over the primitives that are lowered, against XLA; and their bits in fleets of any kind.

A program is a list of steps on a pool of values, one list for each kind: `f` float64 (3,), `m` float64 (3, 3), `s`
float32 (3,), `i` int64 (3,), `u` uint64 (3,), `v` uint32 (3,), `b` bool (3,). A step picks its operands by number and
adds its result; a loop or a branch holds steps of its own, which see the values outside. So every draw is a valid
program, and shrinking one removes steps. Values are kept within bounds, so that most programs are well conditioned;
where one is not, the difference must be within what rounding errors made on purpose in every step change. No step
multiplies NaN by a constant zero: that is zero in native code.

POLLUX_EXAMPLES says how many programs are tried; with it they are drawn anew.
"""

import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jax import lax

from pollux.model.backend import Program, Xla
from pollux.model.native import Native, NoCache, UnsupportedError
from pollux.model.native import kernel as kernels

EXAMPLES = int(os.environ.get("POLLUX_EXAMPLES", "20"))
KINDS = {"f": "f8", "m": "f8", "s": "f4", "i": "i8", "u": "u8", "v": "u4", "b": "?"}
TWINS = 6


def held(x):
    return jnp.clip(x, -8.0, 8.0)


def twice(x):
    return x, x


def solid(a):
    return a @ a.T / 8 + 2.0 * jnp.eye(3)


def one(k):
    """A static number from 0 to 2 out of any number."""
    return k % 3


SHIFTS = (lax.shift_left, lax.shift_right_logical, lax.shift_right_arithmetic)

# (kinds of the operands, kind of the result, function of the operands and of a static number)
OPS: dict[str, tuple[str, str, Any]] = {
    "add": ("ff", "f", lambda a, b, k: held(a + b)),
    "sub": ("ff", "f", lambda a, b, k: held(a - b)),
    "mul": ("ff", "f", lambda a, b, k: held(a * b)),
    "fma": ("fff", "f", lambda a, b, c, k: held(a * b + c) if k % 2 else held(c - a * b)),
    "div": ("ff", "f", lambda a, b, k: a / (2.0 + b * b)),
    "scale": ("f", "f", lambda a, k: held(a * [2.0, 1.0, -1.0][one(k)])),
    "shift": ("f", "f", lambda a, k: held([0.0, 1.0, -0.5][one(k)] - a)),
    "by power of two": ("f", "f", lambda a, k: a / [4.0, -8.0, 0.5][one(k)] / 4),
    "neg": ("f", "f", lambda a, k: -a),
    "abs": ("f", "f", lambda a, k: jnp.abs(a)),
    "sqrt": ("f", "f", lambda a, k: jnp.sqrt(a * a + 0.1)),
    "rsqrt": ("f", "f", lambda a, k: lax.rsqrt(a * a + 0.1)),
    "power": ("f", "f", lambda a, k: held((jnp.abs(a) + 0.3) ** [0.5, 3, -2.0][one(k)])),
    "whole power": ("f", "f", lambda a, k: held(a ** [2, 3, 5][one(k)])),
    "pow": ("ff", "f", lambda a, b, k: held((jnp.abs(a) + 0.5) ** (b / 4))),
    "exp": ("f", "f", lambda a, k: jnp.exp(-jnp.abs(a)) if k % 2 else jnp.expm1(a / 8)),
    "log": ("f", "f", lambda a, k: jnp.log(jnp.abs(a) + 0.5) if k % 2 else jnp.log1p(jnp.abs(a))),
    "trig": ("f", "f", lambda a, k: [jnp.sin, jnp.cos, jnp.tan][one(k)](a / 6)),
    "arc": ("ff", "f", lambda a, b, k: jnp.arctan2(a, b) if k % 2 else jnp.arctan(a) + jnp.arcsin(b / 10)),
    "hyper": ("f", "f", lambda a, k: [jnp.tanh, lax.logistic, lambda v: jnp.sinh(v / 8)][one(k)](a)),
    "error": ("f", "f", lambda a, k: [lax.erf, lax.erfc, lambda v: lax.erf_inv(v / 10)][one(k)](a / 2)),
    "max": ("ff", "f", lambda a, b, k: jnp.maximum(a, b) if k % 2 else jnp.minimum(a, b)),
    "limit": ("fff", "f", lambda a, b, c, k: jnp.clip(a, b, c)),
    "unbounded": ("f", "f", lambda a, k: jnp.clip(a, np.array([-np.inf, -1, 0]), np.array([np.inf, 1, np.inf]))),
    "floor": ("f", "f", lambda a, k: [jnp.floor, jnp.ceil, jnp.round][one(k)](a * 3) / 4),
    "away": ("f", "f", lambda a, k: lax.round(a) / 2),
    "rest": ("ff", "f", lambda a, b, k: lax.rem(a, jnp.abs(b) + 0.5) if k % 2 else jnp.mod(a, jnp.abs(b) + 0.5)),
    "sign": ("f", "f", lambda a, k: jnp.sign(a)),
    "cbrt": ("f", "f", lambda a, k: jnp.cbrt(a)),
    "where": ("bff", "f", lambda c, a, b, k: jnp.where(c, a, b)),
    "which": ("ifff", "f", lambda i, a, b, c, k: lax.select_n(jnp.clip(i, 0, 2).astype(jnp.int32), a, b, c)),
    "sum": ("f", "f", lambda a, k: held([jnp.sum, jnp.max, jnp.min][one(k)](a) * jnp.ones(3))),
    "prod": ("f", "f", lambda a, k: held(jnp.prod(a / 2) * jnp.arange(1.0, 4.0))),
    "running": ("f", "f", lambda a, k: held([lax.cumsum, lax.cummax, lax.cummin][one(k)](a, reverse=k % 2 == 0))),
    "running product": ("f", "f", lambda a, k: held(lax.cumprod(a / 2))),
    "flip": ("f", "f", lambda a, k: [a[::-1], jnp.roll(a, 1), a[np.array([2, 0, 0])]][one(k)]),
    "border": ("f", "f", lambda a, k: lax.pad(a, 0.5, [[(1, -1, 0), (-1, 1, 0), (-2, 0, 1)][one(k)]])[:3]),
    "join": ("ff", "f", lambda a, b, k: jnp.concatenate([a[k % 3 :], b[: k % 3]])),
    "take": ("fi", "f", lambda a, i, k: held(jnp.stack([a[i[0]], a[i[1] % 3], jnp.take(a, i[2] - 1, mode="clip")]))),
    "gather": ("fi", "f", lambda a, i, k: a.at[i].get(mode=["fill", "clip", "fill"][one(k)], fill_value=0.25)),
    "slice": ("fi", "f", lambda a, i, k: jnp.concatenate([lax.dynamic_slice(a, (i[k % 3],), (2,)), a[:1]])),
    "put": ("fif", "f", lambda a, i, b, k: lax.dynamic_update_slice(a, b[:2], (i[one(k)],))),
    "set": ("fif", "f", lambda a, i, b, k: a.at[i[one(k)]].set(b[0], mode=["drop", "clip"][k % 2])),
    "give": ("fif", "f", lambda a, i, b, k: held(a.at[i[one(k)]].add(b[1], mode=["drop", "clip"][k % 2]))),
    "apply": ("mf", "f", lambda m, a, k: held(m @ a if k % 2 else a @ m)),
    "row": ("mi", "f", lambda m, i, k: m[i[one(k)]] if k % 2 else m[:, i[one(k)]]),
    "diagonal": ("m", "f", lambda m, k: jnp.diag(m) if k % 2 else jnp.max(m, axis=k % 4 // 2)),
    "substitute": ("mf", "f", lambda m, a, k: held(lax.linalg.triangular_solve(
        jnp.linalg.cholesky(solid(m)), a[:, None], left_side=True, lower=True, transpose_a=bool(k % 2))[:, 0])),
    "solve": ("mf", "f", lambda m, a, k: held(jnp.linalg.solve(m + 20.0 * jnp.eye(3)[::-1] if k % 2 else solid(m), a))),
    "number": ("i", "f", lambda i, k: (i % 16).astype(float) / 2),
    "large": ("u", "f", lambda u, k: u.astype(float) * 2.0**-62),
    "truth": ("b", "f", lambda b, k: b.astype(float)),
    "widen": ("s", "f", lambda s, k: jnp.floor(s.astype(float) * 4) / 4),
    "outer": ("ff", "m", lambda a, b, k: held(jnp.outer(a, b))),
    "product": ("mm", "m", lambda a, b, k: held(a @ b)),
    "sum of matrices": ("mm", "m", lambda a, b, k: held(a - b.T)),
    "root": ("m", "m", lambda a, k: jnp.linalg.cholesky(solid(a))),
    "row set": ("mif", "m", lambda m, i, a, k: m.at[i[one(k)]].set(a)),
    "row put": ("mif", "m", lambda m, i, a, k: lax.dynamic_update_slice(m, a[None], (i[one(k)], 0))),
    "sparse": ("m", "m", lambda m, k: held(np.diag([2.0, 0.0, 1.0]) @ jnp.nan_to_num(m) + np.eye(3)[one(k)])),
    "inverse": ("m", "m", lambda m, k: jnp.linalg.inv(solid(m))),
    "narrow": ("f", "s", lambda a, k: a.astype(jnp.float32)),
    "single": ("ss", "s", lambda a, b, k: jnp.clip([a + b, a * b, a / (1 + b * b)][one(k)], -8, 8)),
    "single function": ("s", "s", lambda a, k: [jnp.exp, jnp.sin, jnp.tanh][one(k)](-jnp.abs(a))),
    "whole": ("ii", "i", lambda a, b, k: [
        a + b, a - b, a * b, lax.div(a, b), lax.rem(a, b), a // b, a % b, a & b, a | b, a ^ b, jnp.maximum(a, b),
        jnp.minimum(a, b)][k % 12]),
    "shifted": ("ii", "i", lambda a, b, k: SHIFTS[one(k)](a, b % 70 if k % 4 else b)),
    "own": ("i", "i", lambda a, k: [
        ~a, -a, jnp.abs(a), jnp.sign(a), jnp.cumsum(a), a[::-1], a // 7, a % -3, a << 3, a * 5][k % 10]),
    "small": ("i", "i", lambda a, k: a % 5 - 1),
    "from real": ("f", "i", lambda a, k: jnp.floor(a * [4, 1e3, 1e19][one(k)]).astype(int)),
    "best": ("f", "i", lambda a, k: (jnp.argmax(a) if k % 2 else jnp.argmin(a)) + jnp.arange(3)),
    "best number": ("i", "i", lambda a, k: jnp.argmax(a) - jnp.arange(3)),
    "chosen": ("bii", "i", lambda c, a, b, k: jnp.where(c, a, b)),
    "counted": ("b", "i", lambda b, k: jnp.cumsum(b) if k % 2 else jnp.sum(b) * jnp.arange(3)),
    "signed": ("u", "i", lambda u, k: lax.bitcast_convert_type(u, jnp.int64) if k % 2 else u.astype(int)),
    "bits of a number": ("i", "i", lambda a, k: lax.bitcast_convert_type((a % 1000).astype(float), jnp.int64)),
    "short": ("i", "i", lambda a, k: a.astype([jnp.int8, jnp.int16, jnp.int32][one(k)]).astype(int)),
    "unsigned": ("i", "u", lambda a, k: a.astype(jnp.uint64)),
    "natural": ("uu", "u", lambda a, b, k: [
        a + b, a - b, a * b, lax.div(a, b), lax.rem(a, b), a & b, a ^ b, jnp.maximum(a, b), *(
            shift(a, b % np.uint64(70)) for shift in SHIFTS)][k % 11]),
    "natural own": ("u", "u", lambda a, k: [~a, -a, jnp.sign(a), a // 3][k % 4]),
    "narrow natural": ("u", "v", lambda a, k: a.astype(jnp.uint32)),
    "words": ("vv", "v", lambda a, b, k: [a * b, a ^ (b >> 3), a + b, lax.div(a, b), (a << 13) | (a >> 19)][k % 5]),
    "wide product": ("vv", "u", lambda a, b, k: a.astype(jnp.uint64) * b.astype(jnp.uint64)),
    "from real natural": ("f", "v", lambda a, k: jnp.floor(a * [9.0, 1e9, 1e12][one(k)]).astype(jnp.uint32)),
    "less": ("ff", "b", lambda a, b, k: [a < b, a <= b, a == b, a != b, a > b, a >= b][k % 6]),
    "less whole": ("ii", "b", lambda a, b, k: [a < b, a <= b, a == b, a != b, a > b, a >= b][k % 6]),
    "less natural": ("uu", "b", lambda a, b, k: [a < b, a <= b, a == b][one(k)]),
    "logic": ("bb", "b", lambda a, b, k: [a & b, a | b, a ^ b, ~a, jnp.where(a, b, ~b)][k % 5]),
    "known": ("f", "b", lambda a, k: [jnp.isnan, jnp.isfinite, jnp.signbit][one(k)](a) if k % 3 < 2 else a != a),
    "any": ("b", "b", lambda b, k: jnp.stack([jnp.any(b), jnp.all(b), b[0]])),
    "odd": ("i", "b", lambda i, k: (i & 1).astype(bool)),
}  # fmt: skip


class Pool:
    """Values by kind; `noise` changes every new real number a little (None: not at all)."""

    def __init__(self, values, noise=None, count=None):
        self.values = {k: list(v) for k, v in values.items()}
        self.noise, self.count = noise, [0] if count is None else count

    def pick(self, kind, number):
        return self.values[kind][number % len(self.values[kind])]

    def add(self, kind, value):
        value = jnp.asarray(value)
        assert value.dtype == np.dtype(KINDS[kind]), (kind, value.dtype)
        if self.noise is not None and kind in "fms":
            self.count[0] += 1
            value = value * (1 + self.noise[self.count[0] % len(self.noise)] * (2e8 if kind == "s" else 1)).astype(
                value.dtype
            )
        self.values[kind].append(value)

    def inner(self, **more):
        out = Pool(self.values, self.noise, self.count)
        for kind, value in more.items():
            out.values[kind].append(value)
        return out

    def last(self, kinds):
        return tuple(self.values[k][-1] for k in kinds)


def run(pool, steps):
    for step in steps:
        name, picks, k, parts = step
        if name in OPS:
            kinds, result, fn = OPS[name]
            pool.add(result, fn(*(pool.pick(kind, p) for kind, p in zip(kinds, picks, strict=False)), k))
        else:
            CONTROL[name](pool, picks, k, parts)
    return pool


def loop(pool, picks, k, parts):
    """A scan over rows of several sorts, with a carried value that may stay; what it stacks is read again."""
    length = (0, 1, 2, 3, 5, 9)[k % 6]
    carry = (pool.pick("f", picks[0]), pool.pick("i", picks[1]), pool.pick("b", picks[2]), pool.pick("m", picks[3]))
    loose = jnp.stack([pool.pick("f", picks[n % 4] + n) for n in range(length)]) if length else jnp.zeros((0, 3))
    xs = (
        loose,
        np.linspace(-1, 1, 3 * length).reshape(length, 3),
        jnp.arange(length),
        jnp.ones((length, 3)) * carry[0],
    )

    def body(c, row):
        inner = run(pool.inner(f=c[0], i=c[1], b=c[2], m=c[3]), [])
        for f in (row[0], row[1], row[3]):
            inner.values["f"].append(f)
        inner.values["i"].append(row[2] + jnp.arange(3))
        run(inner, parts[0])
        f, i, b = inner.last("fib")
        return (f, i, b, c[3] if k % 2 else inner.last("m")[0]), (f, i, row[0], b, inner.last("s")[0])

    (f, i, b, m), (fs, si, rows, bs, ss) = lax.scan(body, carry, xs, reverse=k % 4 > 1)
    again, _ = lax.scan(lambda c, row: (held(0.5 * c + row[0] - row[1]), None), f, (fs, rows), reverse=k % 8 > 3)
    for kind, value in zip("fibmf", (f, i, b, m, again), strict=True):
        pool.add(kind, value)
    pool.add("i", jnp.sum(si, axis=0) + jnp.sum(bs, axis=0))
    pool.add("s", jnp.max(ss, axis=0) if length else jnp.ones(3, jnp.float32))
    if length:
        pool.add("f", fs[0])
        pool.values.setdefault("stacked", []).append(jnp.concatenate([f[None], fs]))


def until(pool, picks, k, parts):
    """A while loop that ends at another time in every lane; some make no turn."""
    end = jnp.clip(pool.pick("i", picks[0])[one(k)], -1, 4)
    start = (jnp.int64(0), pool.pick("f", picks[1]), pool.pick("i", picks[2]), pool.pick("b", picks[3]))

    def body(c):
        inner = run(pool.inner(f=c[1], i=c[2], b=c[3]), parts[0])
        return (c[0] + 1, *inner.last("fi"), c[3] if k % 2 else inner.last("b")[0])

    n, f, i, b = lax.while_loop(lambda c: (c[0] < end) & ~jnp.all(c[1] > 7.9), body, start)
    for kind, value in zip("fibi", (f, i, b, n + jnp.arange(3)), strict=True):
        pool.add(kind, value)


def large(pool, picks, k, parts):
    """A while loop that carries whole paths, which change places, are shifted, filled by a scan, or stay."""
    end = jnp.clip(pool.pick("i", picks[0])[one(k)], 0, 3)
    a = jnp.outer(jnp.arange(1.0, 13.0) / 8, pool.pick("f", picks[1]))
    b = jnp.zeros((12, 3)) if k % 2 else a[::-1] * 0.5
    whole = jnp.outer(jnp.arange(12), pool.pick("i", picks[2]))

    def body(c):
        n, a, b, whole = c
        inner = run(pool.inner(f=a[1], i=whole[2]), parts[0])
        f, i = inner.last("fi")
        path = lax.scan(lambda v, row: twice(held(0.5 * v + row)), f, a)[1]
        new = [(b, a), (path, b), (b.at[3].set(f), path), (a[::-1], held(b + a)), (jnp.roll(a, 1, 0), b)][k % 5]
        return n + 1, *new, whole.at[4].add(i) if k % 3 else whole

    n, a, b, whole = lax.while_loop(lambda c: c[0] < end, body, (jnp.int64(0), a, b, whole))
    pool.add("f", a[3])
    pool.add("f", held(jnp.sum(b, axis=0)))
    pool.add("i", jnp.sum(whole, axis=0) + n)
    pool.values.setdefault("stacked", []).append(a)


def branch(pool, picks, k, parts):
    def side(steps):
        def fn(_):
            inner = run(pool.inner(), steps)
            return inner.last("fimbsu")

        return fn

    if k % 2:
        out = lax.cond(pool.pick("b", picks[0])[one(k)], side(parts[0]), side(parts[1]), 0)
    else:
        out = lax.switch(pool.pick("i", picks[0])[one(k)], [side(parts[0]), side(parts[1]), side([])], 0)
    for kind, value in zip("fimbsu", out, strict=True):
        pool.add(kind, value)


CONTROL = {"scan": loop, "while": until, "large": large, "cond": branch}


def steps(names, least, most, inner, choices=59):
    return st.lists(
        st.tuples(
            st.sampled_from(names), st.tuples(*[st.integers(0, 9)] * 4), st.integers(0, choices),
            st.tuples(inner, inner),
        ),
        min_size=least,
        max_size=most,
    )  # fmt: skip


BASE = sorted(OPS)
NONE = st.just(())
INNERMOST = steps(BASE, 1, 4, NONE)
INNER = steps([*BASE, *sorted(CONTROL) * 5], 1, 4, INNERMOST)
PROGRAMS = steps([*BASE, *sorted(CONTROL) * 12], 2, 9, INNER)

SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e300, -1e-200, 1e-300, 1.0, 0.5, -2.0]
WHOLE = [0, 1, 2, -1, 63, 64, 2**31 - 1, -(2**31), 2**63 - 1, -(2**63)]


def inputs(seed, special):
    g = np.random.default_rng(seed)
    f, m = g.normal(size=(2, 3, TWINS)), g.normal(size=(3, 3, TWINS))
    i, u = g.integers(-4, 5, (2, 3, TWINS)), g.integers(0, 2**64, (2, 3, TWINS), dtype=np.uint64)
    if special:
        f = np.where(g.random(f.shape) < 0.2, g.choice(SPECIAL, f.shape), f)
        i = np.where(g.random(i.shape) < 0.2, g.choice(np.array(WHOLE), i.shape), i)
        u = np.where(g.random(u.shape) < 0.2, np.uint64(0), u)
    return (
        f[0],
        f[1],
        m,
        i[0],
        i[1],
        u[0],
        g.integers(0, 2**32, (3, TWINS), dtype=np.uint32),
        g.random((3, TWINS)) < 0.5,
    )


FLEET = (True, False, True, True, True, True, True, True)


def function(steps, kept):
    """The program of some steps. What `kept` says comes out: the last values of each kind, or all there are."""

    def fn(f, shared, m, i, j, u, v, b, noise=None):
        values = {"f": [f, shared], "m": [m], "s": [f.astype(jnp.float32)], "i": [i, j], "u": [u], "v": [v], "b": [b]}
        pool = run(Pool(values, noise), steps)
        last = [x for k in KINDS for x in pool.values[k][-kept:]]
        return (*last, *pool.values.get("stacked", []))

    return fn


def differ(a, b):
    """Where two results of a program differ by more than rounding."""
    if a.dtype.kind != "f":
        return a != b
    tolerance = 1e-12 if a.itemsize == 8 else 2e-5
    with np.errstate(all="ignore"):
        near = np.abs(a - b) <= tolerance * np.maximum(np.abs(b), 1.0)
    return ~(near | (a == b) | (np.isnan(a) & np.isnan(b)))


def sensitive(fn, args):
    """For each result, how much rounding errors in every step change it: infinite for a number that must be exact."""
    noisy = jax.jit(fn)
    expected = [np.asarray(e) for e in noisy(*args, np.zeros(257))]
    out = [np.zeros(e.shape) for e in expected]
    g = np.random.default_rng(0)
    for _ in range(24):
        got = noisy(*args, g.choice([-3e-16, 0.0, 3e-16], 257))
        for o, a, e in zip(out, got, expected, strict=True):
            a = np.asarray(a)
            with np.errstate(all="ignore"):
                change = np.where(
                    differ(a, e) & (a.dtype.kind != "f"), np.inf, np.abs(a.astype(float) - e.astype(float))
                )
            o[...] = np.maximum(o, np.where(np.isnan(change), np.where(np.isnan(a) & np.isnan(e), 0, np.inf), change))
    return out


def compare(fn, args, got, expected):
    wrong = [differ(a, b) for a, b in zip(got, expected, strict=True)]
    if not any(w.any() for w in wrong):
        return
    with jax.disable_jit():  # XLA 0.10 sometimes fuses wrongly what it computes rightly step by step
        expected = [np.asarray(e) for e in fn(*args)]
    wrong = [differ(a, b) for a, b in zip(got, expected, strict=True)]
    if not any(w.any() for w in wrong):
        return
    change = sensitive(fn, args)
    for k, (w, a, b, c) in enumerate(zip(wrong, got, expected, change, strict=True)):
        with np.errstate(all="ignore"):
            far = w & ~(np.abs(a.astype(float) - b.astype(float)) <= 30 * c) & ~(c == np.inf)
        assert not far.any(), f"output {k}: native {a[far]}, XLA {b[far]}, rounding changes it by {c[far]}"


def check(steps, seed, special, kept, lanes):
    fn = function(steps, kept)
    program = Program("random", object(), fn, FLEET)
    args = inputs(seed, special)
    args = (args[0], args[1][:, 0], *args[2:])
    backend = Native(fallback=None, cache=NoCache(), threads=1, lanes=lanes)
    try:
        fleet = backend.fleet(program)(*args)
    except UnsupportedError as error:
        if "more than" not in str(error):
            raise
        return
    one, xla = backend.one(program), Xla().one(program)
    for j in range(TWINS):
        own = tuple(np.ascontiguousarray(a[..., j]) if f else a for a, f in zip(args, FLEET, strict=True))
        alone = one(*own)
        for k, (a, b) in enumerate(zip(alone, fleet, strict=True)):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b[..., j], f"output {k}: one twin, and twin {j} of a fleet")
        compare(fn, own, alone, xla(*own))


COMMON = settings(
    deadline=None,
    derandomize="POLLUX_EXAMPLES" not in os.environ,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
)


@settings(COMMON, max_examples=EXAMPLES)
@given(PROGRAMS, st.integers(0, 99), st.booleans(), st.sampled_from([1, 2, 99]), st.sampled_from([4, 8, 16]))
def test_random_programs_equal_xla(steps, seed, special, kept, lanes):
    check(steps, seed, special, kept, lanes)


@settings(COMMON, max_examples=max(EXAMPLES // 5, 1))
@given(PROGRAMS, st.integers(0, 99), st.booleans())
def test_bits_are_those_of_any_fleet(steps, seed, special):
    """Of any size, in any place, with any lanes and threads; and a twin full of NaN changes no other."""
    program = Program("random", object(), function(steps, 1), FLEET)
    args = tuple(np.concatenate([a] * 4, axis=-1)[..., :20] for a in inputs(seed, special))
    args = (args[0], args[1][:, 0], *args[2:])

    def part(begin, end):
        return tuple(np.ascontiguousarray(a[..., begin:end]) if f else a for a, f in zip(args, FLEET, strict=True))

    def kernel(lanes, threads=1):
        return Native(fallback=None, cache=NoCache(), lanes=lanes, threads=threads).fleet(program)

    expected = kernel(4)(*args)
    for lanes, threads in ((8, 1), (16, 1), (4, 2)):
        for e, g in zip(expected, kernel(lanes, threads)(*args), strict=True):
            np.testing.assert_array_equal(e, g)
    for size in range(1, 20):
        begin = (7 * size) % (21 - size)
        for e, g in zip(expected, kernel(4)(*part(begin, begin + size)), strict=True):
            np.testing.assert_array_equal(e[..., begin : begin + size], g)
    sick = tuple(a.copy() for a in args)
    for a, f in zip(sick, FLEET, strict=True):
        if f and a.dtype.kind == "f":
            a[..., 6] = np.nan
    for e, g in zip(expected, kernel(4)(*sick), strict=True):
        np.testing.assert_array_equal(np.delete(e, 6, -1), np.delete(g, 6, -1))


@pytest.fixture(autouse=True)
def threads_for_small_fleets(monkeypatch):
    monkeypatch.setattr(kernels, "CHUNK_WORK", 1)
