"""`means`: the filtered states of a record and nothing else, where covariances would cost more than they are worth.

The filter carries its covariance or its members all the same; what differs from `assimilate` is what is handed back,
and only that is computed. For n states and T instants it is T n numbers rather than T n^2.
"""

from typing import Any

import numpy as np

from pollux.core.twin import Twin
from pollux.mirror.ekf import Ekf
from pollux.mirror.method import Carrying, Method, OfTwin
from pollux.mirror.prepare import prepare
from pollux.mirror.scan import walked
from pollux.mirror.update import GATE, REOPEN
from pollux.model.statespace import StateSpace


def means(
    twin: Twin | StateSpace,
    record: Any,
    *,
    track: tuple[str, ...] = (),
    method: Method | Carrying | OfTwin | None = None,
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
) -> np.ndarray:
    """`assimilate(...).mean` (T, n), without what else a `Track` holds; arguments as there."""
    made = prepare(
        twin, record, method or Ekf(), track=track, substeps=substeps, dt_max=dt_max, gate=gate, reopen=reopen,
        times=times, x0=x0, P0=P0, params=params, Q=Q, R=R,
    )  # fmt: skip
    key = (made.space.system, made.method, *made.key)
    return walked("means", slice(1), key)(*made.args)[0]
