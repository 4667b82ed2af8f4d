"""How far a twin's event time has come: one watermark a source, and what follows from all of them.

With M the newest event time of all (where the twin runs on wall time, at most a period past its own clock), W_s the
newest of source s, L_s its lag, P_s the period of its fastest tag, p the twin's period, and s *idle* once M has moved
by more than I_s since s last spoke:

    F_s = M - L_s                                        while s is idle
        = max(min(M - L_s, W_s + P_s - p), M - L_s - J)  else; J is `jump`
    F   = max over time of min_s F_s                     every tick before F is settled

So a row that comes at most L_s behind the newest of all is always in time. Besides, a source that talks, and whose
own rows come in order, is waited for while they are overdue (at most J longer); one that is silent is not. Watermarks
with idle sources are those of the Dataflow model (Akidau et al. 2015, VLDB 8(12), section 2.3) as Flink has them; here
silence is measured by the event time of the others, so that no clock is read.

The *present* N is what the talking sources have reached: the second largest of W_s + max(P_s - p, L_s), the clock
counting as one, or M where fewer than two talk. So one source that is ahead does not move the present alone.
"""

import math
from collections.abc import Sequence

from pollux.runtime.binding import SourceRule


class Watermarks:
    """The watermarks of one twin's sources, by index; `newest`, `at` are lists, -inf before a source has spoken."""

    def __init__(self, rules: Sequence[SourceRule], period: float, jump: float, clock: float = math.inf):
        """`clock` is where the twin's own clock stands: -inf before it has spoken, inf where there is none."""
        self.rules, self.period, self.jump = tuple(rules), period, jump
        self.newest = [-math.inf] * len(rules)
        """W_s."""
        self.at = [-math.inf] * len(rules)
        """M when the source last spoke."""
        self.top = self.settled = self.present = -math.inf
        """Newest event time of all; every tick before it is settled; what the talking sources have reached."""
        self.clock = clock
        self._due = [max(r.period - period, 0.0) for r in rules]
        self._reach = [max(due, r.lag) for due, r in zip(self._due, rules, strict=True)]

    @property
    def now(self) -> float:
        """M."""
        return min(self.top, self.clock + self.period)

    def heard(self, source: int | None, t: float) -> None:
        """A source spoke of time `t`; None is the twin's own clock."""
        self.top = max(self.top, t)
        if source is None:
            self.clock = max(self.clock, t)
        else:
            self.newest[source] = max(self.newest[source], t)
            self.at[source] = self.now
        if self.now > -math.inf:
            self._move()

    def idle(self, source: int) -> bool:
        """Whether the source is not waited for, because the others have moved on without it."""
        return not self.now - self.at[source] <= self.rules[source].idle

    def _move(self) -> None:
        now, settled, reached = self.now, math.inf, []
        for i, rule in enumerate(self.rules):
            front = now - rule.lag
            if now - self.at[i] <= rule.idle:
                reached.append(self.newest[i] + self._reach[i])
                front = max(min(front, self.newest[i] + self._due[i]), front - self.jump)
            settled = min(settled, front)
        if self.clock < math.inf:
            reached.append(self.clock)
        self.settled = max(self.settled, min(settled, now))
        present = now if len(reached) < 2 else min(now, sorted(reached)[-2])
        self.present = max(self.present, present, self.settled)
