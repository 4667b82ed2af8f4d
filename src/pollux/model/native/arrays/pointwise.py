"""One loop for a group of nodes that work element by element: a tape of one element, printed for a vector of them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from pollux.model.native.arrays.loops import Here, Lay, even, lay, nest, order_of, packed, read
from pollux.model.native.arrays.memory import address, load_raw, spread, store, take
from pollux.model.native.arrays.nodes import Node, Operand, Var
from pollux.model.native.arrays.pen import Index, Pen
from pollux.model.native.arrays.view import View
from pollux.model.native.builder import Builder
from pollux.model.native.contract import contract
from pollux.model.native.index import constant
from pollux.model.native.rules import RULES, elementwise
from pollux.model.native.scalars import Lanes, emit
from pollux.model.native.tape import Cell, Memory, Ref, Tape

LONG = 48
"""Operations from which a loop is worth copies of its operands that let it run through all axes as one."""


def pointwise(
    pen: Pen,
    nodes: Sequence[Node],
    value: Callable[[Operand], View | np.ndarray],
    wanted: Callable[[Var], bool],
    homes: Mapping[Var, View],
) -> dict[Var, View]:
    """Results of a group that are `wanted` outside it; `homes` says where one should lie, if that can be had."""
    shape = nodes[0].outs[0].shape
    results = [v for node in nodes for v in node.outs if wanted(v)]
    tape, views = _tape(pen, nodes, value, results, shape)
    views = [v if v.shape == shape else v.spread(shape, range(len(v.shape))) for v in views]
    order = order_of(views)
    views = [even(pen, v, order) for v in views]
    if tape.size > LONG:
        views = _one_run(pen, views, shape, order)
    out = {}
    for v in results:
        home = homes.get(v)
        fits = home is not None and order_of([home]) == order and home.room is None
        out[v] = home if fits else take(pen, v.dtype, shape, order)
    layout = lay(shape, [v.strides for v in (*views, *out.values())], order)
    _loop(pen, tape, views, list(out.values()), layout)
    return out


def uniform(a: np.ndarray) -> bool:
    """Whether all elements have the same bits."""
    return a.size > 0 and a.tobytes() == a.ravel()[:1].tobytes() * a.size


def _tape(
    pen: Pen, nodes: Sequence[Node], value: Callable[[Operand], Any], results: Sequence[Var], shape: tuple[int, ...]
) -> tuple[Tape, list[View]]:
    """The program of one element, and the arrays that are its arguments."""
    builder = Builder(1 << 20)
    env: dict[Var, np.ndarray] = {}
    views: list[View] = []
    numbers: dict[int, int] = {}

    def cell(x: Operand) -> np.ndarray:
        if isinstance(x, Var) and x in env:
            return env[x]
        known = value(x)
        if isinstance(known, np.ndarray):
            if uniform(known):
                return constant(known.ravel()[0], known.dtype)
            known = View(pen.table(known), known.dtype, known.shape, _strides(known))
        at = numbers.setdefault(id(known) if isinstance(x, Var) else id(x), len(views))
        if at == len(views):
            views.append(known)
            builder.tape.arguments.append(known.dtype)
        made = np.empty((), dtype=object)
        made[()] = Cell(Memory("argument", at, 1, known.dtype, builder.tape.root), 0)
        if isinstance(x, Var):
            env[x] = made
        return made

    for node in nodes:
        ins = [cell(x) for x in node.ins]
        got = RULES.get(node.name, elementwise)(builder, node.eqn, *ins)
        env.update(zip(node.outs, got if isinstance(got, list) else [got], strict=True))
    tape = builder.tape
    for v in results:
        flat = np.empty(1, dtype=object)
        flat[0] = builder.ref(env[v][()])
        tape.outputs.append(flat)
    return contract(tape), views


def _strides(a: np.ndarray) -> tuple[int, ...]:
    return tuple(s // a.itemsize for s in np.empty(a.shape, a.dtype).strides)


def _one_run(pen: Pen, views: list[View], shape: tuple[int, ...], order: Sequence[int]) -> list[View]:
    """Copies of what keeps a long loop from running through all its axes as one."""
    if len(lay(shape, [v.strides for v in views], order).counts) < 2:
        return views
    return [v if _plain(v) else packed(pen, v, order) for v in views]


def _plain(view: View) -> bool:
    return all(s == 0 for s in view.strides)


def _loop(pen: Pen, tape: Tape, views: Sequence[View], outs: Sequence[View], layout: Lay) -> None:
    still: dict[int, str] = {}  # arguments that are the same all along the fastest axis
    fixed = {k for k in range(len(views)) if not layout.counts or layout.strides[k][-1] == 0}
    ahead = {k for k in fixed if not any(layout.strides[k])}
    for k in ahead:
        still[k] = load_raw(pen, views[k].dtype, address(pen, views[k], (), ()))

    def outer(at: tuple[Index, ...]) -> None:
        for k in fixed - ahead:
            pointer = address(pen, views[k], at, layout.strides[k][:-1])
            still[k] = load_raw(pen, views[k].dtype, pointer)

    def argument(k: int, here: Here) -> str:
        if k not in still:
            return read(pen, views[k], layout.strides[k], here)
        return spread(pen, views[k].dtype, still[k], here.lanes)

    def write(here: Here) -> None:
        names: dict[int, str] = {}
        for op in tape.root.ops:
            assert op.out is not None
            if op.name == "load":
                names[op.out.number] = argument(op.params["place"].memory.number, here)
                continue
            names[op.out.number] = emit(op, tuple(_name(x, names, here.lanes) for x in op.args), here.lanes, pen.put)
        for k, (view, flat) in enumerate(zip(outs, tape.outputs, strict=True)):
            pointer = address(pen, view, here.at, layout.strides[len(views) + k])
            name = _name(flat[0], names, here.lanes, view.dtype)
            store(pen, view.dtype, name, pointer, here.lanes, here.mask)

    nest(pen, layout, write, outer)


def _name(x: Any, names: Mapping[int, str], lanes: Lanes, dtype: Any = None) -> str:
    return names[x.number] if isinstance(x, Ref) else lanes.const(x, dtype or x.dtype)
