"""How far a twin's event time has come: one watermark a source, and what follows from all of them.

With M the newest event time of all, W_s the newest of source s, L_s its lag, P_s the period of its fastest tag, p the
twin's period, and s *idle* once M has moved by more than I_s since s last spoke:

    F_s = M - L_s                              while s is idle
        = min(M - L_s, W_s + r_s)              else; r_s = P_s - p where P_s > L_s, else -L_s
    F   = max over time of min_s F_s           every tick before F is settled

So a row that comes at most L_s behind the newest of all is always in time; a slow source that talks is waited for
(at most `jump` seconds longer), one that is silent is not. Watermarks of bounded disorder with idle sources are those
of the Dataflow model (Akidau et al. 2015, VLDB 8(12), section 2.3) as Flink has them; here silence is measured by
the event time of the others, so that no clock is read.

The *present* N is what the talking sources have reached: the second largest of W_s + max(P_s - p, L_s), the clock
counting as one, or M where fewer than two talk. So one source that is ahead does not move the present alone.
"""

import math
from collections.abc import Sequence

from pollux.runtime.binding import SourceRule


class Watermarks:
    """The watermarks of one twin's sources, by index; `newest`, `at` are lists, -inf before a source has spoken."""

    def __init__(self, rules: Sequence[SourceRule], period: float, jump: float):
        self.rules, self.jump = tuple(rules), jump
        self.newest = [-math.inf] * len(rules)
        """W_s."""
        self.at = [-math.inf] * len(rules)
        """M when the source last spoke."""
        self.now = self.clock = self.settled = self.present = -math.inf
        self._reach = [r.period - period if r.period > r.lag else -r.lag for r in rules]
        self._due = [max(r.period - period, r.lag) for r in rules]

    def heard(self, source: int | None, t: float) -> None:
        """A source spoke of time `t`; None is the twin's own clock."""
        if t > self.now:
            self.now = t
        if source is None:
            self.clock = max(self.clock, t)
        else:
            self.newest[source] = max(self.newest[source], t)
            self.at[source] = self.now
        self._move()

    def idle(self, source: int) -> bool:
        """Whether the source is not waited for, because the others have moved on without it."""
        return not self.now - self.at[source] <= self.rules[source].idle

    def _move(self) -> None:
        now, settled, reached = self.now, math.inf, []
        for i, rule in enumerate(self.rules):
            front = now - rule.lag
            if now - self.at[i] <= rule.idle:
                reached.append(self.newest[i] + self._due[i])
                front = max(min(front, self.newest[i] + self._reach[i]), front - self.jump)
            settled = min(settled, front)
        if self.clock > -math.inf:
            reached.append(self.clock)
        self.settled = max(self.settled, min(settled, now))
        present = now if len(reached) < 2 else min(now, sorted(reached)[-2])
        self.present = max(self.present, present, self.settled)
