"""What a member of a fleet was, for charts: its readings from the store, filtered again by a fleet of one.

Estimates of single members are not kept: the kernel gives the same bits for a fleet of any size, so they can be made
again from the readings. Here they are made from `SETTLE` ticks before the first that is shown, where the filter starts
from the definition; readings that came too late for the fleet are in.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pollux.runtime.fleets.align import Cells, FleetAlign, Tick
from pollux.runtime.fleets.fold import FleetFold
from pollux.runtime.rings import Ring
from pollux.runtime.store.base import Store

if TYPE_CHECKING:
    from pollux.mirror.fleet import Fleet

SHOWN = 3600
"""Ticks of a chart when a member is opened."""
SETTLE = 300
"""Ticks that are filtered before."""


def past(fold: FleetFold, name: str, store: Store) -> np.ndarray:
    """A member's last steps, as rows of a ring; for a worker thread."""
    end, period = fold.t, fold.binding.period
    ticks = _ticks(fold, name, store, end - (SHOWN + SETTLE) * period, end) if np.isfinite(end) else []
    if not ticks:
        return np.empty((0, 0))
    return _filtered(_alone(fold.fleet), fold, fold.slots[name], ticks)[-SHOWN:]


def put_before(ring: Ring, rows: np.ndarray) -> None:
    """Put past rows in front of what a ring holds."""
    held = ring.rows()
    if len(rows):
        ring.load(np.vstack([rows[rows[:, 0] < held[0, 0]], held]) if len(held) else rows)


def _ticks(fold: FleetFold, name: str, store: Store, start: float, end: float) -> list[Tick]:
    b, parts = fold.binding, []
    for i, port in enumerate(b.ports):
        t, value = store.history(name, port.tag, start, end)
        parts.append(Cells(np.full(len(t), i), t, value))
    rows = Cells(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    if not len(rows.t):
        return []
    order = np.argsort(rows.t, kind="stable")
    align = FleetAlign(len(b.ports), 1, b.period, 0.0, np.inf)
    one = np.ones(1, dtype=bool)
    ticks = []
    for at in np.array_split(order, max(1, len(order) // 64)):  # rows come as time goes on, so that bins are handed on
        ticks += align.push(Cells(*(column[at] for column in rows)), one)
    return ticks


def _alone(fleet: "Fleet") -> "Fleet":
    ny = len(fleet.space.y)
    return replace(fleet, capacity=1, all_used=np.ones((ny, 1)), silent=np.full((ny, 1), np.nan))


def _filtered(one: "Fleet", fold: FleetFold, slot: int, ticks: list[Tick]) -> np.ndarray:
    """Rows of a ring: t, measured, predicted, its sd, mean, sd, inputs, used, nis, dof."""
    b = fold.binding
    belief = one.start(ticks[0].t, fold.params[:, slot : slot + 1])
    rows = []
    for tick in ticks:
        values, inputs = np.full((b.n_sensors, 1), np.nan), np.full((b.n_inputs, 1), np.nan)
        for port, row in zip(b.ports, tick.value, strict=True):
            (values if port.kind == "sensor" else inputs)[port.column] = row
        belief = one.update(belief, tick.t, values, inputs)
        used = np.where(np.isnan(values), np.nan, belief.used)
        spread = np.sqrt(np.maximum(belief.innovation_var, 0.0))
        parts = (values, belief.predicted, spread, belief.mean, belief.sd, belief.inputs, used)
        rows.append(
            np.concatenate(
                [[tick.t], *(p[:, 0] for p in parts), [float(belief.nis[0])], [float(belief.used.sum())]]
            )
        )  # fmt: skip
    return np.array(rows)
