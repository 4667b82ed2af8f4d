"""The border: a message that passes becomes a row of the journal, one that does not is refused with a reason.

Checks here need only the message, the wiring and the clock. Those that need what came before (late, duplicate, ahead
of the other sources) are in `align`, so that a replay of the journal repeats them.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from pollux.core.errors import MessageError, UnitError
from pollux.core.unit_slips import slips
from pollux.core.units import affine
from pollux.runtime.binding import HUGE, WIDEN, Binding, Port
from pollux.runtime.connect.wire import Message, refuse
from pollux.runtime.tables import closest


@dataclass(frozen=True, slots=True)
class Row:
    """A reading in the twin's own unit; `port` is the index into `Binding.ports`."""

    twin: str
    port: int
    t: float
    value: float


class Border:
    """All twins of a project; immutable after construction."""

    def __init__(self, bindings: Sequence[Binding]):
        self._ports: dict[tuple[str, str], list[tuple[Binding, int]]] = {}
        self._sites: dict[str, list[str]] = {}
        for binding in bindings:
            for i, port in enumerate(binding.ports):
                self._ports.setdefault((binding.site, port.tag), []).append((binding, i))
                self._sites.setdefault(binding.site, []).append(port.tag)

    def admit(self, message: Message, now: float) -> list[Row]:
        """The rows of one message: one for each twin that is wired to the tag. Raises `MessageError`.

        `now` is the wall time; it bounds the event time of twins that run on it.
        """
        found = self._ports.get((message.site, message.tag))
        if found is None:
            self._unknown(message)
        rows: list[Row] = []
        for binding, i in found:
            port = binding.ports[i]
            if not _may_write(message, port):
                refuse(
                    "authority", f"only {port.authority!r} may write {message.tag!r}", message.source,
                    "Send it from there, or change `authority` in the wiring.",
                )  # fmt: skip
            t = message.t + port.offset
            if binding.time == "wall" and t > now + binding.jump:
                refuse(
                    "future", f"a time is at most {binding.jump:g} s ahead of the clock", t - now,
                    "Set the sender's clock.",
                )  # fmt: skip
            rows.append(Row(binding.twin, i, t, _value(message, port)))
        return rows

    def admit_all(
        self, messages: Iterable[Message], now: float
    ) -> "tuple[list[Row], list[tuple[Message, MessageError]]]":
        """Rows of all that pass, and the others with their errors."""
        rows: list[Row] = []
        refused: list[tuple[Message, MessageError]] = []
        for message in messages:
            try:
                rows += self.admit(message, now)
            except MessageError as error:
                refused.append((message, error))
        return rows, refused

    def _unknown(self, message: Message):
        tags = self._sites.get(message.site)
        if tags is None:
            refuse("unknown_tag", "a site is wired to a twin", message.site, closest(message.site, self._sites))
        refuse("unknown_tag", f"a tag of site {message.site!r} is wired", message.tag, closest(message.tag, tags))


def _may_write(message: Message, port: Port) -> bool:
    """The authority is a connector, or a caller over the tag's connector: a caller cannot take a connector's name."""
    via = message.via or message.source
    return via == port.authority or (message.source == port.authority and via == port.connector)


def _value(message: Message, port: Port) -> float:
    """The value in the field's unit, converted explicitly where the message declares another unit."""
    if math.isnan(message.value):
        return math.nan
    scale, shift = port.scale, port.shift
    if message.unit is not None and message.unit != port.unit:
        try:
            scale, shift = _conversion(message.unit, port.field_unit)
        except UnitError as error:
            refuse("unit", f"{message.tag!r} is wired in {port.unit!r}", message.unit, str(error))
    value = message.value if scale == 1.0 and shift == 0.0 else message.value * scale + shift
    if not (port.low <= value <= port.high and abs(message.value) <= HUGE):
        refuse(
            "range", f"{message.tag!r} lies within [{port.low:g}, {port.high:g}] {port.field_unit}", value,
            f"Check the sensor and its unit{_explained(value, port)}; widen `within` in the twin if the value is real.",
        )  # fmt: skip
    return value


def _explained(value: float, port: Port) -> str:
    """In which other units a value that was refused would lie within the declared range."""
    middle, half = (port.low + port.high) / 2, (port.high - port.low) / 2 / WIDEN
    fits = [s.unit for s in slips(port.unit, port.field_unit) if abs(s.scale * value + s.shift - middle) <= half]
    return f" (in range as {', '.join(fits)})" if fits else ""


@lru_cache(maxsize=1024)
def _conversion(source: str, target: str) -> tuple[float, float]:
    return affine(source, target)
