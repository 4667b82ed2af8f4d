"""pow: e^(y log x) with the logarithm and its product with y as pairs.

log x = k ln 2 + 2 s + s^3 (2/3 + s^2 P(s^2)), s = (m - 1) / (m + 1). The cubic term is below 1% of the first, so that
its rounding errors, kept to first order, leave a relative error of about 2^-65; then y log x, at most 745 in size, is
known to 2^-55. After N. Shibata & F. Petrogalli, SLEEF (IEEE Trans. Parallel Distrib. Syst. 31, 2020), with fewer
steps; P is a Lawson fit (relative error 2^-66.2).
"""

from pollux.model.native.functions.doubled import Pair, quick_sum
from pollux.model.native.functions.emit import Emit
from pollux.model.native.functions.exp import exponential
from pollux.model.native.functions.log import INFINITY, NAN, split_any

P = (
    0.4000000000000228, 0.2857142857008908, 0.22222222521796794, 0.18181784202209045, 0.15386764994899418,
    0.13256637428134405, 0.13198021163889376,
)  # fmt: skip
TWO_THIRDS = 0.6666666666666666
TWO_THIRDS_LOW = 3.700743415417188e-17
LN2_HIGH = 0.6931471805598903
"""ln 2 to 42 bits: k LN2_HIGH is exact."""
LN2_LOW = 5.497923018708371e-14


def log_pair(e: Emit, a: str) -> Pair:
    """log a as a pair, for finite a > 0."""
    k, m = split_any(e, a)
    den = e.add(m, 1.0)
    den_low = e.sub(m, e.sub(den, 1.0))
    num = e.sub(m, 1.0)
    reciprocal = e.div(1.0, den)
    s = e.mul(num, reciprocal)
    minus = e.neg(s)
    s_low = e.mul(e.fma(minus, den_low, e.fma(minus, den, num)), reciprocal)
    twice = e.add(s, s)

    z = e.mul(s, s)
    z_low = e.fma(twice, s_low, e.fma(s, s, e.neg(z)))
    c, c_low = quick_sum(e, TWO_THIRDS, e.mul(z, e.estrin(z, P)))
    c_low = e.add(c_low, TWO_THIRDS_LOW)
    cube = e.mul(s, z)
    cube_low = e.fma(s, z_low, e.fma(s_low, z, e.fma(s, z, e.neg(cube))))
    third = e.mul(cube, c)
    third_low = e.fma(cube, c_low, e.fma(cube_low, c, e.fma(cube, c, e.neg(third))))

    high, low = quick_sum(e, e.mul(k, LN2_HIGH), twice)
    high, lower = quick_sum(e, high, third)
    rest = e.fma(s_low, 2.0, third_low)
    return high, e.add(e.fma(k, LN2_LOW, e.add(low, lower)), rest)


def power(e: Emit, x: str, y: str) -> str:
    """x^y with the special cases of C99, annex F.10.4.4, in a branch for where x <= 0 or not all is finite."""
    a = e.abs(x)
    high, low = log_pair(e, a)
    p = e.mul(y, high)
    rest = e.fma(y, low, e.fma(y, high, e.neg(p)))
    rest = e.select(e.compare("ogt", e.abs(p), 800.0), 0.0, rest)
    value = exponential(e, p, rest)
    ordinary = e.both(e.compare("ogt", x, 0.0), e.both(e.compare("olt", x, INFINITY), e.finite(y)))
    return e.where_some(e.inverse(ordinary), {value: e.type}, lambda: [special(e, x, y, a, value)])[0]


def special(e: Emit, x: str, y: str, a: str, value: str) -> str:
    """x^y for any x and y, given |x| and the result for ordinary |x| and y."""
    up = e.compare("ogt", y, 0.0)
    edge = e.either(e.compare("oeq", a, 0.0), e.compare("oeq", a, INFINITY))
    large = e.either(e.inverse(e.finite(y)), edge)
    grows = e.unlike(e.compare("olt", a, 1.0), up)
    value = e.select(large, e.select(grows, INFINITY, 0.0), value)
    value = e.select(e.compare("oeq", a, 1.0), 1.0, value)

    half = e.mul(y, 0.5)
    fractional = e.compare("une", y, e.rint(y))
    odd = e.both(e.inverse(fractional), e.compare("une", half, e.rint(half)))
    value = e.select(e.both(e.int_compare("slt", e.bits(x), 0), odd), e.neg(value), value)
    undefined = e.both(e.both(e.compare("olt", x, 0.0), e.compare("ogt", x, -INFINITY)), fractional)
    value = e.select(e.either(undefined, e.compare("uno", x, y)), NAN, value)
    return e.select(e.either(e.compare("oeq", x, 1.0), e.compare("oeq", y, 0.0)), 1.0, value)
