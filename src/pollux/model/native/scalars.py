"""One scalar operation of the tape as LLVM instructions on all lanes."""

from collections.abc import Callable
from typing import Any

import numpy as np

from pollux.model.native import functions
from pollux.model.native.tape import Op, UnsupportedError
from pollux.model.native.text import scalar, splat, vector

Emit = Callable[[str], str]
"""Append an instruction; returns the name of its result."""


class Lanes:
    """How values look: number of lanes and type of a real number. Collects what the module must declare."""

    def __init__(self, lanes: int, real: str):
        self.lanes = lanes
        self.real = real
        self.intrinsics: dict[str, str] = {}
        self.functions: set[tuple[str, str]] = set()
        """(name, kind) of the elementary functions that are called."""

    def kind(self, dtype: Any) -> str:
        """Scalar type of a dtype."""
        return scalar(np.dtype(dtype), self.real)

    def type(self, dtype: Any) -> str:
        """Type of a value."""
        return vector(self.kind(dtype), self.lanes)

    def bits(self, dtype: Any) -> int:
        """Width of a number."""
        kind = self.kind(dtype)
        return {"double": 64, "float": 32}.get(kind) or int(kind[1:])

    def const(self, value: Any, dtype: Any) -> str:
        """A constant of all lanes."""
        return splat(np.dtype(dtype).type(value), self.kind(dtype), self.lanes)

    def intrinsic(self, name: str, dtype: Any, operands: int, result: Any = None) -> str:
        """Declare `llvm.<name>` and return its symbol."""
        symbol = f"llvm.{name}.{self._mark(dtype)}"
        args = ", ".join([self.type(dtype)] * operands)
        self.intrinsics[symbol] = f"declare {self.type(result or dtype)} @{symbol}({args})"
        return symbol

    def _mark(self, dtype: Any) -> str:
        kind = self.kind(dtype)
        mark = {"double": "f64", "float": "f32"}.get(kind, kind)
        return mark if self.lanes == 1 else f"v{self.lanes}{mark}"

    def convert(self, name: str, source: Any, target: Any) -> str:
        """Declare a saturating conversion and return its symbol."""
        symbol = f"llvm.{name}.{self._mark(target)}.{self._mark(source)}"
        self.intrinsics[symbol] = f"declare {self.type(target)} @{symbol}({self.type(source)})"
        return symbol


def emit(op: Op, a: tuple[str, ...], lanes: Lanes, put: Emit) -> str:
    """Write the instructions of `op` on operands named `a`; returns the name of the result."""
    dtypes = [x.dtype for x in op.args]
    assert op.out is not None
    if op.name in functions.NAMES:
        if dtypes[0].kind != "f":
            raise UnsupportedError(f"`{op.name}` of {dtypes[0]}")
        lanes.functions.add((op.name, lanes.kind(dtypes[0])))
        kind = lanes.type(dtypes[0])
        args = ", ".join(f"{kind} {x}" for x in a)
        symbol = functions.symbol(op.name, lanes.lanes, lanes.kind(dtypes[0]))
        return put(f"call fastcc {kind} @{symbol}({args})")
    return _OPS[op.name](op, a, lanes, put)


def _binary(real: str, integer: str, unsigned: str | None = None) -> Any:
    def rule(op, a, lanes, put):
        kind = op.args[0].dtype.kind
        word = real if kind == "f" else (unsigned or integer) if kind == "u" else integer
        if not word:
            raise UnsupportedError(f"`{op.name}` of {op.args[0].dtype}")
        return put(f"{word} {lanes.type(op.args[0].dtype)} {a[0]}, {a[1]}")

    return rule


def _call(name: str) -> Any:
    def rule(op, a, lanes, put):
        d = op.args[0].dtype
        symbol = lanes.intrinsic(name, d, len(a))
        return put(f"call {lanes.type(d)} @{symbol}({', '.join(f'{lanes.type(d)} {x}' for x in a)})")

    return rule


def _extreme(real: str, signed: str, unsigned: str) -> Any:
    def rule(op, a, lanes, put):
        kind = op.args[0].dtype.kind
        if kind == "b":
            word = "or" if op.name == "max" else "and"
            return put(f"{word} {lanes.type(bool)} {a[0]}, {a[1]}")
        return _call(real if kind == "f" else unsigned if kind == "u" else signed)(op, a, lanes, put)

    return rule


def _compare(real: str, signed: str, unsigned: str) -> Any:
    def rule(op, a, lanes, put):
        kind = op.args[0].dtype.kind
        word = f"fcmp {real}" if kind == "f" else f"icmp {unsigned if kind in 'ub' else signed}"
        return put(f"{word} {lanes.type(op.args[0].dtype)} {a[0]}, {a[1]}")

    return rule


def _neg(op, a, lanes, put):
    d = op.args[0].dtype
    if d.kind == "f":
        return put(f"fneg {lanes.type(d)} {a[0]}")
    return put(f"sub {lanes.type(d)} {lanes.const(0, d)}, {a[0]}")


def _abs(op, a, lanes, put):
    d = op.args[0].dtype
    if d.kind == "u":
        return a[0]
    if d.kind == "f":
        return _call("fabs")(op, a, lanes, put)
    less = put(f"icmp slt {lanes.type(d)} {a[0]}, {lanes.const(0, d)}")
    minus = put(f"sub {lanes.type(d)} {lanes.const(0, d)}, {a[0]}")
    return _pick(less, minus, a[0], d, lanes, put)


def _not(op, a, lanes, put):
    d = op.args[0].dtype
    ones = lanes.const(True, bool) if d.kind == "b" else lanes.const(-1 if d.kind == "i" else np.iinfo(d).max, d)
    return put(f"xor {lanes.type(d)} {a[0]}, {ones}")


def _pick(condition, yes, no, dtype, lanes, put):
    return put(f"select {lanes.type(bool)} {condition}, {lanes.type(dtype)} {yes}, {lanes.type(dtype)} {no}")


def _select(op, a, lanes, put):
    return _pick(a[0], a[2], a[1], op.out.dtype, lanes, put)


def _fused(sign: str) -> Any:
    """`fma` a b + c, `fms` a b - c, `fnma` c - a b: one rounding."""

    def rule(op, a, lanes, put):
        kind = lanes.type(op.args[0].dtype)
        x, y, z = a
        if sign == "fms":
            z = put(f"fneg {kind} {z}")
        elif sign == "fnma":
            x = put(f"fneg {kind} {x}")
        return put(f"call {kind} @{lanes.intrinsic('fma', op.args[0].dtype, 3)}({kind} {x}, {kind} {y}, {kind} {z})")

    return rule


def _whole_division(op, a, lanes, put):
    """`div` and `rem` of integers: by zero they give -1 and the dividend, and never trap."""
    d = op.args[0].dtype
    kind = lanes.type(d)
    none = put(f"icmp eq {kind} {a[1]}, {lanes.const(0, d)}")
    divisor = _pick(none, lanes.const(1, d), a[1], d, lanes, put)
    word = {"div": "div", "rem": "rem"}[op.name]
    if d.kind == "u":
        got = put(f"u{word} {kind} {a[0]}, {divisor}")
    else:
        least = lanes.const(np.iinfo(d).min, d)
        lowest = put(f"icmp eq {kind} {a[0]}, {least}")
        minus = put(f"icmp eq {kind} {divisor}, {lanes.const(-1, d)}")
        over = put(f"and {lanes.type(bool)} {lowest}, {minus}")
        divisor = _pick(over, lanes.const(1, d), divisor, d, lanes, put)
        got = put(f"s{word} {kind} {a[0]}, {divisor}")
    otherwise = lanes.const(-1 if d.kind == "i" else np.iinfo(d).max, d) if op.name == "div" else a[0]
    return _pick(none, otherwise, got, d, lanes, put)


def _div(op, a, lanes, put):
    if op.args[0].dtype.kind != "f":
        return _whole_division(op, a, lanes, put)
    return put(f"fdiv {lanes.type(op.args[0].dtype)} {a[0]}, {a[1]}")


def _rem(op, a, lanes, put):
    if op.args[0].dtype.kind != "f":
        return _whole_division(op, a, lanes, put)
    return put(f"frem {lanes.type(op.args[0].dtype)} {a[0]}, {a[1]}")


def _shift(word: str, arithmetic: bool = False) -> Any:
    def rule(op, a, lanes, put):
        d = op.args[0].dtype
        kind, width = lanes.type(d), lanes.bits(d)
        fits = put(f"icmp ult {kind} {a[1]}, {lanes.const(width, d)}")
        by = _pick(fits, a[1], lanes.const(width - 1 if arithmetic else 0, d), d, lanes, put)
        got = put(f"{word} {kind} {a[0]}, {by}")
        return got if arithmetic else _pick(fits, got, lanes.const(0, d), d, lanes, put)

    return rule


def _convert(op, a, lanes, put):
    source, target = op.args[0].dtype, op.out.dtype
    s, t = lanes.type(source), lanes.type(target)
    if source.kind == "f" and target.kind == "f":
        if s == t:
            return a[0]
        return put(f"{'fpext' if lanes.bits(target) > lanes.bits(source) else 'fptrunc'} {s} {a[0]} to {t}")
    if source.kind == "f":
        name = lanes.convert("fptoui.sat" if target.kind == "u" else "fptosi.sat", source, target)
        return put(f"call {t} @{name}({s} {a[0]})")
    if target.kind == "f":
        return put(f"{'sitofp' if source.kind == 'i' else 'uitofp'} {s} {a[0]} to {t}")
    if lanes.bits(source) == lanes.bits(target):
        return a[0]
    word = "trunc" if lanes.bits(target) < lanes.bits(source) else "sext" if source.kind == "i" else "zext"
    return put(f"{word} {s} {a[0]} to {t}")


def _bitcast(op, a, lanes, put):
    s, t = lanes.type(op.args[0].dtype), lanes.type(op.out.dtype)
    if lanes.bits(op.args[0].dtype) != lanes.bits(op.out.dtype):
        raise UnsupportedError("a bit cast of float64 in float32 arithmetic")
    return a[0] if s == t else put(f"bitcast {s} {a[0]} to {t}")


_OPS: dict[str, Any] = {
    "add": _binary("fadd", "add"), "sub": _binary("fsub", "sub"), "mul": _binary("fmul", "mul"),
    "div": _div, "rem": _rem, "neg": _neg, "abs": _abs, "sqrt": _call("sqrt"),
    "fma": _fused("fma"), "fms": _fused("fms"), "fnma": _fused("fnma"),
    "max": _extreme("maximum", "smax", "umax"), "min": _extreme("minimum", "smin", "umin"),
    "floor": _call("floor"), "ceil": _call("ceil"), "round": _call("round"), "roundeven": _call("roundeven"),
    "eq": _compare("oeq", "eq", "eq"), "ne": _compare("une", "ne", "ne"), "lt": _compare("olt", "slt", "ult"),
    "le": _compare("ole", "sle", "ule"), "gt": _compare("ogt", "sgt", "ugt"), "ge": _compare("oge", "sge", "uge"),
    "and": _binary("", "and"), "or": _binary("", "or"), "xor": _binary("", "xor"), "not": _not, "select_n": _select,
    "convert_element_type": _convert, "bitcast_convert_type": _bitcast, "shift_left": _shift("shl"),
    "shift_right_logical": _shift("lshr"), "shift_right_arithmetic": _shift("ashr", arithmetic=True),
}  # fmt: skip
