"""From a jaxpr to the text of a kernel on arrays."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pollux.model.native.arrays import flow
from pollux.model.native.arrays.loops import copy, packed
from pollux.model.native.arrays.nodes import Body, Node, Operand, Var, flatten, size
from pollux.model.native.arrays.pen import Pen
from pollux.model.native.arrays.pointwise import pointwise, uniform
from pollux.model.native.arrays.pool import Room
from pollux.model.native.arrays.rules import RULES
from pollux.model.native.arrays.schedule import POINTWISE, steps
from pollux.model.native.arrays.view import View, row_major
from pollux.model.native.control import sizes
from pollux.model.native.tape import UnsupportedError

LONGEST = 20_000
"""Nodes of the longest program."""


def assembly(jaxpr: Any, symbol: str, width: int, real: str) -> tuple[str, dict[str, Any]]:
    """(LLVM assembly of a module, its description). Raises `UnsupportedError` naming what is not lowered."""
    body = flatten(jaxpr)
    count = size(body)
    if count > LONGEST:
        raise UnsupportedError(f"{count} operations on arrays, and at most {LONGEST} are lowered")
    pen = Pen(width, real)
    ins = [_argument(pen, k, v.shape, v.dtype) for k, v in enumerate(body.ins)]
    outs = [_argument(pen, len(ins) + k, v.shape, v.dtype) for k, v in enumerate(jaxpr.out_avals)]
    # rows that a loop stacks are written where they belong; all else is written when every argument has been read
    stacked = {v for node in body.nodes if node.name == "scan" for v in node.outs[sizes(node.eqn.params)[1] :]}
    homes: dict[Var, View] = {}
    for v, room in zip(body.outs, outs, strict=True):
        if isinstance(v, Var) and v in stacked:
            homes.setdefault(v, room)
    found = block(pen, body, ins, homes)
    arguments = {v.memory for v in ins}
    found = [packed(pen, x) if x.memory in arguments and x.size else x for x in found]
    for new, room in zip(found, outs, strict=True):
        if new is not room and new.size:
            copy(pen, new, room)
    text = pen.module(symbol)
    text += f'attributes #0 = {{ nounwind "prefer-vector-width"="{width}" "min-legal-vector-width"="{width}" }}\n'
    streamed = [k for k, room in enumerate(outs) if room in homes.values()]
    return text, {
        "operations": count, "form": "arrays", "work": pen.pool.size, "streamed": streamed, "cost": count,
    }  # fmt: skip


def block(pen: Pen, body: Body, ins: Sequence[View], homes: Mapping[Var, View]) -> list[View]:
    """Writes a block and returns its results; those in `homes` lie there where that can be had."""
    env: dict[Var, View] = dict(zip(body.ins, ins, strict=True))
    order = steps(body.nodes)
    last = _last_uses(order, body.outs)
    mine: dict[Room, int] = {}  # rooms of this block, and the last step that reads them
    for now, group in enumerate(order):
        with pen.pool.scope():
            made = _step(pen, group, env, {v for v, k in last.items() if k > now}, homes)
            for v, view in made.items():
                if view.room is not None and (pen.pool.keep(view.room) or view.room in mine):
                    mine[view.room] = max(mine.get(view.room, now), last.get(v, now))
        env.update(made)
        for v in {x for node in group for x in node.ins if isinstance(x, Var)}:
            room = env[v].room if v in env else None
            if room in mine and room is not None:
                mine[room] = max(mine[room], last[v])
        for room in [r for r, k in mine.items() if k <= now]:
            pen.pool.give(room)
            del mine[room]
    return [_operand(pen, v, env) for v in body.outs]


def _step(
    pen: Pen, group: list[Node], env: Mapping[Var, View], later: set[Var], homes: Mapping[Var, View]
) -> dict[Var, View]:
    """Writes one step; `later` are the variables that a later one reads."""
    node = group[0]
    if node.name in POINTWISE:
        return pointwise(pen, group, lambda x: env[x] if isinstance(x, Var) else x, later.__contains__, homes)
    ins = [_operand(pen, x, env) for x in node.ins]

    def run(body: Body, args: Sequence[View], inside: Mapping[Var, View]) -> list[View]:
        return block(pen, body, args, inside)

    if node.name == "scan":
        out = flow.scan(pen, node, ins, homes, run)
    elif node.name == "while":
        out = flow.loop(pen, node, ins, run)
    elif node.name == "cond":
        out = flow.branch(pen, node, ins, homes, run)
    elif node.name in RULES:
        out = RULES[node.name](pen, node, ins)
    else:
        raise UnsupportedError(f"primitive `{node.name}`")
    return dict(zip(node.outs, out, strict=True))


def _operand(pen: Pen, x: Operand, env: Mapping[Var, View]) -> View:
    if isinstance(x, Var):
        return env[x]
    same = uniform(x)
    table = pen.table(x.ravel()[:1] if same else x)
    return View(table, x.dtype, x.shape, (0,) * x.ndim if same else row_major(x.shape))


def _argument(pen: Pen, k: int, shape: tuple[int, ...], dtype: Any) -> View:
    slot = pen.put(f"getelementptr ptr, ptr %arrays, i64 {k}")
    return View(pen.put(f"load ptr, ptr {slot}, align 8"), np.dtype(dtype), tuple(shape), row_major(shape))


def _last_uses(order: list[list[Node]], outs: Sequence[Operand]) -> dict[Var, int]:
    """The number of the last step that reads a variable, beyond all where the block hands it back."""
    last = {x: k for k, group in enumerate(order) for node in group for x in node.ins if isinstance(x, Var)}
    last.update((v, len(order)) for v in outs if isinstance(v, Var))
    return last
