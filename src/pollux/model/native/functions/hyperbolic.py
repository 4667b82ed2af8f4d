"""tanh, sinh, cosh from e^x - 1, which keeps its relative accuracy near zero."""

from pollux.model.native.functions.emit import Emit
from pollux.model.native.functions.exp import power_of_two, quarter_expm1, reduce, tail


def tanh(e: Emit, x: str) -> str:
    """E / (E + 2) with E = e^(2|x|) - 1; 1 where it saturates."""
    a = e.cap(e.abs(x), e.form.saturation)
    shifted, r = reduce(e, e.add(a, a))
    s = power_of_two(e, e.op("add", e.bits(shifted), e.form.bias - e.form.shift_bits))
    E = e.fma(s, tail(e, r), e.sub(s, 1.0))
    return e.copysign(e.div(E, e.add(E, 2.0)), x)


def sinh(e: Emit, x: str) -> str:
    """(E + E / (E + 1)) / 2 with E = e^|x| - 1, in quarters so that nothing overflows too early."""
    a = e.abs(x)
    q = quarter_expm1(e, e.cap(a, e.form.sinh_overflow))
    half = e.add(q, e.div(q, e.fma(q, 4.0, 1.0)))
    return e.select(e.compare("olt", a, e.form.small), x, e.copysign(e.add(half, half), x))


def cosh(e: Emit, x: str) -> str:
    """(t + 1 / t) / 2 with t = e^|x|, in quarters."""
    q = e.add(quarter_expm1(e, e.cap(e.abs(x), e.form.sinh_overflow)), 0.25)
    half = e.add(q, e.div(0.0625, q))
    return e.add(half, half)
