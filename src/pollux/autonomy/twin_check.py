"""The kernel behind the guard's sixth check: posterior samples through the model under an input schedule.

    x_0 ~ N(mean, cov),  theta ~ prior,  x_{k+1} = F(t_k, h, x_k, u_k, theta) + sqrt(Q h) w_k,  w_k ~ N(0, I)
    shortfall_j = mean over the nodes of max(-margin_j, 0)

F is one RK4 step; states stay within their declared bounds. The schedule is laid on a uniform grid whose interval
does not exceed `longest_step`; each interval takes the input that holds at its middle. Intervals are computed in
blocks of a fixed size, so that no schedule compiles anything new. Samples with the same seed are the same for every
plan (common random numbers).

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
from pollux.core.priors import LogNormal
from pollux.core.signals import Belief
from pollux.core.time import rng
from pollux.model.backend import Backend, Kernel, Program, Xla
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
    prior_share: float
    params: np.ndarray
    Q: np.ndarray
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
        x, p = self._draw(belief, samples, seed)
        total = np.zeros((len(self.space.system.margin_names), samples))
        noise = rng(seed, 2)
        for k in range(0, n, BLOCK):
            live = np.zeros(BLOCK)
            live[: min(BLOCK, n - k)] = 1.0
            u = rows[np.minimum(np.arange(k, k + BLOCK), n - 1)]
            w = noise.standard_normal((len(x), BLOCK, samples))
            w = np.ascontiguousarray(np.moveaxis(w, 0, 1))
            x, part = self.kernel(start + k * h, h, x, u, p, self.Q, w, live, float(k == 0))
            total += part
        lost = np.where(np.isfinite(x).all(axis=0) & np.isfinite(total).all(axis=0), 0.0, np.inf)
        return np.concatenate([lost[None], total / (n + 1)]).T

    def _draw(self, belief: Belief, samples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """States (n, samples) from the belief and parameters (k, samples) from their priors."""
        values, vectors = np.linalg.eigh(0.5 * (belief.cov + belief.cov.T))
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        x = belief.mean[:, None] + root @ rng(seed, 0).standard_normal((len(belief.mean), samples))
        low, high = self.space.bounds("x")
        x = np.clip(x, low[:, None], high[:, None])
        p = np.repeat(self.params[:, None], samples, axis=1)
        z = rng(seed, 1).standard_normal(p.shape)
        tracked = {c.name for c in self.space.x}
        for i, channel in enumerate(self.space.p):
            if channel.prior is None or channel.name in tracked:
                continue
            spread = self.prior_share * channel.prior.sd * z[i]
            p[i] = p[i] * np.exp(spread) if isinstance(channel.prior, LogNormal) else p[i] + spread
        low, high = self.space.bounds("p")
        return x, np.clip(p, low[:, None], high[:, None])


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
    low, high = space.bounds("x")
    bounds = (tuple(low.tolist()), tuple(high.tolist()))
    kernel = (backend or Xla()).one(check_program(space.system, bounds))
    return CompiledCheck(
        space,
        space.system.period or float(longest_step),
        float(prior_share),
        space.p0 if params is None else np.asarray(params, np.float64),
        space.Q if Q is None else np.asarray(Q, np.float64),
        kernel,
    )


@lru_cache(maxsize=64)
def check_program(system: System, bounds: tuple[tuple[float, ...], tuple[float, ...]]) -> Program:
    """`BLOCK` intervals of all samples: (t, h, x (n, N), u (BLOCK, m), p (k, N), Q, w (BLOCK, n, N), live, first).

    Returns (x, summed shortfall (m, N)); the node at the start counts when `first` is 1.
    """
    step = transition(system, 1)
    low, high = jnp.asarray(bounds[0])[:, None], jnp.asarray(bounds[1])[:, None]
    flow = jax.vmap(step, in_axes=(None, None, -1, None, -1), out_axes=-1)
    margins = jax.vmap(system.margins, in_axes=(None, -1, None, -1), out_axes=-1)

    def short(t, x, u, p):
        return jnp.maximum(-margins(t, x, u, p), 0.0)

    def fn(t, h, x, u, p, Q, w, live, first):
        def body(carry, inputs):
            t, x, total = carry
            u, w, live = inputs
            moved = flow(t, h, x, u, p) + jnp.sqrt(Q * h)[:, None] * w
            moved = jnp.where(
                jnp.isfinite(moved), jnp.clip(moved, low, high), jnp.nan
            )  # a bound must not hide a blow-up
            x = jnp.where(live > 0, moved, x)
            return (t + h, x, total + live * short(t + h, x, u, p)), None

        begin = first * short(t, x, u[0], p)
        (_, x, total), _ = jax.lax.scan(body, (t, x, begin), (u, w, live))
        return x, total

    return Program("twin_check", (system, bounds), fn, (False,) * 9)
