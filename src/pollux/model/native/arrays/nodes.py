"""A jaxpr as nodes on arrays: calls are written out, what nothing uses is left out, what is constant is computed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jax.extend import core as jex
from jax.interpreters import partial_eval

from pollux.model.native.arrays.known import known
from pollux.model.native.calls import INSIDE, inside, platform
from pollux.model.native.size import estimate
from pollux.model.native.text import machine_type


@dataclass(frozen=True, eq=False)
class Var:
    """An array that is known only when the kernel runs."""

    shape: tuple[int, ...]
    dtype: np.dtype


Operand = Var | np.ndarray
"""A variable or a constant."""


@dataclass(frozen=True, eq=False)
class Body:
    """A block: parameters, nodes in an order in which they can run, and what it hands back."""

    ins: list[Var]
    nodes: "list[Node]"
    outs: list[Operand]


@dataclass(frozen=True, eq=False)
class Node:
    """One primitive. `bodies` are the blocks of a loop or a branch; their own parameters are variables of their own."""

    name: str
    eqn: Any
    ins: list[Operand]
    outs: list[Var]
    bodies: tuple[Body, ...] = ()


SAME = frozenset(("copy", "copy_p", "stop_gradient", "optimization_barrier"))
WIDE = 16
"""Scalar operations of a node, on average: an EKF of six states and sensors."""
LARGEST = 1 << 20
"""Elements of the largest constant that is computed while compiling."""


def flatten(closed: Any) -> Body:
    """The nodes of a closed jaxpr."""
    jaxpr, _ = partial_eval.dce_jaxpr(closed.jaxpr, [True] * len(closed.jaxpr.outvars), instantiate=True)
    ins = [_var(v) for v in jaxpr.invars]
    nodes: list[Node] = []
    outs = _run(jaxpr, closed.consts, ins, nodes)
    return Body(ins, nodes, outs)


def body(closed: Any) -> Body:
    """The nodes of a loop's or a branch's jaxpr."""
    ins = [_var(v) for v in closed.jaxpr.invars]
    nodes: list[Node] = []
    return Body(ins, nodes, _run(closed.jaxpr, closed.consts, ins, nodes))


def size(block: Body) -> int:
    """Number of nodes, those of its blocks included."""
    return sum(1 + sum(map(size, n.bodies)) for n in block.nodes)


def wide(closed: Any) -> bool:
    """Whether arrays are so large that loops are no slower than scalars, and far sooner compiled (measured)."""
    return estimate(closed.jaxpr) > WIDE * size(flatten(closed))


def _dtype(v: Any) -> np.dtype:
    return np.dtype(v.aval.dtype)


def _var(v: Any) -> Var:
    return Var(tuple(v.aval.shape), machine_type(v.aval.dtype))


def _run(jaxpr: Any, consts: Sequence[Any], args: Sequence[Operand], nodes: list[Node]) -> list[Operand]:
    env: dict[Any, Operand] = {v: np.asarray(c) for v, c in zip(jaxpr.constvars, consts, strict=True)}
    env.update(zip(jaxpr.invars, args, strict=True))

    def read(v: Any) -> Operand:
        return np.asarray(v.val, _dtype(v)) if isinstance(v, jex.Literal) else env[v]

    for eqn in jaxpr.eqns:
        env.update(zip(eqn.outvars, _equation(eqn, [read(v) for v in eqn.invars], nodes), strict=True))
    return [read(v) for v in jaxpr.outvars]


def _equation(eqn: Any, ins: list[Operand], nodes: list[Node]) -> Sequence[Operand]:
    name, params = eqn.primitive.name, eqn.params
    if name in SAME:
        return ins
    if name in INSIDE:
        inner, args = inside(eqn, ins)
        return _run(inner.jaxpr, inner.consts, args, nodes)
    if name == "platform_index":
        return [np.asarray(platform(eqn), np.int32)]
    outs = [_var(v) for v in eqn.outvars]
    if all(0 in v.shape for v in outs):
        return [np.zeros(v.shape, v.dtype) for v in outs]
    if name == "cond" and isinstance(ins[0], np.ndarray):
        branches = params["branches"]
        chosen = branches[min(max(int(ins[0]), 0), len(branches) - 1)]
        return _run(chosen.jaxpr, chosen.consts, ins[1:], nodes)
    fixed = [x for x in ins if isinstance(x, np.ndarray)]
    small = all(math.prod(v.shape) <= LARGEST for v in outs)
    if small and len(fixed) == len(ins) and name not in ("scan", "while"):
        return known(eqn, fixed)
    nodes.append(Node(name, eqn, ins, outs, _bodies(name, params)))
    return outs


def _bodies(name: str, params: Any) -> tuple[Body, ...]:
    if name == "scan":
        return (body(params["jaxpr"]),)
    if name == "while":
        return body(params["cond_jaxpr"]), body(params["body_jaxpr"])
    return tuple(map(body, params["branches"])) if name == "cond" else ()
