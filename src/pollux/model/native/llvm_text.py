"""Prints a tape as LLVM assembly: one function that computes a group of `lanes` twins with explicit vectors.

    void <symbol>(ptr arrays, i64 stride, i64 at, ptr work)

`arrays` points to the addresses of the arguments and then of the outputs; element e of lane j of a fleet array is at
[e * stride + at + j], an argument that all twins share is at [e].
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from pollux.model.native import functions
from pollux.model.native.layout import in_place, workspace
from pollux.model.native.scalars import Lanes, emit
from pollux.model.native.tape import Block, Cond, Op, Place, Ref, Scan, Tape, While
from pollux.model.native.text import number, vector, zero

INDEX = "i64"


class Printer:
    """Writes one function. `fleet[i]` says which arguments carry the fleet axis."""

    def __init__(self, tape: Tape, fleet: tuple[bool, ...], dtypes: list[Any], lanes: Lanes):
        self.tape = tape
        self.fleet = fleet
        self.dtypes = dtypes
        """Of the outputs."""
        self.lanes = lanes
        self.layout = workspace(tape)
        self.lines: list[str] = []
        self.names: dict[int, str] = {}
        self.bases: set[str] = set()
        self.label = "entry"
        self._count = 0

    def function(self, symbol: str) -> str:
        """The text of the function."""
        self._block(self.tape.root)
        for k, out in enumerate(self.tape.outputs):
            self._output(k, out)
        bases = [line for base in sorted(self.bases) for line in self._base(base)]
        body = "\n".join(f"  {line}" if not line.endswith(":") else line for line in [*bases, *self.lines])
        return (
            f"define void @{symbol}(ptr %arrays, i64 %stride, i64 %at, ptr %work) noinline #0 {{\n"
            f"entry:\n{body}\n  ret void\n}}\n"
        )

    def tables(self) -> Iterator[str]:
        """The constant tables that loops read."""
        for t in self.tape.tables:
            assert t.values is not None
            kind = self._stored(t.dtype)
            cells = ", ".join(
                f"{kind} {number(v, self.lanes.kind(t.dtype)) if t.dtype.kind != 'b' else int(v)}" for v in t.values
            )
            yield f"@pollux_table_{t.number} = internal constant [{t.size} x {kind}] [{cells}], align 64"

    # names and lines

    def _put(self, text: str) -> str:
        name = f"%t{self._count}"
        self._count += 1
        self.lines.append(f"{name} = {text}")
        return name

    def _name(self, value: Any, dtype: Any = None) -> str:
        if isinstance(value, Ref):
            return self.names[value.number]
        return self.lanes.const(value, dtype or value.dtype)

    def _start(self, label: str) -> None:
        self.lines.append(f"{label}:")
        self.label = label

    def _fresh(self, stem: str) -> str:
        self._count += 1
        return f"{stem}{self._count}"

    # operations

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
            place: Place = op.params["place"]
            self._store(place, op.args[0], op.params["mask"])
        else:
            assert op.out is not None
            if op.name == "load":
                self.names[op.out.number] = self._load(op.params["place"])
                return
            a = tuple(self._name(x) for x in op.args)
            self.names[op.out.number] = emit(op, a, self.lanes, self._put)

    def _scan(self, loop: Scan) -> None:
        head, body, latch, after = (self._fresh(s) for s in ("head", "body", "latch", "after"))
        before = self.label
        i = f"%i{self._fresh('')}"
        self.names[loop.counter.number] = i
        firsts = [self._name(f) for f in loop.first]
        self.lines.append(f"br label %{head}")
        self._start(head)
        at = len(self.lines)
        self._carry(loop)
        more = self._put(f"icmp ult i64 {i}, {loop.count}")
        self.lines.append(f"br i1 {more}, label %{body}, label %{after}")
        self._start(body)
        self._block(loop.body)
        nexts = [self._name(n, c.dtype) for n, c in zip(loop.next, loop.carry, strict=True)]
        self.lines.append(f"br label %{latch}")
        self._start(latch)
        following = self._put(f"add nuw nsw i64 {i}, 1")
        self.lines.append(f"br label %{head}")
        phis = [f"{i} = phi i64 [ 0, %{before} ], [ {following}, %{latch} ]"]
        phis += self._phis(loop.carry, firsts, nexts, before, latch)
        self.lines[at:at] = phis
        self._start(after)

    def _while(self, loop: While) -> None:
        head, body, latch, after = (self._fresh(s) for s in ("head", "body", "latch", "after"))
        before = self.label
        firsts = [self._name(f) for f in loop.first]
        self.lines.append(f"br label %{head}")
        self._start(head)
        at = len(self.lines)
        self._carry(loop)
        for op in loop.body.ops[: loop.split]:
            self._op(op)
        test = self._name(loop.test)
        self.lines.append(f"br i1 {self._any(test)}, label %{body}, label %{after}")
        self._start(body)
        for op in loop.body.ops[loop.split :]:
            self._op(op)
        nexts = []
        for n, c in zip(loop.next, loop.carry, strict=True):
            name = self._name(n, c.dtype)
            if self.lanes.lanes > 1:
                kind = self.lanes.type(c.dtype)
                name = self._put(f"select {self.lanes.type(bool)} {test}, {kind} {name}, {kind} {self._name(c)}")
            nexts.append(name)
        self.lines.append(f"br label %{latch}")
        self._start(latch)
        self.lines.append(f"br label %{head}")
        self.lines[at:at] = self._phis(loop.carry, firsts, nexts, before, latch)
        self._start(after)

    def _cond(self, cond: Cond) -> None:
        now = [zero(self.lanes.kind(r.dtype), self.lanes.lanes) for r in cond.outs]
        for mask, block, results in zip(cond.masks, cond.blocks, cond.results, strict=True):
            take, end, after = (self._fresh(s) for s in ("take", "end", "after"))
            before, chosen = self.label, self._name(mask)
            self.lines.append(f"br i1 {self._any(chosen)}, label %{take}, label %{after}")
            self._start(take)
            self._block(block)
            self.lines.append(f"br label %{end}")
            self._start(end)
            picked = []
            for r, e, old in zip(cond.outs, results, now, strict=True):
                kind = self.lanes.type(r.dtype)
                yes = self._name(e, r.dtype)
                picked.append(self._put(f"select {self.lanes.type(bool)} {chosen}, {kind} {yes}, {kind} {old}"))
            self.lines.append(f"br label %{after}")
            self._start(after)
            now = [
                self._put(f"phi {self.lanes.type(r.dtype)} [ {old}, %{before} ], [ {new}, %{end} ]")
                for r, old, new in zip(cond.outs, now, picked, strict=True)
            ]
        for r, name in zip(cond.outs, now, strict=True):
            self.names[r.number] = name

    def _carry(self, loop: Scan | While) -> None:
        for c, last in zip(loop.carry, loop.last, strict=True):
            self.names[c.number] = self.names[last.number] = f"%c{c.number}"

    def _phis(self, carry: list[Ref], firsts: list[str], nexts: list[str], before: str, latch: str) -> list[str]:
        return [
            f"{self.names[c.number]} = phi {self.lanes.type(c.dtype)} [ {f}, %{before} ], [ {n}, %{latch} ]"
            for c, f, n in zip(carry, firsts, nexts, strict=True)
        ]

    def _any(self, mask: str) -> str:
        if self.lanes.lanes == 1:
            return mask
        n = self.lanes.lanes
        word = self._put(f"bitcast <{n} x i1> {mask} to i{n}")
        return self._put(f"icmp ne i{n} {word}, 0")

    # memory

    def _stored(self, dtype: np.dtype) -> str:
        """How a number lies in memory: a truth value is a byte."""
        return "i8" if dtype.kind == "b" else self.lanes.kind(dtype)

    def _bytes(self, dtype: np.dtype) -> int:
        return 1 if dtype.kind == "b" else self.lanes.bits(dtype) // 8

    def _base(self, base: str) -> list[str]:
        kind, _, k = base.partition(" ")
        stored = self._stored(self._array_dtype(int(k)))
        slot = [f"%p{k} = getelementptr ptr, ptr %arrays, i64 {k}", f"%q{k} = load ptr, ptr %p{k}, align 8"]
        return [*slot, f"%a{k} = getelementptr {stored}, ptr %q{k}, i64 {'%at' if kind == 'fleet' else '0'}"]

    def _array_dtype(self, k: int) -> np.dtype:
        return self.tape.arguments[k] if k < len(self.fleet) else np.dtype(self.dtypes[k - len(self.fleet)])

    def _index(self, place: Place, extra: int = 0) -> str:
        """Number of the element, in elements of the memory."""
        offset = place.offset + extra
        if place.counter is None:
            return str(offset)
        scaled = self._put(f"mul i64 {self.names[place.counter.number]}, {place.stride}")
        return self._put(f"add i64 {scaled}, {offset}")

    def _address(self, place: Place) -> tuple[str, bool, int]:
        """(pointer, whether every lane has its own element, alignment)."""
        memory = place.memory
        stored, size = self._stored(memory.dtype), self._bytes(memory.dtype)
        if memory.kind == "table":
            return (
                self._put(f"getelementptr {stored}, ptr @pollux_table_{memory.number}, i64 {self._index(place)}"),
                False,
                size,
            )
        if memory.kind == "argument" or memory.output is not None:
            k, extra = (memory.number, 0) if memory.output is None else memory.output
            k += len(self.fleet) if memory.output is not None else 0
            return self._array(k, self._index(place, extra), stored), self._fleet(k), size
        lanes = self.lanes.lanes
        base = self._put(f"getelementptr i8, ptr %work, i64 {self.layout.offsets[memory.number] * lanes}")
        row = self._put(f"mul i64 {self._index(place)}, {lanes}")
        return self._put(f"getelementptr {stored}, ptr {base}, i64 {row}"), True, min(64, size * lanes)

    def _fleet(self, k: int) -> bool:
        return k >= len(self.fleet) or self.fleet[k]

    def _array(self, k: int, element: str, stored: str) -> str:
        fleet = self._fleet(k)
        self.bases.add(f"{'fleet' if fleet else 'shared'} {k}")
        if fleet and self.lanes.lanes > 1:
            element = self._put(f"mul i64 {element}, %stride")
        return self._put(f"getelementptr {stored}, ptr %a{k}, i64 {element}")

    def _load(self, place: Place) -> str:
        dtype = place.memory.dtype
        pointer, own, align = self._address(place)
        stored, n = self._stored(dtype), self.lanes.lanes
        kind = vector(stored, n) if own else stored
        value = self._put(f"load {kind}, ptr {pointer}, align {align}")
        if not own and n > 1:
            one = self._put(f"insertelement <{n} x {stored}> poison, {stored} {value}, i64 0")
            value = self._put(
                f"shufflevector <{n} x {stored}> {one}, <{n} x {stored}> poison, <{n} x i32> zeroinitializer"
            )
        if dtype.kind == "b":
            value = self._put(f"icmp ne {vector('i8', n)} {value}, {zero('i8', n)}")
        return value

    def _store(self, place: Place, value: Any, mask: Any) -> None:
        dtype = place.memory.dtype
        name = self._name(value, dtype)
        if mask is not None and self.lanes.lanes > 1:
            old, kind = self._load(place), self.lanes.type(dtype)
            name = self._put(f"select {self.lanes.type(bool)} {self._name(mask)}, {kind} {name}, {kind} {old}")
        pointer, _, align = self._address(place)
        self._write(pointer, align, name, dtype)

    def _write(self, pointer: str, align: int, name: str, dtype: np.dtype) -> None:
        n = self.lanes.lanes
        if dtype.kind == "b":
            name = self._put(f"zext {self.lanes.type(bool)} {name} to {vector('i8', n)}")
        self.lines.append(f"store {vector(self._stored(dtype), n)} {name}, ptr {pointer}, align {align}")

    def _output(self, number_: int, out: np.ndarray) -> None:
        dtype = np.dtype(self.dtypes[number_])
        for k, e in enumerate(out.flat):
            if not in_place(e, number_, k):
                pointer = self._array(len(self.fleet) + number_, str(k), self._stored(dtype))
                self._write(pointer, self._bytes(dtype), self._name(e, dtype), dtype)


def module(tape: Tape, fleet: tuple[bool, ...], dtypes: list[Any], lanes: Lanes, symbol: str) -> tuple[str, int]:
    """(text of a module with the group function, bytes of workspace for one lane)."""
    printer = Printer(tape, fleet, dtypes, lanes)
    text = printer.function(symbol)
    called = functions.module((name, lanes.lanes, kind) for name, kind in sorted(lanes.functions))
    parts = [*printer.tables(), called, *lanes.intrinsics.values()]
    return "\n".join([*parts, text]), printer.layout.size
