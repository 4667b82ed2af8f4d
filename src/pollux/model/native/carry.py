"""Large arrays that a `while` loop carries: they live in memory and a small loop moves them, not a register for each.

A loop that improves a whole trajectory carries hundreds of numbers. In registers they would all be alive at once, be
spilled one by one, and take the compiler seconds; in a buffer they are where the inner loops read them anyway.
"""

from typing import Any

import numpy as np

from pollux.model.native.builder import Builder
from pollux.model.native.tape import Block, Cell, Memory, Op, Place, Scan, Value

LARGE = 32
"""Elements from which on a carried array lives in memory."""


def keep(b: Builder, array: np.ndarray) -> Memory:
    """A buffer that holds the first value of a carried array."""
    flat = array.ravel()
    memory = b.buffer(flat.size, flat[0].dtype)
    _write(b, memory, flat, None)
    return memory


def cells(memory: Memory, shape: tuple[int, ...]) -> np.ndarray:
    """The elements of a buffer as an array."""
    out = np.empty(memory.size, dtype=object)
    out[:] = [Cell(memory, k) for k in range(memory.size)]
    return out.reshape(shape)


def update(b: Builder, memories: list[Memory], following: list[np.ndarray], mask: Any) -> None:
    """All carried arrays take their next values together, in the lanes of `mask`. The last thing of a turn."""
    values = [np.array([None, *array.flat], dtype=object)[1:] for array in following]
    for flat in values:  # what another carried array holds is read before that one is written
        for k, e in enumerate(flat):
            if isinstance(e, Cell) and e.memory in memories:
                flat[k] = b.ref(e)
    for memory, flat in zip(memories, values, strict=True):
        _write(b, memory, flat, mask)


def leave(memories: list[Memory], block: Block) -> None:
    """After the loop its buffers are read in `block`, where they no longer change."""
    for memory in memories:
        memory.block = block


def _write(b: Builder, memory: Memory, flat: np.ndarray, mask: Any) -> None:
    at = 0
    while at < flat.size:
        length = _stretch(b, flat, at)
        if length == 1:
            b.store(Place(memory, at), flat[at], mask)
        else:
            _move(b, memory, at, length, flat[at], mask)
        at += length


def _stretch(b: Builder, flat: np.ndarray, at: int) -> int:
    """How many elements from `at` on one small loop can move: a run in memory, or one constant."""
    first, end = flat[at], at + 1
    if isinstance(first, Cell):
        memory, start = first.memory, first.index - at
        while end < flat.size and isinstance(flat[end], Cell) and flat[end].memory is memory:
            if flat[end].index - end != start:
                break
            end += 1
    elif not isinstance(first, Value):
        key = b.key(first)
        while end < flat.size and not isinstance(flat[end], Value) and b.key(flat[end]) == key:
            end += 1
    return end - at


def _move(b: Builder, memory: Memory, at: int, length: int, first: Any, mask: Any) -> None:
    with b.inside(leaves=True) as block:
        counter = b.fresh(np.int64)
        value = b.load(Place(first.memory, first.index, counter, 1)) if isinstance(first, Cell) else first
        b.store(Place(memory, at, counter, 1), value, mask)
    b.control(Op("scan", (), None, {"loop": Scan(block, length, counter, [], [], [], [])}))
