"""Elementary functions in LLVM: the largest error in units in the last place, against mpmath and long double.

Measured, float64, the points below and a million more a function (the bounds asserted are a little wider):

    exp 0.99     log 0.79     sin 0.81     asin 1.3    asinh 1.8    erf 2.2        pow 1.2
    exp2 1.1     log1p 1.3    cos 0.81     acos 1.4    acosh 2.2    erfc 2.8       atan2 1.3
    expm1 2.1    tanh 2.6     tan 2.3      atan 0.9    atanh 2.0    erf_inv 2.2    cbrt 0.67
    logistic 2.1 sinh 2.4     cosh 1.5      x > 0: lgamma 2.3, digamma 3.6

float32: the same bounds hold (tanh 2.4, tan 2.1 are the largest); pow, erf, erfc, erf_inv, cbrt, lgamma, digamma are
rounded correctly but for about one in 2^29.
"""

import ctypes
import functools
import math
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
import mpmath
import numpy as np
import pytest
import scipy.special

from pollux.model.native import functions
from pollux.model.native.functions.emit import vector

BOUND = {
    "acos": 1.5, "acosh": 2.4, "asin": 1.5, "asinh": 1.9, "atan": 1.0, "atan2": 1.4, "atanh": 2.2, "cbrt": 0.7,
    "cos": 0.9, "cosh": 1.7, "digamma": 4.0, "erf": 2.4, "erfc": 3.2, "erf_inv": 2.4, "exp": 1.1, "exp2": 1.2,
    "expm1": 2.3, "lgamma": 2.6, "log": 0.9, "log1p": 1.5, "logistic": 2.3, "pow": 1.4, "sin": 0.9, "sinh": 2.6,
    "tan": 2.5, "tanh": 2.8,
}  # fmt: skip
NAMES = sorted(functions.NAMES)
COUNT = 400
HAS_LONG_DOUBLE = np.finfo(np.longdouble).nmant == 63

llvm.initialize_all_targets()
llvm.initialize_all_asmprinters()


def text(name: str, lanes: int, real: str) -> str:
    """A module with a loop over arrays around one function."""
    kind, size = vector(lanes, real), {"double": 8, "float": 4}[real]
    second = f", {kind} %y" if functions.arity(name) == 2 else ""
    return f"""{functions.module([(name, lanes, real)])}
define void @run(ptr %to, ptr %first, ptr %other, i64 %n) {{
entry:
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %loop ]
  %px = getelementptr {real}, ptr %first, i64 %i
  %py = getelementptr {real}, ptr %other, i64 %i
  %po = getelementptr {real}, ptr %to, i64 %i
  %x = load {kind}, ptr %px, align {size}
  %y = load {kind}, ptr %py, align {size}
  %r = call fastcc {kind} @{functions.symbol(name, lanes, real)}({kind} %x{second})
  store {kind} %r, ptr %po, align {size}
  %next = add i64 %i, {lanes}
  %more = icmp ult i64 %next, %n
  br i1 %more, label %loop, label %end
end:
  ret void
}}"""


@functools.cache
def compiled(name: str, lanes: int = 8, real: str = "double", cpu: str = "") -> Callable[..., np.ndarray]:
    """The function over NumPy arrays of any size."""
    module = llvm.parse_assembly(text(name, lanes, real))
    module.verify()
    features = "" if cpu else llvm.get_host_cpu_features().flatten()
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=cpu or llvm.get_host_cpu_name(), features=features
    )
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    kind = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 3, ctypes.c_int64)
    run = kind(engine.get_function_address("run"))
    dtype = np.float64 if real == "double" else np.float32

    def call(*args: Any, keep: Any = engine) -> np.ndarray:
        first, other = (np.asarray(a, dtype).ravel() for a in (args * 2)[:2])
        padding = np.ones(-first.size % lanes, dtype)
        arrays = [np.concatenate([a, padding]) for a in (first, other)]
        out = np.empty_like(arrays[0])
        run(out.ctypes.data, arrays[0].ctypes.data, arrays[1].ctypes.data, out.size)
        return out[: first.size]

    return call


def powers(rng: np.random.Generator, low: float, high: float, count: int) -> np.ndarray:
    """Numbers of either sign, their logarithms uniform between 2^low and 2^high."""
    return 2.0 ** rng.uniform(low, high, count) * rng.choice([-1.0, 1.0], count)


def around(centres: Any) -> np.ndarray:
    """Each number and its two neighbours."""
    c = np.asarray(centres, float)
    return np.concatenate([c, np.nextafter(c, np.inf), np.nextafter(c, -np.inf)])


def points(name: str, count: int, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Arguments: every bit pattern, every magnitude, the interval where most happens, and the function's own traps."""
    rng = np.random.default_rng([seed, *name.encode()])
    patterns = rng.integers(0, 2**64, count, dtype=np.uint64).view(float)
    sizes = powers(rng, -1074, 1023.9, count)
    common = [
        patterns,
        sizes,
        powers(rng, -30, 5, count),
        rng.uniform(-3, 3, count),
        around([0.5, 1.0, -1.0, 2.0**-54]),
    ]
    if name == "pow":
        near_one = 1 + powers(rng, -50, -3, count)
        x = np.concatenate([np.abs(sizes), near_one, rng.uniform(0.5, 2, count), patterns, rng.integers(-9, 9, count)])
        tight = rng.uniform(-745, 710, count) / np.log1p(near_one - 1)
        y = [rng.uniform(-2, 2, count), tight, rng.uniform(-700, 700, count), rng.permutation(patterns)]
        return x, np.concatenate([*y, rng.integers(-30, 30, count)])
    if name == "atan2":
        y = np.concatenate([rng.normal(size=count), sizes, powers(rng, -10, 10, count), patterns])
        x = np.concatenate([rng.normal(size=count), rng.permutation(sizes), powers(rng, -10, 10, count)])
        return y, np.concatenate([x, rng.permutation(patterns)])
    if name in ("lgamma", "digamma"):
        return (np.abs(np.concatenate([*common, rng.uniform(0, 20, count), around([1.0, 2.0, 1.4616321449683623])])),)
    grid = np.floor(2.0 ** rng.uniform(0, 20, count)) * (np.pi / 2)
    circular = [
        around(grid),
        rng.uniform(-1e5, 1e5, count),
        powers(rng, 16, 60, count),
        around([2.0**30, 6381956970095103 * 2.0**797]),
    ]
    exponential = [
        rng.uniform(-746, 710, count),
        around(np.log([2.0**-1022, 5e-324, 1.7976931348623157e308])),
        rng.uniform(-1, 1, count),
    ]
    unit = [rng.uniform(-1, 1, count), 1 - 2.0 ** rng.uniform(-53, -1, count), 2.0 ** rng.uniform(-53, -1, count) - 1]
    own = {
        "sin": circular, "cos": circular, "tan": circular, "exp": exponential, "expm1": exponential,
        "sinh": exponential, "cosh": exponential, "logistic": exponential, "asin": unit, "acos": unit, "atanh": unit,
        "erf_inv": unit, "log1p": unit, "exp2": [rng.uniform(-1076, 1024, count), around([-1074.0, -1022.0, 1024.0])],
        "log": [np.abs(sizes), 1 + powers(rng, -52, -2, count), rng.uniform(0.5, 2, count)],
        "acosh": [np.abs(sizes), 1 + 2.0 ** rng.uniform(-52, 2, count)], "tanh": [rng.uniform(-21, 21, count)],
        "erf": [rng.uniform(-6, 6, count)], "erfc": [rng.uniform(-6, 28, count), rng.uniform(25, 27.3, count)],
    }  # fmt: skip
    return (np.concatenate([*common, *own.get(name, [])]),)


def ulps(got: np.ndarray, high: np.ndarray, low: np.ndarray | float = 0.0) -> np.ndarray:
    """|got - (high + low)| in units in the last place of the reference; infinite where only one is finite."""
    with np.errstate(all="ignore"):
        spacing = np.spacing(np.minimum(np.abs(high), np.finfo(high.dtype).max))
        out = np.abs((got - high) / spacing - low / spacing)
    finite = np.isfinite(got) & np.isfinite(high)
    same = (got == high) | (np.isnan(got) & np.isnan(high))
    return np.where(finite, out, np.where(same, 0.0, np.inf))


def oracle(name: str, *args: float) -> tuple[float, float]:
    """The value as a double and what that leaves, at 200 bits."""
    x, *rest = (mpmath.mpf(a) for a in args)
    try:
        match name:
            case "logistic":
                value = 1 / (1 + mpmath.exp(-x))
            case "exp2":
                value = mpmath.mpf(2) ** x
            case "cbrt":
                value = mpmath.sign(x) * mpmath.cbrt(abs(x))
            case "erf_inv":
                value = inverse_erf(x)
            case "lgamma":
                value = mpmath.loggamma(x)
            case "pow":
                return exact_power(*args)
            case "erfc" if args[0] > 100.0:
                value = mpmath.mpf(0)  # below 1e-4344; mpmath's own test overflows for huge arguments
            case _:
                value = getattr(mpmath, name)(x, *rest)
    except (ValueError, ZeroDivisionError):
        return math.nan, 0.0
    if isinstance(value, mpmath.mpc):
        return math.nan, 0.0
    return nearest(value)


def nearest(value: Any) -> tuple[float, float]:
    high = float(value)
    return (high, float(value - high)) if math.isfinite(high) else (high, 0.0)


def exact_power(x: float, y: float) -> tuple[float, float]:
    """x^y for finite arguments; |y log x| may be beyond every exponent, which mpmath would compute in full."""
    if x == 0 or y == 0 or (x < 0 and not y.is_integer()):
        return (0.0 if x == 0 and y > 0 else math.inf if x == 0 and y < 0 else 1.0 if y == 0 else math.nan), 0.0
    exponent = mpmath.mpf(y) * mpmath.log(abs(mpmath.mpf(x)))
    size = mpmath.exp(max(min(exponent, mpmath.mpf(800)), mpmath.mpf(-800)))
    return nearest(-size if x < 0 and y % 2 == 1 else size)


def inverse_erf(x: Any) -> Any:
    """Newton's method on erfc at 200 bits, from SciPy's value."""
    if abs(x) >= 1:
        return mpmath.nan if abs(x) > 1 else x * mpmath.inf
    y = mpmath.mpf(float(scipy.special.erfinv(float(x)))) if abs(x) > 1e-300 else x * mpmath.sqrt(mpmath.pi) / 2
    for _ in range(3):
        y += (x - mpmath.erf(y)) * mpmath.sqrt(mpmath.pi) / 2 * mpmath.exp(y * y)
    return y


@pytest.mark.parametrize("name", NAMES)
def test_error_against_mpmath(name):
    args = points(name, COUNT)
    args = tuple(a[np.all(np.isfinite(args), axis=0)] for a in args)
    with mpmath.workprec(200):
        reference = np.array([oracle(name, *map(float, a)) for a in zip(*args, strict=True)])
    error = ulps(compiled(name)(*args), reference[:, 0], reference[:, 1])
    worst = int(np.argmax(error))
    assert error[worst] <= BOUND[name], (error[worst], [a[worst] for a in args])


LONG: dict[str, Any] = {
    "acos": np.arccos, "acosh": np.arccosh, "asin": np.arcsin, "asinh": np.arcsinh, "atan": np.arctan,
    "atan2": np.arctan2, "atanh": np.arctanh, "pow": np.power,
    **{name: getattr(np, name) for name in ("cbrt", "cos", "cosh", "exp", "exp2", "expm1", "log", "log1p")},
    **{name: getattr(np, name) for name in ("sin", "sinh", "tan", "tanh")},
}  # fmt: skip


@pytest.mark.skipif(not HAS_LONG_DOUBLE, reason="long double has no more bits than double on this machine")
@pytest.mark.parametrize("name", sorted(LONG))
def test_error_against_long_double(name):
    args = points(name, 20_000, seed=1)
    with np.errstate(all="ignore"):
        reference = LONG[name](*(a.astype(np.longdouble) for a in args))
        high = reference.astype(float)
        low = np.where(np.isfinite(high), reference - high, 0.0).astype(float)
    got = compiled(name)(*args)
    error = ulps(got, high, low)
    worst = int(np.argmax(error))
    assert error[worst] <= BOUND[name], (error[worst], [a[worst] for a in args])
    assert_same_signs(got, high)


def assert_same_signs(got: np.ndarray, reference: np.ndarray) -> None:
    """Zeros have signs too."""
    there = ~np.isnan(reference)
    np.testing.assert_array_equal(np.signbit(got[there]), np.signbit(reference[there]))


SINGLE: dict[str, Any] = LONG | {
    "erf": scipy.special.erf, "erfc": scipy.special.erfc, "logistic": scipy.special.expit,
    "lgamma": scipy.special.gammaln,
    "erf_inv": lambda x: np.copysign(scipy.special.erfinv(x), x),
    "digamma": lambda x: scipy.special.digamma(np.where(x == 0, np.nan, x)),
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_single_precision(name):
    rng = np.random.default_rng(2)
    with np.errstate(all="ignore"):
        own = [a.astype(np.float32) for a in points(name, 4000, seed=3)]
        patterns = rng.integers(0, 2**32, (len(own), 20_000), dtype=np.uint32).view(np.float32)
        args = [np.concatenate([a, b]) for a, b in zip(own, patterns, strict=True)]
        reference = SINGLE[name](*(a.astype(float) for a in args))
        high = reference.astype(np.float32)
        low = np.where(np.isfinite(high), reference - high, 0.0)
    got = compiled(name, 16, "float")(*args)
    error = ulps(got, high, low)
    worst = int(np.argmax(error))
    bound = 0.501 if name in functions.WIDENED else BOUND[name]
    assert error[worst] <= bound, (error[worst], [a[worst] for a in args])
    assert_same_signs(got, high)


@pytest.mark.parametrize("name", ["lgamma", "digamma"])
def test_reflection(name):
    """Left of zero, where the many zeros leave no relative error to speak of."""
    x = -np.random.default_rng(6).uniform(0, 30, 1000)
    with mpmath.workprec(200):
        reference = [mpmath.digamma(a) if name == "digamma" else mpmath.log(abs(mpmath.gamma(a))) for a in x]
    expected = np.array(reference, dtype=float)
    got = compiled(name)(x)
    assert np.max(np.abs(got - expected) / (1 + np.abs(expected))) < 5 * 2.0**-52
    np.testing.assert_array_equal(compiled(name, 1)(x), got)


@pytest.mark.parametrize("real", ["double", "float"])
@pytest.mark.parametrize("name", NAMES)
def test_same_bits_for_every_number_of_lanes(name, real):
    with np.errstate(all="ignore"):
        args = [a.astype(np.float64 if real == "double" else np.float32) for a in points(name, 500, seed=4)]
    expected = canonical(compiled(name, 8, real)(*args))
    for lanes in (1, 2, 4, 16, 64):
        np.testing.assert_array_equal(canonical(compiled(name, lanes, real)(*args)), expected)


@pytest.mark.skipif("x86_64" not in llvm.get_default_triple(), reason="runs x86-64 code")
@pytest.mark.parametrize("name", ["exp", "pow", "tan", "erfc"])
def test_same_bits_for_every_cpu(name):
    """With AVX2 and, its fused steps then being calls, with SSE2 alone."""
    args = points(name, 100, seed=4)
    expected = canonical(compiled(name, 8)(*args))
    for cpu in ("haswell", "x86-64") if "fma" in llvm.get_host_cpu_features() else ("x86-64",):
        np.testing.assert_array_equal(canonical(compiled(name, 8, cpu=cpu)(*args)), expected)


def canonical(values: np.ndarray) -> np.ndarray:
    """Bit patterns, with one NaN: IEEE 754 leaves its sign and payload to the CPU."""
    return np.where(np.isnan(values), values.dtype.type(np.nan), values).view(f"u{values.itemsize}")


@pytest.mark.parametrize("real", ["double", "float"])
def test_assembles_for_arm(real):
    machine = llvm.Target.from_triple("aarch64-unknown-linux-gnu").create_target_machine(cpu="neoverse-n1", opt=2)
    module = llvm.parse_assembly(functions.module((name, 16, real) for name in NAMES) + keep_alive(16, real))
    module.triple = "aarch64-unknown-linux-gnu"
    module.verify()
    assembly = machine.emit_assembly(module)
    assert "fmla" in assembly
    calls = {line.split()[1] for line in assembly.splitlines() if line.startswith("\tbl\t")}
    assert all(c.startswith("pollux_") for c in calls), calls


def keep_alive(lanes: int, real: str) -> str:
    """A caller of every function, so that none is dropped."""
    kind = vector(lanes, real)
    lines = []
    for i, name in enumerate(NAMES):
        args = ", ".join([f"{kind} %x"] * functions.arity(name))
        lines.append(f"  %r{i} = call fastcc {kind} @{functions.symbol(name, lanes, real)}({args})")
        lines.append(f"  store {kind} %r{i}, ptr %p")
    return f"\ndefine void @all(ptr %p, {kind} %x) {{\n" + "\n".join(lines) + "\n  ret void\n}\n"


ODD = ("asin", "asinh", "atan", "atanh", "expm1", "log1p", "sin", "sinh", "tan", "tanh")
"""f(x) = x to the last bit for tiny x."""
INF, NAN, TINY = math.inf, math.nan, 5e-324
HALF_PI = math.pi / 2
SPECIAL: dict[str, list[tuple[float, float]]] = {
    "acos": [(1.0, 0.0), (-1.0, math.pi), (0.0, HALF_PI), (-1.1, NAN), (INF, NAN)],
    "acosh": [(1.0, 0.0), (INF, INF), (0.9, NAN), (-INF, NAN)],
    "asin": [(1.0, HALF_PI), (-1.0, -HALF_PI), (1.1, NAN), (-INF, NAN)],
    "asinh": [(INF, INF), (-INF, -INF)],
    "atan": [(INF, HALF_PI), (-INF, -HALF_PI), (1.0, math.pi / 4)],
    "atanh": [(1.0, INF), (-1.0, -INF), (1.1, NAN), (-INF, NAN)],
    "cbrt": [(0.0, 0.0), (-0.0, -0.0), (INF, INF), (-INF, -INF), (27.0, 3.0), (-1.0, -1.0)],
    "cos": [(0.0, 1.0), (-0.0, 1.0), (INF, NAN), (-INF, NAN)],
    "cosh": [(0.0, 1.0), (INF, INF), (-INF, INF)],
    "erf": [(0.0, 0.0), (-0.0, -0.0), (INF, 1.0), (-INF, -1.0)],
    "erf_inv": [(0.0, 0.0), (-0.0, -0.0), (1.0, INF), (-1.0, -INF), (1.1, NAN), (-INF, NAN)],
    "erfc": [(0.0, 1.0), (INF, 0.0), (-INF, 2.0)],
    "exp": [(0.0, 1.0), (INF, INF), (-INF, 0.0), (709.79, INF), (-745.13, TINY), (-745.2, 0.0)],
    "exp2": [(10.0, 1024.0), (INF, INF), (-INF, 0.0), (1024.0, INF), (-1074.0, TINY), (-1076.0, 0.0)],
    "expm1": [(INF, INF), (-INF, -1.0), (-1e300, -1.0), (709.79, INF)],
    "digamma": [(0.0, NAN), (-0.0, NAN), (-1.0, NAN), (INF, INF), (-INF, NAN)],
    "lgamma": [
        (1.0, 0.0),
        (2.0, 0.0),
        (0.0, INF),
        (-0.0, INF),
        (-3.0, INF),
        (INF, INF),
        (-INF, INF),
        (-TINY, 744.4400719213812),
    ],
    "log": [(1.0, 0.0), (0.0, -INF), (-0.0, -INF), (INF, INF), (-1.0, NAN), (-INF, NAN)],
    "log1p": [(-1.0, -INF), (INF, INF), (-1.5, NAN), (-INF, NAN)],
    "logistic": [(0.0, 0.5), (INF, 1.0), (-INF, 0.0), (-745.13, TINY)],
    "sin": [(INF, NAN), (-INF, NAN)],
    "sinh": [(INF, INF), (-INF, -INF)],
    "tan": [(INF, NAN), (-INF, NAN)],
    "tanh": [(INF, 1.0), (-INF, -1.0), (25.0, 1.0)],
}


@pytest.mark.parametrize("name", sorted(SPECIAL))
def test_special_values(name):
    same = [(z, z) for z in (0.0, -0.0, TINY, -TINY) if name in ODD]
    args, expected = np.array(SPECIAL[name] + same).T
    for lanes in (1, 8):
        np.testing.assert_array_equal(canonical(compiled(name, lanes)(args)), canonical(expected))


@pytest.mark.parametrize("name", NAMES)
def test_nan_in_nan_out(name):
    values = compiled(name)(*[np.array([NAN, -NAN, 1.0])] * functions.arity(name))
    np.testing.assert_array_equal(np.isnan(values), [True, True, False])


CORNERS = np.array([
    0.0, 1.0, 0.5, 2.0, 3.0, 2.5, TINY, 1e-300, 2.0**53 - 1, 2.0**53, 2.0**52 + 0.5, 1e300, 1.7976931348623157e308, INF,
    np.nextafter(1.0, 0.0), np.nextafter(1.0, 2.0), 2.0**-1022,
])  # fmt: skip
CORNERS = np.concatenate([CORNERS, -CORNERS, [NAN]])


@pytest.mark.parametrize("name", ["pow", "atan2"])
def test_special_pairs(name):
    """Every pair of corner values, against the C library (C99, annex F.10.1.4 and F.10.4.4), with the sign of zero."""
    first, other = (a.ravel() for a in np.meshgrid(CORNERS, CORNERS))
    with np.errstate(all="ignore"):
        reference = LONG[name](first, other)
    got = compiled(name)(first, other)
    assert np.max(ulps(got, reference)) <= 2
    assert_same_signs(got, reference)
