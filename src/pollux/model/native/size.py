"""How long a tape would be, roughly and at once: what is far too long is refused before it is written."""

from typing import Any

import numpy as np
from jax.extend import core as jex

from pollux.model.native.control import UNROLL

_FREE = frozenset((
    "reshape", "transpose", "broadcast_in_dim", "squeeze", "expand_dims", "slice", "concatenate", "stack", "unstack",
    "split", "rev", "pad", "iota", "gather", "copy", "stop_gradient", "convert_element_type",
))  # fmt: skip


def estimate(jaxpr: Any) -> int:
    """Scalar operations of a jaxpr before anything is folded or shared; a loop that stays one counts its body once."""
    return sum(_equation(eqn) for eqn in jaxpr.eqns)


def _equation(eqn: Any) -> int:
    name, p = eqn.primitive.name, eqn.params
    size = sum(int(np.prod(v.aval.shape, dtype=int)) for v in eqn.outvars)
    if name == "scan":
        turns = p["length"] if p["length"] <= UNROLL else 1
        return turns * estimate(p["jaxpr"].jaxpr)
    inner = [j for value in p.values() for j in _jaxprs(value)]
    if inner:
        return sum(map(estimate, inner))
    if name in _FREE:
        return 0
    if name == "dot_general":
        (axes, _), _ = p["dimension_numbers"]
        return size * int(np.prod([eqn.invars[0].aval.shape[a] for a in axes], dtype=int))
    if name in ("cholesky", "lu", "triangular_solve"):
        return size * eqn.invars[0].aval.shape[-1] // 3
    return size


def _jaxprs(value: Any) -> list[Any]:
    if isinstance(value, jex.ClosedJaxpr):
        return [value.jaxpr]
    if isinstance(value, jex.Jaxpr):
        return [value]
    if isinstance(value, tuple) and not hasattr(value, "solve"):
        return [j for v in value for j in _jaxprs(v)]
    solve = getattr(value, "solve", None)
    return _jaxprs(solve) if solve is not None else []
