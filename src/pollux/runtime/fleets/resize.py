"""A kept fleet in another number of places, when the wiring gives it another capacity."""

from dataclasses import replace

import numpy as np

from pollux.core.errors import WiringError
from pollux.runtime.fleets.align import FleetAlignState, FleetBin
from pollux.runtime.fleets.fold import FleetState


def resized(state: FleetState, fleet: str, capacity: int) -> FleetState:
    """The same members in `capacity` places. Raises `WiringError` where one would have none."""
    places = len(state.names)
    if places == capacity:
        return state
    outside = [at for at in range(capacity, places) if state.names[at]]
    if outside:
        last = outside[-1]
        raise WiringError(
            f"fleet {fleet!r}: `capacity` must hold all members: {state.names[last]!r} is in place {last}: received "
            f"{capacity}. Set it to {last + 1} or more, or let members leave first"
        )
    belief, watch = (_of_each(record, capacity) for record in (state.belief, state.watch))
    if belief is not None and capacity > places:
        belief.active[places:] = False
    names = (*state.names, *[""] * (capacity - places))[:capacity]
    params = _last_axis(state.params, capacity)
    return replace(
        state, align=_align(state.align, places, capacity), names=names, params=params, belief=belief, watch=watch
    )


def _last_axis(a: np.ndarray, size: int) -> np.ndarray:
    """Places that are new are as the last one: a free place must only hold numbers that can be computed with."""
    more = size - a.shape[-1]
    if more <= 0:
        return a[..., :size].copy()
    return np.pad(a, [(0, 0)] * (a.ndim - 1) + [(0, more)], mode="edge")


def _of_each(record, size: int):
    return None if record is None else type(record)(**{k: _last_axis(v, size) for k, v in vars(record).items()})


def _align(state: FleetAlignState, places: int, capacity: int) -> FleetAlignState:
    def cells(a: np.ndarray, nothing: float) -> np.ndarray:
        ports = len(a) // places
        found = np.full((ports, capacity), nothing)
        both = min(places, capacity)
        found[:, :both] = a.reshape(ports, places)[:, :both]
        return found.ravel()

    bins = tuple(FleetBin(b.k, cells(b.t, -np.inf), cells(b.value, np.nan)) for b in state.bins)
    return replace(state, newest=cells(state.newest, -np.inf), bins=bins)
