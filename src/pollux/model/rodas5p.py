"""The Rosenbrock method Rodas5P, order 5(4): eight stages, stiffly accurate, L-stable, one factorisation a step.

With J = df/dx and the time derivative f_t at the start of the step, and W = I/(gamma h) - J,

    W U_i = f(s + c_i h, x + sum_{j<i} a_ij U_j) + 1/h sum_{j<i} C_ij U_j + d_i h f_t,    i = 1..8
    x' = x + sum_j m_j U_j,    e = U_8

in the form without products by J (Hairer and Wanner, Solving Ordinary Differential Equations II, eq. IV.7.25); the
continuous extension has order 4. Linear invariants of f (mass) are kept to rounding.

Source: Steinebach, Construction of Rosenbrock-Wanner method Rodas5P and numerical benchmarks within the Julia
Differential Equations package, BIT Numerical Mathematics 63 (2023).
"""

from typing import Any

from jax import Array

from pollux.model.embedded import Scheme, Slope, Trial
from pollux.model.linear import Linear
from pollux.model.tableau import combine

GAMMA = 0.21193756319429014
A6 = (-7.502846399306121, 2.561846144803919, -11.627539656261098, -0.18268767659942256, 0.030198172008377946)
A = (
    (),
    (3.0,),
    (2.849394379747939, 0.45842242204463923),
    (-6.954028509809101, 2.489845061869568, -10.358996098473584),
    (2.8029986275628964, 0.5072464736228206, -0.3988312541770524, -0.04721187230404641),
    A6,
    (*A6, 1.0),
    (*A6, 1.0, 1.0),
)
"""m is the last row and a further 1."""
B = (
    (),
    (-14.155112264123755,),
    (-17.97296035885952, -2.859693295451294),
    (147.12150275711716, -1.41221402718213, 71.68940251302358),
    (165.43517024871676, -0.4592823456491126, 42.90938336958603, -5.961986721573306),
    (24.854864614690072, -3.0009227002832186, 47.4931110020768, 5.5814197821558125, -0.6610691825249471),
    (
        30.91273214028599, -3.1208243349937974, 77.79954646070892, 34.28646028294783, -19.097331116725623,
        -28.087943162872662,
    ),
    (
        37.80277123390563, -3.2571969029072276, 112.26918849496327, 66.9347231244047, -40.06618937091002,
        -54.66780262877968, -9.48861652309627,
    ),
)  # fmt: skip
"""C of the source; here `C` are the nodes."""
C = (0.0, 0.6358126895828704, 0.4095798393397535, 0.9769306725060716, 0.4288403609558664, 1.0, 1.0, 1.0)
D = (
    0.21193756319429014, -0.42387512638858027, -0.3384627126235924, 1.8046452872882734, 2.325825639765069,
    0.0, 0.0, 0.0,
)  # fmt: skip
H = (
    (
        25.948786856663858, -2.5579724845846235, 10.433815404888879, -2.3679251022685204, 0.524948541321073,
        1.1241088310450404, 0.4272876194431874, -0.17202221070155493,
    ),
    (
        -9.91568850695171, -0.9689944594115154, 3.0438037242978453, -24.495224566215796, 20.176138334709044,
        15.98066361424651, -6.789040303419874, -6.710236069923372,
    ),
    (
        11.419903575922262, 2.8879645146136994, 72.92137995996029, 80.12511834622643, -52.072871366152654,
        -59.78993626266729, -0.15582684282751913, 4.883087185713722,
    ),
)  # fmt: skip


def step(linear: Linear, f: Slope, s: Any, h: Any, x: Array) -> Trial:
    """One step; see the module."""
    f_t, J = linear.slopes(f, s, x)
    W = linear.factor(J, 1.0 / (GAMMA * h))
    U: list[Array] = []
    y = x
    for i in range(8):
        if i < 6:
            y = x + combine(A[i], U) if i else x
        else:
            y = y + U[-1]
        b = f(s + C[i] * h, y)
        if i:
            b = b + combine(B[i], U) / h
        U.append(linear.solve(W, b + D[i] * h * f_t if D[i] else b))
    return Trial(y + U[-1], (U[-1],), tuple(U), ())


def extend(f: Slope, theta: Any, s: Any, h: Any, x0: Array, x1: Array, slope: Any, U: tuple[Array, ...]) -> Array:
    """The state at s + theta h."""
    k1, k2, k3 = (combine(row, U) for row in H)
    rest = 1.0 - theta
    return rest * x0 + theta * (x1 + rest * (k1 + theta * (k2 + theta * k3)))


def rodas5p(linear: Linear) -> Scheme:
    """The method with the linear algebra of one structure of df/dx."""

    def one(f: Slope, s: Any, h: Any, x: Array, slope: Any) -> Trial:
        return step(linear, f, s, h, x)

    return Scheme(5, lambda f, s, x: (), one, lambda square: square, extend)
