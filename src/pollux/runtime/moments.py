"""A moment of the past, as people write it, and what counts as known at it."""

from dataclasses import dataclass
from datetime import UTC, datetime
from math import inf, isfinite

from pollux.core.errors import InputError
from pollux.runtime.store.base import Event

BY_WALL = "What the twin believed when the clock showed this time, from what had been received by then."
BY_EVENT = "What the twin believed about this time, from all that it took in for that instant, also what came later."


@dataclass(frozen=True)
class Moment:
    """Seconds since 1970 UTC, on the wall clock, on the plant's own clock, or in event time."""

    t: float
    event_time: bool = False
    plant_clock: bool = False
    """Whether `t` is what the plant's own clock showed (`reached` gives the wall time of that)."""

    @property
    def meaning(self) -> str:
        """What is asked, in one sentence."""
        return BY_EVENT if self.event_time else BY_WALL

    def knew(self, event: Event) -> bool:
        """Whether an event counts. By event time its place among the beliefs decides, which the fold knows."""
        return self.event_time or float(event.data.get("received", -inf)) <= self.t


def moment(text: str, event_time: bool = False, plant_clock: bool = False) -> Moment:
    """`2026-11-24T14:03` (UTC unless it says otherwise, as in `14:03+01:00`) or seconds since 1970 UTC.

    Raises `InputError`.
    """
    if event_time and plant_clock:
        raise InputError(
            "What was believed about a time (`event_time`) and what was known at it (`plant_clock`) are two questions; "
            "ask one of them"
        )
    try:
        t = float(text)
    except ValueError:
        try:
            given = datetime.fromisoformat(text.strip())
            t = (given if given.tzinfo else given.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            t = inf
    if not isfinite(t) or abs(t) > 1e11:
        raise InputError(
            f"A time is written as 2026-11-24T14:03 (UTC; another zone as 14:03+01:00) or in seconds since 1970, "
            f"received {text[:100]!r}"
        )
    return Moment(t, event_time, plant_clock)


def instant(t: float) -> str:
    """Seconds since 1970 UTC as people write them."""
    try:
        return f"{datetime.fromtimestamp(t, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (ValueError, OverflowError, OSError):
        return f"{t!r} s"
