"""Forecasts: an ensemble from the belief through the model under a plan of inputs.

    z_0 ~ N(mean, cov)   (states and tracked parameters),   theta ~ prior, `prior_share` times as wide
    z_{i+1} = clip(F(t_i, h, z_i, u, theta) + sqrt(Q h) w_i),   y = h(t, z, u, theta) + sqrt(R) v,   w, v ~ N(0, I)

F is one RK4 step of h seconds (`substeps` of them in each interval of the plan), or the own step of a discrete twin.
The model is never asked outside the declared range of its states. Limits are watched at every substep, not at the
grid alone. Noise is counter-based: what member i draws at substep k depends on (seed, i, k) only, so that a larger
ensemble contains the smaller one, and two plans with one seed meet the same disturbances. The program is that of one
member, everything that is reported of it gathered as it walks through time; the ensemble is its fleet.
Source: Kloeden and Platen, Numerical Solution of Stochastic Differential Equations (1992), sec. 10.2.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from pollux.core.errors import DefinitionError, InputError
from pollux.core.signals import Belief, Forecast
from pollux.core.twin import Twin
from pollux.intervene.crossing import crossings, quantiles
from pollux.model.augment import augment
from pollux.model.backend import Backend, Kernel, Program, default
from pollux.model.compile import Kernels
from pollux.model.members import Bounds, Widened, bounds_of, draw_parameters, draw_state, root_of, widened
from pollux.model.random import Stream, normal
from pollux.model.rk4 import rk4
from pollux.model.statespace import StateSpace, System, flatten

LEVELS = (0.025, 0.25, 0.5, 0.75, 0.975)
"""Quantile levels of every forecast."""

_EDGE = 1e-6
"""The goal is integrated strictly inside each substep: a tariff that switches at its end belongs to the next one."""


@dataclass(frozen=True)
class Spread:
    """An ensemble: N members at T times, the members last."""

    times: Float[np.ndarray, " T"]
    states: Float[np.ndarray, "T n N"]
    sensors: Float[np.ndarray, "T y N"]
    """With sensor noise."""
    margins: Float[np.ndarray, "T m N"]
    goal: Float[np.ndarray, " N"]
    """Integral of the twin's goal over the horizon."""
    first: Float[np.ndarray, "m N"]
    """Time of the first violation of each limit; infinite where it is kept."""
    worst: Float[np.ndarray, "m N"]
    """Smallest margin over the horizon, substeps included."""


@dataclass(frozen=True)
class Forecaster:
    """A compiled forecaster. Build it with `build_forecaster`."""

    space: StateSpace
    horizon: float
    step: float
    samples: int
    wide: Widened
    params: np.ndarray
    Q: np.ndarray
    R: np.ndarray
    kernel: Kernel = field(repr=False)

    def grid(self, belief: Belief) -> Float[np.ndarray, " T"]:
        """The times it was compiled for: the belief's own, then every `step` up to the horizon."""
        return belief.t + self.step * np.arange(round(self.horizon / self.step) + 1)

    def forecast(
        self,
        belief: Belief,
        plan_times: np.ndarray | None = None,
        plan: np.ndarray | None = None,
        *,
        samples: int | None = None,
        seed: int = 0,
    ) -> Forecast:
        """Quantiles at `plan_times` (T,) under `plan` (T, u), whose rows hold until the next time.

        Default: the compiled grid, with the inputs that are in force. Another number of times or samples compiles
        once more. A member that leaves the finite numbers counts as violating every limit from then on.
        """
        times, plan = self._plan(belief, plan_times, plan)
        e = self.ensemble(belief, times, plan, samples=samples, seed=seed)
        digest = hashlib.sha256(times.tobytes() + plan.tobytes() + str((e.goal.size, seed)).encode()).hexdigest()
        return Forecast(
            twin=belief.twin,
            t=belief.t,
            id=f"{belief.id}/forecast/{digest[:8]}",
            source=belief.id,
            times=times,
            plan=plan,
            levels=LEVELS,
            states=quantiles(e.states, LEVELS),
            sensors=quantiles(e.sensors, LEVELS),
            margins=quantiles(e.margins, LEVELS),
            crossings=crossings(self.space.system.margin_names, e.first),
            samples=e.goal.size,
        )

    def ensemble(
        self,
        belief: Belief,
        plan_times: np.ndarray | None = None,
        plan: np.ndarray | None = None,
        *,
        samples: int | None = None,
        seed: int = 0,
    ) -> Spread:
        """The members behind `forecast`."""
        times, plan = self._plan(belief, plan_times, plan)
        begins = np.concatenate([[belief.t], times[:-1]])
        held = np.concatenate([belief.inputs[None], plan[:-1]])
        x, y, g, goal, first, worst = self.kernel(
            begins, times, held, plan, belief.mean, root_of(belief.cov), self.params, self.wide.widths,
            np.sqrt(self.Q), np.sqrt(self.R), np.int64(seed), np.arange(samples or self.samples),
        )  # fmt: skip
        return Spread(times, x, y, g, goal, first, worst)

    def _plan(self, belief: Belief, times: np.ndarray | None, plan: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        times = self.grid(belief) if times is None else np.asarray(times, np.float64)
        plan = np.tile(belief.inputs, (len(times), 1)) if plan is None else np.asarray(plan, np.float64)
        if plan.shape != (len(times), len(self.space.u)) or not np.isfinite(plan).all():
            raise InputError(
                f"A plan has one finite row of {len(self.space.u)} inputs for each of its {len(times)} times, "
                f"received shape {plan.shape}"
            )
        if times[0] < belief.t or np.any(np.diff(times) <= 0):
            raise InputError(
                f"Times of a plan rise and do not begin before the belief at {belief.t!r}, received {times[0]!r} ..."
            )
        return times, plan


def build_forecaster(
    twin: Twin | Kernels | StateSpace,
    *,
    horizon: float,
    step: float,
    samples: int = 64,
    substeps: int | None = None,
    track: tuple[str, ...] = (),
    prior_share: float = 0.0,
    params: np.ndarray | None = None,
    Q: np.ndarray | None = None,
    R: np.ndarray | None = None,
    backend: Backend | None = None,
) -> Forecaster:
    """Compile the forecaster of one twin: `horizon` and `step` in seconds, `samples` members.

    Each interval is crossed in `substeps` steps; None takes as many as resolve the fastest mode at the start values,
    at least 4. `track` as in the mirror that makes the beliefs (a `StateSpace` or `Kernels` already holds it).
    `params`, `Q` (per second) and `R` replace the declared ones, as in a tuned mirror. `prior_share` widens untracked
    parameters by that share of their prior: 0 when they are as good as known, 1 when they were never calibrated.
    """
    if isinstance(twin, Kernels):
        space = twin.space
    else:
        space = augment(twin if isinstance(twin, StateSpace) else flatten(twin), track)
    substeps = resolved(space, step) if substeps is None else substeps
    if not (0 < step <= horizon and samples >= 2 and substeps >= 1 and prior_share >= 0):
        raise DefinitionError(
            "A forecaster needs 0 < step <= horizon, samples >= 2, substeps >= 1 and prior_share >= 0, received "
            f"{(step, horizon, samples, substeps, prior_share)}"
        )
    period = space.system.period
    if period is not None:
        substeps = round(step / period)
        if substeps < 1 or abs(substeps * period - step) > 1e-9 * step:
            raise DefinitionError(f"The step of a forecast is a multiple of the period {period} s, received {step}")
    wide = widened(space, share=prior_share, known=space.system.x_names)
    kernel = (backend or default()).fleet(forecast_program(space.system, bounds_of(space), substeps, wide))
    return Forecaster(
        space, float(horizon), float(step), samples, wide,
        space.p0 if params is None else np.asarray(params, np.float64),
        space.Q if Q is None else np.asarray(Q, np.float64),
        space.R if R is None else np.asarray(R, np.float64),
        kernel,
    )  # fmt: skip


def resolved(space: StateSpace, step: float) -> int:
    """Substeps of `step` seconds that are no longer than the time constant of the fastest mode; 4 to 400."""
    A = jax.jacfwd(space.system.f, argnums=1)(0.0, jnp.asarray(space.x0), jnp.asarray(space.u0), jnp.asarray(space.p0))
    fastest = np.max(np.abs(np.linalg.eigvals(np.nan_to_num(np.asarray(A)))), initial=0.0)
    return int(np.clip(np.ceil(step * fastest), 4, 400))


def bounded(system: System, low: Array, high: Array) -> Callable[[Any, Any, Array, Array, Array], Array]:
    """One step (t, h, x, u, p) -> x, from a state within the declared range, of a twin never asked outside of it."""
    if system.period is not None:
        return lambda t, h, x, u, p: system.f(t, x, u, p)
    return rk4(lambda t, x, u, p: system.f(t, jnp.clip(x, low, high), u, p), 1)


def forecast_program(system: System, bounds: Bounds, substeps: int, wide: Widened) -> Program:
    """Per-member program of the forecast; results as in `Spread`.

    (begins, times (T,), held, plan (T, u), mean, root, p, widths, sd, noise, seed, member): `held` is in force from
    `begins` to `times`, `plan` from `times` on; `widths` are those of `wide`.
    """
    n, ny, m = len(system.x_names), len(system.y_names), len(system.margin_names)
    low, high = map(jnp.asarray, bounds)
    advance = bounded(system, low, high)

    def fn(begins, times, held, plan, mean, root, p, widths, sd, noise, seed, member):
        p = draw_parameters(wide, p, widths, seed, Stream.FORECAST_PARAMETERS, member)

        def interval(carry, given):
            k, x, spent, first, worst = carry
            begin, end, u, after = given
            h, live = (end - begin) / substeps, end > begin
            g = system.margins(begin, x, u, p)
            first, worst = _note(first, worst, g, begin, live)

            def sub(i, carry):
                x, g, spent, first, worst = carry
                s = begin + i * h
                at = system.goal(s + _EDGE * h, x, u, p)
                w = normal(seed, Stream.FORECAST_NOISE, member, k * substeps + i, n)
                moved = advance(s, h, x, u, p) + jnp.sqrt(h) * sd * w
                moved = jnp.where(jnp.isfinite(moved), jnp.clip(moved, low, high), jnp.nan)
                x = jnp.where(live, moved, x)
                later = system.margins(s + h, x, u, p)
                spent = spent + 0.5 * h * (at + system.goal(s + (1 - _EDGE) * h, x, u, p))
                share = jnp.where((g > 0) & (later < 0), g / jnp.where(g > later, g - later, 1.0), 1.0)
                first, worst = _note(first, worst, later, s + share * h, live)
                return x, later, spent, first, worst

            x, _, spent, first, worst = jax.lax.fori_loop(0, substeps, sub, (x, g, spent, first, worst))
            y = system.h(end, x, after, p) + noise * normal(seed, Stream.FORECAST_SENSORS, member, k, ny)
            return (k + 1, x, spent, first, worst), (x, y, system.margins(end, x, after, p))

        x = draw_state(mean, root, low, high, seed, Stream.FORECAST_START, member)
        never = jnp.full(m, jnp.inf)
        carry, (X, Y, G) = jax.lax.scan(interval, (jnp.int32(0), x, 0.0, never, never), (begins, times, held, plan))
        _, _, spent, first, worst = carry
        return X, Y, G, spent, first, worst

    return Program("forecast", (system, bounds, substeps, wide), fn, (False,) * 11 + (True,))


def _note(first: Array, worst: Array, g: Array, when: Array, live: Array) -> tuple[Array, Array]:
    """The first violation and the smallest of each margin, after one more look; what is not finite is a violation."""
    bad = ~(g >= 0) & live
    return jnp.where(bad & (first == jnp.inf), when, first), jnp.where(live, jnp.fmin(worst, g), worst)
