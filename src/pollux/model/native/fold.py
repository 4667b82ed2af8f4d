"""What a scalar operation is worth before it is recorded: constants are computed, identities are dropped.

A constant zero is structural: `0 * v` is 0 even where `v` is NaN (a zero of H or of the identity costs nothing).
Everything else keeps NaN.
"""

from typing import Any

import numpy as np

from pollux.model.native.tape import Value


def is_known(arg: Any, value: float) -> bool:
    """Whether `arg` is the constant `value`."""
    return not isinstance(arg, Value) and arg.dtype.kind != "b" and bool(arg == value)


def _half_away(a: Any) -> Any:
    whole = np.trunc(a)
    return np.where(np.abs(a - whole) >= 0.5, whole + np.copysign(1.0, a), whole) if np.isfinite(a) else a


def _whole(a: Any, dtype: np.dtype) -> Any:
    """A float as an integer: towards zero, the nearest there is where it is out of range, zero for NaN."""
    if np.isnan(a):
        return dtype.type(0)
    limits = np.iinfo(dtype)
    return dtype.type(
        min(max(int(a), limits.min), limits.max) if np.isfinite(a) else limits.max if a > 0 else limits.min
    )


def _quotient(a: Any, b: Any) -> Any:
    if np.issubdtype(a.dtype, np.integer):
        return int(abs(int(a)) // abs(int(b)) * (1 if (a < 0) == (b < 0) else -1)) if b else -1
    return np.divide(a, b)


def _remainder(a: Any, b: Any) -> Any:
    return a if np.issubdtype(a.dtype, np.integer) and not b else np.fmod(a, b)


def _shift(kind: str) -> Any:
    def shift(a: Any, b: Any) -> Any:
        bits, n = a.dtype.itemsize * 8, int(b)
        mask = (1 << bits) - 1
        if kind == "left":
            value = (int(a) << n) & mask if 0 <= n < bits else 0
        elif kind == "logical":
            value = (int(a) & mask) >> n if 0 <= n < bits else 0
        else:
            signed = int(a.view(f"i{a.dtype.itemsize}"))
            value = (signed >> (n if 0 <= n < bits else bits - 1)) & mask
        return np.array(value, dtype=f"u{a.dtype.itemsize}").view(a.dtype)[()]

    return shift


_KNOWN: dict[str, Any] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": _quotient, "rem": _remainder,
    "neg": np.negative, "abs": np.abs, "sign": np.sign, "sqrt": np.sqrt, "max": np.maximum, "min": np.minimum,
    "exp": np.exp, "exp2": np.exp2, "log": np.log, "log1p": np.log1p, "expm1": np.expm1, "sin": np.sin, "cos": np.cos,
    "tan": np.tan, "tanh": np.tanh, "sinh": np.sinh, "cosh": np.cosh, "asin": np.arcsin, "acos": np.arccos,
    "atan": np.arctan, "atan2": np.arctan2, "floor": np.floor, "ceil": np.ceil, "pow": np.power,
    "is_finite": np.isfinite, "nextafter": np.nextafter, "cbrt": np.cbrt, "roundeven": np.rint,
    "round": _half_away,
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
    "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor, "not": np.invert,
    "shift_left": _shift("left"), "shift_right_logical": _shift("logical"),
    "shift_right_arithmetic": _shift("arithmetic"),
}  # fmt: skip


def constant(name: str, args: tuple[Any, ...], dtype: np.dtype) -> Any:
    """The value where every operand is a constant and the operation is known here; None otherwise."""
    if any(isinstance(a, Value) for a in args):
        return None
    with np.errstate(all="ignore"):
        if name == "convert_element_type":
            if args[0].dtype.kind == "f" and dtype.kind in "iu":
                return _whole(args[0], dtype)
            return np.asarray(args[0]).astype(dtype)[()]
        if name == "bitcast_convert_type":
            return np.asarray(args[0]).view(dtype)[()]
        if name in _KNOWN:
            return np.asarray(_KNOWN[name](*args)).astype(dtype)[()]
    return None


def identity(b: Any, name: str, args: tuple[Any, ...], dtype: np.dtype) -> Any:
    """The value where the operation changes nothing or has a cheaper form; None otherwise. `b`: a `Builder`."""
    if name == "select_n":
        return _select(b, args)
    if name == "convert_element_type" and args[0].dtype == dtype:
        return args[0]
    rule = _IDENTITIES.get(name)
    return rule(b, args, dtype) if rule else None


def _select(b: Any, args: tuple[Any, ...]) -> Any:
    condition, *cases = args
    if not isinstance(condition, Value):
        return cases[int(condition)]
    first = b.key(cases[0])
    return cases[0] if all(b.key(c) == first for c in cases[1:]) else None


def _add(b: Any, args: tuple[Any, ...], dtype: np.dtype) -> Any:
    x, y = args
    if is_known(x, 0):
        return y
    return x if is_known(y, 0) else None


def _sub(b: Any, args: tuple[Any, ...], dtype: np.dtype) -> Any:
    x, y = args
    if is_known(y, 0):
        return x
    # 0 - y is not -y where y is zero, and atan2 tells a zero's sign
    return b.op("neg", y, dtype=dtype) if is_known(x, 0) and dtype.kind != "f" else None


def _mul(b: Any, args: tuple[Any, ...], dtype: np.dtype) -> Any:
    for x, y in (args, args[::-1]):
        if is_known(x, 0):
            return dtype.type(0)
        if is_known(x, 1):
            return y
        if is_known(x, -1):
            return b.op("neg", y, dtype=dtype)
    return None


def _div(b: Any, args: tuple[Any, ...], dtype: np.dtype) -> Any:
    x, y = args
    if is_known(y, 1) or (is_known(x, 0) and dtype.kind == "f"):
        return x
    if (
        not isinstance(y, Value)
        and dtype.kind == "f"
        and np.frexp(y)[0] in (0.5, -0.5)
        and 2.0**-120 < abs(y) < 2.0**120
    ):
        return b.op("mul", x, dtype.type(1) / y, dtype=dtype)  # a power of two: the product is exact
    return None


def _neg(b: Any, args: tuple[Any, ...], dtype: np.dtype) -> Any:
    source = b.source(args[0])
    return source.args[0] if source is not None and source.name == "neg" else None


def _and(b: Any, args: tuple[Any, ...], dtype: np.dtype) -> Any:
    if dtype.kind != "b":
        return None
    for x, y in (args, args[::-1]):
        if not isinstance(x, Value):
            return y if x else np.bool_(False)
    return None


def _or(b: Any, args: tuple[Any, ...], dtype: np.dtype) -> Any:
    if dtype.kind != "b":
        return None
    for x, y in (args, args[::-1]):
        if not isinstance(x, Value):
            return np.bool_(True) if x else y
    return None


def _extreme(unbounded: float) -> Any:
    """`max` with -inf and `min` with inf: a state without a bound is not compared with it."""

    def rule(b: Any, args: tuple[Any, ...], dtype: np.dtype) -> Any:
        for x, y in (args, args[::-1]):
            if dtype.kind == "f" and is_known(x, unbounded):
                return y
        return None

    return rule


_IDENTITIES = {
    "add": _add, "sub": _sub, "mul": _mul, "div": _div, "neg": _neg, "and": _and, "or": _or,
    "max": _extreme(-np.inf), "min": _extreme(np.inf),
}  # fmt: skip
