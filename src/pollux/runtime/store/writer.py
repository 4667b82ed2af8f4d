"""The writer's thread: many appends become one commit, and each is acknowledged after it.

Callers on the event loop await `append(...)` or `do(...)`. While one commit waits for the disk the next ones gather,
so a slow disk makes larger commits, not a longer queue. The queue is bounded: when it is full, callers wait.
"""

import asyncio
import queue
import threading
from collections.abc import Callable, Collection
from typing import Any, TypeVar

import numpy as np

from pollux.core.errors import StoreError
from pollux.core.time import Clock
from pollux.runtime.store.base import Rows, Store, UnavailableError
from pollux.runtime.store.layout import join

T = TypeVar("T")

COMMIT_ROWS = 65_536
"""A commit is closed when it holds this many rows."""

QUEUE = 4096
"""Operations that may wait; more wait on the caller's side."""


class _Job:
    __slots__ = ("future", "loop", "rows", "work")

    def __init__(self, loop: asyncio.AbstractEventLoop, rows: Rows | None, work: "Callable[[], Any] | None"):
        self.loop, self.rows, self.work = loop, rows, work
        self.future = loop.create_future()


class StoreWriter:
    """Owns the writing side of a store from the event loop's point of view."""

    def __init__(self, store: Store, clock: Clock):
        self.store = store
        self.on_rows: Callable[[int, Rows], None] | None = None
        """Called on the event loop with every committed block (first, rows), in the order of the journal, before its
        appends are acknowledged, also when who appended has been cancelled meanwhile."""
        self.folds: Collection[str] = ()
        """The twins and fleets that run, once all are raised; before, no block of the journal is dropped."""
        self._clock = clock
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._room = asyncio.Semaphore(QUEUE)
        self._closed = False
        self.commits = 0
        """Commits made: rows per commit tell how well grouping works."""
        self._thread = threading.Thread(target=self._run, name="pollux-store", daemon=True)
        self._thread.start()

    def now(self) -> float:
        """The wall time that what is written now is said to be received at."""
        return self._clock.now()

    async def append(self, rows: Rows) -> int:
        """Durable when it returns: the sequence number of the first row. Raises `StoreError`."""
        return await self._submit(rows, None)

    async def do(self, work: Callable[[Store], T]) -> T:
        """Run `work(store)` inside a transaction of the writer's thread; durable when it returns."""
        return await self._submit(None, lambda: work(self.store))

    async def read(self, work: Callable[[Store], T]) -> T:
        """Run a query in another thread, beside the writer."""
        return await asyncio.to_thread(work, self.store)

    async def close(self) -> None:
        """Finish what is queued and close the store."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
            await asyncio.to_thread(self._thread.join)

    async def _submit(self, rows: Rows | None, work: "Callable[[], Any] | None") -> Any:
        if self._closed:
            raise StoreError("The store must be open: it was closed. Open it again.")
        async with self._room:
            job = _Job(asyncio.get_running_loop(), rows, work)
            self._queue.put(job)
            return await job.future

    def _run(self) -> None:
        more = False
        while (job := self._next(more)) is not None:
            jobs, n, last = [job], 0 if job.rows is None else len(job.rows), False
            while n < COMMIT_ROWS:
                try:
                    job = self._queue.get_nowait()
                except queue.Empty:
                    break
                if job is None:
                    last = True
                    break
                jobs.append(job)
                n += 0 if job.rows is None else len(job.rows)
            self._commit(jobs)
            if last:
                break
            more = self._maintain()
        self.store.close()

    def _next(self, more: bool) -> _Job | None:
        """The next job; while there is none, housekeeping."""
        while more:
            try:
                return self._queue.get_nowait()
            except queue.Empty:
                more = self._maintain()
        return self._queue.get()

    def _maintain(self) -> bool:
        try:
            return self.store.maintain() or self.store.retain(self.now(), self.folds)
        except StoreError:  # the journal is complete; after the next commit it tries again
            return False

    def _commit(self, jobs: list[_Job]) -> None:
        """One transaction for all; if one fails, one transaction each, so that only the guilty one fails."""
        blocks: list[tuple[int, Rows]] = []
        try:
            results = self._transact(jobs, blocks)
        except BaseException as error:
            if len(jobs) == 1 or isinstance(error, UnavailableError):  # then none of them is guilty
                for job in jobs:
                    _settle(job, error=error)
            else:
                for job in jobs:
                    self._commit([job])
            return
        loop, listener = jobs[0].loop, self.on_rows
        if listener is not None and not loop.is_closed():
            for first, rows in blocks:
                loop.call_soon_threadsafe(listener, first, rows)
        for job, result in zip(jobs, results, strict=True):
            _settle(job, result=result)

    def _transact(self, jobs: list[_Job], blocks: list[tuple[int, Rows]]) -> list[Any]:
        results: list[Any] = [None] * len(jobs)
        received = self.now()
        with self.store.transaction():
            at = 0
            while at < len(jobs):
                end = at
                while end < len(jobs) and jobs[end].rows is not None:
                    end += 1
                if end > at:  # neighbouring appends become one block
                    batch = [job.rows for job in jobs[at:end] if job.rows is not None]
                    rows = join(batch)
                    first = self.store.append(rows, received)
                    blocks.append((first, rows))
                    offsets = np.cumsum([0, *(len(part) for part in batch)])
                    results[at:end] = [first + int(n) for n in offsets[:-1]]
                else:
                    work = jobs[at].work
                    results[at] = work() if work is not None else None
                    end = at + 1
                at = end
        self.commits += 1
        return results


def _settle(job: _Job, result: Any = None, error: BaseException | None = None) -> None:
    def finish() -> None:
        if job.future.done():  # the caller was cancelled; what it wrote stays written
            return
        if error is None:
            job.future.set_result(result)
        else:
            job.future.set_exception(error)

    if not job.loop.is_closed():
        job.loop.call_soon_threadsafe(finish)
