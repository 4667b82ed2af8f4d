"""`smooth`: the states of a whole record, each given all readings before and after it."""

import math
from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
import numpy as np

from pollux.core.errors import InputError
from pollux.core.twin import Twin
from pollux.mirror.ekf import Ekf
from pollux.mirror.enkf import Enkf
from pollux.mirror.ensemble_smoother import ensemble_backward
from pollux.mirror.etkf import Etkf
from pollux.mirror.iterated_ekf import IteratedEkf
from pollux.mirror.letkf import Letkf
from pollux.mirror.method import carrier
from pollux.mirror.rts import backward
from pollux.mirror.scan import compiled, steps
from pollux.mirror.square_root_ekf import SquareRootEkf
from pollux.mirror.update import GATE, REOPEN, positive_noise, threshold
from pollux.model import pieces
from pollux.model.augment import augment
from pollux.model.record import Record, as_record
from pollux.model.statespace import Channel, StateSpace, flatten

Smoothable = Ekf | SquareRootEkf | IteratedEkf | Etkf | Enkf | Letkf


@dataclass(frozen=True, eq=False)
class Smoothed:
    """The smoothed record: `mean` (T, n) and `cov` (T, n, n) given all readings; `filtered` (T, n) the means before."""

    name: str
    record: Record
    states: tuple[Channel, ...]
    mean: np.ndarray
    cov: np.ndarray = field(repr=False)
    filtered: np.ndarray

    @property
    def t(self) -> np.ndarray:
        """Times (T,)."""
        return self.record.t

    @property
    def sd(self) -> np.ndarray:
        """Standard deviations (T, n)."""
        return np.sqrt(np.maximum(np.diagonal(self.cov, axis1=1, axis2=2), 0.0))


def smooth(
    twin: Twin | StateSpace,
    record: Any,
    *,
    track: tuple[str, ...] = (),
    method: Smoothable | None = None,
    substeps: int = 4,
    dt_max: float | None = None,
    gate: float = GATE,
    reopen: int | None = REOPEN,
    times: Any = None,
    x0: np.ndarray | None = None,
    P0: np.ndarray | None = None,
    params: np.ndarray | None = None,
    Q: np.ndarray | None = None,
    R: np.ndarray | None = None,
) -> Smoothed:
    """Filter forwards by `method`, then smooth backwards: by linearisation (`pollux.mirror.rts`), or by regression
    among the members of an ensemble (`pollux.mirror.ensemble_smoother`).

    Arguments as in `assimilate`. Raises `InputError` for a method that has no smoother.
    """
    method = method or Ekf()
    if not isinstance(method, Smoothable):
        raise InputError(
            f"`smooth` linearises or regresses: it takes Ekf, SquareRootEkf, IteratedEkf, Etkf, Enkf or Letkf, "
            f"received {method!r}"
        )
    space = augment(flatten(twin) if isinstance(twin, Twin) else twin, tuple(track))
    data = as_record(space, record, times=times)
    walk = steps(data, space.system, pieces.fastest(space) if dt_max is None else float(dt_max))
    low, high = (tuple(b) for b in space.bounds("x"))
    first = carrier(method).start(space.x0 if x0 is None else x0, np.diag(space.P0) if P0 is None else P0)
    p = jnp.asarray(space.p0 if params is None else params, jnp.float64)
    Q = space.Q if Q is None else Q
    key = (substeps, low, high, walk.pieces)
    args = (
        walk.t, walk.dt, walk.u, walk.v, walk.y, first, p, Q, positive_noise(space) if R is None else R,
        threshold(gate), math.inf if reopen is None else float(reopen),
    )  # fmt: skip
    if isinstance(method, Ekf | SquareRootEkf | IteratedEkf):
        before, P, *_ = compiled(space.system, method, *key)(*args)
        x, P = backward(space.system, *key)(walk.t, walk.dt, walk.u, before, P, p, Q)
    else:
        x, P, (before, *_) = ensemble_backward(space.system, method, *key)(*args)
    return Smoothed(space.system.name, data, space.x, np.asarray(x), np.asarray(P), np.asarray(before))
