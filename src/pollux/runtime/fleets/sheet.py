"""A fleet's rows of the table of all twins, as columns; a row is made when somebody looks at it."""

import numpy as np

from pollux.runtime.fleets.fold import FleetFold
from pollux.runtime.jsonable import number
from pollux.runtime.roster import STATUSES, Card, Columns

ACT, WATCH, GOOD = (STATUSES.index(s) for s in ("act", "watch", "good"))
FIGURES = 3
"""States that a row shows."""


class FleetSheet:
    """The rows of one moment."""

    def __init__(self, fold: FleetFold, kind: str, states: "list[tuple[str, str]]", now: float | None):
        """`states` are (label, unit); `now` is the wall time, None where the newest event time is the present."""
        doing = fold.doing()
        slots = np.flatnonzero(fold.active)
        names = [fold.names[i] for i in slots]
        self.names = [(n, n, kind) for n in names]
        self._states = states[:FIGURES]
        with fold.lock:
            ports = len(fold.binding.ports)
            newest = fold.align.newest.reshape(ports, -1)[:, slots].max(axis=0, initial=-np.inf)
            present = fold.align.watermark if now is None else now
            belief = fold.belief
            self._t = np.full(len(slots), np.nan) if belief is None else belief.t[slots]
            self._mean = None if belief is None else belief.mean[: len(self._states), slots]
        waiting = ~np.isfinite(newest)
        with np.errstate(invalid="ignore"):
            age = np.where(waiting, 0.0, present - newest)
        if doing is None:
            status = np.full(len(slots), WATCH, np.int8)
            health, count = np.zeros(len(slots)), np.zeros(len(slots))
        else:
            bad = doing.stale[:, slots].sum(axis=0) + doing.overconfident[slots]
            count = bad + doing.blown[slots]
            watch = waiting | (bad > 0) | doing.gated[:, slots].any(axis=0)
            status = np.where(doing.blown[slots], ACT, np.where(watch, WATCH, GOOD)).astype(np.int8)
            health = doing.health[slots]
        self.columns: Columns = {
            "status": status, "health": health, "alarms": count.astype(np.float64),
            "level": np.zeros(len(slots)), "data_age": age,
        }  # fmt: skip

    def card(self, i: int) -> Card:
        """One row."""
        c, (name, title, kind) = self.columns, self.names[i]
        mean = None if self._mean is None else self._mean[:, i]
        return {
            "name": name, "title": title, "kind": kind, "status": STATUSES[int(c["status"][i])],
            "health": float(c["health"][i]), "t": number(self._t[i]), "data_age": float(c["data_age"][i]),
            "alarms": int(c["alarms"][i]), "level": 0,
            "figures": [] if mean is None else [
                {"label": label, "value": number(m), "unit": unit}
                for (label, unit), m in zip(self._states, mean, strict=True)
            ],
        }  # fmt: skip
