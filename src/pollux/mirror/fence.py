"""`fenced`: a model whose arrays are put together before they are taken apart.

XLA on a CPU splits a concatenation that is only sliced (a ring with its ends repeated, a difference of neighbours) into
one concatenation for each slice, and computes each of them anew, element by element.
"""

from collections.abc import Callable
from typing import Any

import jax
from jax import Array
from jax.extend.core import Literal


def fenced(fn: Callable[..., Array]) -> Callable[..., Array]:
    """`fn` with a barrier to optimisation behind each of its concatenations; no number changes."""

    def run(*args):
        closed = jax.make_jaxpr(fn)(*args)
        return _run(closed.jaxpr, closed.consts, *jax.tree.leaves(args))[0]

    return run


def _run(jaxpr: Any, consts: Any, *args: Any) -> list[Any]:
    known = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *args], strict=True))

    def read(atom):
        return atom.val if isinstance(atom, Literal) else known[atom]

    for eqn in jaxpr.eqns:
        values = [read(v) for v in eqn.invars]
        if eqn.primitive.name == "jit":
            out = _run(eqn.params["jaxpr"].jaxpr, eqn.params["jaxpr"].consts, *values)
        else:
            out = eqn.primitive.bind(*values, **eqn.primitive.get_bind_params(eqn.params))
            out = out if eqn.primitive.multiple_results else [out]
        if eqn.primitive.name == "concatenate":
            out = jax.lax.optimization_barrier(out)
        known.update(zip(eqn.outvars, out, strict=True))
    return [read(v) for v in jaxpr.outvars]
