"""exp, exp2, expm1, logistic: x = n ln 2 + r with |r| <= ln 2 / 2 (Cody & Waite, 1980), a polynomial in r, and 2^n.

e^r = 1 + r + r^2 Q(r), with Q of degree 9 (4 in single precision): Lawson fits in 60 digits, relative error 2^-57.9
(2^-28.2).
"""

from pollux.model.native.functions.emit import Emit, Operand
from pollux.model.native.functions.formats import DOUBLE, SINGLE

LOG2E = 1.4426950408889634
LN2 = {DOUBLE: (0.6931471805599453, 2.3190468138462996e-17), SINGLE: (0.6931471824645996, -1.9046542121259336e-09)}
Q = {
    DOUBLE: (
        0.5000000000000011, 0.16666666666666435, 0.04166666666652705, 0.0083333333334805, 0.0013888888944314864,
        0.00019841269535758886, 2.4801492480821825e-05, 2.755756103109805e-06, 2.763044542666224e-07,
        2.5007901295595688e-08,
    ),
    SINGLE: (
        0.4999999403953552, 0.1666651964187622, 0.041668228805065155, 0.008368821814656258, 0.0013824263587594032,
    ),
}  # fmt: skip


def power_of_two(e: Emit, biased: str) -> str:
    """2^(biased - bias) for an exponent in the normal range."""
    return e.pattern(e.op("shl", biased, e.form.fraction))


def scale(e: Emit, value: str, n: str) -> str:
    """value 2^n, rounded once also where it becomes subnormal; `n` having the format's `shift` added."""
    k = e.op("add", e.bits(n), 2 * e.form.bias - e.form.shift_bits)
    half = e.op("lshr", k, 1)
    return e.mul(e.mul(value, power_of_two(e, half)), power_of_two(e, e.op("sub", k, half)))


def tail(e: Emit, r: str) -> str:
    """e^r - 1 for |r| <= ln 2 / 2."""
    return e.fma(e.mul(r, r), e.estrin(r, Q[e.form]), r)


def reduce(e: Emit, x: Operand, low: str | None = None) -> tuple[str, str]:
    """(n + shift, r) with x + low = n ln 2 + r."""
    shifted = e.fma(x, LOG2E, e.form.shift)
    minus = e.neg(e.sub(shifted, e.form.shift))
    high, rest = LN2[e.form]
    r = e.fma(minus, high, x)
    if low is not None:
        r = e.add(r, low)
    return shifted, e.fma(minus, rest, r)


def exponential(e: Emit, x: str, low: str | None = None, factor: str | None = None) -> str:
    """e^(x + low) factor, |low| tiny: over the whole range, with overflow to infinity and gradual underflow."""
    x = e.floor(e.cap(x, e.form.overflow), e.form.underflow)
    shifted, r = reduce(e, x, low)
    power = e.add(tail(e, r), 1.0)
    return scale(e, power if factor is None else e.mul(power, factor), shifted)


def exp(e: Emit, x: str) -> str:
    """e^x."""
    return exponential(e, x)


def exp2(e: Emit, x: str) -> str:
    """2^x: r = x - n is exact, and 2^r = e^(r ln 2)."""
    x = e.floor(e.cap(x, e.form.bias + 2.0), -2.0 - e.form.bias - e.form.fraction)
    shifted = e.add(x, e.form.shift)
    r = e.sub(x, e.sub(shifted, e.form.shift))
    return scale(e, e.add(tail(e, e.mul(r, LN2[e.form][0])), 1.0), shifted)


def quarter_expm1(e: Emit, x: str) -> str:
    """(e^x - 1) / 4 where it is finite, as 2^(n-2) (e^r - 1) + (2^(n-2) - 1/4)."""
    shifted, r = reduce(e, x)
    s = power_of_two(e, e.op("add", e.bits(shifted), e.form.bias - 2 - e.form.shift_bits))
    return e.fma(s, tail(e, r), e.sub(s, 0.25))


def expm1(e: Emit, x: str) -> str:
    """e^x - 1, exact to the last places near zero too."""
    quarter = quarter_expm1(e, e.floor(e.cap(x, e.form.sinh_overflow), e.form.minus_one))
    return e.select(e.compare("olt", e.abs(x), e.form.tiny), x, e.mul(quarter, 4.0))


def logistic(e: Emit, x: str) -> str:
    """1 / (1 + e^-x), as e^x / (1 + e^x) below zero, where the result may be tiny."""
    t = exponential(e, e.neg(e.abs(x)))
    return e.div(e.select(e.compare("olt", x, 0.0), t, 1.0), e.add(t, 1.0))
