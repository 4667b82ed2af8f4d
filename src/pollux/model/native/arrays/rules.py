"""The kernels of the primitives that do not work element by element: how each JAX primitive reads on views."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pollux.model.native.arrays import moves
from pollux.model.native.arrays.along import cumulative, place_of
from pollux.model.native.arrays.cholesky import cholesky
from pollux.model.native.arrays.indexed import gather, scatter
from pollux.model.native.arrays.nodes import Node
from pollux.model.native.arrays.pen import Pen
from pollux.model.native.arrays.product import product
from pollux.model.native.arrays.reduce import reduce
from pollux.model.native.arrays.triangular import triangular_solve
from pollux.model.native.arrays.view import View

Rule = Callable[[Pen, Node, list[View]], list[View]]
"""Writes a node, given its operands; returns its results."""


def _one(fn: Callable[..., View]) -> Rule:
    """A rule from a function (pen, parameters, node, *operands) -> the only result."""
    return lambda pen, node, ins: [fn(pen, node.eqn.params, node, *ins)]


def _reduce(name: str) -> Rule:
    return _one(lambda pen, p, node, x: reduce(pen, name, x, tuple(p["axes"])))


def _cumulative(name: str) -> Rule:
    return _one(lambda pen, p, node, x: cumulative(pen, name, x, p["axis"], p["reverse"]))


def _place(name: str) -> Rule:
    return _one(lambda pen, p, node, x: place_of(pen, name, x, p["axes"][0], node.outs[0].dtype))


def _scatter(name: str | None) -> Rule:
    return _one(lambda pen, p, node, x, index, update: scatter(pen, node.eqn, x, index, update, name))


def _known(node: Node, k: int) -> np.ndarray | None:
    """Operand k, if it is a constant."""
    x = node.ins[k]
    return x if isinstance(x, np.ndarray) else None


def _solve(pen: Pen, p: Any, node: Node, a: View, b: View) -> View:
    return triangular_solve(pen, a, b, p["left_side"], p["lower"], p["transpose_a"], p["unit_diagonal"])


def _slice(pen: Pen, p: Any, node: Node, x: View) -> View:
    return x.sliced(p["start_indices"], p["limit_indices"], p["strides"] or [1] * len(x.shape))


def _split(pen: Pen, node: Node, ins: list[View]) -> list[View]:
    (x,), axis, at, out = ins, node.eqn.params["axis"], 0, []
    for n in node.eqn.params["sizes"]:
        out.append(moves.part(x, axis, at, n))
        at += n
    return out


def _stack(pen: Pen, p: Any, node: Node, *ins: View) -> View:
    axis = p["axis"]
    return moves.concatenate(
        pen, [x.spread((*x.shape[:axis], 1, *x.shape[axis:]), _around(x, axis)) for x in ins], axis
    )


def _around(x: View, axis: int) -> Sequence[int]:
    """Axes of x as they are called once a new one has been put in at `axis`."""
    return [a + (a >= axis) for a in range(len(x.shape))]


def _block(pen: Pen, node: Node, ins: list[View]) -> list[View]:
    starts = [x if known is None else known for x, known in _places(node, ins, 1)]
    return [moves.block(pen, ins[0], starts, node.eqn.params["slice_sizes"])]


def _update(pen: Pen, node: Node, ins: list[View]) -> list[View]:
    starts = [x if known is None else known for x, known in _places(node, ins, 2)]
    return [moves.replaced(pen, ins[0], ins[1], starts)]


def _places(node: Node, ins: list[View], first: int) -> list[tuple[View, np.ndarray | None]]:
    return [(ins[k], _known(node, k)) for k in range(first, len(ins))]


_RESHAPE = _one(lambda pen, p, node, x, *_: moves.reshape(pen, x, node.outs[0].shape))

RULES: dict[str, Rule] = {
    "reshape": _RESHAPE, "squeeze": _RESHAPE, "expand_dims": _RESHAPE,
    "transpose": _one(lambda pen, p, node, x: x.transposed(p["permutation"])),
    "broadcast_in_dim": _one(lambda pen, p, node, x, *_: x.spread(node.outs[0].shape, p["broadcast_dimensions"])),
    "slice": _one(_slice),
    "rev": _one(lambda pen, p, node, x: x.flipped(p["dimensions"])),
    "split": _split,
    "unstack": lambda pen, node, ins: [ins[0].picked(node.eqn.params["axis"], k) for k in range(len(node.outs))],
    "stack": _one(_stack),
    "concatenate": _one(lambda pen, p, node, *xs: moves.concatenate(pen, xs, p["dimension"])),
    "pad": _one(lambda pen, p, node, x, fill: moves.pad(pen, x, fill, p["padding_config"])),
    "dynamic_slice": _block,
    "dynamic_update_slice": _update,
    "gather": _one(lambda pen, p, node, x, index: gather(pen, node.eqn, x, index, _known(node, 1))),
    "scatter": _scatter(None),
    **{f"scatter{mark}{name}": _scatter(name) for mark in "-_" for name in ("add", "mul", "min", "max")},
    "dot_general": _one(lambda pen, p, node, a, b: product(pen, a, b, p["dimension_numbers"], node.outs[0].dtype)),
    "cholesky": _one(lambda pen, p, node, x: cholesky(pen, x)),
    "triangular_solve": _one(_solve),
    "reduce_sum": _reduce("add"), "reduce_prod": _reduce("mul"), "reduce_max": _reduce("max"),
    "reduce_min": _reduce("min"), "reduce_and": _reduce("and"), "reduce_or": _reduce("or"),
    "argmax": _place("gt"), "argmin": _place("lt"),
    "cumsum": _cumulative("add"), "cumprod": _cumulative("mul"), "cummax": _cumulative("max"),
    "cummin": _cumulative("min"),
}  # fmt: skip
