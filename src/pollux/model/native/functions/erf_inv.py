"""The inverse of erf by two quotients of polynomials, on the intervals of M. J. Wichura (AS 241, Appl. Stat. 37, 1988).

|x| <= 0.85: x + x P(u) / Q(u), u = 0.7225 - x^2. Beyond: r + T(v) / V(v), r = sqrt(-log((1 - |x|) / 2)), v = r - 1.6.
The quotients being small, they add little error. Rational Lawson fits in 80 digits, 2^-53.4 and 2^-54.7 of the result.
"""

from pollux.model.native.functions.emit import Emit
from pollux.model.native.functions.log import INFINITY, NAN, kernel, split

P = (
    0.19753231156709125, 1.1898046970253406, 0.6170728079967213, -8.426603029465932,
    -19.443797849825856, -15.160269911632799, -4.127625865872493, -0.2647937951737799,
)  # fmt: skip
Q = (
    1.0, 10.578157232354231, 42.94760008669972, 84.27906383048834,
    82.8586043252289, 38.381499067846285, 7.012660104431335, 0.31892311183613575,
)  # fmt: skip
T = (
    -0.5934779663963121, -1.0145580437612172, -0.6733824058798817, -0.2224434279134242,
    -0.03866404504233539, -0.0033145650090448853, -0.00011334308632721316, -9.166292360562391e-07,
)  # fmt: skip
V = (
    1.0, 2.0592486861182304, 1.7082021321327738, 0.7368222875283222, 0.17762006487338422,
    0.023676338441328677, 0.0015801284921842704, 4.1624818483532604e-05, 2.3964980661816056e-07,
)  # fmt: skip


def erf_inv(e: Emit, x: str) -> str:
    """y with erf y = x; infinite at 1, NaN beyond."""
    a = e.abs(x)
    central = e.compare("ole", a, 0.85)
    u = e.nfma(a, a, 0.7225)
    _, k, m = split(e, e.mul(e.sub(1.0, a), 0.5))
    r = e.sqrt(e.neg(kernel(e, k, e.sub(m, 1.0))))
    v = e.sub(r, 1.6)
    numerator = e.select(central, e.mul(a, e.estrin(u, P)), e.estrin(v, T))
    denominator = e.select(central, e.estrin(u, Q), e.estrin(v, V))
    value = e.add(e.select(central, a, r), e.div(numerator, denominator))
    edge = e.select(e.compare("oeq", a, 1.0), INFINITY, NAN)
    return e.copysign(e.select(e.compare("olt", a, 1.0), value, edge), x)
