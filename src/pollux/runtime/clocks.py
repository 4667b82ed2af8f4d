"""How wrong the clocks are: of each source against this machine's, and of this machine against its own steady one.

One-way minimum filter: receive time - event time = delay - error, and the delay is never below zero, so the lower
envelope of the difference bounds the error (Cristian 1989, Distributed Computing 3:146-158; the clock filter of NTP
takes the least delay of its last eight, RFC 5905, section 10). Here the envelope is the median of the least
differences of the last `BLOCKS` stretches of `STRETCH` seconds, so that a few wrong times do not move it:

    error = - median over stretches of min over rows (received - t)            above 0: the clock is ahead

Ahead is certain to within the delay; behind cannot be told from rows that always come so late.
"""

import statistics
from collections import deque
from collections.abc import Iterable

from pollux.core.time import Clock

BLOCKS = 8
"""Stretches that are remembered."""
STRETCH = 10.0
"""Seconds of a stretch; a row that comes later begins the next."""
ENOUGH = 3
"""Stretches before anything is said."""
STEP = 1.0
"""Seconds by which a clock has been set rather than drifted."""


class SourceClock:
    """The clock of one source."""

    def __init__(self) -> None:
        self._least: deque[float] = deque(maxlen=BLOCKS)
        self._since = self._now = float("nan")

    def heard(self, received: float, difference: float) -> None:
        """Note the least of received - t among some rows."""
        if not 0 <= received - self._since < STRETCH:  # also the first, and after this machine's clock was set back
            if self._now == self._now:
                self._least.append(self._now)
            self._since, self._now = received, difference
        self._now = min(self._now, difference)

    @property
    def error(self) -> float | None:
        """Seconds that the clock is ahead (below 0: behind, or its rows are late); None while too little is known."""
        return -statistics.median(self._least) if len(self._least) >= ENOUGH else None


class SourceClocks:
    """The clocks of a twin's sources, by index. Forgets all when this machine's clock is set."""

    def __init__(self, sources: int, clock: Clock):
        self._clock = clock
        self._clocks = [SourceClock() for _ in range(sources)]
        self._steady = clock.now() - clock.monotonic()
        self.stepped = 0.0
        """By how many seconds this machine's clock was last set; above zero: forward. For who reads it to put back."""

    def heard(self, received: float, rows: Iterable[tuple[int | None, float]]) -> None:
        """Note rows (source, t) of one delivery that was received at that wall time."""
        steady = self._clock.now() - self._clock.monotonic()
        if abs(steady - self._steady) > STEP:
            self.stepped = steady - self._steady
            self._clocks = [SourceClock() for _ in self._clocks]
        self._steady = steady
        newest: dict[int, float] = {}
        for source, t in rows:
            if source is not None and t > newest.get(source, float("-inf")):
                newest[source] = t
        for source, t in newest.items():
            self._clocks[source].heard(received, received - t)

    def error(self, source: int) -> float | None:
        """As of `SourceClock`."""
        return self._clocks[source].error


class SteadyClock:
    """Wall time that is not moved by setting this machine's clock, unless the sources agree with what it was set to."""

    def __init__(self, clock: Clock):
        self._clock = clock
        self._offset = clock.now() - clock.monotonic()

    def at(self, wall: float, newest: float) -> float:
        """The time when the clock says `wall`; `newest` is the newest time that a source has sent (NaN: none yet)."""
        steady = self._clock.monotonic() + self._offset
        if abs(wall - steady) > STEP and abs(steady - newest) < abs(wall - newest):
            return steady
        self._offset += wall - steady
        return wall
