"""Time of event: how long an asset keeps its limits under a load, for every member of an ensemble.

    x_{k+1} = clip(F(t_k, h, x_k, u, theta) + sqrt(Q h) w_k),    T = min { t : margin_j(t, x(t), u) < 0 for some j }

F is one RK4 step, or the own step of a discrete twin. Each member is a loop that ends at its event, so that a long
horizon costs nothing beyond it. Within the last step the crossing is where the straight line between the margins of
its two ends meets zero. A member that leaves the finite numbers violates every limit, as in a forecast.

What member i draws at step k depends on (seed, i, k) alone. Source: Daigle and Sankararaman, Advanced methods for
determining prediction uncertainty in model-based prognostics, Annual Conf. of the PHM Society (2013), algorithm 1.
"""

from dataclasses import dataclass, field
from math import ceil
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from pollux.core.errors import DefinitionError, InputError
from pollux.core.signals import Belief
from pollux.core.twin import Twin
from pollux.intervene.forecast import bounded
from pollux.model.augment import augment
from pollux.model.backend import Backend, Kernel, Program, default
from pollux.model.members import Bounds, Widened, bounds_of, members_program, root_of, widened
from pollux.model.random import Stream, normal
from pollux.model.statespace import StateSpace, System, flatten


@dataclass(frozen=True)
class Events:
    """When the members of an ensemble first violate a limit, and which."""

    t: float
    """Start, the same clock as `times`."""
    end: float
    """Until when was looked."""
    names: tuple[str, ...]
    times: Float[np.ndarray, " N"]
    """Time of the first violation; infinite where every limit is kept until `end`."""
    which: Int[np.ndarray, " N"]
    """Which limit, as an index into `names`; -1 where none."""

    def quantiles(self, levels: tuple[float, ...] = (0.05, 0.5, 0.95)) -> Float[np.ndarray, " q"]:
        """Times before which a share of the members had their event: order statistics, infinite beyond the last."""
        ordered = np.sort(self.times)
        return ordered[[max(ceil(level * len(ordered)) - 1, 0) for level in levels]]

    def probability(self, before: float | None = None) -> float:
        """Share of the members whose event lies at or before a time; None: within the whole horizon."""
        return float(np.mean(np.isfinite(self.times) if before is None else self.times <= before))

    def shares(self) -> dict[str, float]:
        """Share of the members that each limit is the first for."""
        return {name: float(np.mean(self.which == j)) for j, name in enumerate(self.names)}


@dataclass(frozen=True)
class Life:
    """A compiled time of event. Build it with `build_life`."""

    space: StateSpace
    step: float
    wide: Widened
    params: np.ndarray
    Q: np.ndarray
    draw: Kernel = field(repr=False)
    kernel: Kernel = field(repr=False)

    def time_of_event(
        self,
        belief: Belief,
        horizon: float,
        times: Any = None,
        plan: Any = None,
        *,
        samples: int = 1000,
        seed: int = 0,
    ) -> Events:
        """Events of `samples` members of a belief, from its own time on for `horizon` seconds.

        `plan[k]` (u,) holds from `times[k]` until the next time, the last to the end; before the first, and throughout
        where there is no plan, the inputs of the belief are in force. Each stretch is crossed in equal steps no longer
        than `step`. Another number of rows compiles once more. Raises `InputError` for a plan that does not fit.
        """
        begins, counts, h, rows = self._stretches(belief, horizon, times, plan)
        common = np.int64(seed), np.arange(samples)
        x, *p = self.draw(belief.mean, root_of(belief.cov), self.params, self.wide.widths, *common)
        when, which = self.kernel(begins, counts, h, rows, x, p[0] if p else self.params, np.sqrt(self.Q), *common)
        return Events(belief.t, belief.t + horizon, self.space.system.margin_names, when, which)

    def _stretches(self, belief: Belief, horizon: float, times: Any, plan: Any) -> tuple[np.ndarray, ...]:
        """Start, number and length of the steps, and the inputs, of each stretch of the plan."""
        end = belief.t + horizon
        starts = np.zeros(0) if times is None else np.asarray(times, np.float64)
        rows = np.zeros((0, len(self.space.u))) if plan is None else np.asarray(plan, np.float64)
        if rows.shape != (len(starts), len(self.space.u)) or not np.isfinite(rows).all():
            raise InputError(
                f"A plan has one finite row of {len(self.space.u)} inputs for each of its {len(starts)} times, "
                f"received shape {rows.shape}"
            )
        if not horizon > 0 or np.any(starts < belief.t) or np.any(np.diff(starts) <= 0):
            raise InputError(
                "The time of an event needs a horizon above 0 s and times of a plan that rise and do not begin before "
                f"the belief at {belief.t!r}, received {horizon!r} and {starts!r}"
            )
        edges = np.minimum(np.concatenate([[belief.t], starts, [end]]), end)
        rows, spans = np.concatenate([belief.inputs[None], rows]), np.diff(edges)
        counts = np.ceil(spans / self.step - 1e-9)
        period = self.space.system.period
        if period is not None and np.any(np.abs(counts * period - spans) > 1e-9 * np.maximum(spans, period)):
            raise InputError(
                f"A discrete twin needs times that are whole periods of {period} s apart, received {spans}"
            )
        return edges[:-1], counts.astype(np.int32), spans / np.maximum(counts, 1.0), rows


def build_life(
    twin: Twin | StateSpace,
    *,
    step: float,
    track: tuple[str, ...] = (),
    prior_share: float = 0.0,
    params: np.ndarray | None = None,
    Q: np.ndarray | None = None,
    backend: Backend | None = None,
) -> Life:
    """Compile the time of event of one twin; `step` is the longest in seconds, a discrete twin uses its period.

    The events are the violations of the twin's margins. `track`, `prior_share`, `params` and `Q` as in
    `build_forecaster`. Raises `DefinitionError` for a twin without margins.
    """
    space = augment(twin if isinstance(twin, StateSpace) else flatten(twin), track)
    if not space.system.margin_names:
        raise DefinitionError(f"`{space.system.name}` declares no `margins`, so that nothing can happen to it")
    if not (step > 0 and prior_share >= 0):
        raise DefinitionError(
            f"A time of event needs step > 0 and prior_share >= 0, received {step!r} and {prior_share!r}"
        )
    wide = widened(space, share=prior_share, known=space.system.x_names)
    Q = space.Q if Q is None else np.asarray(Q, np.float64)
    noisy = tuple(np.flatnonzero(Q).tolist())
    engine, bounds = backend or default(), bounds_of(space)
    return Life(
        space,
        space.system.period or float(step),
        wide,
        space.p0 if params is None else np.asarray(params, np.float64),
        Q,
        engine.fleet(members_program(wide, bounds, Stream.LIFE_START, Stream.LIFE_PARAMETERS)),
        engine.fleet(life_program(space.system, bounds, noisy, bool(wide.index))),
    )


def life_program(system: System, bounds: Bounds, noisy: tuple[int, ...], own_parameters: bool) -> Program:
    """Per-member program (begins, counts, h (S,), rows (S, u), x, p, sd, seed, member) -> (when, which).

    `noisy` are the states with process noise; `own_parameters` says whether members differ in p.
    """
    n, (low, high) = len(system.x_names), map(jnp.asarray, bounds)
    advance = bounded(system, low, high)

    def fn(begins, counts, h, rows, x, p, sd, seed, member):
        def stretch(carry, row):
            k, x, when, which = carry
            begin, count, h, u = row
            spread = jnp.sqrt(h) * sd

            def going(carry):
                i, _, _, g = carry
                return (i < count) & jnp.all(g >= 0)

            def forward(carry):
                i, x, _, g = carry
                moved = advance(begin + i * h, h, x, u, p)
                if noisy:
                    w = normal(seed, Stream.LIFE_NOISE, member, k + i, len(noisy))
                    moved = moved + spread * jnp.zeros(n).at[np.array(noisy)].set(w)
                moved = jnp.where(jnp.isfinite(moved), jnp.clip(moved, low, high), jnp.nan)
                return i + 1, moved, g, system.margins(begin + (i + 1) * h, moved, u, p)

            g = jnp.where(when < jnp.inf, jnp.nan, system.margins(begin, x, u, p))
            i, x, last, g = jax.lax.while_loop(going, forward, (jnp.int32(0), x, g, g))
            share, first = _crossing(last, g)
            now = (first >= 0) & (count > 0) & ~(when < jnp.inf)
            when = jnp.where(now, begin + jnp.where(i > 0, i - 1 + share, 0.0) * h, when)
            return (k + count, x, when, jnp.where(now, first, which)), None

        start = (jnp.int32(0), x, jnp.inf, jnp.int32(-1))
        (_, _, when, which), _ = jax.lax.scan(stretch, start, (begins, counts, h, rows))
        return when, which

    fleet = (False, False, False, False, True, own_parameters, False, False, True)
    return Program("life", (system, bounds, noisy, own_parameters), fn, fleet)


def _crossing(last: jax.Array, g: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Share of the step at which the first margin crosses zero, and which margin that is; -1 where all are kept."""
    share, first = jnp.asarray(jnp.inf), jnp.int32(-1)
    for j in range(g.shape[0]):
        crosses = (last[j] > 0) & (g[j] < 0)
        at = jnp.where(crosses, last[j] / jnp.where(crosses, last[j] - g[j], 1.0), 1.0)
        sooner = ~(g[j] >= 0) & (at < share)
        share, first = jnp.where(sooner, at, share), jnp.where(sooner, j, first)
    return share, first.astype(jnp.int32)
