"""`mpc` for the edge: one solve of a compiled controller."""

import jax.numpy as jnp
import numpy as np

from pollux.core.errors import DefinitionError
from pollux.intervene.mpc import Mpc
from pollux.model.backend import Program
from pollux.model.native import Lowered
from pollux.model.native.c_file import Interface, as_argument


def mpc_interface(mpc: Mpc) -> Interface:
    """One solve with the weights and limits of the options fixed; see `pollux.intervene.mpc`.

    Raises `DefinitionError` for a controller that has no native kernel (`InteriorPoint`).
    """
    if not isinstance(mpc.kernel, Lowered):
        raise DefinitionError(
            f"Only a controller with a native kernel is printed as C; {mpc.solver} runs on XLA. Use `Riccati()` (a "
            "tracking problem without `price` and `floor`)"
        )
    inner, pack, o, space = mpc.kernel.program, mpc.packing, mpc.options, mpc.space
    names = ("t", "x", "before", "p", "reference", "start")

    def fn(*given):
        flat = jnp.asarray(pack.template)
        for name, value in zip(names, given, strict=True):
            flat = flat.at[pack.at[name]].set(jnp.ravel(value))
        return inner.fn(flat)

    program = Program("edge mpc", inner.key, fn, (False,) * len(names))
    decided, m = ", ".join(mpc.names), len(space.u)
    horizon = np.repeat(space.u0[None], o.steps, axis=0)
    references = np.zeros((o.steps, len(mpc.shape.referenced)))
    targets = ", ".join(space.x[i].name for i in mpc.shape.referenced) or "none"
    inputs = (
        as_argument("t", 0.0, "now, s"),
        as_argument("x", space.x0, f"state: {', '.join(space.system.x_names)}"),
        as_argument("before", space.u0, f"inputs in force until now: {', '.join(space.system.u_names)}"),
        as_argument("p", space.p0, f"parameters: {', '.join(space.system.p_names) or 'none'}"),
        as_argument("reference", references, f"set-points at the end of each interval: {targets}"),
        as_argument("start", horizon, "where to start: the last plan, shifted by one interval"),
    )
    outputs = (
        as_argument("plan", np.zeros((o.steps, m)), f"inputs of each interval; decided: {decided}"),
        as_argument("states", np.zeros((o.steps + 1, len(space.x))), "predicted states"),
        as_argument("margins", np.zeros(0), f"distances to the limits: {', '.join(mpc.rows) or 'none'}"),
        as_argument("multipliers", np.zeros(0), "what each limit costs"),
        as_argument("reduced", np.zeros(0), "gradient of the cost in the scaled inputs"),
        as_argument("numbers", np.zeros(6), "cost, penalty, KKT residual, promised fall, iterations, outcome"),
    )
    doc = (
        f"`{space.system.name}`: model-predictive control over {o.steps} intervals of {o.step} s, at most "
        f"{o.iterations} iterations.\nOutcome: 0 optimal, 1 stalled, 2 iteration limit, 3 diverged."
    )
    return Interface("mpc", program, inputs, outputs, doc, {"x0": space.x0, "u0": space.u0, "p0": space.p0})
