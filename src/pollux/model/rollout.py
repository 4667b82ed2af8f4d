"""`rollout`: an ensemble of futures, over first states, parameters and process noise.

    x_{k+1} = flow(x_k, u_k, p) + sqrt(dt) diag(drift) w_k,    w_k ~ N(0, I)

Randomness is counter-based: the noise of member i at step k is a function of (seed, i, k) alone, so that a larger
ensemble contains the smaller one, and a fleet can be cut anywhere. Noise never carries a state across its bounds.
Source: Kloeden and Platen, Numerical Solution of Stochastic Differential Equations (1992), sec. 10.2 (additive noise).
"""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from pollux.core.errors import DefinitionError
from pollux.core.twin import Twin
from pollux.model.backend import Backend, Program, default
from pollux.model.integrate import OUTCOMES, Info, Method, Outcome, add, code_of, flow_of
from pollux.model.members import Widened, draw_parameters, widened
from pollux.model.random import Stream, normal
from pollux.model.record import as_inputs
from pollux.model.simulate import DEFAULT_METHOD, as_state
from pollux.model.statespace import StateSpace, System, flatten


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Trajectories of N members; the fleet axis is last."""

    space: StateSpace = field(repr=False)
    t: Float[np.ndarray, " T"]
    u: Float[np.ndarray, "T m"]
    x: Float[np.ndarray, "T n N"]
    y: Float[np.ndarray, "T ny N"]
    g: Float[np.ndarray, "T g N"]
    p: Float[np.ndarray, "k N"]
    outcomes: tuple[Outcome, ...]

    @property
    def size(self) -> int:
        """Number of members."""
        return self.x.shape[-1]

    @property
    def ok(self) -> bool:
        """Whether every member was integrated."""
        return all(o is Outcome.SUCCESS for o in self.outcomes)

    def __getitem__(self, name: str) -> Float[np.ndarray, "T N"]:
        """All members of one state, sensor or margin (searched in this order; `sensor.h` picks the kind)."""
        s = self.space.system
        kinds = {"state": (s.x_names, self.x), "sensor": (s.y_names, self.y), "margin": (s.margin_names, self.g)}
        kind, _, rest = name.partition(".")
        for names, values in [kinds[kind]] if kind in kinds else kinds.values():
            wanted = rest if kind in kinds else name
            if wanted in names:
                return values[:, names.index(wanted)]
        raise DefinitionError(f"An ensemble of `{s.name}` has no signal {name!r}")

    def quantiles(self, name: str, levels: tuple[float, ...] = (0.05, 0.5, 0.95)) -> Float[np.ndarray, "q T"]:
        """Quantiles over the members that are finite."""
        return np.nanquantile(self[name], levels, axis=-1)

    def __repr__(self) -> str:
        """One line."""
        lost = sum(o is not Outcome.SUCCESS for o in self.outcomes)
        return f"Ensemble of {self.space.system.name}: {self.size} members, {len(self.t)} instants, {lost} failed"


def rollout(
    twin: Twin,
    inputs: Any = None,
    *,
    times: Any = None,
    samples: int = 100,
    x0: Any = None,
    parameters: Literal["fixed", "prior"] | np.ndarray = "fixed",
    process_noise: bool = True,
    seed: int = 0,
    method: Method = DEFAULT_METHOD,
    backend: Backend | None = None,
) -> Ensemble:
    """`samples` trajectories of `twin` under one input record.

    `x0`: one first state as in `simulate`, or an ensemble (n, N), which then sets N. `parameters`: the twin's own,
    draws from their priors, or an ensemble (k, N). A member that blows up is NaN and says so in `outcomes`.
    Raises `InputError` or `DefinitionError` where shapes and names do not fit.
    """
    space = flatten(twin)
    t, U = as_inputs(space, inputs, times)
    ensemble = isinstance(x0, np.ndarray) and x0.ndim == 2
    n_members = x0.shape[-1] if ensemble else samples
    engine = backend or default()
    p = parameters
    if isinstance(p, str):
        p = sample_prior(space, n_members, seed, engine) if p == "prior" else np.tile(space.p0[:, None], n_members)
    elif not ensemble:
        n_members = np.shape(p)[-1]
    X0 = np.asarray(x0, np.float64) if ensemble else np.tile(as_state(space, twin, x0)[:, None], n_members)
    if X0.shape != (len(space.x), n_members) or p.shape != (len(space.p), n_members):
        raise DefinitionError(
            f"An ensemble of `{space.system.name}` needs states ({len(space.x)}, N) and parameters "
            f"({len(space.p)}, N), received {X0.shape} and {p.shape}"
        )
    low, high = space.bounds("x")
    sd = np.sqrt(space.Q) if process_noise else np.zeros(len(space.x))
    kernel = engine.fleet(rollout_program(space.system, method))
    dt = np.append(np.diff(t), 0.0)
    X, Y, G, code = kernel(t, dt, U, X0, p, sd, low, high, np.int64(seed), np.arange(n_members))
    return Ensemble(space, t, U, X, Y, G, p, tuple(OUTCOMES[int(c)] for c in code))


def sample_prior(space: StateSpace, samples: int, seed: int, backend: Backend) -> Float[np.ndarray, "k N"]:
    """Parameter vectors drawn from the priors, clipped to their bounds; those without a prior stay as they are."""
    wide = widened(space)
    if not wide.index:
        return np.tile(space.p0[:, None], samples)
    return backend.fleet(_prior_program(wide))(space.p0, wide.widths, np.int64(seed), np.arange(samples))[0]


def _prior_program(wide: Widened) -> Program:
    """Per-member program (p, widths, seed, member) -> p."""

    def fn(p, widths, seed, member):
        return (draw_parameters(wide, p, widths, seed, Stream.ROLLOUT_PARAMETERS, member),)

    return Program("prior", wide, fn, (False, False, False, True))


@lru_cache(maxsize=256)
def rollout_program(system: System, method: Method) -> Program:
    """Per-member program (times, dt, U, x0, p, sd (n,), low, high, seed, member) -> (X, Y, G, code).

    `dt` holds the intervals and a last 0, over which nothing moves.
    """
    flow = flow_of(system, method)
    n = len(system.x_names)

    def fn(times, dt, U, x0, p, sd, low, high, seed, member):
        def step(carry, interval):
            k, x, info = carry
            t, dt, u = interval
            seen = x, system.h(t, x, u, p), system.margins(t, x, u, p)
            new, spent = flow(t, dt, x, u, p)
            noise = jnp.sqrt(dt) * sd * normal(seed, Stream.ROLLOUT_NOISE, member, k, n)
            kept = jnp.clip(new + noise, jnp.minimum(low, new), jnp.maximum(high, new))
            new = jnp.where(sd > 0, kept, new)
            alive = dt > 0
            info = Info(*(jnp.where(alive, a, b) for a, b in zip(add(info, spent), info, strict=True)))
            return (k + 1, jnp.where(alive, new, x), info), seen

        start = (jnp.int32(0), x0, Info(jnp.int32(0), jnp.int32(0), code_of(x0)))
        (_, _, info), (X, Y, G) = jax.lax.scan(step, start, (times, dt, U))
        return X, Y, G, info.code

    fleet = (False, False, False, True, True, False, False, False, False, True)
    return Program("rollout", (system, method), fn, fleet)
