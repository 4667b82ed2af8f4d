"""`Emit` writes the LLVM text of one function over SIMD lanes: a method appends one instruction and names its result.

Operands are names of earlier results or Python floats (splatted). The only rounding operations are the IEEE 754 basic
ones and the fused multiply-add, none with a fast-math flag, so that every number of lanes on every CPU gives the same
bits.
"""

import struct
from collections.abc import Callable, Sequence

from pollux.model.native.functions.formats import DOUBLE, Format

Operand = str | float
"""The name of a value of the real type, or a constant."""


def real_bits(value: float, real: str = "double") -> str:
    """A number in LLVM's exact notation: the pattern of the double that it is, rounded first where it is a float."""
    if real == "float":
        value = struct.unpack("<f", struct.pack("<f", value))[0]
    return f"0x{struct.unpack('<Q', struct.pack('<d', value))[0]:016X}"


def vector(lanes: int, scalar: str) -> str:
    """The type of `lanes` values of `scalar`: plain for one lane."""
    return scalar if lanes == 1 else f"<{lanes} x {scalar}>"


class Emit:
    """The text of one function body on vectors of two lanes or more, its arguments being `%x` and, for two, `%y`."""

    def __init__(self, lanes: int, form: Format = DOUBLE):
        self.lanes = lanes
        self.form = form
        self.type = f"<{lanes} x {form.real}>"
        self.int = f"<{lanes} x i{form.bits}>"
        self.mask = f"<{lanes} x i1>"
        self.suffix = f"v{lanes}f{form.bits}"
        self.lines: list[str] = []
        self.count = 0
        self.label = "entry"

    def put(self, text: str) -> str:
        """Append `%n = text` and return `%n`."""
        self.count += 1
        self.lines.append(f"  %v{self.count} = {text}")
        return f"%v{self.count}"

    def begin(self, label: str) -> None:
        """Start a basic block."""
        self.lines.append(f"{label}:")
        self.label = label

    def real(self, value: Operand) -> str:
        """An operand of the real type."""
        return value if isinstance(value, str) else f"splat ({self.form.real} {real_bits(value, self.form.real)})"

    def integer(self, value: str | int) -> str:
        """An operand of the integer type."""
        return value if isinstance(value, str) else f"splat (i{self.form.bits} {value})"

    def add(self, a: Operand, b: Operand) -> str:
        """a + b."""
        return self.put(f"fadd {self.type} {self.real(a)}, {self.real(b)}")

    def sub(self, a: Operand, b: Operand) -> str:
        """a - b."""
        return self.put(f"fsub {self.type} {self.real(a)}, {self.real(b)}")

    def mul(self, a: Operand, b: Operand) -> str:
        """a * b."""
        return self.put(f"fmul {self.type} {self.real(a)}, {self.real(b)}")

    def div(self, a: Operand, b: Operand) -> str:
        """a / b."""
        return self.put(f"fdiv {self.type} {self.real(a)}, {self.real(b)}")

    def neg(self, a: Operand) -> str:
        """-a."""
        return self.put(f"fneg {self.type} {self.real(a)}")

    def fma(self, a: Operand, b: Operand, c: Operand) -> str:
        """a * b + c, rounded once."""
        return self.intrinsic("fma", a, b, c)

    def nfma(self, a: Operand, b: Operand, c: Operand) -> str:
        """c - a * b, rounded once."""
        return self.fma(self.neg(a), b, c)

    def abs(self, a: Operand) -> str:
        """|a|."""
        return self.intrinsic("fabs", a)

    def sqrt(self, a: Operand) -> str:
        """Square root, correctly rounded."""
        return self.intrinsic("sqrt", a)

    def rint(self, a: Operand) -> str:
        """The nearest integer, ties to even."""
        return self.intrinsic("roundeven", a)

    def copysign(self, a: Operand, sign: Operand) -> str:
        """|a| with the sign of `sign`."""
        return self.intrinsic("copysign", a, sign)

    def intrinsic(self, name: str, *args: Operand) -> str:
        """An LLVM intrinsic on real operands (the parser declares it)."""
        operands = ", ".join(f"{self.type} {self.real(a)}" for a in args)
        return self.put(f"call {self.type} @llvm.{name}.{self.suffix}({operands})")

    def compare(self, how: str, a: Operand, b: Operand) -> str:
        """A mask by LLVM's `fcmp` predicate: oeq, olt, ole, ogt, oge (false on NaN), une, uno (true on NaN)..."""
        return self.put(f"fcmp {how} {self.type} {self.real(a)}, {self.real(b)}")

    def select(self, mask: str, yes: Operand, no: Operand) -> str:
        """`yes` where `mask`, else `no`."""
        return self.put(f"select {self.mask} {mask}, {self.type} {self.real(yes)}, {self.type} {self.real(no)}")

    def cap(self, a: Operand, high: float) -> str:
        """The smaller of the two; NaN stays NaN."""
        return self.select(self.compare("ogt", a, high), high, a)

    def floor(self, a: Operand, low: float) -> str:
        """The larger of the two; NaN stays NaN."""
        return self.select(self.compare("olt", a, low), low, a)

    def both(self, a: str, b: str) -> str:
        """Where both masks hold."""
        return self.put(f"and {self.mask} {a}, {b}")

    def either(self, a: str, b: str) -> str:
        """Where one of the masks holds."""
        return self.put(f"or {self.mask} {a}, {b}")

    def unlike(self, a: str, b: str) -> str:
        """Where exactly one of the masks holds."""
        return self.put(f"xor {self.mask} {a}, {b}")

    def bits(self, a: Operand) -> str:
        """The bit pattern as an integer."""
        return self.put(f"bitcast {self.type} {self.real(a)} to {self.int}")

    def pattern(self, a: str) -> str:
        """The real value of a bit pattern."""
        return self.put(f"bitcast {self.int} {a} to {self.type}")

    def op(self, name: str, a: str | int, b: str | int) -> str:
        """An integer instruction: add, sub, and, or, xor, shl, lshr."""
        return self.put(f"{name} {self.int} {self.integer(a)}, {self.integer(b)}")

    def int_compare(self, how: str, a: str | int, b: str | int) -> str:
        """A mask by LLVM's `icmp` predicate."""
        return self.put(f"icmp {how} {self.int} {self.integer(a)}, {self.integer(b)}")

    def int_select(self, mask: str, yes: str | int, no: str | int) -> str:
        """`yes` where `mask`, else `no`, integers."""
        choice = f"{self.int} {self.integer(yes)}, {self.int} {self.integer(no)}"
        return self.put(f"select {self.mask} {mask}, {choice}")

    def inverse(self, mask: str) -> str:
        """Where the mask does not hold."""
        return self.put(f"xor {self.mask} {mask}, splat (i1 true)")

    def finite(self, a: Operand) -> str:
        """Where `a` is neither infinite nor NaN."""
        return self.compare("olt", self.abs(a), float("inf"))

    def where_some(self, mask: str, values: dict[str, str], other: Callable[[], list[str]]) -> list[str]:
        """The names `values`, each with its type, or, where some lane is in the mask, what `other` writes instead."""
        number, before = self.count, self.label
        self.lines.append(f"  br i1 {self.any(mask)}, label %some{number}, label %join{number}")
        self.begin(f"some{number}")
        chosen = other()
        after = self.label
        self.lines.append(f"  br label %join{number}")
        self.begin(f"join{number}")
        return [
            self.put(f"phi {kind} [ {old}, %{before} ], [ {new}, %{after} ]")
            for (old, kind), new in zip(values.items(), chosen, strict=True)
        ]

    def any(self, mask: str) -> str:
        """Whether the mask holds in some lane, a plain i1."""
        return self.put(f"call i1 @llvm.vector.reduce.or.v{self.lanes}i1({self.mask} {mask})")

    def horner(self, x: str, coefficients: Sequence[Operand]) -> str:
        """c0 + x c1 + x^2 c2 + ..., one fused step a coefficient."""
        out = coefficients[-1]
        for c in reversed(coefficients[:-1]):
            out = self.fma(x, out, c)
        return self.real(out)

    def estrin(self, x: str, coefficients: Sequence[Operand]) -> str:
        """The same polynomial as a tree: short chains for the pipeline, as many multiplications plus log2 n."""
        level: list[Operand] = list(coefficients)
        while len(level) > 1:
            pairs = [self.fma(x, level[i + 1], level[i]) for i in range(0, len(level) - 1, 2)]
            level = pairs + level[len(level) & ~1 :]
            x = self.mul(x, x) if len(level) > 1 else x
        return self.real(level[0])
