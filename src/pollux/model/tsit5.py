"""The explicit Runge-Kutta pair of Tsitouras, order 5(4): seven stages, the last of which is the next step's first.

    k_i = f(s + c_i h, x + h sum_{j<i} a_ij k_j),    x' = x + h sum_i b_i k_i,    e = h sum_i (b_i - b*_i) k_i

and a continuous extension of order 4, x(s + theta h) = x + h sum_i b_i(theta) k_i, without further stages.

Source: Tsitouras, Runge-Kutta pairs of order 5(4) satisfying only the first column simplifying assumption, Computers
& Mathematics with Applications 62 (2011), table 1 and sec. 3.
"""

from typing import Any

from jax import Array

from pollux.model.embedded import Scheme, Slope, Trial
from pollux.model.tableau import combine

A = (
    (0.161,),
    (-0.008480655492356988, 0.335480655492357),
    (2.8971530571054935, -6.359448489975075, 4.362295432869581),
    (5.325864828439257, -11.748883564062828, 7.4955393428898365, -0.09249506636175525),
    (5.86145544294642, -12.920969317847109, 8.159367898576159, -0.071584973281401, -0.028269050394068383),
    (0.09646076681806523, 0.01, 0.4798896504144996, 1.379008574103742, -3.290069515436081, 2.324710524099774),
)
"""The last row is also b."""
C = (0.161, 0.327, 0.9, 0.9800255409045097, 1.0, 1.0)
E = (
    0.0017800110522257714, 0.0008164344596567469, -0.007880878010261995, 0.1447110071732629, -0.5823571654525552,
    0.45808210592918697, -0.015151515151515152,
)  # fmt: skip
"""b - b*"""


def slope(f: Slope, s: Any, x: Array) -> Array:
    """The first stage of the first step."""
    return f(s, x)


def step(f: Slope, s: Any, h: Any, x: Array, k1: Array) -> Trial:
    """One step; see the module."""
    k = [k1]
    y = x
    for a, c in zip(A, C, strict=True):
        y = x + h * combine(a, k)
        k.append(f(s + c * h, y))
    return Trial(y, (h * combine(E, k),), tuple(k[:-1]), k[-1])


def extend(f: Slope, theta: Any, s: Any, h: Any, x0: Array, x1: Array, k7: Array, k: tuple[Array, ...]) -> Array:
    """The state at s + theta h."""
    t = theta
    b = (
        -1.0530884977290216 * t * (t - 1.3299890189751412) * (t * t - 1.4364028541716351 * t + 0.7139816917074209),
        0.1017 * t * t * (t * t - 2.1966568338249754 * t + 1.2949852507374631),
        2.490627285651252793 * t * t * (t * t - 2.38535645472061657 * t + 1.57803468208092486),
        -16.54810288924490272 * (t - 1.21712927295533244) * (t - 0.61620406037800089) * t * t,
        47.37952196281928122 * (t - 1.203071208372362603) * (t - 0.658047292653547382) * t * t,
        -34.87065786149660974 * (t - 1.2) * (t - 0.666666666666666667) * t * t,
        2.5 * (t - 1) * (t - 0.6) * t * t,
    )
    return x0 + h * combine(b, (*k, k7))


TSIT5 = Scheme(5, slope, step, lambda square: square, extend)
