"""A record: what was put into an asset and what its sensors said, on one time axis, NaN where nothing was said.

Anything tabular becomes one: a pandas frame, an xarray data set, a dict of columns, a `Run`. Columns are named as the
twin names its inputs and sensors (`u.name` and `y.name` where the two share a name); other columns are left alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from pollux.core.errors import InputError
from pollux.core.extras import need
from pollux.model.statespace import Channel, StateSpace

TIME_COLUMNS = ("t", "time")


@dataclass(frozen=True, eq=False)
class Record:
    """Measured inputs and sensors of one twin, in its units and order; `t` in seconds, strictly increasing."""

    t: Float[np.ndarray, " T"]
    u: Float[np.ndarray, "T m"]
    y: Float[np.ndarray, "T ny"]
    u_names: tuple[str, ...]
    y_names: tuple[str, ...]

    def __len__(self) -> int:
        """Number of instants."""
        return len(self.t)

    def __getitem__(self, part: slice) -> "Record":
        """A part of the record, as `record[:500]`."""
        return Record(self.t[part], self.u[part], self.y[part], self.u_names, self.y_names)

    def frame(self) -> Any:
        """As a pandas frame indexed by time. Raises `MissingExtraError` without pandas."""
        columns = {**dict(zip(self.u_names, self.u.T, strict=True)), **dict(zip(self.y_names, self.y.T, strict=True))}
        return need("pandas", "frames").DataFrame(columns, index=need("pandas", "frames").Index(self.t, name="t"))


def as_record(space: StateSpace, data: Any, *, times: Any = None) -> Record:
    """`data` as a `Record` of this twin; `times` where the data have no time of their own.

    A missing input holds its last value (an actuator stays where it is); a missing reading stays NaN. Raises
    `InputError` for a missing column, a time axis that does not increase, or a first input that is missing.
    """
    if isinstance(data, Record):
        _same(space, data)
        return data
    if hasattr(data, "as_record"):
        return as_record(space, data.as_record())
    columns = _columns(data)
    t = _times(space, data, columns, times)
    shared = {c.name for c in space.u} & {c.name for c in space.y}
    u = _matrix(space, space.u, "u", columns, shared, len(t), required=True)
    y = _matrix(space, space.y, "y", columns, shared, len(t), required=False)
    if not np.any(np.isfinite(y)):
        raise InputError(
            f"A record needs at least one reading: no column of {sorted(columns)} names a sensor of "
            f"`{space.system.name}`, which has {[c.name for c in space.y]}"
        )
    return Record(t, _held(space, u), y, tuple(c.name for c in space.u), tuple(c.name for c in space.y))


def as_inputs(space: StateSpace, inputs: Any, times: Any) -> tuple[np.ndarray, np.ndarray]:
    """(times (T,), inputs (T, m)) from an array, a constant, columns, a record or nothing (start values).

    Raises `InputError` where names, lengths or times do not fit.
    """
    if hasattr(inputs, "as_record"):
        inputs = inputs.as_record()
    if isinstance(inputs, Record):
        t = inputs.t if times is None else _axis(space, times)
        where = np.clip(np.searchsorted(inputs.t, t, side="right") - 1, 0, len(inputs) - 1)
        return t, inputs.u[where]
    m = len(space.u)
    if inputs is None or _is_array(inputs):
        t = _axis(space, times)
        if inputs is None:
            return t, np.tile(space.u0, (len(t), 1))
        array = np.asarray(inputs, np.float64)
        if m == 1 and array.ndim == 1 and array.shape == t.shape:
            array = array[:, None]
        if array.shape not in ((), (m,), (len(t), m)):
            raise InputError(
                f"Inputs of `{space.system.name}` have shape ({len(t)}, {m}), ({m},) or are one number; "
                f"received {array.shape}"
            )
        return t, _held(space, np.array(np.broadcast_to(array, (len(t), m))))
    columns = _columns(inputs)
    t = _times(space, inputs, columns, times)
    known = {c.name for c in (*space.u, *space.y, *space.x)} | {f"u.{c.name}" for c in space.u}
    unknown = [name for name in columns if name not in known]
    if unknown and isinstance(inputs, Mapping):  # in a dict a stray name is a slip; a frame may carry more
        raise InputError(
            f"`{space.system.name}` has no input called {unknown[0]!r}; it has {[c.name for c in space.u]}"
        )
    return t, _held(space, _matrix(space, space.u, "u", columns, set(), len(t), required=False))


def _columns(data: Any) -> dict[str, Any]:
    """Name -> values, of a frame, a data set or a mapping."""
    if isinstance(data, Mapping):
        found = dict(data)
    elif hasattr(data, "data_vars"):  # xarray
        found = {
            **{str(k): v.values for k, v in data.coords.items()},
            **{str(k): v.values for k, v in data.data_vars.items()},
        }
    elif hasattr(data, "columns"):  # pandas, polars
        found = {str(name): np.asarray(data[name]) for name in data.columns}
    else:
        raise InputError(f"A record is a frame, a data set or a dict of columns, received `{type(data).__name__}`")
    return {name: v for name, v in found.items() if name not in TIME_COLUMNS}


def _times(space: StateSpace, data: Any, columns: dict[str, Any], times: Any) -> np.ndarray:
    if times is not None:
        return _axis(space, times)
    for name in TIME_COLUMNS:
        if name in (data if isinstance(data, Mapping) else getattr(data, "columns", getattr(data, "coords", ()))):
            return _axis(space, data[name])
    index = getattr(data, "index", None)
    if index is not None and not isinstance(data, Mapping):
        return _axis(space, index)
    raise InputError(
        f"A record needs its times: give `times=`, or a column called 't' in seconds beside {sorted(columns)}"
    )


def _axis(space: StateSpace, times: Any) -> np.ndarray:
    if times is None:
        raise InputError("`times` is needed: the instants in seconds, as `np.arange(0.0, 600.0, 4.0)`")
    raw = np.asarray(times)
    if raw.dtype.kind == "M":
        raw = raw.astype("datetime64[ns]").astype(np.int64) / 1e9
    t = raw.astype(np.float64)
    if t.ndim != 1 or len(t) < 1 or not np.all(np.isfinite(t)) or not np.all(np.diff(t) > 0):
        raise InputError(f"Times must be finite and strictly increasing, received {np.shape(times)} {raw[:5]} ...")
    period = space.system.period
    if period is not None and len(t) > 1 and not np.allclose(np.diff(t), period, rtol=1e-6):
        raise InputError(
            f"`{space.system.name}` is discrete: its times must be {period} s apart, received steps "
            f"from {np.diff(t).min():g} to {np.diff(t).max():g} s"
        )
    return t


def _matrix(
    space: StateSpace,
    channels: tuple[Channel, ...],
    kind: str,
    columns: dict[str, Any],
    shared: set[str],
    size: int,
    *,
    required: bool,
) -> np.ndarray:
    out = np.full((size, len(channels)), np.nan)
    for i, channel in enumerate(channels):
        key = f"{kind}.{channel.name}"
        key = key if key in columns else channel.name if channel.name not in shared else key
        if key in columns:
            values = np.asarray(columns[key], np.float64)
            if values.shape not in ((), (size,)):
                raise InputError(f"Column {key!r} must have {size} values like the times, received {values.shape}")
            out[:, i] = values
        elif required:
            raise InputError(
                f"A record of `{space.system.name}` needs a column {key!r} for its input; it has {sorted(columns)}"
            )
        elif kind == "u":
            out[:, i] = channel.start
    return out


def _held(space: StateSpace, u: np.ndarray) -> np.ndarray:
    """Missing inputs take the last value."""
    for i, channel in enumerate(space.u):
        known = np.isfinite(u[:, i])
        if known.all():
            continue
        if not known[0]:
            raise InputError(
                f"The first value of input {channel.name!r} is missing, so there is nothing to hold; "
                "start the record where it is known"
            )
        u[:, i] = u[np.maximum.accumulate(np.where(known, np.arange(len(u)), 0)), i]
    return u


def _same(space: StateSpace, record: Record) -> None:
    want = (tuple(c.name for c in space.u), tuple(c.name for c in space.y))
    if (record.u_names, record.y_names) != want:
        raise InputError(f"The record is of {(record.u_names, record.y_names)}; `{space.system.name}` has {want}")


def _is_array(value: Any) -> bool:
    return (
        isinstance(value, np.ndarray | int | float | list | tuple)
        or hasattr(value, "__jax_array__")
        or (hasattr(value, "dtype") and not hasattr(value, "index"))
    )
