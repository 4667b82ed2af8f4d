"""The border of a fleet: whole columns are checked at once and become cells, by the rules of `runtime.border`."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from pollux.core.errors import MessageError
from pollux.runtime.binding import HUGE, Binding, Port
from pollux.runtime.border import Border
from pollux.runtime.connect.wire import Columns, Message, refuse
from pollux.runtime.fleets.align import Cells
from pollux.runtime.tables import closest


class Refusal(NamedTuple):
    """What did not pass: the error, what it is about, and how many readings that were."""

    message: Message
    error: MessageError
    readings: int


class FleetBorder:
    """Checks what is sent to one fleet. `slots` is its living table member -> slot."""

    def __init__(self, binding: Binding, slots: Mapping[str, int], capacity: int):
        self.binding, self.capacity = binding, capacity
        self._slots = slots
        self._ports = {port.tag: i for i, port in enumerate(binding.ports)}
        self._single = Border([binding])

    def columns(self, columns: Columns, now: float) -> tuple[Cells, list[Refusal]]:
        """Cells of all values that pass, NaN left out. Raises `MessageError` where the whole message is wrong."""
        slots = self._slots_of(columns)
        self._in_time(columns.t, now)
        cells: list[np.ndarray] = []
        values: list[np.ndarray] = []
        refused: list[Refusal] = []
        for tag, column in zip(columns.tags, columns.values, strict=True):
            i = self._ports.get(tag)
            if i is None:
                refuse("unknown_tag", f"a tag of fleet {columns.site!r} is wired", tag, closest(tag, self._ports))
            port = self.binding.ports[i]
            _check_authority(columns, port)
            value = column if port.scale == 1.0 and port.shift == 0.0 else column * port.scale + port.shift
            came = ~np.isnan(value)
            good = (value >= port.low) & (value <= port.high) & (np.abs(column) <= HUGE)
            bad = came & ~good
            if bad.any():
                refused.append(_out_of_range(columns, port, value, bad))
            keep = good if (good == came).all() and good.all() else np.flatnonzero(good)
            cells.append((i * self.capacity + slots)[keep])
            values.append(value[keep])
        cell = np.concatenate(cells)
        return Cells(cell, np.full(len(cell), columns.t), np.concatenate(values)), refused

    def message(self, message: Message, now: float) -> Cells:
        """The cell of one value of one member, whose name is its site. Raises `MessageError`."""
        slot = self._slots[message.site]
        rows = self._single.admit(message._replace(site=self.binding.site), now)
        cell = np.array([row.port * self.capacity + slot for row in rows])
        return Cells(cell, np.array([row.t for row in rows]), np.array([row.value for row in rows]))

    def _slots_of(self, columns: Columns) -> np.ndarray:
        n = columns.values.shape[1]
        if isinstance(columns.members, int):
            if columns.members + n > self.capacity:
                refuse(
                    "unknown_tag", f"fleet {columns.site!r} has {self.capacity} positions",
                    f"{columns.members} to {columns.members + n - 1}", "Send shorter columns.",
                )  # fmt: skip
            return np.arange(columns.members, columns.members + n)
        unknown = next((m for m in columns.members if m not in self._slots), None)
        if unknown is not None:
            refuse("unknown_tag", f"a member of fleet {columns.site!r}", unknown, "Add it to the fleet first.")
        return np.array([self._slots[m] for m in columns.members])

    def _in_time(self, t: float, now: float) -> None:
        if self.binding.time == "wall" and t > now + self.binding.jump:
            refuse(
                "future", f"a time is at most {self.binding.jump:g} s ahead of the clock", t - now,
                "Set the sender's clock.",
            )  # fmt: skip


def _check_authority(columns: Columns, port: Port) -> None:
    via = columns.via or columns.source
    if not (via == port.authority or (columns.source == port.authority and via == port.connector)):
        refuse(
            "authority", f"only {port.authority!r} may write {port.tag!r}", columns.source,
            "Send it from there, or change `authority` in the wiring.",
        )  # fmt: skip


def _out_of_range(columns: Columns, port: Port, value: np.ndarray, bad: np.ndarray) -> Refusal:
    first = int(np.flatnonzero(bad)[0])
    message = Message(columns.source, columns.site, port.tag, columns.t, float(value[first]), port.unit, columns.via)
    error = MessageError(
        f"Message refused: {port.tag!r} lies within [{port.low:g}, {port.high:g}] {port.field_unit}: got "
        f"{value[first]:g} in position {first} and {int(bad.sum()) - 1} more. Check the sensors and their unit.",
        "range",
    )
    return Refusal(message, error, int(bad.sum()))


def joined(parts: Sequence[Cells]) -> Cells:
    """Cells one after the other."""
    if len(parts) == 1:
        return parts[0]
    return Cells(*(np.concatenate(column) for column in zip(*parts, strict=True)))
