"""The present of a twin whose readings come late: the settled estimate, and what is known since, fused again.

    present = settled estimate (+) readings of the open ticks, up to the present of `watermark`

It is what the in-order fold of the same rows would believe, bit for bit: the same steps on the same readings. Steps are
kept every `EVERY` ticks, so that only those from the earliest change on are made again. People and forecasts look at
it; events, alarms and decisions stay with what is settled (decision 0010).
"""

import zlib
from dataclasses import replace

from pollux.runtime.align import Aligner, Cursor
from pollux.runtime.estimate import Estimate, advance, estimate_of
from pollux.runtime.live import LiveTwin

EVERY = 16
"""Ticks between two estimates that are kept."""

STRETCH = 1000
"""Most steps made in one call of `refresh`; what is settled waits for no more."""

BUDGET = 0.2
"""Seconds after which a call of `refresh` ends."""


class Present:
    """The present of one live twin. `refresh` runs in one thread at a time, and never beside `Aligner.push`."""

    def __init__(self, live: LiveTwin, aligner: Aligner):
        self._live, self._aligner = live, aligner
        self._kept: list[tuple[Cursor, Estimate]] = []
        self._kernels: tuple[object, object] = (None, None)
        self.steps = 0
        """Steps made so far; they tell how much was fused again."""
        self.behind = False
        """Whether the last `refresh` did not come to the end; what is shown is that of before."""

    @property
    def due(self) -> bool:
        """Whether there may be something to do."""
        marks = self._aligner.marks
        return marks.present > marks.settled or self._live.present is not None or bool(self._kept)

    def refresh(self) -> None:
        """Fuse what is open onto what is settled, or a stretch of it."""
        live, aligner = self._live, self._aligner
        kernels = live.parts.mirror, live.parts.detector
        base, dirty = aligner.cursor, aligner.clean()
        if any(new is not old for new, old in zip(kernels, self._kernels, strict=True)):
            self._kernels, self._kept = kernels, []
        self._kept = [
            (at, e) for at, e in self._kept
            if at.next_bin is not None
            and (base.next_bin is None or at.next_bin > base.next_bin)
            and (dirty is None or at.next_bin <= dirty)
        ]  # fmt: skip
        settled = estimate_of(live.state) if live.ready else None
        at, now = self._kept[-1] if self._kept else (base, settled)
        ahead, self.behind = aligner.ahead(at), False
        until = live.clock.monotonic() + BUDGET
        for i, (after, readings) in enumerate(ahead, 1):
            now, at = self._step(now, readings), after
            self.behind = i < len(ahead)
            over = i == STRETCH or live.clock.monotonic() > until
            if at.count % EVERY == 0 or over or not self.behind:
                self._keep(at, now)
            self.steps += 1
            if over and self.behind:
                return
        live.present = None if now is None or at.count == base.count else _marked(now, settled, at.count - base.count)

    def forget(self) -> None:
        """What was settled has been replaced."""
        self._kept, self._live.present = [], None

    def _keep(self, at: Cursor, now: Estimate) -> None:
        if self._kept and self._kept[-1][0].count % EVERY:  # it was kept as the last one only
            self._kept.pop()
        self._kept.append((at, now))

    def _step(self, before: Estimate | None, readings) -> Estimate:
        live = self._live
        start = live.begin(readings.t) if before is None else before
        try:
            return advance(live.parts, live.sensor_names, start, readings)[0]
        except Exception:  # the settled step will say so, as an alarm
            return start


def _marked(now: Estimate, settled: Estimate | None, ticks: int) -> Estimate:
    """The estimate under an id of its own: the settled one that it goes out from, how far, and a mark of its bits."""
    head = now.belief.twin if settled is None else settled.belief.id
    mark = zlib.crc32(now.belief.mean.tobytes() + now.belief.cov.tobytes())
    return replace(now, belief=replace(now.belief, id=f"{head}+{ticks}.{mark:08x}"))
