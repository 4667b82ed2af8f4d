"""Numbers for JSON: what is not finite becomes null, NumPy becomes Python."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np


def number(value: float) -> float | None:
    """A finite number, or None for NaN and infinity (JSON knows neither)."""
    value = float(value)
    return value if math.isfinite(value) else None


def numbers(values: Iterable[float]) -> list[float | None]:
    """`number` of each."""
    return [v if math.isfinite(v) else None for v in np.asarray(values, float).tolist()]


def jsonable(value: Any) -> Any:
    """A copy that strict `json.dumps` takes: arrays, enums, tuples and non-finite floats mapped."""
    if isinstance(value, bool | str) or value is None:
        return value if not isinstance(value, str) else str(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return number(float(value))
    if isinstance(value, np.ndarray):
        return jsonable(value.tolist())
    if isinstance(value, Mapping):
        return {str(k): jsonable(v) for k, v in value.items()}
    if isinstance(value, Iterable):
        return [jsonable(v) for v in value]
    return str(value)
