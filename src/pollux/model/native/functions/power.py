"""pow: e^(y log x) with the logarithm and its product with y as pairs.

log x = k ln 2 + 2 s + s^3 (2/3 + s^2 P(s^2)), s = (m - 1) / (m + 1): relative error about 2^-65, so that y log x, at
most 745 in size, is known to 2^-55. The scheme is that of N. Shibata & F. Petrogalli, SLEEF (IEEE Trans. Parallel
Distrib. Syst. 31, 2020); P is a Lawson fit of its own (relative error 2^-66.2).
"""

from pollux.model.native.functions.doubled import Pair, exact_product, product, quick_sum, square, total
from pollux.model.native.functions.emit import Emit
from pollux.model.native.functions.exp import LN2, LN2_LOW, exponential
from pollux.model.native.functions.log import INFINITY, NAN, NORMAL, split

P = (
    0.4000000000000228, 0.2857142857008908, 0.22222222521796794, 0.18181784202209045, 0.15386764994899418,
    0.13256637428134405, 0.13198021163889376,
)  # fmt: skip
TWO_THIRDS = 0.6666666666666666
TWO_THIRDS_LOW = 3.700743415417188e-17


def log_pair(e: Emit, a: str) -> Pair:
    """log a as a pair, for finite a > 0."""
    small = e.compare("olt", a, NORMAL)
    _, k, m = split(e, e.select(small, e.mul(a, 2.0**54), a))
    k = e.select(small, e.sub(k, 54.0), k)
    den = e.add(m, 1.0)
    den_low = e.sub(m, e.sub(den, 1.0))
    num = e.sub(m, 1.0)
    reciprocal = e.div(1.0, den)
    s = e.mul(num, reciprocal)
    minus = e.neg(s)
    rest = e.fma(minus, den_low, e.fma(minus, den, num))
    pair = quick_sum(e, s, e.mul(rest, reciprocal))
    z = square(e, pair)
    w = e.mul(z[0], e.estrin(z[0], P))
    c = quick_sum(e, TWO_THIRDS, w)
    third = product(e, product(e, pair, z), (c[0], e.add(c[1], TWO_THIRDS_LOW)))
    whole, low = exact_product(e, k, LN2)
    twice = (e.add(pair[0], pair[0]), e.add(pair[1], pair[1]))
    return total(e, total(e, (whole, e.fma(k, LN2_LOW, low)), twice), third)


def power(e: Emit, x: str, y: str) -> str:
    """x^y with the special cases of C99, annex F.10.4.4."""
    a = e.abs(x)
    high, low = log_pair(e, a)
    high = e.select(e.compare("oeq", a, 0.0), -INFINITY, e.select(e.compare("oeq", a, INFINITY), INFINITY, high))
    p = e.mul(y, high)
    rest = e.fma(y, low, e.fma(y, high, e.neg(p)))
    rest = e.select(e.compare("ogt", e.abs(p), 800.0), 0.0, rest)
    value = e.select(e.compare("oeq", a, 1.0), 1.0, exponential(e, p, rest))

    half = e.mul(y, 0.5)
    whole = e.compare("oeq", y, e.rint(y))
    odd = e.both(whole, e.compare("une", half, e.rint(half)))
    negative = e.int_compare("slt", e.bits(x), 0)
    value = e.select(e.both(negative, odd), e.neg(value), value)
    undefined = e.both(e.compare("olt", x, 0.0), e.both(e.compare("ogt", x, -INFINITY), e.compare("une", y, e.rint(y))))
    value = e.select(e.either(undefined, e.compare("uno", x, y)), NAN, value)
    return e.select(e.either(e.compare("oeq", x, 1.0), e.compare("oeq", y, 0.0)), 1.0, value)
