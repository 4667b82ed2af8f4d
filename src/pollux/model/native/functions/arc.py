"""atan2, atan, asin, acos: the angle of (x, y) in the first quadrant, by one division.

The ratio is turned by 0, pi/4 or pi/2 into |t| <= tan(pi/8) (the intervals of Cephes, S. L. Moshier, atan.c); then
atan t = t + t^3 A(t^2), A of degree 10, or 4 in single precision (Lawson fits, relative error 2^-59.1 and
2^-30.3). The remainder of the division is kept as a low part of t.
"""

from pollux.model.native.functions.doubled import exact_sum
from pollux.model.native.functions.emit import Emit, Operand
from pollux.model.native.functions.formats import DOUBLE, SINGLE
from pollux.model.native.functions.log import INFINITY, NAN

A = {
    DOUBLE: (
        -0.33333333333333165, 0.19999999999943813, -0.14285714279182463, 0.11111110731532817, -0.09090896234964747,
        0.07692032682560575, -0.0666278676624602, 0.05845553693281883, -0.050286762466921375, 0.0377922386897611,
        -0.017606839038146017,
    ),
    SINGLE: (
        -0.3333331346511841, 0.19998358190059662, -0.1424127221107483, 0.10576331615447998, -0.06032215431332588,
    ),
}  # fmt: skip
TAN_PI_8 = 0.4142135623730951
TAN_3PI_8 = 2.414213562373095
PI = {DOUBLE: (3.141592653589793, 1.2246467991473532e-16), SINGLE: (3.1415927410125732, -8.742277657347586e-08)}


def angle(e: Emit, y: Operand, x: Operand) -> str:
    """The angle of (x, y), x >= 0, y >= 0, not both zero, neither near overflow: in [0, pi/2]."""
    y, x = e.real(y), e.real(x)
    steep = e.compare("ogt", y, e.mul(x, TAN_3PI_8))
    above = e.compare("ogt", y, e.mul(x, TAN_PI_8))
    num, num_low = exact_sum(e, e.select(steep, 0.0, y), e.neg(e.select(above, x, 0.0)))
    den, den_low = exact_sum(e, e.select(above, y, x), e.select(steep, 0.0, e.select(above, x, 0.0)))
    reciprocal = e.div(1.0, den)
    t = e.mul(num, reciprocal)
    minus = e.neg(t)
    rest = e.add(e.fma(minus, den, num), e.fma(minus, den_low, num_low))
    z = e.mul(t, t)
    pi, pi_low = PI[e.form]
    base = e.select(steep, pi / 2, e.select(above, pi / 4, 0.0))
    base_low = e.select(steep, pi_low / 2, e.select(above, pi_low / 4, 0.0))
    small = e.fma(e.mul(t, z), e.estrin(z, A[e.form]), e.fma(rest, reciprocal, base_low))
    return e.add(base, e.add(t, small))


def mirrored(e: Emit, turned: str, mask: str) -> str:
    """pi - angle where `mask`."""
    pi, pi_low = PI[e.form]
    return e.select(mask, e.add(e.sub(pi, turned), pi_low), turned)


def atan(e: Emit, x: str) -> str:
    """Inverse tangent."""
    return e.copysign(angle(e, e.cap(e.abs(x), 2.0**64), 1.0), x)


def asin(e: Emit, x: str) -> str:
    """Inverse sine: the angle of (sqrt(1 - x^2), |x|); NaN beyond 1."""
    a = e.abs(x)
    return e.copysign(angle(e, a, e.sqrt(e.nfma(a, a, 1.0))), x)


def acos(e: Emit, x: str) -> str:
    """Inverse cosine: the angle of (|x|, sqrt(1 - x^2)), mirrored below zero; NaN beyond 1."""
    a = e.abs(x)
    return mirrored(e, angle(e, e.sqrt(e.nfma(a, a, 1.0)), a), e.compare("olt", x, 0.0))


def atan2(e: Emit, y: str, x: str) -> str:
    """The angle of (x, y) in [-pi, pi], with the special cases of C99, annex F.10.1.4."""
    a, b = e.abs(y), e.abs(x)
    a_inf, b_inf = e.compare("oeq", a, INFINITY), e.compare("oeq", b, INFINITY)
    a, b = (
        e.select(a_inf, 1.0, e.select(b_inf, 0.0, a)),
        e.select(b_inf, 1.0, e.select(a_inf, 0.0, b)),
    )
    largest = e.select(e.compare("ogt", a, b), a, b)
    far, step = e.form.bias - 7, 2.0 * e.form.fraction
    down = e.select(e.compare("olt", largest, 2.0 ** (step - far)), 2.0**step, 1.0)
    factor = e.select(e.compare("ogt", largest, 2.0**far), 2.0**-step, down)
    turned = angle(e, e.mul(a, factor), e.mul(b, factor))
    turned = e.select(e.compare("oeq", a, 0.0), 0.0, turned)
    turned = mirrored(e, turned, e.int_compare("slt", e.bits(x), 0))
    return e.select(e.compare("uno", x, y), NAN, e.copysign(turned, y))
