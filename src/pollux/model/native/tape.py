"""The tape: a per-twin program as scalar operations in nested blocks, independent of any array library or machine.

Every array of the program is a NumPy object array whose elements are NumPy scalars (constants, folded at once) or
`Value`s: a `Ref` is the result of an operation, a `Cell` one element in memory that is loaded where it is first used.
Reshaping, slicing and indexing then cost nothing; products and factorisations become scalar operations. Each value
stands for one number of each twin: a printer turns it into a SIMD register or into a C variable.

Loops and branches are operations that own a block. An operation is placed in the outermost block that knows its
operands (loop-invariant code leaves its loop) but never leaves a branch.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np


class UnsupportedError(Exception):
    """A primitive or a size that is not lowered; the program falls back to XLA and says why."""


class Value:
    """Something known only when the kernel runs."""

    __slots__ = ("dtype",)
    dtype: np.dtype


class Ref(Value):
    """The result of an operation; `block` is where it is defined."""

    __slots__ = ("block", "number")

    def __init__(self, number: int, dtype: np.dtype, block: "Block"):
        self.number = number
        self.dtype = dtype
        self.block = block


class Cell(Value):
    """Element `index` of a memory."""

    __slots__ = ("index", "memory")

    def __init__(self, memory: "Memory", index: int):
        self.memory = memory
        self.index = index
        self.dtype = memory.dtype


@dataclass(eq=False)
class Memory:
    """Elements in memory: an `argument` (read only), a `buffer` (one element per lane), or a `table` of constants."""

    kind: str
    number: int
    size: int
    dtype: np.dtype
    block: "Block"
    values: np.ndarray | None = None
    output: tuple[int, int] | None = None
    """A buffer that lives in output (number, first element) instead of the workspace."""


@dataclass(frozen=True)
class Place:
    """Where in a memory: element `offset + stride * counter`."""

    memory: Memory
    offset: int
    counter: Ref | None = None
    stride: int = 0


@dataclass(eq=False)
class Op:
    """One operation. `name` is that of a JAX primitive, or `fma`, `load`, `store`, `scan`, `while`, `cond`.

    `args` are `Ref`s or NumPy scalars; `out` is None for `store` and for control flow, whose results are in `params`.
    """

    name: str
    args: tuple[Any, ...]
    out: Ref | None
    params: dict[str, Any] = field(default_factory=dict)


@dataclass(eq=False)
class Block:
    """Operations in order. `leaves` says whether an operation that needs nothing of it may move to the parent."""

    parent: "Block | None"
    leaves: bool
    depth: int = 0
    ops: list[Op] = field(default_factory=list)
    seen: dict[Any, Ref] = field(default_factory=dict)
    """What was computed here before, by operation."""


@dataclass(eq=False)
class Scan:
    """A loop of known length. Carried value i starts as `first[i]`, is `carry[i]` inside and `last[i]` afterwards."""

    body: Block
    count: int
    counter: Ref
    first: list[Any]
    carry: list[Ref]
    next: list[Any]
    last: list[Ref]


@dataclass(eq=False)
class While:
    """A loop while `test` holds in some lane; lanes whose test fails keep their carried values.

    `body` holds the operations of the test, and from position `split` on those of the turn.
    """

    body: Block
    split: int
    test: Any
    first: list[Any]
    carry: list[Ref]
    next: list[Any]
    last: list[Ref]


@dataclass(eq=False)
class Cond:
    """Branches: block k runs when `masks[k]` holds in some lane, and gives those lanes `results[k]`."""

    masks: list[Any]
    blocks: list[Block]
    results: list[list[Any]]
    outs: list[Ref]


@dataclass(eq=False)
class Tape:
    """A whole program."""

    root: Block
    arguments: list[np.dtype] = field(default_factory=list)
    outputs: list[np.ndarray] = field(default_factory=list)
    buffers: list[Memory] = field(default_factory=list)
    tables: list[Memory] = field(default_factory=list)
    values: int = 0
    """Number of `Ref`s."""
    size: int = 0
    """Number of operations, those of all blocks included."""


def children(op: Op) -> list[Block]:
    """The blocks of a control operation."""
    if op.name in ("scan", "while"):
        return [op.params["loop"].body]
    return op.params["cond"].blocks if op.name == "cond" else []


def walk(block: Block) -> Iterator[Op]:
    """All operations, outer before inner."""
    for op in block.ops:
        yield op
        for child in children(op):
            yield from walk(child)
