"""Which inputs are expected over a horizon, and what a forecast of one twin looks like as JSON."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pollux.core.errors import InputError
from pollux.core.signals import Belief, Forecast
from pollux.runtime.face import TwinFace
from pollux.runtime.jsonable import number, numbers
from pollux.runtime.settings import LiveSettings


@dataclass(frozen=True)
class Plan:
    """Inputs over time: each row of `values` (k, u) holds from its time until the next one; NaN = not planned."""

    times: np.ndarray
    values: np.ndarray

    def at(self, times: np.ndarray) -> np.ndarray:
        """The row that holds at each of `times`; NaN before the first and a day after the last."""
        if len(self.times) == 0:
            return np.full((len(times), self.values.shape[1]), np.nan)
        rows = self.values[np.clip(np.searchsorted(self.times, times, side="right") - 1, 0, None)]
        outside = (times < self.times[0]) | (times > self.times[-1] + np.diff(self.times, prepend=0.0)[-1])
        return np.where(outside[:, None], np.nan, rows)


def grid(belief: Belief, settings: LiveSettings) -> np.ndarray:
    """Times of a forecast from this belief: always the same number of points, so that nothing recompiles."""
    return belief.t + settings.forecast_step * np.arange(settings.steps)


def expected_inputs(belief: Belief, times: np.ndarray, *plans: Plan | None) -> np.ndarray:
    """Inputs (k, u): the first of `plans` that says something, else what holds now."""
    rows = np.tile(belief.inputs, (len(times), 1))
    for plan in reversed(plans):
        if plan is not None:
            said = plan.at(times)
            rows = np.where(np.isnan(said), rows, said)
    return rows


def with_values(face: TwinFace, rows: np.ndarray, values: Mapping[str, float]) -> np.ndarray:
    """The same inputs with some held at `values` throughout. Raises `InputError` for an unknown input."""
    names = [s.name for s in face.inputs]
    changed = rows.copy()
    for name, value in values.items():
        if name not in names:
            raise InputError(f"`{face.name}` has no input {name!r}; it has {names}")
        changed[:, names.index(name)] = value
    return changed


def cut(forecast: Forecast, hours: float | None) -> int:
    """How many points of a forecast lie within `hours`. Raises `InputError` beyond the horizon."""
    if hours is None:
        return len(forecast.times)
    longest = (forecast.times[-1] - forecast.t) / 3600.0
    if not 0 < hours <= longest + 1e-9:
        raise InputError(f"A forecast of this twin reaches 0 to {longest:g} hours, received {hours!r}")
    return int(np.searchsorted(forecast.times, forecast.t + 3600.0 * hours + 1e-6, side="right"))


def forecast_json(face: TwinFace, forecast: Forecast, hours: float | None = None) -> dict[str, Any]:
    """`ForecastOut` of the contract: quantiles by signal, [level][time]."""
    k = cut(forecast, hours)

    def table(names: list[str], values: np.ndarray) -> dict[str, list[list[float | None]]]:
        return {n: [numbers(row) for row in values[:, :k, i]] for i, n in enumerate(names)}

    return {
        "twin": forecast.twin,
        "id": forecast.id,
        "source": forecast.source,
        "t0": forecast.t,
        "times": forecast.times[:k].tolist(),
        "levels": list(forecast.levels),
        "states": table([s.name for s in face.estimated][: forecast.states.shape[2]], forecast.states),
        "sensors": table([s.name for s in face.sensors], forecast.sensors),
        "margins": table([m.name for m in face.margins], forecast.margins),
        "plan": {s.name: numbers(forecast.plan[:k, i]) for i, s in enumerate(face.inputs)},
        "crossings": [
            {
                "margin": c.margin,
                "probability": number(c.probability),
                "t_median": number(c.t_median),
                "t_early": number(c.t_early),
            }
            for c in forecast.crossings
        ],
    }
