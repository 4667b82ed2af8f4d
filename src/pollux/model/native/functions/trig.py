"""sin, cos, tan on the remainders of `circle`, by the kernels of FreeBSD's msun (k_sin.c, k_cos.c, Sun, 1993).

On |r| <= pi/4, sin r = r + r^3 S(r^2) and cos r = 1 - r^2/2 + r^4 C(r^2), the low part of r to first order; the
quadrant n says which of the two it is, and its sign. In single precision, Lawson fits of half the length.
"""

from pollux.model.native.functions.circle import remainder
from pollux.model.native.functions.emit import Emit
from pollux.model.native.functions.formats import DOUBLE, SINGLE

S = {
    DOUBLE: (
        -1.66666666666666324348e-01, 8.33333333332248946124e-03, -1.98412698298579493134e-04,
        2.75573137070700676789e-06, -2.50507602534068634195e-08, 1.58969099521155010221e-10,
    ),
    SINGLE: (-0.16666655242443085, 0.008332188241183758, -0.00019518072076607496),
}  # fmt: skip
C = {
    DOUBLE: (
        4.16666666666666019037e-02, -1.38888888888741095749e-03, 2.48015872894767294178e-05,
        -2.75573143513906633035e-07, 2.08757232129817482790e-09, -1.13596475577881948265e-11,
    ),
    SINGLE: (0.04166664555668831, -0.0013887310633435845, 2.4432538339169696e-05),
}  # fmt: skip


def quarter(e: Emit, r: str, low: str) -> tuple[str, str]:
    """(sin, cos) of r + low, |r| <= pi/4."""
    z = e.mul(r, r)
    half = e.mul(z, 0.5)
    s = e.add(r, e.fma(e.mul(r, z), e.estrin(z, S[e.form]), e.nfma(low, half, low)))
    w = e.sub(1.0, half)
    lost = e.sub(e.sub(1.0, w), half)
    c = e.add(w, e.add(lost, e.fma(e.mul(z, z), e.estrin(z, C[e.form]), e.neg(e.mul(r, low)))))
    return s, c


def kernels(e: Emit, x: str) -> tuple[str, str, str]:
    """(sin r, cos r, n)."""
    (r, low), n = remainder(e, x)
    return *quarter(e, r, low), n


def odd(e: Emit, n: str) -> str:
    """Where the integer n is odd."""
    return e.int_compare("ne", e.op("and", n, 1), 0)


def quadrant(e: Emit, s: str, c: str, n: str) -> str:
    """sin(r + n pi/2)."""
    value = e.select(odd(e, n), c, s)
    return e.pattern(e.op("xor", e.bits(value), e.op("shl", e.op("lshr", n, 1), e.form.bits - 1)))


def sin(e: Emit, x: str) -> str:
    """Sine; x itself where it is tiny, which keeps the sign of zero."""
    s, c, n = kernels(e, x)
    return e.select(e.compare("olt", e.abs(x), e.form.small), x, quadrant(e, s, c, n))


def cos(e: Emit, x: str) -> str:
    """Cosine."""
    s, c, n = kernels(e, x)
    return quadrant(e, s, c, e.op("add", n, 1))


def tan(e: Emit, x: str) -> str:
    """Tangent: sin / cos about the even multiples of pi/2, -cos / sin about the odd ones."""
    s, c, n = kernels(e, x)
    turned = odd(e, n)
    value = e.div(e.select(turned, e.neg(c), s), e.select(turned, s, c))
    return e.select(e.compare("olt", e.abs(x), e.form.small), x, value)
