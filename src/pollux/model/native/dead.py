"""Dead code: what no output depends on is dropped, loops and buffers included."""

from collections.abc import Iterable
from typing import Any

from pollux.model.native.tape import Block, Memory, Op, Ref, Tape, children, walk


def drop_dead(tape: Tape) -> None:
    """Keep only operations, carried values and stores that an output depends on; in place."""
    live, read = _live(tape)
    _sweep(tape.root, live, read)


def refs(values: Iterable[Any]) -> Iterable[int]:
    """Numbers of the values that are not constants."""
    return (v.number for v in values if isinstance(v, Ref))


def _live(tape: Tape) -> tuple[set[int], set[Memory]]:
    """Live values, and memories that matter: an output's, or read by a live load."""
    needs: dict[int, list[Any]] = {}
    loads: dict[int, Memory] = {}
    stores: dict[Memory, list[Any]] = {}
    stack = [n for out in tape.outputs for n in refs(out.flat)]
    for op in walk(tape.root):
        if op.name == "store":
            stores.setdefault(op.params["place"].memory, []).extend([*op.args, op.params["mask"]])
        elif op.name in ("scan", "while"):
            loop = op.params["loop"]
            for first, carry, following, last in zip(loop.first, loop.carry, loop.next, loop.last, strict=True):
                needs[carry.number] = needs[last.number] = [first, following]
            if op.name == "while":  # the test decides how often everything inside happens
                stack.extend(refs([loop.test]))
        elif op.name == "cond":
            cond = op.params["cond"]
            stack.extend(refs(cond.masks))
            for k, out in enumerate(cond.outs):
                needs[out.number] = [results[k] for results in cond.results]
        elif op.out is not None:
            needs[op.out.number] = list(op.args)
            if op.name == "load":
                loads[op.out.number] = op.params["place"].memory
    memories = {m for m in tape.buffers if m.output is not None}
    for memory in memories:
        stack.extend(refs(stores.get(memory, [])))
    live: set[int] = set()
    while stack:
        n = stack.pop()
        if n in live:
            continue
        live.add(n)
        stack.extend(refs(needs.get(n, [])))
        memory = loads.get(n)
        if memory is not None and memory not in memories:
            memories.add(memory)
            stack.extend(refs(stores.get(memory, [])))
    return live, memories


def _sweep(block: Block, live: set[int], read: set[Memory]) -> None:
    def stays(op: Op) -> bool:
        if op.name == "store":
            return op.params["place"].memory in read
        if op.name == "scan":
            loop = op.params["loop"]
            return bool(loop.carry or loop.body.ops)
        return op.out is None or op.out.number in live

    for op in block.ops:
        if op.name in ("scan", "while"):
            _trim(op, live)
        elif op.name == "cond":
            cond = op.params["cond"]
            kept = [k for k, out in enumerate(cond.outs) if out.number in live]
            cond.outs = [cond.outs[k] for k in kept]
            cond.results = [[results[k] for k in kept] for results in cond.results]
        if op.name == "while":
            loop = op.params["loop"]
            head = Block(None, False, ops=loop.body.ops[: loop.split])
            tail = Block(None, False, ops=loop.body.ops[loop.split :])
            _sweep(head, live, read)
            _sweep(tail, live, read)
            loop.body.ops, loop.split = head.ops + tail.ops, len(head.ops)
        else:
            for child in children(op):
                _sweep(child, live, read)
    block.ops = [op for op in block.ops if stays(op)]


def _trim(op: Op, live: set[int]) -> None:
    """Carry only what is live."""
    loop = op.params["loop"]
    pairs = zip(loop.carry, loop.last, strict=True)
    kept = [i for i, (carry, last) in enumerate(pairs) if carry.number in live or last.number in live]
    loop.first, loop.carry, loop.next, loop.last = (
        [values[i] for i in kept] for values in (loop.first, loop.carry, loop.next, loop.last)
    )
