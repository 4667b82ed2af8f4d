"""Where things are: buffers that an output can hold, and the rest in the workspace of one group of lanes."""

from dataclasses import dataclass
from typing import Any

from pollux.model.native.tape import Cell, Memory, Tape


@dataclass(frozen=True)
class Layout:
    """Byte offset of each buffer in the workspace (for one lane, to be multiplied by the lanes), and its size."""

    offsets: tuple[int, ...]
    size: int


def place_outputs(tape: Tape) -> None:
    """Let a buffer whose elements are, in order, a run of an output live in that output."""
    for number, out in enumerate(tape.outputs):
        flat = list(out.ravel())
        k = 0
        while k < len(flat):
            memory = _starts(flat, k)
            if memory is not None and memory.output is None:
                memory.output = (number, k)
            k += memory.size if memory is not None else 1


def _starts(flat: list[Any], k: int) -> Memory | None:
    """The buffer that a whole run from position k on consists of."""
    first = flat[k]
    if not isinstance(first, Cell) or first.memory.kind != "buffer" or first.index != 0:
        return None
    memory = first.memory
    run = flat[k : k + memory.size]
    whole = len(run) == memory.size and all(
        isinstance(e, Cell) and e.memory is memory and e.index == i for i, e in enumerate(run)
    )
    return memory if whole else None


def workspace(tape: Tape) -> Layout:
    """Room for the buffers that no output holds."""
    offsets, at = [], 0
    for memory in tape.buffers:
        offsets.append(at)
        if memory.output is None:
            at += memory.size * 8
    return Layout(tuple(offsets), at)


def in_place(element: Any, number: int, k: int) -> bool:
    """Whether element k of output `number` is a cell that is already there."""
    if not isinstance(element, Cell) or element.memory.output is None:
        return False
    return element.memory.output == (number, k - element.index)
