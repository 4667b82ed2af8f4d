"""The past of a running project: which twins run is written down at each start, and their past is computed on request.

One question at a time, in a worker thread, over a connection of its own, and no longer than `LIMIT`: a long one
belongs into a process of its own (`pollux recall --project`).
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np

from pollux.autonomy.policy import Principal
from pollux.core.errors import InputError
from pollux.core.time import Clock
from pollux.runtime.estimate import estimate_of
from pollux.runtime.fold import Fold
from pollux.runtime.identity import raised
from pollux.runtime.moments import Moment
from pollux.runtime.reached import reached
from pollux.runtime.recall import Recalled, Subject, answer, recall
from pollux.runtime.store.writer import StoreWriter

LIMIT = 60.0
"""Seconds that one question may take of the running project."""


class Archive:
    """What a server asks about the past."""

    def __init__(self, clock: Clock):
        self._clock = clock
        self._subjects: dict[str, tuple[Subject, StoreWriter]] = {}
        self._folds: dict[str, Fold] = {}
        self._turn = asyncio.Lock()

    async def open(self, subject: Subject, writer: StoreWriter, fold: Fold) -> None:
        """A twin was raised: write down what it is, so that its past can be told from that of another version."""
        start = raised(subject.base, subject.binding, subject.wiring, fold.seq, fold.began, self._clock.now())
        await fold.lane.journal.append([start])
        self._subjects[subject.wiring.name] = subject, writer
        self._folds[subject.wiring.name] = fold

    async def recall(self, twin: str, moment: Moment) -> dict[str, Any]:
        """What a twin knew at a moment. Raises `InputError`, `StoreError`."""
        subject, writer = self._subject(twin)
        own = moment.plant_clock and subject.base.settings.time == "event"
        if moment.t > self._clock.now() and not (moment.event_time or own):
            raise InputError("A moment to recall lies in the past; `observe` shows the present, `forecast` the future")
        async with self._turn:
            return answer(await asyncio.to_thread(self._recall, subject, writer, moment))

    async def readings(
        self, twin: str, signals: Sequence[str], start: float, end: float, points: int
    ) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """(t, value) of measured signals (none named: all) over any span, from the journal: at most `points` of each,
        the smallest and the largest of equal spans of time. Raises `InputError`, `StoreError`."""
        subject, writer = self._subject(twin)
        ports = {port.field: port for port in subject.binding.ports}
        for name in signals:
            if name not in ports:
                raise InputError(f"Twin {twin!r} measures no signal {name[:100]!r}; it measures {sorted(ports)}")

        def read() -> dict[str, tuple[np.ndarray, np.ndarray]]:
            return {
                name: writer.store.chart(subject.binding.twin, ports[name].tag, start, end, points)
                for name in dict.fromkeys(signals or ports)
            }

        return await asyncio.to_thread(read)

    async def refold(self, twin: str, who: Principal, start: float | None, reason: str) -> dict[str, Any]:
        """Fuse what a twin got too late (`rerun`): everything, or from what it believed of the time `start` on.

        Raises `InputError`, `StoreError`.
        """
        subject, writer = self._subject(twin)
        async with self._turn:
            since = None
            if start is not None:
                past = await asyncio.to_thread(self._recall, subject, writer, Moment(start, event_time=True))
                since = estimate_of(past.live.state)
            return await self._folds[twin].rerun(who, since, reason)

    def _subject(self, twin: str) -> tuple[Subject, StoreWriter]:
        if twin not in self._subjects:
            known = sorted(self._subjects) or "none yet"
            raise InputError(f"The past of twin {twin[:100]!r} is not kept; it is kept of {known}")
        return self._subjects[twin]

    def _recall(self, subject: Subject, writer: StoreWriter, moment: Moment) -> Recalled:
        end = self._clock.monotonic() + LIMIT

        def alive() -> None:
            if self._clock.monotonic() > end:
                raise InputError(
                    f"Computing this moment again takes longer than {LIMIT:g} s beside the running twins; do it in a "
                    "process of its own: `pollux recall TWIN --at TIME --project FOLDER`"
                )

        with writer.store.reading() as reading:
            if moment.plant_clock:
                moment = Moment(reached(subject, reading, moment.t, self._clock.now(), alive))
            return recall(subject, reading, moment, alive)
