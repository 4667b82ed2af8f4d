"""lgamma and digamma, each by a quotient of polynomials on [1, 5), by Stirling's series beyond, and by reflection.

With t = x - 1: lgamma x = t (t - 1) (0.4 + P(t) / Q(t)), which keeps the zeros at 1 and 2; digamma x =
(x - x0) U(t) / V(t), x0 its positive zero as a pair. Below 1 the recurrence to x + 1. All are Lawson fits in 80 digits,
relative errors below 2^-54. Near the zeros on the negative axis only the absolute error is small.
"""

from collections.abc import Sequence

from pollux.model.native.functions.doubled import Pair, exact_product, quick_sum
from pollux.model.native.functions.emit import Emit
from pollux.model.native.functions.log import INFINITY, NAN, guard, kernel, split_any
from pollux.model.native.functions.trig import quarter

P = (
    0.17721566490153284, 0.42112264992615933, 0.25648523426099956, -0.11790903620197878, -0.20780416752130118,
    -0.09610306475151932, -0.02009028022944923, -0.0019299552398150297, -7.429175172719896e-05, -7.767466550273312e-07,
)  # fmt: skip
Q = (
    1.0, 3.760243310426311, 5.774070744962305, 4.677157634707519, 2.158537757036722,
    0.5734935888488134, 0.08473542048822894, 0.006397435486716513, 0.00020823086646040202, 1.962015767644318e-06,
)  # fmt: skip
MEAN = 0.4
STIRLING = (
    0.08333333333333333, -0.0027777777777685327, 0.0007936507894727462, -0.0005952372325775735, 0.000841653472555102,
    -0.0019109657446092102, 0.006134858810150931, -0.02223960405031267, 0.05622269352256187,
)  # fmt: skip
HALF_LOG_2PI_LESS_HALF = 0.4189385332046727
U = (
    1.2503801375034054, 1.9677180990759533, 1.116001207987235, 0.2878183098853022, 0.03459314328827974,
    0.0017505538359374314, 2.7185857094878402e-05, 2.3801815796536632e-08,
)  # fmt: skip
V = (
    1.0, 2.257242717653173, 1.8336690027085745, 0.6966523137616618, 0.1317741787466395,
    0.012000859304907862, 0.0004577151059983685, 5.0002266431124176e-06,
)  # fmt: skip
ASYMPTOTIC = (
    -0.083333333333333, 0.00833333333298514, -0.003968253844528559, 0.004166644973839174, -0.007573582562445308,
    0.020958588283139866, -0.07805107268042485, 0.308689912569941, -0.8053101440008633,
)  # fmt: skip
ROOT = (1.4616321449683622, 9.549995429965697e-17)
PI = (3.141592653589793, 1.2246467991473532e-16)


def quotient(e: Emit, t: str, above: Sequence[float], below: Sequence[float]) -> Pair:
    """above(t) / below(t), of which only the polynomials' rounding errors count."""
    t = e.cap(t, 4.0)
    num, den = e.horner(t, above), e.horner(t, below)
    reciprocal = e.div(1.0, den)
    q = e.mul(num, reciprocal)
    return q, e.mul(e.nfma(q, den, num), reciprocal)


def times(e: Emit, a: Pair, b: Pair) -> str:
    """The product of two pairs, rounded."""
    return e.fma(a[0], b[0], e.fma(a[0], b[1], e.mul(a[1], b[0])))


def sine_of_turns(e: Emit, a: str) -> tuple[str, str]:
    """(|sin pi a|, cot pi a) for a >= 0; (0, infinite or NaN) at integers."""
    r = e.sub(a, e.rint(a))
    u = e.abs(r)
    far = e.compare("ogt", u, 0.25)
    v = e.select(far, e.sub(0.5, u), u)
    high = e.mul(v, PI[0])
    s, c = quarter(e, high, e.fma(v, PI[1], e.fma(v, PI[0], e.neg(high))))
    s, c = e.select(far, c, s), e.select(far, s, c)
    return s, e.copysign(e.div(c, s), r)


def lgamma(e: Emit, x: str) -> str:
    """log |gamma(x)|; infinite at zero and the negative integers."""
    a = e.abs(x)
    k, m = split_any(e, a)
    logarithm = kernel(e, k, e.sub(m, 1.0))
    below = e.compare("olt", a, 1.0)
    t = e.select(below, a, e.sub(a, 1.0))
    q, q_low = quotient(e, t, P, Q)
    slope, low = quick_sum(e, MEAN, q)
    near = times(e, exact_product(e, t, e.sub(t, 1.0)), (slope, e.add(low, q_low)))
    near = e.add(near, 0.0)  # lgamma 1 is +0
    near = e.select(below, e.sub(near, logarithm), near)
    z = e.div(1.0, a)
    rest = e.fma(z, e.estrin(e.mul(z, z), STIRLING), HALF_LOG_2PI_LESS_HALF)
    far = e.fma(e.sub(a, 0.5), e.sub(logarithm, 1.0), rest)
    value = e.select(e.compare("olt", a, 5.0), near, far)
    value = e.select(e.compare("oeq", a, 0.0), INFINITY, e.select(e.finite(a), value, a))

    def reflected() -> list[str]:
        """log(pi / (a |sin pi a|)) - lgamma a, for x = -a."""
        ratio = e.div(PI[0], e.mul(a, sine_of_turns(e, a)[0]))
        k, m = split_any(e, ratio)
        mirrored = e.sub(guard(e, ratio, kernel(e, k, e.sub(m, 1.0))), value)
        regular = e.both(e.compare("olt", x, -(2.0**-60)), e.finite(a))
        return [e.select(regular, mirrored, value)]

    return e.where_some(e.compare("olt", x, 0.0), {value: e.type}, reflected)[0]


def digamma(e: Emit, x: str) -> str:
    """The derivative of lgamma; NaN at zero and the negative integers, as in XLA."""
    negative = e.compare("olt", x, 0.0)
    a = e.select(negative, e.sub(1.0, x), x)
    k, m = split_any(e, a)
    z = e.div(1.0, a)
    below = e.compare("olt", a, 1.0)
    t = e.select(below, a, e.sub(a, 1.0))
    distance = e.sub(a, e.select(below, ROOT[0] - 1.0, ROOT[0])), e.real(-ROOT[1])
    near = times(e, distance, quotient(e, t, U, V))
    near = e.select(below, e.sub(near, z), near)
    y = e.mul(z, z)
    far = e.add(kernel(e, k, e.sub(m, 1.0)), e.fma(y, e.estrin(y, ASYMPTOTIC), e.mul(z, -0.5)))
    value = e.select(e.compare("olt", a, 5.0), near, far)
    value = e.select(e.finite(a), value, a)
    value = e.select(e.compare("oeq", x, 0.0), NAN, value)

    def reflected() -> list[str]:
        """digamma(1 + a) + pi cot(pi a), for x = -a."""
        size = e.abs(x)
        s, cotangent = sine_of_turns(e, size)
        mirrored = e.select(e.compare("oeq", s, 0.0), NAN, e.fma(cotangent, PI[0], value))
        return [e.select(negative, mirrored, value)]

    return e.where_some(negative, {value: e.type}, reflected)[0]
