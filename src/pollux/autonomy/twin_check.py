"""The kernel behind the guard's sixth check: posterior samples through the model under an input schedule.

    x_0 ~ N(mean, cov),  theta ~ prior,  x_{k+1} = F(t_k, h, x_k, u_k, theta) + sqrt(Q h) w_k,  w_k ~ N(0, I)
    shortfall_j = mean over the nodes of max(-margin_j, 0)

F is one RK4 step; states stay within their declared bounds. The schedule is laid on a uniform grid whose interval
does not exceed `longest_step`; each interval takes the input that holds at its middle. Intervals are computed in
blocks of a fixed size, so that no schedule compiles anything new. What sample i draws at interval k is a function of
(seed, i, k) alone, in streams that nothing else draws from: samples with the same seed are the same for every plan
(common random numbers), and no planner has met them.

A parameter that has a prior and is not tracked in the belief is drawn from it, `prior_share` times as wide: 1 when
the parameters are as uncertain as declared, less once they were calibrated.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from math import ceil

import jax
import jax.numpy as jnp
import numpy as np

from pollux.core.errors import DefinitionError
from pollux.core.signals import Belief
from pollux.model.backend import Backend, Kernel, Program, default
from pollux.model.members import Bounds, Widened, bounds_of, members_program, root_of, widened
from pollux.model.random import Stream, normal
from pollux.model.rk4 import transition
from pollux.model.statespace import StateSpace, System

BLOCK = 32
"""Intervals in one kernel call."""
MOST = 100_000
"""Most intervals of one schedule."""


@dataclass(frozen=True)
class CompiledCheck:
    """A `judgement.TwinCheck` of one twin."""

    space: StateSpace
    longest_step: float
    wide: Widened
    params: np.ndarray
    Q: np.ndarray
    draw: Kernel = field(repr=False)
    kernel: Kernel = field(repr=False)

    def __call__(self, belief: Belief, edges: np.ndarray, plan: np.ndarray, samples: int, seed: int) -> np.ndarray:
        """Shortfall (samples, 1 + margins); see `judgement.TwinCheck`."""
        start, span = float(edges[0]), float(edges[-1] - edges[0])
        n = max(1, ceil(span / self.longest_step - 1e-9))
        if n > MOST:
            raise DefinitionError(f"A schedule takes at most {MOST} steps, got {n}; raise `longest_step`")
        h = self.space.system.period or span / n
        middles = start + h * (np.arange(n) + 0.5)
        rows = plan[np.clip(np.searchsorted(edges, middles, side="right") - 1, 0, len(plan) - 1)]
        common = np.int64(seed), np.arange(samples)
        x, *p = self.draw(belief.mean, root_of(belief.cov), self.params, self.wide.widths, *common)
        p = p[0] if p else self.params
        total = np.zeros((len(self.space.system.margin_names), samples))
        for k in range(0, n, BLOCK):
            live = np.zeros(BLOCK)
            live[: min(BLOCK, n - k)] = 1.0
            u = rows[np.minimum(np.arange(k, k + BLOCK), n - 1)]
            x, part = self.kernel(start + k * h, h, np.int32(k), x, u, p, self.Q, live, *common)
            total += part
        lost = np.where(np.isfinite(x).all(axis=0) & np.isfinite(total).all(axis=0), 0.0, np.inf)
        return np.concatenate([lost[None], total / (n + 1)]).T


def build_twin_check(
    space: StateSpace,
    *,
    longest_step: float,
    prior_share: float = 1.0,
    params: np.ndarray | None = None,
    Q: np.ndarray | None = None,
    backend: Backend | None = None,
) -> CompiledCheck:
    """The twin check of one twin; `space` is flat, with the tracked parameters appended to the state.

    `longest_step` is the longest RK4 interval in seconds that resolves the dynamics; a discrete twin uses its period.
    `params` and `Q` replace the declared parameters and process-noise variances, as in the mirror.
    """
    if not longest_step > 0:
        raise DefinitionError(f"`longest_step` must be above 0 s, got {longest_step!r}")
    if not prior_share >= 0:
        raise DefinitionError(f"`prior_share` must be >= 0, got {prior_share!r}")
    bounds = bounds_of(space)
    wide = widened(space, share=prior_share, known=space.system.x_names)
    engine = backend or default()
    return CompiledCheck(
        space,
        space.system.period or float(longest_step),
        wide,
        space.p0 if params is None else np.asarray(params, np.float64),
        space.Q if Q is None else np.asarray(Q, np.float64),
        engine.fleet(members_program(wide, bounds, Stream.CHECK_START, Stream.CHECK_PARAMETERS)),
        engine.fleet(check_program(space.system, wide, bounds)),
    )


@lru_cache(maxsize=64)
def check_program(system: System, wide: Widened, bounds: Bounds) -> Program:
    """`BLOCK` intervals of one sample: (t, h, k, x, u (BLOCK, m), p, Q, live (BLOCK,), seed, member), `k` being the
    number of the first of them.

    Returns (x, summed shortfall (m,)); the node at the very start counts too.
    """
    step = transition(system, 1)
    low, high = map(jnp.asarray, bounds)
    n = len(bounds[0])

    def short(t, x, u, p):
        return jnp.maximum(-system.margins(t, x, u, p), 0.0)

    def fn(t, h, k, x, u, p, Q, live, seed, member):
        sd = jnp.sqrt(Q * h)

        def body(carry, inputs):
            t, k, x, total = carry
            u, live = inputs
            moved = step(t, h, x, u, p) + sd * normal(seed, Stream.CHECK_NOISE, member, k, n)
            moved = jnp.where(
                jnp.isfinite(moved), jnp.clip(moved, low, high), jnp.nan
            )  # a bound must not hide a blow-up
            x = jnp.where(live > 0, moved, x)
            return (t + h, k + 1, x, total + live * short(t + h, x, u, p)), None

        begin = jnp.where(k == 0, short(t, x, u[0], p), 0.0)
        (_, _, x, total), _ = jax.lax.scan(body, (t, k, x, begin), (u, live))
        return x, total

    fleet = (False, False, False, True, False, bool(wide.index), False, False, False, True)
    return Program("twin_check", (system, wide, bounds), fn, fleet)
