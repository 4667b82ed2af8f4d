"""`simulate`: one twin, one input record, one trajectory."""

from functools import lru_cache
from typing import Any

import jax
import numpy as np

from pollux.core.errors import DefinitionError, NumericalError
from pollux.core.twin import Signals, Twin
from pollux.model.backend import Backend, Program, default
from pollux.model.integrate import OUTCOMES, Method, Outcome, readings
from pollux.model.record import as_inputs
from pollux.model.results import Run, Stats
from pollux.model.rk4 import RK4
from pollux.model.statespace import StateSpace, System, flatten

DEFAULT_METHOD = RK4(4)


def simulate(
    twin: Twin,
    inputs: Any = None,
    *,
    times: Any = None,
    x0: Any = None,
    method: Method = DEFAULT_METHOD,
    throw: bool = False,
    backend: Backend | None = None,
) -> Run:
    """Trajectory of `twin` under `inputs`, each held from its instant to the next (zero-order hold).

    `inputs`: a dict or frame of columns by input name, an array (T, m), one constant, another run or a record, or
    nothing (the declared start values). `times` (T,) in seconds, where the inputs have none of their own. `x0`: the
    first state as a `State` record, a vector (n,) or nothing (declared start). `method`: `RK4`, `Adaptive` or
    `Stiff`.

    A run that blows up says so in `outcome` and is NaN from there on; `throw=True` raises `NumericalError` instead.
    Raises `InputError` where inputs, times or names do not fit the twin.
    """
    space = flatten(twin)
    t, U = as_inputs(space, inputs, times)
    start = as_state(space, twin, x0)
    kernel = (backend or default()).one(simulation(space.system, method))
    X, Y, G, steps, rejected, code = kernel(t, U, start, space.p0)
    run = Run(twin, space, t, X, U, Y, G, OUTCOMES[int(code)], Stats(int(steps), int(rejected)), method)
    if throw and not run.ok:
        raise NumericalError(failure(run))
    return run


def failure(run: Run) -> str:
    """What failed, when, and the way out."""
    lost = ~np.all(np.isfinite(run.x), axis=1)
    when = f"after t = {run.t[max(int(np.argmax(lost)) - 1, 0)]:g} s" if lost.any() else "within the horizon"
    way = {
        Outcome.MAX_STEPS: "use `Stiff()`, raise `max_steps`, or loosen `rtol`",
        Outcome.STEP_SIZE: "use `Stiff()`, loosen `rtol`, or check the dynamics for a jump or a singularity there",
        Outcome.DIVERGED: "use `Adaptive()` or `Stiff()`, or check inputs and start against the limits of the model",
    }.get(run.outcome, "check the dynamics near that state")
    return f"Simulation of `{run.space.system.name}` by {run.method}: {run.outcome.value} {when}; {way}"


def as_state(space: StateSpace, twin: Twin, x0: Any) -> np.ndarray:
    """A first state as a flat vector (n,); raises `DefinitionError` where it does not fit the twin."""
    if x0 is None:
        return space.x0
    state = twin.signals()[0]
    if isinstance(x0, Signals):
        if not isinstance(x0, state):
            raise DefinitionError(f"`x0` must be a `{state.__name__}`, received `{type(x0).__name__}`")
        x0 = np.concatenate([np.ravel(leaf) for leaf in jax.tree_util.tree_leaves(x0)])
    elif isinstance(x0, dict):
        unknown = set(x0) - set(space.system.x_names)
        if unknown:
            raise DefinitionError(
                f"`{space.system.name}` has no state {sorted(unknown)[0]!r}; it has {list(space.system.x_names)}"
            )
        x0 = [x0.get(c.name, c.start) for c in space.x]
    flat = np.asarray(x0, np.float64)
    if flat.shape != (len(space.x),):
        raise DefinitionError(f"`x0` of `{space.system.name}` has shape ({len(space.x)},), received {flat.shape}")
    return flat


@lru_cache(maxsize=256)
def simulation(system: System, method: Method) -> Program:
    """Per-twin program (times (T,), U (T, m), x0, p) -> (X, Y, G, steps, rejected, code)."""
    read = readings(system, method, lambda t, x, u, p: (x, system.h(t, x, u, p), system.margins(t, x, u, p)))

    def fn(times, U, x0, p):
        (X, Y, G), info = read(times, U, x0, p)
        return X, Y, G, *info

    return Program("simulate", (system, method), fn, (False, False, True, True))
