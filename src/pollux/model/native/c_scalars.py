"""One scalar operation of the tape as a C99 expression."""

import math
from typing import Any

import numpy as np

from pollux.model.native.tape import Op, UnsupportedError

_LIBM = frozenset((
    "exp", "exp2", "expm1", "log", "log1p", "pow", "sin", "cos", "tan", "tanh", "sinh", "cosh", "asin", "acos", "atan",
    "atan2", "asinh", "acosh", "atanh", "erf", "erfc", "cbrt", "sqrt", "floor", "ceil", "round",
))  # fmt: skip
"""What <math.h> has under the name of the primitive."""

_INFIX = {
    "add": "+", "sub": "-", "mul": "*", "and": "&", "or": "|", "xor": "^", "eq": "==", "ne": "!=", "lt": "<",
    "le": "<=", "gt": ">", "ge": ">=",
}  # fmt: skip

HELPERS = {
    "max": "static inline {T} pollux_max_{S}({T} a, {T} b) {{ return (a > b || a != a) ? a : b; }}",
    "min": "static inline {T} pollux_min_{S}({T} a, {T} b) {{ return (a < b || a != a) ? a : b; }}",
    "most": "static inline {T} pollux_most_{S}({T} a, {T} b) {{ return a > b ? a : b; }}",
    "least": "static inline {T} pollux_least_{S}({T} a, {T} b) {{ return a < b ? a : b; }}",
    "div": "static inline {T} pollux_div_{S}({T} a, {T} b) {{ return b == 0 ? ({T})-1 : ({T})(a / b); }}",
    "rem": "static inline {T} pollux_rem_{S}({T} a, {T} b) {{ return b == 0 ? a : ({T})(a % b); }}",
    "whole": (
        "static inline {T} pollux_whole_{S}({R} a) {{ return a != a ? 0 : a <= {LOW} ? ({T}){LOW} : "
        "a >= {HIGH} ? {MAX} : ({T})a; }}"
    ),
}
"""Helpers that C has no operator for: NaN stays NaN, division by zero and conversion out of range are defined."""


class Style:
    """How C looks: `real` is "double" or "float". Collects the helpers that are used."""

    def __init__(self, real: str):
        self.real = real
        self.helpers: dict[str, str] = {}

    def type(self, dtype: Any) -> str:
        """C's type of a dtype."""
        dtype = np.dtype(dtype)
        if dtype.kind == "f":
            return self.real if dtype.itemsize == 8 else "float"
        if dtype.kind == "b":
            return "bool"
        return f"{'u' if dtype.kind == 'u' else ''}int{8 * dtype.itemsize}_t"

    def bytes(self, dtype: Any) -> int:
        """Size of a number."""
        kind = self.type(dtype)
        return {"double": 8, "float": 4, "bool": 1}.get(kind) or np.dtype(dtype).itemsize

    def constant(self, value: Any, dtype: Any) -> str:
        """A literal, exact."""
        dtype = np.dtype(dtype)
        if dtype.kind == "b":
            return "true" if value else "false"
        if dtype.kind in "iu":
            return self._whole(int(value), dtype)
        x = float(value)
        if math.isnan(x):
            return "NAN"
        if math.isinf(x):
            return "INFINITY" if x > 0 else "(-INFINITY)"
        short = self.type(dtype) == "float"
        text = f"{np.float32(x)!s}f" if short else repr(x)
        if "." not in text and "e" not in text:
            text = text.replace("f", ".0f") if short else f"{text}.0"
        return f"({text})" if x < 0 or text.startswith("-") else text

    @staticmethod
    def _whole(value: int, dtype: np.dtype) -> str:
        mark = {"i8": "INT64_C", "u8": "UINT64_C", "u4": "UINT32_C", "i4": "INT32_C"}.get(dtype.str[1:])
        if dtype.kind == "i" and value == np.iinfo(dtype).min:
            return f"INT{8 * dtype.itemsize}_MIN"
        text = f"{mark}({abs(value)})" if mark else str(abs(value))
        return f"(-{text})" if value < 0 else text

    def helper(self, name: str, dtype: Any, **more: Any) -> str:
        """Name of a helper for a type; it is defined once."""
        short = np.dtype(dtype).str[1:]
        text = HELPERS[name].format(T=self.type(dtype), S=short, R=self.real, **more)
        self.helpers[f"{name}_{short}"] = text
        return f"pollux_{name}_{short}"

    def suffix(self, dtype: Any) -> str:
        """What <math.h> appends to the names of its functions for this type."""
        return "f" if self.type(dtype) == "float" else ""


def expression(op: Op, a: tuple[str, ...], style: Style) -> str:
    """The value of an operation on operands written as `a`. Raises `UnsupportedError` by name."""
    name, dtype = op.name, np.dtype(op.args[0].dtype)
    assert op.out is not None
    if name in ("fma", "fms", "fnma"):
        product = f"{a[0]} * {a[1]}"
        return f"{a[2]} - {product}" if name == "fnma" else f"{product} {'+' if name == 'fma' else '-'} {a[2]}"
    if name in _INFIX:
        text = f"{a[0]} {_INFIX[name]} {a[1]}"
        small = dtype.kind in "iu" and dtype.itemsize < 4 and name in ("add", "sub", "mul", "and", "or", "xor")
        return f"({style.type(dtype)})({text})" if small else text
    if name == "div" and dtype.kind == "f":
        return f"{a[0]} / {a[1]}"
    if name == "rem" and dtype.kind == "f":
        return f"fmod{style.suffix(dtype)}({a[0]}, {a[1]})"
    if name in ("max", "min") and dtype.kind != "f":
        return f"{style.helper({'max': 'most', 'min': 'least'}[name], dtype)}({a[0]}, {a[1]})"
    if name in ("div", "rem", "max", "min"):
        return f"{style.helper(name, dtype)}({a[0]}, {a[1]})"
    if name in _LIBM and dtype.kind == "f":
        return f"{name}{style.suffix(dtype)}({', '.join(a)})"
    if name == "select_n":
        return f"{a[0]} ? {a[2]} : {a[1]}"
    if name in _SPECIAL:
        return _SPECIAL[name](op, a, style, dtype)
    raise UnsupportedError(f"`{name}` of {dtype} is not printed as C")


def _convert(op: Op, a: tuple[str, ...], style: Style, dtype: np.dtype) -> str:
    target = np.dtype(op.out.dtype)  # type: ignore[union-attr]
    if dtype.kind == "f" and target.kind in "iu":
        low, high = np.iinfo(target).min, np.iinfo(target).max
        real = np.dtype(np.float64)
        most = style.constant(high, target)
        helper = style.helper(
            "whole", target, LOW=style.constant(float(low), real), HIGH=style.constant(float(high), real), MAX=most
        )
        return f"{helper}({a[0]})"
    return f"({style.type(target)}){a[0]}"


def _shift(op: Op, a: tuple[str, ...], style: Style, dtype: np.dtype) -> str:
    width, kind = 8 * dtype.itemsize, style.type(dtype)
    unsigned = f"uint{width}_t"
    by = f"({unsigned}){a[1]}"
    if op.name == "shift_left":
        return f"{by} < {width} ? ({kind})(({unsigned}){a[0]} << {by}) : 0"
    if op.name == "shift_right_logical":
        return f"{by} < {width} ? ({kind})(({unsigned}){a[0]} >> {by}) : 0"
    return f"{a[0]} >> ({by} < {width} ? {by} : {width - 1})"


def _absolute(op: Op, a: tuple[str, ...], style: Style, dtype: np.dtype) -> str:
    if dtype.kind == "f":
        return f"fabs{style.suffix(dtype)}({a[0]})"
    return a[0] if dtype.kind == "u" else f"{a[0]} < 0 ? -{a[0]} : {a[0]}"


_SPECIAL: dict[str, Any] = {
    "neg": lambda op, a, style, dtype: f"-{a[0]}",
    "abs": _absolute,
    "not": lambda op, a, style, dtype: f"!{a[0]}" if dtype.kind == "b" else f"({style.type(dtype)})~{a[0]}",
    "roundeven": lambda op, a, style, dtype: f"rint{style.suffix(dtype)}({a[0]})",
    "logistic": lambda op, a, style, dtype: (
        f"{style.constant(1.0, dtype)} / ({style.constant(1.0, dtype)} + exp{style.suffix(dtype)}(-{a[0]}))"
    ),
    "convert_element_type": _convert,
    "shift_left": _shift,
    "shift_right_logical": _shift,
    "shift_right_arithmetic": _shift,
}
