"""The fold of a fleet over the journal: cells -> align -> one kernel for all members -> beliefs.

It reads no clock and draws no number, and a member's belief depends on nothing but its own readings: the kernel gives
the same bits for any size of the fleet and any place in it. So one member's past is computed again from its own
readings, by a fleet of one (`past`).
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from pollux.core.errors import InputError
from pollux.mirror.fleet_watch import Doing, FleetWatch, follow, judge, renew, start
from pollux.runtime.binding import Binding
from pollux.runtime.fleets.align import Cells, FleetAlign, FleetAlignState, FleetBin, Tick
from pollux.runtime.store.codec import Codec

if TYPE_CHECKING:
    from pollux.mirror.fleet import Fleet, FleetBelief

MEMORY = 200.0
"""Updates over which a member's consistency is judged."""
RATE = 1e-6
"""Probability at which a good member is called overconfident."""


@dataclass(frozen=True, eq=False)
class FleetState:
    """What a snapshot holds: `names` has an empty text where a slot is free."""

    align: FleetAlignState
    names: tuple[str, ...]
    params: np.ndarray
    belief: "FleetBelief | None"
    watch: FleetWatch | None
    event: int
    """Id of the newest event in it."""


def codec() -> Codec:
    """The codec of snapshots."""
    from pollux.mirror.fleet import FleetBelief

    return Codec((FleetState, FleetAlignState, FleetBin, FleetBelief, FleetWatch))


class FleetFold:
    """One fleet. `feed` is called in the order of the journal, by one thread at a time."""

    def __init__(self, fleet: "Fleet", binding: Binding, names: Sequence[str], params: np.ndarray, stale_after: float):
        self.fleet, self.binding, self.stale_after = fleet, binding, stale_after
        self.align = FleetAlign(len(binding.ports), fleet.capacity, binding.period, binding.lag, binding.jump)
        self.names = [*names, *[""] * (fleet.capacity - len(names))]
        self.slots = {name: i for i, name in enumerate(names)}
        self.params = np.repeat(fleet.space.p0[:, None], fleet.capacity, axis=1)
        self.params[:, : len(names)] = params
        self.belief: "FleetBelief | None" = None
        self.watch: FleetWatch | None = None
        self.lock = threading.Lock()
        """Held while the arrays of belief and watch change: take it to read them from another thread."""
        self.event = 0
        """Id of the newest event that is folded in."""
        self._spare: "FleetBelief | None" = None
        self._fresh_slots()

    @property
    def t(self) -> float:
        """Time of the beliefs, NaN before the first."""
        return float("nan") if self.belief is None else float(self.belief.t.max())

    def feed(self, cells: Cells) -> int:
        """Fold in durable rows; the number of ticks that they completed."""
        ticks = self.align.push(cells, self.active)
        for tick in ticks:
            self._step(tick)
        return len(ticks)

    def room_for(self, names: Sequence[str]) -> list[int]:
        """The slots that new members will get. Raises `InputError` where they are known or do not fit."""
        known = [n for n in names if n in self.slots]
        if known or len(set(names)) != len(names):
            raise InputError(f"Members have different names; received again: {(known or list(names))[:5]}")
        free = [i for i, n in enumerate(self.names) if not n][: len(names)]
        if len(free) < len(names):
            raise InputError(
                f"Fleet {self.binding.twin!r} has {len(free)} free slots of {self.fleet.capacity}: {len(names)} "
                "members do not fit. Set a larger `capacity` in the wiring"
            )
        return free

    def slots_of(self, names: Sequence[str]) -> np.ndarray:
        """Where members are. Raises `InputError` for an unknown one."""
        unknown = [n for n in names if n not in self.slots]
        if unknown:
            raise InputError(f"Fleet {self.binding.twin!r} has no member {unknown[0][:100]!r}")
        return np.array([self.slots[n] for n in names], dtype=np.int64)

    def join(self, names: Sequence[str], params: np.ndarray, event: int) -> None:
        """New members in free slots, from the belief of the definition; nothing is compiled. Raises `InputError`."""
        slots = np.array(self.room_for(names), dtype=np.int64)
        with self.lock:
            for name, slot in zip(names, slots.tolist(), strict=True):
                self.names[slot], self.slots[name] = name, slot
            self.params[:, slots] = params
            self._fresh_slots()
            self.align.forget(slots)
            if self.belief is not None and self.watch is not None:
                self.belief, taken = self.fleet.add(self.belief, len(slots), self.t, params)
                self.watch, self._spare = renew(self.watch, taken, self.t), None
            self.event = event

    def leave(self, names: Sequence[str], event: int) -> None:
        """Members go; their slots are free. Raises `InputError` for an unknown one."""
        slots = self.slots_of(names)
        with self.lock:
            for name, slot in zip(names, slots.tolist(), strict=True):
                del self.slots[name]
                self.names[slot] = ""
            self._fresh_slots()
            self.align.forget(slots)
            if self.belief is not None:
                self.belief, self._spare = self.fleet.remove(self.belief, slots), None
            self.event = event

    def doing(self) -> Doing | None:
        """How all members are doing; None before the first tick."""
        with self.lock:
            if self.belief is None or self.watch is None:
                return None
            return judge(self.fleet, self.belief, self.watch, self.stale_after, RATE)

    def freeze(self) -> FleetState:
        """A copy of everything, to keep."""
        with self.lock:
            return FleetState(
                self.align.freeze(), tuple(self.names), self.params.copy(), _copied(self.belief),
                _copied(self.watch), self.event,
            )  # fmt: skip

    def thaw(self, state: FleetState) -> None:
        """Go on from what was kept."""
        self.align.thaw(state.align)
        self.names, self.params = list(state.names), state.params.copy()
        self.slots = {name: i for i, name in enumerate(state.names) if name}
        self.belief, self.watch, self.event, self._spare = state.belief, state.watch, state.event, None
        self._fresh_slots()

    def _fresh_slots(self) -> None:
        self.active = np.array([bool(n) for n in self.names])

    def _step(self, tick: Tick) -> None:
        values = np.full((self.binding.n_sensors, self.fleet.capacity), np.nan)
        inputs = np.full((self.binding.n_inputs, self.fleet.capacity), np.nan)
        for port, row in zip(self.binding.ports, tick.value, strict=True):
            (values if port.kind == "sensor" else inputs)[port.column] = row
        with self.lock:
            if self.belief is None or self.watch is None or tick.t - self.t > self.fleet.reach:
                self.belief = self._begun(tick.t)
                self.watch, self._spare = start(self.belief), None
            before = self.belief
            self.belief = self.fleet.update(before, tick.t, values, inputs, into=self._spare)
            self.watch = follow(self.watch, self.belief, values, MEMORY)
            self._spare = before

    def _begun(self, t: float) -> "FleetBelief":
        belief = self.fleet.start(t, self.params)
        return replace(belief, active=self.active.copy())


def _copied(record):
    """A dataclass of arrays with arrays of its own; None stays None."""
    return None if record is None else type(record)(**{k: v.copy() for k, v in vars(record).items()})
