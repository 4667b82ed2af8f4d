"""What `assimilate` and `smooth` start from: the flat twin, the record as steps, and the arguments of their kernels."""

import math
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from pollux.core.twin import Twin
from pollux.mirror.method import Carrying, Method, OfTwin, carrier, of_twin
from pollux.mirror.scan import Steps, steps
from pollux.mirror.update import positive_noise, threshold
from pollux.model import pieces
from pollux.model.augment import augment
from pollux.model.record import Record, as_record
from pollux.model.statespace import StateSpace, flatten


@dataclass(frozen=True, eq=False)
class Laid:
    """A flat twin and a record as its steps."""

    space: StateSpace
    record: Record
    walk: Steps
    low: tuple[float, ...]
    high: tuple[float, ...]


def lay(twin: Twin | StateSpace, record: Any, *, track: tuple[str, ...], dt_max: float | None, times: Any) -> Laid:
    """The twin with its tracked parameters, and the record cut into steps of at most `dt_max` (None: by its speed)."""
    space = augment(flatten(twin) if isinstance(twin, Twin) else twin, tuple(track))
    data = as_record(space, record, times=times)
    walk = steps(data, space.system, pieces.fastest(space) if dt_max is None else float(dt_max))
    low, high = (tuple(b) for b in space.bounds("x"))
    return Laid(space, data, walk, low, high)


@dataclass(frozen=True, eq=False)
class Prepared:
    """`key` (substeps, low, high, pieces) and `args` are those of `pollux.mirror.scan.filtered`."""

    space: StateSpace
    record: Record
    walk: Steps
    method: Method | Carrying
    key: tuple[Any, ...]
    args: tuple[Any, ...]
    params: Any
    Q: np.ndarray


def prepare(
    twin: Twin | StateSpace,
    record: Any,
    method: Method | Carrying | OfTwin,
    *,
    track: tuple[str, ...],
    substeps: int,
    dt_max: float | None,
    gate: float,
    reopen: int | None,
    times: Any,
    x0: np.ndarray | None,
    P0: np.ndarray | None,
    params: np.ndarray | None,
    Q: np.ndarray | None,
    R: np.ndarray | None,
) -> Prepared:
    """Arguments as in `assimilate`; what is None is as declared."""
    laid = lay(twin, record, track=track, dt_max=dt_max, times=times)
    space, walk = laid.space, laid.walk
    method = of_twin(method, space)
    first = carrier(method).start(space.x0 if x0 is None else x0, np.diag(space.P0) if P0 is None else P0)
    p = jnp.asarray(space.p0 if params is None else params, jnp.float64)
    Q = space.Q if Q is None else Q
    args = (
        walk.t, walk.dt, walk.u, walk.v, walk.y, first, p, Q, positive_noise(space) if R is None else R,
        threshold(gate), math.inf if reopen is None else float(reopen),
    )  # fmt: skip
    return Prepared(space, laid.record, walk, method, (substeps, laid.low, laid.high, walk.pieces), args, p, Q)
