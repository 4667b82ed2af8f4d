"""Primitives that stand for another jaxpr: calls, and what JAX wraps around the work itself."""

from collections.abc import Sequence
from typing import Any

import jax
from jax.extend import core as jex

from pollux.model.native.tape import UnsupportedError

CALLS = {
    "jit": "jaxpr", "pjit": "jaxpr", "closed_call": "call_jaxpr", "core_call": "call_jaxpr", "remat2": "jaxpr",
    "checkpoint": "jaxpr", "custom_jvp_call": "call_jaxpr", "custom_vjp_call": "call_jaxpr",
    "custom_vjp_call_jaxpr": "fun_jaxpr",
}  # fmt: skip
"""Calls, and the parameter that holds what is called."""
INSIDE = frozenset((*CALLS, "call_hi_primitive", "custom_linear_solve"))
"""All primitives that `inside` knows."""


def inside(eqn: Any, args: Sequence[Any]) -> tuple[Any, list[Any]]:
    """(closed jaxpr, its arguments) of an equation that stands for one."""
    name, params = eqn.primitive.name, eqn.params
    if name in CALLS:
        inner = params[CALLS[name]]
        return inner if hasattr(inner, "consts") else jex.ClosedJaxpr(inner, ()), list(args)
    if name == "call_hi_primitive":  # JAX 0.12: it says itself what it is made of (`searchsorted`)
        prim = params["_prim"]
        kinds = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in prim.in_avals_flat]
        return jax.make_jaxpr(prim.expand)(*kinds), list(args)
    lengths = params["const_lengths"]
    skip = lengths.matvec + lengths.vecmat
    rhs = args[skip + lengths.solve + lengths.transpose_solve :]
    return params["jaxprs"].solve, [*args[skip : skip + lengths.solve], *rhs]


def platform(eqn: Any) -> int:
    """Which branch of `platform_index` is for a CPU."""
    for i, names in enumerate(eqn.params["platforms"]):
        if names is None or "cpu" in names:
            return i
    raise UnsupportedError("`platform_index` without the CPU")
