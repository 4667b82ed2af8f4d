"""log, log1p and the inverse hyperbolic functions: x = 2^k m with sqrt(1/2) <= m < sqrt(2), f = m - 1, s = f / (2 + f).

log(1 + f) = f - (f^2/2 - s (f^2/2 + R)), R = 2 atanh(s) / s - 2 = s^2 P(s^2): the scheme of FreeBSD's msun (e_log.c,
Sun Microsystems, 1993), with P of degree 6 (2 in single precision) fitted anew: Lawson,
relative error 2^-59.5 (2^-30.2).
"""

from pollux.model.native.functions.emit import Emit, Operand
from pollux.model.native.functions.formats import DOUBLE, SINGLE

P = {
    DOUBLE: (
        0.6666666666666735, 0.3999999999940986, 0.2857142874349562, 0.22222198454918357, 0.18183570728690437,
        0.15313880008006023, 0.1479772392253466,
    ),
    SINGLE: (0.6666677594184875, 0.3997757136821747, 0.2987135052680969),
}  # fmt: skip
LN2 = {DOUBLE: (0.6931471803691238, 1.9082149292705877e-10), SINGLE: (0.693145751953125, 1.428606765330187e-06)}
"""ln 2 in two parts, the first so short (32 and 16 bits) that its product with k is exact."""
INFINITY = float("inf")
NAN = float("nan")


def number(e: Emit, integer: str, less: float = 0.0) -> str:
    """An integer that fits the fraction, as a real number less `less`: AVX2 has no conversion of 64 bits."""
    return e.sub(e.pattern(e.op("or", integer, e.form.integer_bits)), 2.0**e.form.fraction + less)


def split(e: Emit, x: str) -> tuple[str, str, str]:
    """(biased exponent as an integer, k, m) with x = 2^k m for normal positive x."""
    form = e.form
    ix = e.op("add", e.bits(x), form.one_bits - form.sqrt_half)
    biased = e.op("lshr", ix, form.fraction)
    m = e.pattern(e.op("add", e.op("and", ix, (1 << form.fraction) - 1), form.sqrt_half))
    return biased, number(e, biased, form.bias), m


def split_any(e: Emit, x: str) -> tuple[str, str]:
    """(k, m) with x = 2^k m for positive x, subnormal or not."""
    small, up = e.compare("olt", x, e.form.normal), e.form.fraction + 2.0
    _, k, m = split(e, e.select(small, e.mul(x, 2.0**up), x))
    return e.select(small, e.sub(k, up), k), m


def kernel(e: Emit, k: Operand, f: str) -> str:
    """k ln 2 + log(1 + f)."""
    s = e.div(f, e.add(f, 2.0))
    z = e.mul(s, s)
    half = e.mul(e.mul(f, 0.5), f)
    inner = e.fma(z, e.estrin(z, P[e.form]), half)
    first, second = LN2[e.form]
    rest = e.fma(s, inner, e.mul(k, second))
    return e.fma(k, first, e.sub(f, e.sub(half, rest)))


def guard(e: Emit, x: str, value: str, zero: str | float = -INFINITY) -> str:
    """`value` where 0 < x < inf; `zero` at 0, infinity at infinity, NaN elsewhere."""
    inside = e.both(e.compare("ogt", x, 0.0), e.compare("olt", x, INFINITY))
    positive = e.select(e.compare("ogt", x, 0.0), x, NAN)
    return e.select(inside, value, e.select(e.compare("oeq", x, 0.0), zero, positive))


def log(e: Emit, x: str) -> str:
    """Natural logarithm."""
    k, m = split_any(e, x)
    return guard(e, x, kernel(e, k, e.sub(m, 1.0)))


def log_of_sum(e: Emit, u: str, low: str, more: Operand = 0.0) -> str:
    """log(u + low) + more ln 2 for a normal u > 0 and |low| below an ulp of u or so."""
    biased, k, m = split(e, u)
    shrink = e.pattern(
        e.op("shl", e.op("sub", 2 * e.form.bias + 2, biased), e.form.fraction)
    )  # 2^(2 - k): in range for every k
    return kernel(e, e.add(k, more), e.fma(e.mul(low, 0.25), shrink, e.sub(m, 1.0)))


def log1p_inside(e: Emit, x: str) -> str:
    """log(1 + x) for finite x > -1, of full relative accuracy; not for tiny x."""
    u = e.add(x, 1.0)
    t = e.sub(u, x)  # x and 1 may come in either order of size: Knuth's sum
    return log_of_sum(e, u, e.add(e.sub(x, e.sub(u, t)), e.sub(1.0, t)))


def log1p(e: Emit, x: str) -> str:
    """log(1 + x)."""
    value = guard(e, e.add(x, 1.0), log1p_inside(e, x))
    return e.select(e.compare("olt", e.abs(x), e.form.tiny), x, value)


def asinh(e: Emit, x: str) -> str:
    """log1p(a + a^2 / (1 + sqrt(1 + a^2))), a = |x|; log(2 a) when a^2 + 1 = a^2."""
    a = e.abs(x)
    large = e.compare("ogt", a, 1.0 / e.form.small)
    z = e.mul(a, a)
    t = e.add(a, e.div(z, e.add(e.sqrt(e.add(z, 1.0)), 1.0)))
    u = e.add(t, 1.0)
    b = e.sub(u, t)
    low = e.add(e.sub(t, e.sub(u, b)), e.sub(1.0, b))
    value = log_of_sum(e, e.select(large, a, u), e.select(large, 0.0, low), e.select(large, 1.0, 0.0))
    value = e.select(e.compare("olt", a, INFINITY), value, a)
    return e.select(e.compare("olt", a, e.form.small), x, e.copysign(value, x))


def acosh(e: Emit, x: str) -> str:
    """log1p(t + sqrt(2 t + t^2)), t = x - 1; log(2 x) when t^2 + 2 t = t^2; NaN below 1."""
    large = e.compare("ogt", x, 1.0 / e.form.tiny)
    t = e.sub(x, 1.0)
    t = e.add(t, e.sqrt(e.fma(t, t, e.add(t, t))))
    u = e.add(t, 1.0)
    b = e.sub(u, t)
    low = e.add(e.sub(t, e.sub(u, b)), e.sub(1.0, b))
    value = log_of_sum(e, e.select(large, x, u), e.select(large, 0.0, low), e.select(large, 1.0, 0.0))
    value = e.select(e.compare("oeq", x, INFINITY), x, value)
    value = e.select(e.compare("oeq", x, 1.0), 0.0, value)
    return e.select(e.compare("oge", x, 1.0), value, NAN)


def atanh(e: Emit, x: str) -> str:
    """log1p(2 a / (1 - a)) / 2, a = |x|; infinite at 1, NaN beyond."""
    a = e.abs(x)
    inside = e.compare("olt", a, 1.0)
    safe = e.select(inside, a, 0.5)
    value = e.mul(log1p_inside(e, e.div(e.add(safe, safe), e.sub(1.0, safe))), 0.5)
    value = e.select(inside, value, e.select(e.compare("oeq", a, 1.0), INFINITY, NAN))
    return e.select(e.compare("olt", a, e.form.small), x, e.copysign(value, x))
