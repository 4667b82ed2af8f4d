"""When did the plant's own clock show a time? A plant that runs at its own speed (`time = "event"`) has no wall time.

What was known at its 14:03 is what had been received just before its first reading of a later time came. The journal
says when that was:

    wall(t) = greatest time before the acceptance of the first row of the twin with event time > t

Where the plant keeps wall time, the two clocks are one and nothing is read.
"""

from collections.abc import Callable
from math import inf, nextafter

import numpy as np

from pollux.core.errors import InputError
from pollux.runtime.moments import instant
from pollux.runtime.recall import Subject
from pollux.runtime.store.reading import Reading


def reached(
    subject: Subject, reading: Reading, t: float, now: float, alive: Callable[[], None] = lambda: None
) -> float:
    """Wall time at which the own clock of the twin of `subject` last showed `t`; `now` if it shows `t` still.

    Reads the journal from a snapshot before `t` on, at most until the first reading of a later time. `alive` is called
    often and may raise to end it. Raises `InputError` where no reading of `t` or before is kept, and where the clock
    has not come to `t` yet.
    """
    twin, binding = subject.wiring.name, subject.binding
    if subject.base.settings.time == "wall":
        return t
    start, newest = _start(subject, reading, t)
    mine = reading.tag_ids(binding.twin, binding.tags)
    for block in reading.blocks(start):
        alive()
        times = block.rows.t[np.isin(block.rows.tag, mine)]
        later = times[times > t]
        if len(later) and newest == -inf and len(later) == len(times):
            raise InputError(
                f"Nothing is kept of twin {twin!r} at {instant(t)} of the plant's own clock: its first reading in the "
                f"journal is of {instant(float(later.min()))}; give that time or a later one"
            )
        if len(later):
            return nextafter(block.received, -inf)
        newest = max([newest, *times.tolist()])
    if newest < t:
        shown = (
            "it shows no time yet" if newest == -inf else f"it shows {instant(newest)}; give that time or an earlier"
        )
        raise InputError(f"The plant's own clock of twin {twin!r} has not come to {instant(t)}: {shown}")
    return now


def _start(subject: Subject, reading: Reading, t: float) -> tuple[int, float]:
    """A row before which no reading of after `t` was accepted, of an old enough snapshot, and the time of that."""
    binding = subject.binding
    ahead = max([binding.lag, *(source.lag for source in binding.sources)]) + binding.period
    marks = reading.marks(subject.wiring.name)
    old = [(m.seq, m.t) for m in marks if m.t + ahead < t and m.seq >= reading.first_seq]
    return max(old, default=(reading.first_seq, -inf))
