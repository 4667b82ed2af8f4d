"""cbrt, after FreeBSD's msun (s_cbrt.c, Sun Microsystems 1993, B. D. Evans 2004): error below 0.67 ulp."""

from pollux.model.native.functions.emit import Emit
from pollux.model.native.functions.log import INFINITY, number

P = (1.87595182427177009643, -1.88497979543377169875, 1.621429720105354466140, -0.758397934778766047437,
     0.145996192886612446982)  # fmt: skip
START = 715094163.0
START_SUBNORMAL = 696219795.0
"""Exponent offsets of the first guess, in units of 2^32 bit patterns, for x and for x 2^54."""


def cbrt(e: Emit, x: str) -> str:
    """Cube root: a guess of 5 bits from the exponent, a polynomial step to 23 bits, a Newton step to the last."""
    a = e.abs(x)
    small = e.compare("olt", a, e.form.normal)
    scaled = e.select(small, e.mul(a, 2.0**54), a)
    top = number(e, e.op("lshr", e.bits(scaled), 32))
    third = e.fma(top, 1.0 / 3.0, e.select(small, START_SUBNORMAL, START))
    t = e.pattern(e.op("shl", e.op("sub", e.bits(e.add(third, e.form.shift)), e.form.shift_bits), 32))
    r = e.mul(e.mul(t, t), e.div(t, a))
    t = e.mul(t, e.horner(r, P))
    t = e.pattern(e.op("and", e.op("add", e.bits(t), 0x80000000), 0xFFFFFFFFC0000000 - (1 << 64)))
    r = e.div(a, e.mul(t, t))
    t = e.fma(t, e.div(e.sub(r, t), e.add(e.add(t, t), r)), t)
    ordinary = e.both(e.compare("ogt", a, 0.0), e.compare("olt", a, INFINITY))
    return e.select(ordinary, e.copysign(t, x), x)
