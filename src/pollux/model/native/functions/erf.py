"""erf and erfc. All coefficients are Lawson fits in 60 digits.

|x| < 1: erf x = x + x E(x^2). Beyond: erf x = 1 - e^-G(|x| - 7/2), where only the leading digits of erfc count.
erfc x = e^(-x^2) X(t) / (1 + 2 x) with t = (x - 4) / (x + 4) for x >= 0 (M. M. Shepherd & J. G. Laframboise, Math.
Comp. 36, 1981), x^2 as a pair; 1 - erf x below 1/2, 2 - erfc(-x) for negative x.
"""

from pollux.model.native.functions.doubled import exact_product
from pollux.model.native.functions.emit import Emit
from pollux.model.native.functions.exp import exponential

E = (
    0.12837916709551256, -0.37612638903183454, 0.11283791670942457, -0.026866170642903368, 0.005223977604730678,
    -0.0008548325872862211, 0.00012055292103147583, -1.4924687088040356e-05, 1.6446850319169863e-06,
    -1.620434364508647e-07, 1.3703112805479549e-08, -7.765805289814364e-10,
)  # fmt: skip
G = (
    14.112437402147231, 7.266099588371216, 0.9667530548541047, 0.0052256586041901105, -0.0008736872407675061,
    0.00014729560689364992, -2.4391511153131622e-05, 3.885660365594871e-06, -5.82423252761501e-07,
    9.031348858470148e-08, -7.647694593603302e-10, 3.4425189031674978e-09, -2.098855121978253e-09,
    -2.9988634077320447e-09, -1.7363986202941795e-09, -6.21254200076075e-10, -1.3722021466060588e-10,
    -1.794186861948395e-11, -1.0389513885486793e-12,
)  # fmt: skip
X = (
    1.2329951186255526, -0.13962111684056316, 0.015379652102605602, 0.06809705425476224, -0.10103906603554277,
    0.09373283499624814, -0.06633036582848255, 0.0371675155651902, -0.01619773387779869, 0.005031969791292023,
    -0.000757774456407142, -0.00019925603482724304, 0.00015062639309552957, -2.440020769708772e-05,
    -1.1234156079397097e-05, 5.708961561005497e-06, 3.134367351037434e-07, -8.199486031383317e-07,
    5.5635762850861946e-08, 1.0151503317528637e-07, -8.232334744526045e-09, -8.445289841924126e-09,
)  # fmt: skip


def near_zero(e: Emit, x: str) -> str:
    """erf x for |x| < 1."""
    return e.fma(x, e.estrin(e.mul(x, x), E), x)


def erf(e: Emit, x: str) -> str:
    """Error function."""
    a = e.abs(x)
    u = e.sub(e.cap(a, 5.95), 3.5)
    outer = e.sub(1.0, exponential(e, e.neg(e.estrin(u, G))))
    return e.copysign(e.select(e.compare("olt", a, 1.0), near_zero(e, a), outer), x)


def erfc(e: Emit, x: str) -> str:
    """1 - erf x, of full relative accuracy down to the least subnormal number."""
    a = e.cap(e.abs(x), 28.0)
    above, below = e.add(a, 4.0), e.sub(a, 4.0)
    reciprocal = e.div(1.0, above)
    t = e.mul(below, reciprocal)
    t = e.fma(e.nfma(t, above, below), reciprocal, t)
    factor = e.div(e.horner(t, X), e.fma(a, 2.0, 1.0))
    square, low = exact_product(e, a, a)
    value = exponential(e, e.neg(square), e.neg(low), factor)
    value = e.select(e.compare("olt", x, 0.0), e.sub(2.0, value), value)
    return e.select(e.compare("olt", a, 0.5), e.sub(1.0, near_zero(e, x)), value)
