"""Contraction: a product that is used once and only in a sum becomes a fused multiply-add; dead code goes.

Decided here, on the tape, and not by the compiler: each lane does the same operations in the same order at every
lane count and on every machine with such an instruction, so the bits are the same.
"""

from collections.abc import Iterable
from typing import Any

from pollux.model.native.tape import Block, Memory, Op, Ref, Tape, children, walk


def contract(tape: Tape) -> Tape:
    """Drop what nothing uses and rewrite sums of products, in place; returns the same tape.

    `a b + c` becomes `fma(a, b, c)`; `c - a b` and `a b - c` take the forms `fnma` = -a b + c and `fms` = a b - c.
    """
    _sweep(tape.root, _used(tape))
    count = _uses(tape)
    products: dict[int, Op] = {}
    fused: set[int] = set()
    for op in walk(tape.root):
        if op.out is None or op.out.dtype.kind != "f":
            continue
        if op.name == "mul":
            products[op.out.number] = op
        elif op.name in ("add", "sub"):
            taken = _fuse(op, products, count)
            if taken is not None:
                fused.add(taken)
    _sweep(tape.root, {n for n in range(tape.values) if n not in fused})
    return tape


def _fuse(op: Op, products: dict[int, Op], count: list[int]) -> int | None:
    a, b = op.args
    for one, other in ((b, a), (a, b)):
        product = products.get(one.number) if isinstance(one, Ref) else None
        if product is None or count[one.number] != 1 or product.out.block is not op.out.block:  # type: ignore[union-attr]
            continue
        negated = op.name == "sub" and one is b
        op.name = "fma" if op.name == "add" else "fnma" if negated else "fms"
        op.args = (*product.args, other)
        return one.number
    return None


def _refs(values: Iterable[Any]) -> Iterable[int]:
    return (v.number for v in values if isinstance(v, Ref))


def _operands(op: Op) -> Iterable[Any]:
    """Every value that an operation reads, those that its blocks hand to it included."""
    if op.name == "scan":
        loop = op.params["loop"]
        return (*loop.first, *loop.next)
    if op.name == "while":
        loop = op.params["loop"]
        return (loop.test, *loop.first, *loop.next)
    if op.name == "cond":
        cond = op.params["cond"]
        return (*cond.masks, *(r for results in cond.results for r in results))
    return op.args


def _uses(tape: Tape) -> list[int]:
    count = [0] * tape.values
    for op in walk(tape.root):
        for number in _refs(_operands(op)):
            count[number] += 1
    for out in tape.outputs:
        for number in _refs(out.flat):
            count[number] += 1
    return count


def _used(tape: Tape) -> set[int]:
    """Values that an output, a store or control flow depends on."""
    sources = {op.out.number: op for op in walk(tape.root) if op.out is not None}
    stack = [n for out in tape.outputs for n in _refs(out.flat)]
    read = {op.params["place"].memory for op in walk(tape.root) if op.name == "load"}
    for op in walk(tape.root):
        if op.out is None and not _idle(op, read):
            stack.extend(_refs(_operands(op)))
    live: set[int] = set()
    while stack:
        n = stack.pop()
        if n not in live:
            live.add(n)
            if n in sources:
                stack.extend(_refs(sources[n].args))
    return live


def _idle(op: Op, read: set[Memory]) -> bool:
    """Whether a store is to a buffer that nobody reads."""
    return op.name == "store" and op.params["place"].memory not in read and op.params["place"].memory.output is None


def _sweep(block: Block, live: set[int]) -> None:
    """Keep the operations whose result is live."""
    for op in block.ops:
        if op.name == "while":
            loop = op.params["loop"]
            head = [o for o in loop.body.ops[: loop.split] if o.out is None or o.out.number in live]
            tail = [o for o in loop.body.ops[loop.split :] if o.out is None or o.out.number in live]
            loop.body.ops, loop.split = head + tail, len(head)
            for inner in loop.body.ops:
                for child in children(inner):
                    _sweep(child, live)
            continue
        for child in children(op):
            _sweep(child, live)
    block.ops = [op for op in block.ops if op.out is None or op.out.number in live]
