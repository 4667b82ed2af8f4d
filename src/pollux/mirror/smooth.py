"""`smooth`: the states of a whole record, each given all readings before and after it."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pollux.core.errors import InputError
from pollux.core.twin import Twin
from pollux.mirror.ekf import Ekf
from pollux.mirror.enkf import Enkf
from pollux.mirror.ensemble_smoother import ensemble_backward
from pollux.mirror.etkf import Etkf
from pollux.mirror.iterated_ekf import IteratedEkf
from pollux.mirror.letkf import Letkf
from pollux.mirror.prepare import prepare
from pollux.mirror.rts import backward
from pollux.mirror.scan import compiled
from pollux.mirror.square_root_ekf import SquareRootEkf
from pollux.mirror.update import GATE, REOPEN
from pollux.model.record import Record
from pollux.model.statespace import Channel, StateSpace

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
    made = prepare(
        twin, record, method, track=track, substeps=substeps, dt_max=dt_max, gate=gate, reopen=reopen, times=times,
        x0=x0, P0=P0, params=params, Q=Q, R=R,
    )  # fmt: skip
    system, walk = made.space.system, made.walk
    if isinstance(method, Ekf | SquareRootEkf | IteratedEkf):
        before, P, *_ = compiled(system, method, *made.key)(*made.args)
        x, P = backward(system, *made.key)(walk.t, walk.dt, walk.u, before, P, made.params, made.Q)
    else:
        x, P, (before, *_) = ensemble_backward(system, method, *made.key)(*made.args)
    return Smoothed(system.name, made.record, made.space.x, np.asarray(x), np.asarray(P), np.asarray(before))
