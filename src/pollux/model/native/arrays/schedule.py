"""The order of work: nodes that work element by element on arrays of one shape are gathered into one loop."""

from collections.abc import Sequence

from pollux.model.native import functions
from pollux.model.native.arrays.nodes import Node, Var
from pollux.model.native.rules import MACHINE

POINTWISE = (
    MACHINE
    | functions.NAMES
    | {
        "add_any", "sign", "square", "one_minus_square", "rsqrt", "pow", "integer_pow", "round", "is_finite", "lt_to",
        "le_to", "clamp",
    }
)  # fmt: skip
VIEWS = frozenset((
    "reshape", "transpose", "broadcast_in_dim", "squeeze", "expand_dims", "slice", "rev", "split", "unstack",
))  # fmt: skip
"""Primitives that only look at memory otherwise."""


def steps(nodes: Sequence[Node]) -> list[list[Node]]:
    """Nodes in the order of their work; a step of several nodes is one loop. Their order is kept where it matters."""
    out: list[list[Node]] = []
    pending = list(nodes)
    while pending:
        first = pending[0]
        if first.name not in POINTWISE:
            out.append([first])
            pending = pending[1:]
            continue
        shape = first.outs[0].shape
        group: list[Node] = []
        rest: list[Node] = []
        waiting: set[Var] = set()  # results of what is not done yet
        inside: set[Var] = set()  # results of the group
        for node in pending:
            needs = {v for v in node.ins if isinstance(v, Var)}
            ready = not needs & waiting
            if ready and node.name in POINTWISE and node.outs[0].shape == shape:
                group.append(node)
                inside.update(node.outs)
            elif ready and node.name in VIEWS and not needs & inside:
                out.append([node])
            else:
                rest.append(node)
                waiting.update(node.outs)
        out.append(group)
        pending = rest
    return out
