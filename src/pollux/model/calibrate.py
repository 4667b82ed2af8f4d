"""`calibrate`: parameters and first states of a twin from a record, and what the record cannot say.

    min over theta, x0 of   sum_k |(y_k - h(x(t_k; theta, x0))) / sigma|^2 + sum_i prior_i

by bounded least squares with exact forward sensitivities from several starts at once (output error: the simulation
runs free over the whole record). Source: Ljung, System Identification (1999), ch. 7; Bates and Watts, Nonlinear
Regression Analysis (1988).
"""

from typing import Any, Literal

import numpy as np

from pollux.core.errors import InputError, NumericalError
from pollux.core.time import rng
from pollux.core.twin import Twin
from pollux.model.backend import Backend, default
from pollux.model.coordinates import Coordinates, choose, unknowns
from pollux.model.fit import Fit, natural, summarise
from pollux.model.fitting import Data, frame_arrays, gather, rows_of, sensing, solving
from pollux.model.integrate import Method
from pollux.model.leastsquares import FIT_OUTCOMES, Descent, FitOutcome, Tolerances, begin
from pollux.model.record import Record, as_record
from pollux.model.simulate import DEFAULT_METHOD, as_state
from pollux.model.statespace import StateSpace, flatten
from pollux.model.stream import Problem

DEFAULT_TOLERANCES = Tolerances()


def calibrate(
    twin: Twin,
    record: Any,
    *,
    free: tuple[str, ...] | None = None,
    starts: int = 8,
    x0: Any = None,
    initial: Literal["free", "prior", "fixed"] = "free",
    times: Any = None,
    method: Method = DEFAULT_METHOD,
    tolerances: Tolerances = DEFAULT_TOLERANCES,
    seed: int = 0,
    throw: bool = False,
    backend: Backend | None = None,
) -> Fit:
    """Fit the parameters `free` of `twin` to one record, or to a list of records of the same asset.

    `free`: parameter names, or a field that holds several (`"residual"`); by default those with a prior, else every
    `param`. `()` fits the first state alone. `starts`: the declared values first, the others drawn from the priors
    (or within a factor of about two, inside the bounds). `initial`: the first state of each record is sought freely,
    with the declared `spread` as its prior, or is fixed; `x0` is where it starts from (one state, or one a record).
    Readings that are NaN count for nothing. Sensors without a declared noise are weighed by their own scatter.

    The result says how it went in `outcome` and whether the record determines the unknowns in `identifiability`;
    `throw=True` raises `NumericalError` when no start converges. Raises `InputError` for a record that does not fit
    the twin, `DefinitionError` for a name it does not have.
    """
    space = flatten(twin)
    records = _records(space, record, times)
    chosen = choose(space, free)
    states = () if initial == "fixed" else tuple(range(len(space.x)))
    X0 = _first_states(space, twin, x0, len(records))
    frame = unknowns(space, chosen, states, space.p0, X0, initial == "prior")
    data = gather(records, _sigma(space, records))
    if not len(frame):
        raise InputError("Nothing is free: name a parameter in `free`, or let the first state be free")
    problem = Problem(space.system, method, chosen, states)
    back = backend or default()
    Z0 = _starts(frame, starts, seed)
    solved = _solve(back, problem, Z0, frame, space.p0, X0, data, tolerances)
    best = _best(solved.loss)
    z, outcome = solved.z[:, best], FIT_OUTCOMES[int(solved.code[best])]
    if throw and outcome is not FitOutcome.CONVERGED:
        raise NumericalError(
            f"Calibration of `{space.system.name}` by {method}: {outcome.value}, best loss {solved.loss[best]:.6g}; "
            "try more `starts`, tighter bounds or priors, or `Adaptive()`"
        )
    residuals, J, seen = _rows(back, problem, z, frame, space.p0, X0, data)
    trials = tuple(
        (float(v), int(n), FIT_OUTCOMES[int(c)])
        for v, n, c in zip(solved.loss, solved.iterations, solved.code, strict=True)
    )
    return summarise(twin, space, records, data, frame, chosen, states, X0, z, residuals, J, seen, outcome, trials)


def sensitivities(
    twin: Twin, record: Any, *, free: tuple[str, ...] | None = None, method: Method = DEFAULT_METHOD
) -> tuple[np.ndarray, tuple[str, ...], np.ndarray, np.ndarray]:
    """(S, names, log, spread): noise-scaled sensitivities of a record's readings at the declared values.

    S (N, k + n) is in natural units, for the free parameters and then the first state; `log` says which columns are
    logarithms; `spread` (n,) turns the last n into units of the first belief.
    """
    space = flatten(twin)
    records = _records(space, record, None)
    chosen, states = choose(space, free), tuple(range(len(space.x)))
    X0 = _first_states(space, twin, None, len(records))
    frame = unknowns(space, chosen, states, space.p0, X0, False)
    data = gather(records, _sigma(space, records))
    problem = Problem(space.system, method, chosen, states)
    z = np.zeros(len(frame))
    _, J, _ = _rows(default(), problem, z, frame, space.p0, X0, data)
    theta = frame.value(z)
    factor, log = natural(theta, frame.slope(z), frame)
    k = len(chosen)
    return J * factor, frame.names, log, np.where(log[k:], frame.scale[k:] / np.where(log[k:], theta[k:], 1.0), 1.0)


def _solve(
    back: Backend,
    problem: Problem,
    Z0: np.ndarray,
    frame: Coordinates,
    p: np.ndarray,
    X0: np.ndarray,
    data: Data,
    tolerances: Tolerances,
) -> Descent:
    """Every start, lane last; one start alone runs as one twin."""
    arrays = (*frame_arrays(frame), p, _squeezed(X0), 1 / data.sigma, *data.arrays(), *tolerances)
    if Z0.shape[1] > 1:
        at = begin(Z0, frame.low[:, None], frame.high[:, None])
        return Descent(*back.fleet(solving(problem))(*at, *arrays))
    at = begin(Z0[:, 0], frame.low, frame.high)
    return Descent(*(v[..., None] for v in back.one(solving(problem))(*at, *arrays)))


def _rows(
    back: Backend, problem: Problem, z: np.ndarray, frame: Coordinates, p: np.ndarray, X0: np.ndarray, data: Data
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Residuals (N,), their Jacobian in z (N, k), and what the sensors should have read (R, T, ny)."""
    seen, V = back.one(sensing(problem))(frame.value(z), p, _squeezed(X0), *data.arrays())
    return rows_of(problem, data, seen, V, frame.slope(z))


def _squeezed(X0: np.ndarray) -> np.ndarray:
    """One record has no axis of records."""
    return X0[0] if len(X0) == 1 else X0


def _records(space: StateSpace, record: Any, times: Any) -> tuple[Record, ...]:
    if isinstance(record, list | tuple):
        if not record:
            raise InputError("`calibrate` needs at least one record, received an empty list")
        return tuple(as_record(space, r) for r in record)
    return (as_record(space, record, times=times),)


def _first_states(space: StateSpace, twin: Twin, x0: Any, count: int) -> np.ndarray:
    """(R, n)."""
    if isinstance(x0, np.ndarray) and x0.ndim == 2:
        each = list(x0)
    elif isinstance(x0, list) and len(x0) == count and not isinstance(x0[0], int | float):
        each = x0
    else:
        each = [x0] * count
    if len(each) != count:
        raise InputError(f"`x0` gives {len(each)} first states for {count} records")
    return np.stack([as_state(space, twin, x) for x in each])


def _sigma(space: StateSpace, records: tuple[Record, ...]) -> np.ndarray:
    """Declared noise; the scatter of the readings where none is declared."""
    y = np.concatenate([r.y for r in records])
    sigma = np.sqrt(space.R)
    for i in np.flatnonzero(sigma == 0):
        known = y[np.isfinite(y[:, i]), i]
        sigma[i] = (np.std(known) if len(known) > 1 else 0.0) or 1.0
    return sigma


def _starts(frame: Coordinates, count: int, seed: int) -> np.ndarray:
    """(k, starts): the declared values, then draws of one prior deviation (0.7 without a prior) in each coordinate."""
    Z = np.zeros((len(frame), max(count, 1)))
    width = np.where(np.isfinite(frame.deviation), frame.deviation, 0.7)
    for i in range(1, Z.shape[1]):
        Z[:, i] = width * rng(seed, i).standard_normal(len(frame))
    return np.clip(Z, frame.low[:, None], frame.high[:, None])


def _best(loss: np.ndarray) -> int:
    """The first start that reached the least loss: among equals the one nearest to what was declared."""
    finite = np.where(np.isfinite(loss), loss, np.inf)
    return int(np.argmax(finite <= finite.min() * (1 + 1e-6) + 1e-12))
