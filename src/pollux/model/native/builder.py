"""`Builder` writes a tape: folds, finds common subexpressions, and puts each operation where it belongs."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from pollux.model.native import fold
from pollux.model.native.tape import Block, Cell, Memory, Op, Place, Ref, Tape, UnsupportedError

LIMIT = 40_000
"""Longest tape, in operations: an EKF of about a dozen states and sensors, some five seconds of compilation."""

_COMMUTATIVE = frozenset(("add", "mul", "max", "min", "and", "or", "xor", "eq", "ne"))


class Builder:
    """The state of one interpretation: the tape, and the block that is being written."""

    def __init__(self, limit: int = LIMIT):
        self.tape = Tape(Block(None, leaves=False))
        self.block = self.tape.root
        self.limit = limit
        self.active: Any = None
        """Lanes for which this block runs (None: all): in the others its loops must not go on."""
        self._sources: dict[int, Op] = {}

    def op(self, name: str, *args: Any, dtype: Any, **params: Any) -> Any:
        """The value of one scalar operation: a constant where it can be known, else a `Value`."""
        dtype = np.dtype(dtype)
        known = fold.constant(name, args, dtype)
        if known is not None:
            return known
        known = fold.identity(self, name, args, dtype)
        if known is not None:
            return known
        refs = tuple(self.ref(a) for a in args)
        keys = tuple(map(self.key, refs))
        if name in _COMMUTATIVE and keys[0] > keys[1]:
            keys, refs = keys[::-1], refs[::-1]
        return self._record((name, keys, dtype.str, tuple(sorted(params.items()))), name, refs, dtype, params)

    def ref(self, value: Any) -> Any:
        """`value` as an operand: a `Ref` or a constant; a `Cell` is loaded."""
        return self.load(Place(value.memory, value.index)) if isinstance(value, Cell) else value

    def load(self, place: Place) -> Ref:
        """Read memory."""
        key = ("load", id(place.memory), place.offset, place.stride, place.counter and place.counter.number)
        args = () if place.counter is None else (place.counter,)
        return self._record(key, "load", args, place.memory.dtype, {"place": place}, place.memory.block)

    def store(self, place: Place, value: Any, mask: Any = None) -> None:
        """Write memory, here and now, in the lanes of `mask` (None: in all)."""
        self._count()
        args = (self.ref(value), *([] if place.counter is None else [place.counter]), *([] if mask is None else [mask]))
        self.block.ops.append(Op("store", args, None, {"place": place, "mask": mask}))

    def control(self, op: Op) -> None:
        """Append a loop or a branch, whose blocks are complete, here and now."""
        self._count()
        self.block.ops.append(op)

    def fresh(self, dtype: Any, block: Block | None = None) -> Ref:
        """A value that control flow defines."""
        self.tape.values += 1
        return Ref(self.tape.values - 1, np.dtype(dtype), block or self.block)

    def buffer(self, size: int, dtype: Any) -> Memory:
        """Room for `size` values of each lane, written and read in this block or inside it."""
        memory = Memory("buffer", len(self.tape.buffers), size, np.dtype(dtype), self.block)
        self.tape.buffers.append(memory)
        return memory

    def table(self, values: np.ndarray) -> Memory:
        """Constants to be read by a loop counter."""
        memory = Memory("table", len(self.tape.tables), values.size, values.dtype, self.tape.root, values)
        self.tape.tables.append(memory)
        return memory

    @contextmanager
    def inside(self, leaves: bool) -> Iterator[Block]:
        """Write into a new block within this one. `leaves`: whether what does not depend on it may leave it."""
        outer = self.block
        self.block = Block(outer, leaves, outer.depth + 1)
        try:
            yield self.block
        finally:
            self.block = outer

    @contextmanager
    def only(self, mask: Any) -> Iterator[None]:
        """Write what matters only in the lanes of `mask`."""
        outer = self.active
        self.active = mask if outer is None else self.op("and", outer, mask, dtype=bool)
        try:
            yield
        finally:
            self.active = outer

    def source(self, value: Any) -> Op | None:
        """The operation that a value is the result of."""
        return self._sources.get(value.number) if isinstance(value, Ref) else None

    @staticmethod
    def key(value: Any) -> Any:
        """Equal for values that are known to be equal."""
        if isinstance(value, Ref):
            return (0, value.number, "")
        if isinstance(value, Cell):
            return (1, id(value.memory), str(value.index))
        return (2, value.tobytes(), value.dtype.str)

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

    def _record(self, key, name, refs, dtype, params, floor: Block | None = None) -> Ref:
        block = self.block
        while block is not None:
            if key in block.seen:
                return block.seen[key]
            block = block.parent
        target = self._home(refs, floor)
        self._count()
        out = self.fresh(dtype, target)
        op = Op(name, refs, out, params)
        target.ops.append(op)
        target.seen[key] = self._sources_add(op, out)
        return out

    def _sources_add(self, op: Op, out: Ref) -> Ref:
        self._sources[out.number] = op
        return out

    def _home(self, refs: tuple[Any, ...], floor: Block | None) -> Block:
        """The outermost block, from here outwards, that knows every operand."""
        needed = max((r.block.depth for r in refs if isinstance(r, Ref)), default=0)
        needed = max(needed, floor.depth if floor is not None else 0)
        block = self.block
        while block.leaves and block.depth > needed and block.parent is not None:
            block = block.parent
        return block

    def _count(self) -> None:
        self.tape.size += 1
        if self.tape.size > self.limit:
            raise UnsupportedError(f"more than {self.limit} scalar operations")


def arguments(builder: Builder, shapes: list[tuple[tuple[int, ...], Any]]) -> list[np.ndarray]:
    """The program's arguments as arrays of cells."""
    out = []
    for number, (shape, dtype) in enumerate(shapes):
        size = int(np.prod(shape, dtype=int))
        builder.tape.arguments.append(np.dtype(dtype))
        memory = Memory("argument", number, size, np.dtype(dtype), builder.tape.root)
        cells = np.empty(size, dtype=object)
        for k in range(size):
            cells[k] = Cell(memory, k)
        out.append(cells.reshape(shape))
    return out
