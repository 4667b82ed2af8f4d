"""`Pen` writes one LLVM function: instructions, loops and branches; loop counters and sums live in slots of the stack,
which LLVM turns into registers.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from pollux.model.native import functions
from pollux.model.native.arrays.pool import Pool
from pollux.model.native.scalars import Lanes, emit
from pollux.model.native.tape import Block, Op, Ref
from pollux.model.native.text import number

Index = str | int
"""A whole number of 64 bits: a name, or the number itself."""


class Pen:
    """The text of one function. `width` is the bits of a vector register, `real` the type of a float64."""

    def __init__(self, width: int, real: str):
        self.many = Lanes(width // 64, real)
        """A whole vector."""
        self.one = Lanes(1, real)
        self.registers = 16 if width == 256 else 32
        self.pool = Pool()
        self.lines: list[str] = []
        self.slots: list[str] = []
        self.tables: dict[bytes, tuple[str, str]] = {}
        """Constant arrays: (name, text)."""
        self.declared: set[str] = set()
        self._count = 0

    def fresh(self, stem: str) -> str:
        """A new name."""
        self._count += 1
        return f"{stem}{self._count}"

    def put(self, text: str) -> str:
        """Append an instruction; the name of its result."""
        name = self.fresh("%t")
        self.lines.append(f"{name} = {text}")
        return name

    def line(self, text: str) -> None:
        """Append an instruction without a result, or a label."""
        self.lines.append(text)

    def slot(self, kind: str) -> str:
        """Room on the stack for one value of a type."""
        name = self.fresh("%s")
        self.slots.append(f"{name} = alloca {kind}, align 64")
        return name

    def add(self, *terms: Index) -> Index:
        """Sum of indices."""
        known = sum(int(t) for t in terms if not isinstance(t, str))  # NumPy's whole numbers are none of Python's
        total: Index = known
        for t in terms:
            if isinstance(t, str):
                total = t if total == 0 else self.put(f"add i64 {t}, {total}")
        return total

    def times(self, a: Index, b: int) -> Index:
        """Product of an index and a number."""
        if not isinstance(a, str):
            return int(a) * int(b)
        return 0 if b == 0 else a if b == 1 else self.put(f"mul i64 {a}, {b}")

    @contextmanager
    def loop(self, count: Index, step: int = 1, start: Index = 0) -> Iterator[Index]:
        """Instructions for start, start + step, ... below `count`, at least once; a single turn is no loop."""
        if isinstance(count, int) and isinstance(start, int) and start + step >= count:
            yield start
            return
        at, body, after = self.slot("i64"), self.fresh("body"), self.fresh("after")
        self.line(f"store i64 {start}, ptr {at}")
        self.line(f"br label %{body}")
        self.line(f"{body}:")
        i = self.put(f"load i64, ptr {at}")
        yield i
        following = self.put(f"add nuw nsw i64 {i}, {step}")
        self.line(f"store i64 {following}, ptr {at}")
        more = self.put(f"icmp ult i64 {following}, {count}")
        self.line(f"br i1 {more}, label %{body}, label %{after}")
        self.line(f"{after}:")

    @contextmanager
    def when(self, condition: str) -> Iterator[None]:
        """Instructions that run only where `condition`, a name of an i1."""
        then, after = self.fresh("then"), self.fresh("after")
        self.line(f"br i1 {condition}, label %{then}, label %{after}")
        self.line(f"{then}:")
        yield
        self.line(f"br label %{after}")
        self.line(f"{after}:")

    def op(self, lanes: Lanes, name: str, dtype: Any, *args: str, result: Any = None) -> str:
        """One operation of the tape on names of values of `dtype`."""
        block = Block(None, False)
        refs = tuple(Ref(0, np.dtype(dtype), block) for _ in args)
        return emit(Op(name, refs, Ref(0, np.dtype(result or dtype), block)), args, lanes, self.put)

    def splat(self, lanes: Lanes, kind: str, value: str) -> str:
        """A vector of one number."""
        n = lanes.lanes
        if n == 1:
            return value
        first = self.put(f"insertelement <{n} x {kind}> poison, {kind} {value}, i64 0")
        return self.put(f"shufflevector <{n} x {kind}> {first}, <{n} x {kind}> poison, <{n} x i32> zeroinitializer")

    def stored(self, dtype: Any) -> str:
        """How a number lies in memory: a truth value is a byte."""
        return "i8" if np.dtype(dtype).kind == "b" else self.one.kind(dtype)

    def bytes(self, dtype: Any) -> int:
        """Size of a number in memory."""
        return 1 if np.dtype(dtype).kind == "b" else self.one.bits(dtype) // 8

    def table(self, values: np.ndarray) -> str:
        """Name of a constant array."""
        key = f"{values.dtype}{values.shape}".encode() + values.tobytes()
        if key not in self.tables:
            kind, cell = self.stored(values.dtype), self.one.kind(values.dtype)
            name = f"@pollux_table_{len(self.tables)}"
            cells = ", ".join(
                f"{kind} {int(v) if values.dtype.kind == 'b' else number(v, cell)}" for v in values.ravel()
            )
            self.tables[key] = (name, f"{name} = internal constant [{values.size} x {kind}] [{cells}], align 64")
        return self.tables[key][0]

    def module(self, symbol: str) -> str:
        """The whole module."""
        units = {(name, lanes.lanes, kind) for lanes in (self.many, self.one) for name, kind in lanes.functions}
        head = [
            *(text for _, text in self.tables.values()),
            functions.module(sorted(units)),
            *sorted({*self.declared, *self.many.intrinsics.values(), *self.one.intrinsics.values()}),
        ]
        lines = [line if line.endswith(":") else f"  {line}" for line in (*self.slots, *self.lines)]
        body = "\n".join(lines)
        return "\n".join((
            *head,
            f"define void @{symbol}(ptr %arrays, i64 %stride, i64 %at, ptr %work) noinline #0 {{",
            f"entry:\n{body}\n  ret void\n}}\n",
        ))  # fmt: skip
