"""Sums and products as unevaluated pairs (high, low) of about 106 bits: T. J. Dekker, Numer. Math. 18 (1971)."""

from pollux.model.native.functions.emit import Emit, Operand

Pair = tuple[str, str]
"""high + low, |low| at most half a unit in the last place of high after a renormalisation."""


def quick_sum(e: Emit, a: Operand, b: Operand) -> Pair:
    """a + b exactly, for |a| >= |b|."""
    s = e.add(a, b)
    return s, e.sub(b, e.sub(s, a))


def exact_sum(e: Emit, a: Operand, b: Operand) -> Pair:
    """a + b exactly (Knuth)."""
    s = e.add(a, b)
    t = e.sub(s, a)
    return s, e.add(e.sub(a, e.sub(s, t)), e.sub(b, t))


def exact_product(e: Emit, a: Operand, b: Operand) -> Pair:
    """a b exactly, barring underflow."""
    p = e.mul(a, b)
    return p, e.fma(a, b, e.neg(p))


def product(e: Emit, a: Pair, b: Pair) -> Pair:
    """The product of two pairs, to about 2^-103."""
    p, low = exact_product(e, a[0], b[0])
    return quick_sum(e, p, e.fma(a[0], b[1], e.fma(a[1], b[0], low)))


def square(e: Emit, a: Pair) -> Pair:
    """The square of a pair."""
    p, low = exact_product(e, a[0], a[0])
    return quick_sum(e, p, e.fma(e.add(a[0], a[0]), a[1], low))


def total(e: Emit, a: Pair, b: Pair) -> Pair:
    """The sum of two pairs, where |a| >= |b| or they do not cancel."""
    s, low = exact_sum(e, a[0], b[0])
    return quick_sum(e, s, e.add(low, e.add(a[1], b[1])))
