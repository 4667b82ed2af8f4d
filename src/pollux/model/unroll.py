"""`unroll`: the jaxpr of a per-twin program becomes a tape of scalar operations, to be run over a fleet.

Every array of the program is a NumPy object array whose elements are either NumPy scalars (constants, folded at
once) or `Ref`s (values on the tape). Reshaping, slicing and indexing then cost nothing, matrix products and
factorisations become scalar operations, and what is left is straight-line code in which each value stands for one
number of each twin. The tape knows no array library: `unroll_jax` runs it on (fleet,) arrays; a printer of machine code
reads the same tape.

Folding treats a constant zero as structural: `0 * v` is 0 even where `v` is NaN. Everything else keeps NaN.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

LIMIT = 2500
"""Longest tape, in operations, loop bodies included: an EKF of five states. Straight-line code stays faster than arrays
well beyond it (measured: 1.8x at ten states), but XLA then takes more than ten seconds to compile it."""


class UnsupportedError(Exception):
    """A primitive or a size that is not unrolled; the caller keeps the program on arrays. Never seen by users."""


class Ref:
    """A value on the tape: the result of instruction `index`."""

    __slots__ = ("dtype", "index")

    def __init__(self, index: int, dtype: np.dtype):
        self.index = index
        self.dtype = dtype


class Op(NamedTuple):
    """One scalar operation. `args` are `Ref`s or NumPy scalars; `name` is that of a JAX primitive, or one of
    `input` (params: argument, element), `loop` (params: body tape, count) and `item` (params: position).
    """

    name: str
    args: tuple[Any, ...]
    dtype: np.dtype
    params: tuple[tuple[str, Any], ...] = ()


@dataclass
class Tape:
    """Operations in order, and the outputs as object arrays of `Ref`s and constants."""

    ops: list[Op] = field(default_factory=list)
    outputs: list[np.ndarray] = field(default_factory=list)

    def used(self) -> list[bool]:
        """Which operations the outputs depend on."""
        live = [False] * len(self.ops)
        stack = [e.index for out in self.outputs for e in out.flat if isinstance(e, Ref)]
        while stack:
            i = stack.pop()
            if not live[i]:
                live[i] = True
                stack.extend(a.index for a in self.ops[i].args if isinstance(a, Ref))
        return live

    def __len__(self) -> int:
        return len(self.ops)


class Scalars:
    """Writes a tape: folds constants and identities, and never computes the same thing twice."""

    def __init__(self, limit: int = LIMIT):
        self.tape = Tape()
        self.limit = limit
        self._seen: dict[Any, Ref] = {}

    def input(self, argument: int, element: int, dtype: Any) -> Ref:
        """One element of an argument of the program."""
        return self._append(Op("input", (), np.dtype(dtype), (("argument", argument), ("element", element))))

    def op(self, name: str, *args: Any, dtype: Any, **params: Any) -> Any:
        """The value of one scalar operation: a constant where it can be known, else a `Ref`."""
        dtype = np.dtype(dtype)
        known = _fold(self, name, args, dtype, params)
        if known is not None:
            return known
        key = (name, tuple(map(_key, args)), dtype, tuple(sorted(params.items())))
        ref = self._seen.get(key)
        if ref is None:
            ref = self._seen[key] = self._append(Op(name, args, dtype, tuple(sorted(params.items()))))
        return ref

    def raw(self, op: Op) -> Ref:
        """Append as it is."""
        return self._append(op)

    def add(self, a: Any, b: Any) -> Any:
        """a + b."""
        return self.op("add", a, b, dtype=a.dtype)

    def sub(self, a: Any, b: Any) -> Any:
        """a - b."""
        return self.op("sub", a, b, dtype=a.dtype)

    def mul(self, a: Any, b: Any) -> Any:
        """a * b."""
        return self.op("mul", a, b, dtype=a.dtype)

    def div(self, a: Any, b: Any) -> Any:
        """a / b."""
        return self.op("div", a, b, dtype=a.dtype)

    def sqrt(self, a: Any) -> Any:
        """Square root; NaN below zero."""
        return self.op("sqrt", a, dtype=a.dtype)

    def select(self, condition: Any, yes: Any, no: Any) -> Any:
        """`yes` where `condition`, else `no`."""
        return self.op("select_n", condition, no, yes, dtype=yes.dtype)

    def total(self, terms: list[Any], dtype: Any) -> Any:
        """Sum from left to right, zero when empty."""
        out = np.dtype(dtype).type(0)
        for term in terms:
            out = self.add(out, term)
        return out

    def _append(self, op: Op) -> Ref:
        if len(self.tape.ops) >= self.limit:
            raise UnsupportedError(f"more than {self.limit} scalar operations")
        self.tape.ops.append(op)
        return Ref(len(self.tape.ops) - 1, op.dtype)


def _key(arg: Any) -> Any:
    return arg.index if isinstance(arg, Ref) else (str(arg.dtype), arg.tobytes())


def _is(arg: Any, value: float) -> bool:
    return not isinstance(arg, Ref) and arg.dtype != bool and arg == value


def _truncated(a: Any, b: Any) -> Any:
    if np.issubdtype(a.dtype, np.integer):
        return np.trunc(np.true_divide(a, b)) if b else -1
    return np.divide(a, b)


_KNOWN = {
    "add": np.add, "add_any": np.add, "sub": np.subtract, "mul": np.multiply, "div": _truncated,
    "neg": np.negative, "abs": np.abs, "sign": np.sign, "sqrt": np.sqrt, "max": np.maximum, "min": np.minimum,
    "exp": np.exp, "log": np.log, "sin": np.sin, "cos": np.cos, "tanh": np.tanh, "floor": np.floor, "ceil": np.ceil,
    "pow": np.power, "rem": np.fmod, "square": np.square, "is_finite": np.isfinite, "rsqrt": lambda a: 1 / np.sqrt(a),
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
    "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor, "not": np.invert,
}  # fmt: skip
"""What is computed at once when every operand is a constant."""


def _fold(s: Scalars, name: str, args: tuple[Any, ...], dtype: np.dtype, params: dict[str, Any]) -> Any:
    """The value, if it needs no operation or a cheaper one; None otherwise."""
    if not any(isinstance(a, Ref) for a in args):
        if name in _KNOWN:
            with np.errstate(all="ignore"):
                return dtype.type(_KNOWN[name](*args))
        if name == "convert_element_type":
            return dtype.type(args[0])
        if name == "integer_pow":
            with np.errstate(all="ignore"):
                return dtype.type(args[0] ** params["y"])
    if name == "select_n":
        if not isinstance(args[0], Ref):
            return args[1 + int(args[0])]
        return args[1] if all(a is args[1] for a in args[2:]) else None
    if name in ("add", "add_any"):
        a, b = args
        if _is(a, 0):
            return b
        if _is(b, 0):
            return a
        return s.op("add", a, b, dtype=dtype) if name == "add_any" else None
    if name == "sub":
        a, b = args
        if _is(b, 0):
            return a
        return s.op("neg", b, dtype=dtype) if _is(a, 0) else None
    if name == "mul":
        return _fold_mul(s, args[0], args[1], dtype)
    if name == "div":
        a, b = args
        return a if _is(b, 1) or _is(a, 0) else None
    if name == "neg":
        return None
    if name in ("integer_pow", "pow", "square"):
        return _fold_power(s, name, args, dtype, params)
    if name == "convert_element_type" and args[0].dtype == dtype:
        return args[0]
    return args[0] if name in ("copy", "copy_p", "stop_gradient", "reduce_precision") else None


def _fold_mul(s: Scalars, a: Any, b: Any, dtype: np.dtype) -> Any:
    if _is(a, 0) or _is(b, 0):
        return dtype.type(0)
    if _is(a, 1):
        return b
    if _is(b, 1):
        return a
    if _is(a, -1):
        return s.op("neg", b, dtype=dtype)
    return s.op("neg", a, dtype=dtype) if _is(b, -1) else None


def _fold_power(s: Scalars, name: str, args: tuple[Any, ...], dtype: np.dtype, params: dict[str, Any]) -> Any:
    """Small whole powers become products, a power of one half a square root."""
    base = args[0]
    y = 2 if name == "square" else params["y"] if name == "integer_pow" else args[1]
    if isinstance(y, Ref):
        return None
    if y == 0.5:
        return s.sqrt(base)
    if y != int(y) or abs(y) > 8:
        return None
    out, n, square = dtype.type(1), abs(int(y)), base
    while n:
        if n & 1:
            out = s.mul(out, square)
        n >>= 1
        square = s.mul(square, square) if n else square
    return s.div(dtype.type(1), out) if y < 0 else out
