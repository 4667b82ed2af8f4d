"""Contraction: a product that is used once and only in a sum becomes a fused multiply-add.

Decided here, on the tape, and not by the compiler: each lane does the same operations in the same order at every
lane count and on every machine with such an instruction, so the bits are the same.
"""

from collections.abc import Iterable
from typing import Any

from pollux.model.native.dead import drop_dead, refs
from pollux.model.native.tape import Op, Ref, Tape, walk


def contract(tape: Tape) -> Tape:
    """Drop what nothing uses and rewrite sums of products, in place; returns the same tape.

    `a b + c` becomes `fma(a, b, c)`; `c - a b` and `a b - c` take the forms `fnma` = -a b + c and `fms` = a b - c.
    """
    drop_dead(tape)
    count = _uses(tape)
    products: dict[int, Op] = {}
    for op in walk(tape.root):
        if op.out is None or op.out.dtype.kind != "f":
            continue
        if op.name == "mul":
            products[op.out.number] = op
        elif op.name in ("add", "sub"):
            _fuse(op, products, count)
    drop_dead(tape)
    return tape


def _fuse(op: Op, products: dict[int, Op], count: list[int]) -> None:
    a, b = op.args
    for one, other in ((b, a), (a, b)):
        product = products.get(one.number) if isinstance(one, Ref) else None
        if product is None or product.out is None or op.out is None:
            continue
        if count[product.out.number] != 1 or product.out.block is not op.out.block:
            continue
        negated = op.name == "sub" and one is b
        op.name = "fma" if op.name == "add" else "fnma" if negated else "fms"
        op.args = (*product.args, other)
        return


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
    return (*op.args, op.params["mask"]) if op.name == "store" else op.args


def _uses(tape: Tape) -> list[int]:
    count = [0] * tape.values
    for op in walk(tape.root):
        for number in refs(_operands(op)):
            count[number] += 1
    for out in tape.outputs:
        for number in refs(out.flat):
            count[number] += 1
    return count
