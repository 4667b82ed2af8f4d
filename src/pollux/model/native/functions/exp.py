"""exp, exp2, expm1, logistic: x = n ln 2 + r with |r| <= ln 2 / 2 (Cody & Waite, 1980), a polynomial in r, and 2^n.

e^r = 1 + r + r^2 Q(r), with Q of degree 9: a Lawson fit in 60 digits, relative error 2^-57.9.
"""

from pollux.model.native.functions.emit import Emit, Operand

LOG2E = 1.4426950408889634
LN2 = 0.6931471805599453
LN2_LOW = 2.3190468138462996e-17
Q = (
    0.5000000000000011, 0.16666666666666435, 0.04166666666652705, 0.0083333333334805, 0.0013888888944314864,
    0.00019841269535758886, 2.4801492480821825e-05, 2.755756103109805e-06, 2.763044542666224e-07,
    2.5007901295595688e-08,
)  # fmt: skip
SHIFT = 1.5 * 2.0**52
"""Adding it rounds to an integer, which then stands in the low bits."""
SHIFT_BITS = 0x4338000000000000


def power_of_two(e: Emit, biased: str) -> str:
    """2^(biased - 1023) for an exponent in the normal range."""
    return e.pattern(e.op("shl", biased, 52))


def scale(e: Emit, value: str, n: str, add: int = 0) -> str:
    """value 2^(n + add), rounded once also where it becomes subnormal; `n` as left by adding `SHIFT`, |n| < 2000."""
    k = e.op("add", e.bits(n), 2046 + add - SHIFT_BITS)
    half = e.op("lshr", k, 1)
    return e.mul(e.mul(value, power_of_two(e, half)), power_of_two(e, e.op("sub", k, half)))


def tail(e: Emit, r: str) -> str:
    """e^r - 1 for |r| <= ln 2 / 2."""
    return e.fma(e.mul(r, r), e.estrin(r, Q), r)


def reduce(e: Emit, x: Operand, low: str | None = None) -> tuple[str, str, str]:
    """(n + `SHIFT`, n, r) with x + low = n ln 2 + r."""
    shifted = e.fma(x, LOG2E, SHIFT)
    n = e.sub(shifted, SHIFT)
    minus = e.neg(n)
    r = e.fma(minus, LN2, x)
    if low is not None:
        r = e.add(r, low)
    return shifted, n, e.fma(minus, LN2_LOW, r)


def exponential(e: Emit, x: str, low: str | None = None, factor: str | None = None) -> str:
    """e^(x + low) factor, |low| tiny: over the whole range, with overflow to infinity and gradual underflow."""
    x = e.floor(e.cap(x, 710.0), -746.0)
    shifted, _, r = reduce(e, x, low)
    power = e.add(tail(e, r), 1.0)
    return scale(e, power if factor is None else e.mul(power, factor), shifted)


def exp(e: Emit, x: str) -> str:
    """e^x."""
    return exponential(e, x)


def exp2(e: Emit, x: str) -> str:
    """2^x: r = x - n is exact, and 2^r = e^(r ln 2)."""
    x = e.floor(e.cap(x, 1025.0), -1076.0)
    shifted = e.add(x, SHIFT)
    r = e.sub(x, e.sub(shifted, SHIFT))
    return scale(e, e.add(tail(e, e.mul(r, LN2)), 1.0), shifted)


def quarter_expm1(e: Emit, x: str) -> str:
    """(e^x - 1) / 4 for -40 < x < 710.7, as 2^(n-2) (e^r - 1) + (2^(n-2) - 1/4): finite where e^x / 2 is."""
    shifted, _, r = reduce(e, x)
    s = power_of_two(e, e.op("add", e.bits(shifted), 1021 - SHIFT_BITS))
    return e.fma(s, tail(e, r), e.sub(s, 0.25))


def expm1(e: Emit, x: str) -> str:
    """e^x - 1, exact to the last places near zero too."""
    quarter = quarter_expm1(e, e.floor(e.cap(x, 710.6), -39.0))
    return e.select(e.compare("olt", e.abs(x), 2.0**-54), x, e.mul(quarter, 4.0))


def logistic(e: Emit, x: str) -> str:
    """1 / (1 + e^-x), as e^x / (1 + e^x) below zero, where the result may be tiny."""
    t = exponential(e, e.neg(e.abs(x)))
    return e.div(e.select(e.compare("olt", x, 0.0), t, 1.0), e.add(t, 1.0))
