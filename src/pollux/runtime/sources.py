"""A live twin's sources: how far each has come, what of it was not fused, and whether its clock is right."""

from collections import Counter
from collections.abc import Iterable
from math import inf, nan
from typing import Any

from pollux.core.signals import Cause, Finding
from pollux.runtime.align import Aligner, Outcome, source_of
from pollux.runtime.binding import Binding
from pollux.runtime.clocks import SourceClocks
from pollux.runtime.findings import span
from pollux.runtime.jsonable import number
from pollux.runtime.lane import Lane

STEP_TOLD = 600.0
"""Wall seconds for which it is said that this machine's clock was set."""


class Sources:
    """The sources of one live twin. Clocks are judged where the twin runs on wall time."""

    def __init__(self, binding: Binding, lane: Lane):
        self._binding, self._lane = binding, lane
        self._clocks = SourceClocks(len(binding.sources), lane.live.clock)
        self._unfused: Counter[tuple[str, str]] = Counter()
        self._wrong: dict[str, bool] = {}
        self._stepped = inf

    def left_out(self, outcome: Outcome) -> None:
        """Count a row that was stored and not fused."""
        self._lane.unfused[outcome.reason] += 1
        self._unfused[source_of(self._binding, outcome.port), outcome.reason] += 1

    def shown(self, aligner: Aligner) -> dict[str, Any]:
        """How far the twin's time has come, and by source its clock, its delay, and what of it was not fused."""
        marks, live = aligner.marks, self._lane.live
        return {
            "newest": number(marks.now),
            "settled": number(live.t),
            "present": number(live.view.belief.t if live.visible else nan),
            "open_ticks": aligner.open,
            "sources": {
                rule.name: {
                    "offset": rule.offset,
                    "lag": rule.lag,
                    "newest": number(marks.newest[i]),
                    "behind": number(marks.now - marks.newest[i]),
                    "idle": marks.idle(i),
                    "clock_ahead": self._clocks.error(i),
                }
                | {reason: self._unfused[rule.name, reason] for reason in ("late", "duplicate", "future")}
                for i, rule in enumerate(self._binding.sources)
            },
        }

    async def heard(self, received: float, rows: Iterable[tuple[int | None, float]]) -> None:
        """Note rows (source, t); report a clock that is wrong by more than its rows may be late, until it is right.

        That this machine's own clock was set is reported too, for `STEP_TOLD`.
        """
        if self._binding.time != "wall" or not self._lane.live.ready:
            return
        self._clocks.heard(received, rows)
        now = self._lane.live.clock.monotonic()
        if self._clocks.stepped:
            await self._lane.report(self._step_finding(self._clocks.stepped))
            self._clocks.stepped, self._stepped = 0.0, now
        elif now - self._stepped > STEP_TOLD:
            await self._lane.withdraw(str(Cause.SYSTEM), "clock")
            self._stepped = inf
        for i, rule in enumerate(self._binding.sources):
            error = self._clocks.error(i)
            if error is not None:
                await self._judge(rule.name, error, max(rule.lag, self._binding.period))

    async def _judge(self, name: str, error: float, bound: float) -> None:
        before = self._wrong.get(name)
        wrong = abs(error) > (bound / 2 if before else bound)
        if wrong and not before:
            await self._lane.report(self._clock_finding(name, error, bound))
        elif not wrong and before is not False:
            await self._lane.withdraw(str(Cause.DATA), name)
        self._wrong[name] = wrong

    def _step_finding(self, by: float) -> Finding:
        way, twin = "forward" if by > 0 else "back", self._binding.twin
        return Finding(
            twin, self._lane.live.t, f"{twin}/clock", "", Cause.SYSTEM, "clock",
            f"The clock of this machine was set {way} by {_seconds(abs(by))}", 2, {"by": by},
        )  # fmt: skip

    def _clock_finding(self, name: str, error: float, bound: float) -> Finding:
        by, twin = _seconds(abs(error)), self._binding.twin
        said = f"is {by} ahead" if error > 0 else f"is {by} behind, or its values come that late"
        return Finding(
            twin, self._lane.live.t, f"{twin}/clock/{name}", "", Cause.DATA, name,
            f"The clock of {name} {said}: set it, or give the source an offset", 2, {"ahead": error, "bound": bound},
        )  # fmt: skip


def _seconds(value: float) -> str:
    """`3,600 s`; `3.2 d` where it is long."""
    return f"{value:,.0f} s" if 100 <= value < 1e5 else span(value)
