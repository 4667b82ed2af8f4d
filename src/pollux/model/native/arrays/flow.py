"""`scan`, `while` and `cond` as real loops and branches around blocks of arrays."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from pollux.model.native.arrays.loops import copy, packed
from pollux.model.native.arrays.memory import load_raw, take
from pollux.model.native.arrays.moves import whole
from pollux.model.native.arrays.nodes import Body, Node, Var
from pollux.model.native.arrays.pen import Index, Pen
from pollux.model.native.arrays.view import View
from pollux.model.native.control import sizes

Homes = Mapping[Var, View]
Run = Callable[[Body, Sequence[View], Homes], list[View]]
"""Writes a block: (block, its parameters, where results should lie) -> its results."""


def scan(pen: Pen, node: Node, ins: Sequence[View], homes: Homes, run: Run) -> list[View]:
    """`lax.scan`: the carry lies in memory of its own, rows of the results are written where they belong."""
    p = node.eqn.params
    (consts, count), length = sizes(p), p["length"]
    (block,) = node.bodies
    stay = [out is block.ins[consts + k] for k, out in enumerate(block.outs[:count])]
    carry = [x if same else packed(pen, x) for x, same in zip(ins[consts : consts + count], stay, strict=True)]
    rows = [homes[v] if v in homes else take(pen, v.dtype, v.shape) for v in node.outs[count:]]
    if not length:
        return [*carry, *rows]
    with pen.loop(length) as i, pen.pool.scope():
        at = pen.put(f"sub i64 {length - 1}, {i}") if p["reverse"] else i
        places = [_row(pen, room, at) for room in rows]
        inside: dict[Var, View] = {}
        for v, place in zip(block.outs[count:], places, strict=True):
            if isinstance(v, Var) and v not in block.ins:
                inside.setdefault(v, place)
        got = run(block, [*ins[:consts], *carry, *(_row(pen, x, at) for x in ins[consts + count :])], inside)
        for new, place in zip(got[count:], places, strict=True):
            if new is not place:
                copy(pen, new, place)
        _hand_over(pen, [g for g, same in zip(got, stay, strict=False) if not same], _moving(carry, stay))
    return [*carry, *rows]


def loop(pen: Pen, node: Node, ins: Sequence[View], run: Run) -> list[View]:
    """`lax.while_loop`."""
    p = node.eqn.params
    test, block = node.bodies
    a, b = p["cond_nconsts"], p["cond_nconsts"] + p["body_nconsts"]
    carry = [packed(pen, x) for x in ins[b:]]
    head, turn, after = (pen.fresh(s) for s in ("head", "turn", "end"))
    pen.line(f"br label %{head}")
    pen.line(f"{head}:")
    with pen.pool.scope():
        (go,) = run(test, [*ins[:a], *carry], {})
        more = pen.put(f"icmp ne i8 {load_raw(pen, go.dtype, _pointer(pen, go))}, 0")
    pen.line(f"br i1 {more}, label %{turn}, label %{after}")
    pen.line(f"{turn}:")
    with pen.pool.scope():
        _hand_over(pen, run(block, [*ins[a:b], *carry], {}), carry)
    pen.line(f"br label %{head}")
    pen.line(f"{after}:")
    return carry


def branch(pen: Pen, node: Node, ins: Sequence[View], homes: Homes, run: Run) -> list[View]:
    """`lax.cond` and `lax.switch`."""
    which = whole(pen, ins[0])
    rooms = [homes[v] if v in homes else take(pen, v.dtype, v.shape) for v in node.outs]
    last = len(node.bodies) - 1
    for k, block in enumerate(node.bodies):
        # the first and the last are taken beyond the ends too
        word = "sle" if k == 0 else "sge" if k == last else "eq"
        with pen.when(pen.put(f"icmp {word} i64 {which}, {k}")), pen.pool.scope():
            inside: dict[Var, View] = {}
            for v, room in zip(block.outs, rooms, strict=True):
                if isinstance(v, Var) and v not in block.ins:
                    inside.setdefault(v, replace(room, room=None))
            for v, new, room in zip(block.outs, run(block, ins[1:], inside), rooms, strict=True):
                if not (isinstance(v, Var) and inside.get(v) is new and new.pointer == room.pointer):
                    copy(pen, new, room)
    return rooms


def _hand_over(pen: Pen, new: Sequence[View], carry: Sequence[View]) -> None:
    """Results of a turn into the carry; what is a view of another part of it is copied before that is overwritten."""
    mine = {c.memory for c in carry}
    made = [packed(pen, x) if x.memory in mine else x for x in new]
    for x, room in zip(made, carry, strict=True):
        copy(pen, x, room)


def _moving(carry: Sequence[View], stay: Sequence[bool]) -> list[View]:
    return [c for c, same in zip(carry, stay, strict=True) if not same]


def _row(pen: Pen, x: View, at: Index) -> View:
    """x[at]"""
    step = pen.times(at, x.strides[0])
    pointer = pen.put(f"getelementptr {pen.stored(x.dtype)}, ptr {x.pointer}, i64 {step}")
    return replace(x, pointer=pointer, shape=x.shape[1:], strides=x.strides[1:], room=None, whole=x.memory)


def _pointer(pen: Pen, x: View) -> str:
    return pen.put(f"getelementptr {pen.stored(x.dtype)}, ptr {x.pointer}, i64 {x.offset}")
