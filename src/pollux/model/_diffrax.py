"""Shared by the methods that Diffrax provides: one interval of an ODE with step-size control.

Source: Kidger, On Neural Differential Equations (2021), ch. 5; the solvers name their own.
"""

from typing import Any

import jax.numpy as jnp

from pollux.model.integrate import OUTCOMES, Flow, Info, Outcome
from pollux.model.statespace import System


def diffrax_flow(system: System, solver: Any, controller: Any, max_steps: int, gradient: str) -> Flow:
    """Flow of `system` by a Diffrax solver; time is local to the interval, so that an epoch costs no precision."""
    import diffrax  # here, because it takes a while to load and most twins never need it

    adjoint = diffrax.ForwardMode() if gradient == "forward" else diffrax.RecursiveCheckpointAdjoint()
    term = diffrax.ODETerm(lambda s, x, args: system.f(args[0] + s, x, args[1], args[2]))

    def flow(t, dt, x, u, p):
        fine = jnp.all(jnp.isfinite(x))
        span = jnp.where(fine, dt, 0.0)  # a state that is lost is not searched for until the step limit
        solution = diffrax.diffeqsolve(
            term,
            solver,
            t0=jnp.zeros_like(span),
            t1=span,
            dt0=None,
            y0=jnp.where(fine, x, 0.0),
            args=(jnp.asarray(t, jnp.float64), u, p),
            stepsize_controller=controller,
            adjoint=adjoint,
            max_steps=max_steps,
            throw=False,
        )
        assert solution.ys is not None
        result = solution.result
        end = solution.ys[-1]
        code = jnp.where(
            result == diffrax.RESULTS.successful,
            0,
            jnp.where(
                result == diffrax.RESULTS.max_steps_reached,
                OUTCOMES.index(Outcome.MAX_STEPS),
                OUTCOMES.index(Outcome.SOLVER),
            ),
        )
        lost = ~fine | ~jnp.all(jnp.isfinite(end))
        code = jnp.where((code != 0) | ~lost, code, OUTCOMES.index(Outcome.DIVERGED)).astype(jnp.int32)
        stats = solution.stats
        info = Info(
            jnp.asarray(stats["num_accepted_steps"], jnp.int32),
            jnp.asarray(stats["num_rejected_steps"], jnp.int32),
            code,
        )
        return jnp.where(code == 0, end, jnp.nan), info

    return flow
