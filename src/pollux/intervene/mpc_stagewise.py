"""Sequential quadratic programming stage by stage: `mpc_sqp` for problems whose subproblem is a Riccati recursion.

Each iteration linearises the stages while it simulates them, asks `mpc_active` (with linear
penalties `mpc_barrier`) for the step of the linearised problem
and follows it on the true model: inputs answer to what the linear forecast missed through the gains of the recursion,
as in differential dynamic programming. A step counts when the true cost falls by a fraction of what was promised.
Damping grows when a step fails and shrinks when it succeeds. The residual is that of `mpc_sqp`.

Source: Tassa, Mansard and Todorov, Control-limited differential dynamic programming, ICRA (2014); Nocedal and Wright,
Numerical Optimization (2006), ch. 18.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from pollux.intervene.mpc_active import active_set
from pollux.intervene.mpc_barrier import barrier
from pollux.intervene.mpc_options import Riccati
from pollux.intervene.mpc_problem import Path, Shape, Values
from pollux.intervene.mpc_sqp import ARMIJO, DIVERGED, LIMIT, OPTIMAL, RUNNING, STALLED, TRIALS, Solution
from pollux.intervene.mpc_stages import Direction, Stages, Verdict, forward, judge


class _State(NamedTuple):
    stages: Stages
    verdict: Verdict
    damping: Array
    promised: Array
    iterations: Array
    status: Array
    first: Array


def stagewise(shape: Shape, v: Values, w: Array, solver: Riccati, iterations: Array, tolerance: Array) -> Solution:
    """Improve the scaled plan `w` (N, c) until the residual is below `tolerance`, at most `iterations` times.

    The first turn of the loop only simulates and judges what it was given, so that the model is traced once.
    """

    def search(s: _State, step: Direction, promised: Array) -> tuple[Stages, Array, Array]:
        """The plan that the direction leads to, whether it is better, and whether at once. If not: the same plan."""
        noise = 1e-13 * (1.0 + jnp.where(s.first, 0.0, jnp.abs(s.stages.cost)))

        def attempt(carry):
            _, alpha, tries, _ = carry
            alpha = jnp.where(tries == TRIALS, 0.0, alpha)
            found = forward(shape, v, s.stages, step, alpha)
            good = found.cost <= s.stages.cost - ARMIJO * alpha * promised + noise
            return found, 0.5 * alpha, tries + 1, s.first | good | (alpha == 0.0)

        start = (s.stages, jnp.ones(()), jnp.asarray(0), jnp.asarray(False))
        found, alpha, tries, _ = jax.lax.while_loop(lambda carry: ~carry[3], attempt, start)
        return found, jnp.where(s.first, jnp.isfinite(found.cost), alpha > 0), tries == 1

    def body(s: _State) -> _State:
        method = barrier if shape.economic else active_set
        step, promised, y, damping = method(shape, v, s.stages, s.verdict, s.damping, solver, ~s.first)
        stages, good, at_once = search(s, step, promised)
        verdict = judge(shape, v, stages, y, s.first)
        noise = 1e-13 * (1.0 + jnp.abs(s.stages.cost))
        change = jnp.where(good & at_once, 0.1, jnp.where(good, 2.0, 30.0))
        damping = jnp.where(s.first, s.damping, jnp.clip(damping * change, 1e-9, 1e3))
        useful = jnp.where(good, promised > 10 * noise, damping < 1e2)
        count = s.iterations + jnp.where(s.first, 0, 1)
        status = jnp.where(count >= iterations, LIMIT, RUNNING)
        status = jnp.where(s.first, jnp.where(good, status, DIVERGED), jnp.where(useful, status, STALLED))
        status = jnp.where(verdict.kkt < tolerance, OPTIMAL, status)
        return _State(stages, verdict, damping, promised, count, status, jnp.asarray(False))

    s = jax.lax.while_loop(lambda s: s.status == RUNNING, body, _unknown(shape, v, jnp.asarray(w)))
    r = len(v.w2)
    path = Path(
        jnp.concatenate([v.x[None], s.stages.after]),
        jnp.zeros(shape.steps),
        s.stages.rows[:, :r],
        jnp.zeros(len(shape.floored)),
        s.stages.cost,
        s.stages.penalty,
    )
    return Solution(
        s.stages.w,
        path,
        s.verdict.y[:, :r].reshape(-1),
        s.verdict.reduced,
        s.verdict.kkt,
        s.promised,
        s.iterations,
        s.status,
    )


def _unknown(shape: Shape, v: Values, w: Array) -> _State:
    """A plan that is not simulated yet."""
    N, n, c, r = shape.steps, v.x.size, len(shape.controls), len(v.w2) + len(shape.floored)
    goal = shape.goal
    zeros = jnp.zeros
    stages = Stages(
        w, zeros((N, c)), zeros((N, n)), zeros((N, n)), zeros((N, n, n + c)), zeros((N, r)),
        zeros((N, n + c)) if goal else None, zeros(()), zeros(()),
        jnp.ones(r) if shape.economic else None,
    )  # fmt: skip
    curvature = zeros((N, n + c, n + c)) if goal else None
    verdict = Verdict(zeros((N, c)), zeros((N, r)), curvature, jnp.ones(()), jnp.asarray(jnp.inf))
    return _State(
        stages, verdict, jnp.asarray(1e-6), zeros(()), jnp.asarray(0), jnp.asarray(RUNNING), jnp.asarray(True)
    )
