"""Prints a tape as C99: one function for one twin, from the same operations as the machine code.

No allocation, no recursion, no static data that changes: buffers are arrays on the stack whose size is stated. What
is a fused multiply-add in the machine code is a product and a sum here, so results agree to rounding.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pollux.model.native.c_scalars import Style, expression
from pollux.model.native.layout import in_place
from pollux.model.native.tape import Block, Cond, Op, Place, Ref, Scan, Tape, While, walk


@dataclass(frozen=True)
class Argument:
    """An argument or a result of the C function."""

    name: str
    shape: tuple[int, ...]
    dtype: Any
    doc: str

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=int))


class CPrinter:
    """Writes the body of one function."""

    def __init__(self, tape: Tape, inputs: tuple[Argument, ...], outputs: tuple[Argument, ...], style: Style):
        self.tape = tape
        self.inputs = inputs
        self.outputs = outputs
        self.style = style
        self.lines: list[str] = []
        self.names: dict[int, str] = {}
        self.depth = 1
        self.touched = {op.params["place"].memory for op in walk(tape.root) if op.name in ("load", "store")}

    def body(self) -> str:
        """The statements of the function."""
        for memory in self.tape.buffers:
            if memory.output is None and memory in self.touched:
                self._line(f"{self.style.type(memory.dtype)} b{memory.number}[{memory.size}];")
        self._block(self.tape.root)
        for k, out in enumerate(self.tape.outputs):
            for e, value in enumerate(out.flat):
                if not in_place(value, k, e):
                    target = self._element(self.outputs[k], str(e), True)
                    self._line(f"{target} = {self._name(value, self.outputs[k].dtype)};")
        return "\n".join(self.lines)

    def tables(self) -> str:
        """The constant tables that loops read."""
        parts = []
        for t in (t for t in self.tape.tables if t in self.touched):
            assert t.values is not None
            cells = ", ".join(self.style.constant(v, t.dtype) for v in t.values)
            parts.append(f"static const {self.style.type(t.dtype)} table{t.number}[{t.size}] = {{{cells}}};\n")
        return "".join(parts)

    def workspace(self) -> int:
        """Bytes of the buffers on the stack."""
        sizes = (
            m.size * self.style.bytes(m.dtype) for m in self.tape.buffers if m.output is None and m in self.touched
        )
        return sum(sizes)

    def _line(self, text: str) -> None:
        self.lines.append("    " * self.depth + text)

    def _name(self, value: Any, dtype: Any = None) -> str:
        if isinstance(value, Ref):
            return self.names[value.number]
        return self.style.constant(value, dtype or value.dtype)

    def _block(self, block: Block) -> None:
        for op in block.ops:
            self._op(op)

    def _op(self, op: Op) -> None:
        if op.name == "scan":
            self._scan(op.params["loop"])
        elif op.name == "while":
            self._while(op.params["loop"])
        elif op.name == "cond":
            self._cond(op.params["cond"])
        elif op.name == "store":
            place = op.params["place"]
            self._line(f"{self._cell(place, True)} = {self._name(op.args[0], place.memory.dtype)};")
        else:
            assert op.out is not None
            if op.name == "load":
                text = self._cell(op.params["place"], False)
            else:
                text = expression(op, tuple(self._name(a) for a in op.args), self.style)
            self.names[op.out.number] = f"v{op.out.number}"
            self._line(f"const {self.style.type(op.out.dtype)} v{op.out.number} = {text};")

    def _scan(self, loop: Scan) -> None:
        i = f"i{loop.counter.number}"
        self.names[loop.counter.number] = i
        self._carry(loop)
        self._line(f"for (int32_t {i} = 0; {i} < {loop.count}; ++{i}) {{")
        self.depth += 1
        self._block(loop.body)
        self._advance(loop)
        self.depth -= 1
        self._line("}")

    def _while(self, loop: While) -> None:
        self._carry(loop)
        self._line("for (;;) {")
        self.depth += 1
        for op in loop.body.ops[: loop.split]:
            self._op(op)
        self._line(f"if (!{self._name(loop.test)}) {{")
        self._line("    break;")
        self._line("}")
        for op in loop.body.ops[loop.split :]:
            self._op(op)
        self._advance(loop)
        self.depth -= 1
        self._line("}")

    def _cond(self, cond: Cond) -> None:
        for r in cond.outs:
            self.names[r.number] = f"v{r.number}"
            zero = self.style.constant(np.zeros((), r.dtype)[()], r.dtype)
            self._line(f"{self.style.type(r.dtype)} v{r.number} = {zero};")
        for mask, block, results in zip(cond.masks, cond.blocks, cond.results, strict=True):
            self._line(f"if ({self._name(mask)}) {{")
            self.depth += 1
            self._block(block)
            for r, value in zip(cond.outs, results, strict=True):
                self._line(f"v{r.number} = {self._name(value, r.dtype)};")
            self.depth -= 1
            self._line("}")

    def _carry(self, loop: Scan | While) -> None:
        for first, c, last in zip(loop.first, loop.carry, loop.last, strict=True):
            self._line(f"{self.style.type(c.dtype)} c{c.number} = {self._name(first, c.dtype)};")
            self.names[c.number] = self.names[last.number] = f"c{c.number}"

    def _advance(self, loop: Scan | While) -> None:
        """All carried values take their next ones together."""
        pairs = [(c, self._name(n, c.dtype)) for c, n in zip(loop.carry, loop.next, strict=True)]
        moved = {f"c{c.number}" for c, _ in pairs}
        for c, name in pairs:
            if name in moved and name != f"c{c.number}":  # another carried value, which may be overwritten first
                self._line(f"const {self.style.type(c.dtype)} n{c.number} = {name};")
        for c, name in pairs:
            if name == f"c{c.number}":
                continue
            self._line(f"c{c.number} = {f'n{c.number}' if name in moved else name};")

    def _cell(self, place: Place, write: bool) -> str:
        memory, index = place.memory, str(place.offset)
        extra = memory.output[1] if memory.output is not None else 0
        if place.counter is not None:
            index = f"{self.names[place.counter.number]} * {place.stride} + {place.offset + extra}"
        elif extra:
            index = str(place.offset + extra)
        if memory.kind == "argument":
            return self._element(self.inputs[memory.number], index, write)
        if memory.output is not None:
            return self._element(self.outputs[memory.output[0]], index, True)
        return f"{'table' if memory.kind == 'table' else 'b'}{memory.number}[{index}]"

    def _element(self, argument: Argument, index: str, result: bool) -> str:
        if argument.shape == ():
            return f"*{argument.name}" if result else argument.name
        return f"{argument.name}[{index}]"
