"""`calibrate_fleet`: many twins of one definition, each fitted to its own record, in one call.

Twin i is the definition with the values `parameters[:, i]`; it is fitted as `calibrate` would with one start. All run
side by side, each with its own steps and its own end; one that fails changes no other.
"""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from pollux.core.errors import InputError
from pollux.core.twin import Twin
from pollux.model.backend import Backend, default
from pollux.model.calibrate import DEFAULT_TOLERANCES
from pollux.model.coordinates import choose, unknowns
from pollux.model.fitting import Lanes, data_lanes, frame_arrays, grid, scattering, solving
from pollux.model.fleetfit import FleetFit, summarise_fleet
from pollux.model.integrate import Method
from pollux.model.leastsquares import Tolerances, begin
from pollux.model.record import as_inputs
from pollux.model.rounds import in_rounds
from pollux.model.simulate import DEFAULT_METHOD, as_state
from pollux.model.statespace import StateSpace, flatten
from pollux.model.stream import Problem, Scatter


def calibrate_fleet(
    twin: Twin,
    readings: Any,
    *,
    times: Any,
    inputs: Any = None,
    parameters: np.ndarray | None = None,
    x0: Any = None,
    free: tuple[str, ...] | None = None,
    initial: Literal["free", "prior", "fixed"] = "free",
    method: Method = DEFAULT_METHOD,
    tolerances: Tolerances = DEFAULT_TOLERANCES,
    backend: Backend | None = None,
) -> FleetFit:
    """Fit the parameters `free` of N twins, each to its own readings, on one time axis `times` (T,) in seconds.

    `readings`: (T, ny, N), or a mapping from sensor to (T, N); NaN where a twin has none (one record may be shorter, or
    sampled at other instants of the axis). `inputs`: what `simulate` takes, for all twins, or (T, m, N). `parameters`
    (n_p, N): what each twin starts from, by default the declared values. `x0`: where the first states start from, as in
    `simulate`, or (n, N). `free`, `initial`, `method`, `tolerances` as in `calibrate`.

    A twin whose model is not finite at its start says so in `outcomes`, as does one that does not converge. Raises
    `InputError` where shapes do not fit, `DefinitionError` for a name that the definition does not have.
    """
    space = flatten(twin)
    t, u = _inputs(space, inputs, times)
    y = _readings(space, readings, len(t))
    size = y.shape[-1]
    P, X0 = _parameters(space, parameters, size), _first_states(space, twin, x0, size)
    chosen = choose(space, free)
    states = () if initial == "fixed" else tuple(range(len(space.x)))
    frame = unknowns(space, chosen, states, P, X0[None], initial == "prior")
    if not len(frame):
        raise InputError("Nothing is free: name a parameter in `free`, or let the first state be free")
    problem, lanes = Problem(space.system, method, chosen, states), Lanes(twins=True, inputs=u.ndim == 3)
    if u.ndim == 3 and u.shape[-1] != size:
        raise InputError(f"There are readings of {size} twins and inputs of {u.shape[-1]}")
    back = backend or default()
    weight = 1 / _sigma(space, y)
    origin, rows = grid(t, u, y)
    data = (*origin, *rows)
    own = (*frame_arrays(frame), P, X0, weight)
    at = begin(np.zeros((len(frame), size)), frame.low, frame.high)
    fleet = (*(True,) * len(own), *data_lanes(lanes))
    end = in_rounds(back.fleet(solving(problem, lanes)), at, (*own, *data), fleet, tolerances)
    theta = frame.value(end.z)
    P, X0 = P.copy(), X0.copy()
    P[list(chosen)], X0[list(states)] = theta[: len(chosen)], theta[len(chosen) :]
    spread = back.fleet(scattering(problem, lanes))(theta, P, X0, weight, *data)
    return summarise_fleet(twin, space, frame, P, X0, weight, end, Scatter(*spread))


def _inputs(space: StateSpace, inputs: Any, times: Any) -> tuple[np.ndarray, np.ndarray]:
    """(times (T,), inputs (T, m) or (T, m, N)); a missing input of one twin holds its last value."""
    if not (isinstance(inputs, np.ndarray) and inputs.ndim == 3):
        return as_inputs(space, inputs, times)
    t, _ = as_inputs(space, None, times)
    if inputs.shape[:2] != (len(t), len(space.u)):
        raise InputError(
            f"Inputs of a fleet of `{space.system.name}` have shape ({len(t)}, {len(space.u)}, N), "
            f"received {inputs.shape}"
        )
    u = np.array(inputs, np.float64)
    if not np.isfinite(u).all():
        last = np.maximum.accumulate(np.where(np.isfinite(u), np.arange(len(t))[:, None, None], 0), axis=0)
        u = np.take_along_axis(u, last, axis=0)
    return t, u


def _readings(space: StateSpace, readings: Any, size: int) -> np.ndarray:
    """(T, ny, N)."""
    names = [c.name for c in space.y]
    if isinstance(readings, Mapping):
        unknown = sorted(set(readings) - set(names))
        shapes = {np.shape(v) for v in readings.values()}
        if unknown or len(shapes) != 1 or len(shape := shapes.pop()) != 2:
            raise InputError(
                f"Readings of a fleet of `{space.system.name}` are arrays ({size}, N) of one shape by sensor, of "
                f"{names}; received { ({k: np.shape(v) for k, v in readings.items()}) }"
            )
        y = np.full((shape[0], len(names), shape[1]), np.nan)
        for name, values in readings.items():
            y[:, names.index(name)] = values
    else:
        y = np.asarray(readings, np.float64)
    if y.ndim != 3 or y.shape[:2] != (size, len(names)):
        raise InputError(
            f"Readings of a fleet of `{space.system.name}` have shape ({size}, {len(names)}, N), received {y.shape}"
        )
    return y


def _parameters(space: StateSpace, parameters: np.ndarray | None, size: int) -> np.ndarray:
    """(n_p, N)."""
    values = space.p0 if parameters is None else np.asarray(parameters, np.float64)
    values = values[:, None] if values.ndim == 1 else values
    if values.shape not in ((len(space.p), 1), (len(space.p), size)):
        raise InputError(
            f"`parameters` of {size} x `{space.system.name}` have shape ({len(space.p)}, {size}), "
            f"received {values.shape}"
        )
    return np.array(np.broadcast_to(values, (len(space.p), size)))


def _first_states(space: StateSpace, twin: Twin, x0: Any, size: int) -> np.ndarray:
    """(n, N)."""
    if isinstance(x0, np.ndarray) and x0.ndim == 2:
        if x0.shape != (len(space.x), size):
            raise InputError(
                f"`x0` of {size} x `{space.system.name}` has shape ({len(space.x)}, {size}), received {x0.shape}"
            )
        return np.array(x0, np.float64)
    return np.array(np.broadcast_to(as_state(space, twin, x0)[:, None], (len(space.x), size)))


def _sigma(space: StateSpace, y: np.ndarray) -> np.ndarray:
    """(ny, N): declared noise; where none is declared, the scatter of each twin's own readings."""
    sigma = np.repeat(np.sqrt(space.R)[:, None], y.shape[-1], axis=1)
    for i in np.flatnonzero(space.R == 0):
        came = np.isfinite(y[:, i])
        count = np.maximum(came.sum(axis=0), 1)
        mean = np.where(came, y[:, i], 0.0).sum(axis=0) / count
        scatter = np.sqrt((np.where(came, y[:, i] - mean, 0.0) ** 2).sum(axis=0) / count)
        sigma[i] = np.where(scatter > 0, scatter, 1.0)
    return sigma
