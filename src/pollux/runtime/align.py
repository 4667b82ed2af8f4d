"""Alignment: a pure fold from accepted rows to `Readings` on the twin's grid of event time.

Bin k holds the rows with (k-1) P < t <= k P and becomes the `Readings` at t_k = k P; of several values of one tag the
newest counts (it is the freshest that is known at t_k). With the front F of `watermark`,

    bin k is handed on when every tag has a value at t_k itself (nothing can change it any more), or when F > t_k

and always after bin k-1: then it is settled. So the result depends on the set of rows, not on their order, as long as
no row comes more than its source's lag behind the newest of all. What comes later is `late`: stored, marked, not
fused (until `rerun`). No clock is read: the same journal gives the same bits.

The bins that are still open give the readings that would be handed on were there no lag: `Aligner.ahead`, up to the
present. At most `OPEN` bins are kept; of more (a flood, a clock that is far ahead) the oldest are handed on.

A row further than `jump` ahead of the newest is refused (`future`) until another source that was alive says so too, or,
where there is none, until the same source has said so at `PROOF` different times: one source with a wrong clock never
moves the time alone.
"""

import math
from bisect import bisect_left, insort
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from pollux.core.signals import Readings
from pollux.runtime.binding import OPEN, Binding
from pollux.runtime.watermark import Watermarks

MAX_EMPTY = 60
"""Bins without any value that are handed on in a row; then the grid is skipped up to the next value."""

PROOF = 3
"""Different times at which a lone source must say that it is far ahead."""

CLOCK = "@clock"
"""Reserved tag: its rows say only "it is t now". The port number of it is the number of ports."""

TOLERANCE = 1e-6
"""Part of a period by which a time may miss the grid and still be on it (rounding of decimal times)."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place on the grid."""

    next_bin: int | None = None
    """The bin to hand on next; None before the first."""
    count: int = 0
    """Readings handed on so far; makes their ids."""
    empty: int = 0
    """Bins without a value handed on in a row."""


@dataclass(frozen=True)
class Ahead:
    """A source that is far ahead of the watermark: its last such time, and how many different times it said so."""

    source: str
    t: float
    times: int


@dataclass(frozen=True)
class AlignState:
    """Everything that the fold carries, as a value; arrays are never written after construction."""

    watermark: float
    """The newest event time of all."""
    clock: float
    settled: float
    """Every tick before this time has been handed on."""
    present: float
    next_bin: int | None
    count: int
    empty: int
    newest: Float[np.ndarray, " ports"]
    """Event time of the newest accepted row of each port, -inf before the first."""
    source_newest: Float[np.ndarray, " sources"]
    source_at: Float[np.ndarray, " sources"]
    """The newest event time of all when the source last spoke."""
    k: Int[np.ndarray, " bins"]
    """Open bins, in order."""
    t: Float[np.ndarray, "bins ports"]
    """Of each open bin and port the newest event time (-inf: none)."""
    value: Float[np.ndarray, "bins ports"]
    ahead: tuple[Ahead, ...] = ()


class Outcome(NamedTuple):
    """A row that was stored but not fused."""

    port: int
    t: float
    value: float
    reason: Literal["late", "duplicate", "future"]


class Aligned(NamedTuple):
    """One step of the fold."""

    state: AlignState
    readings: tuple[Readings, ...]
    outcomes: tuple[Outcome, ...]


def start(binding: Binding) -> AlignState:
    """The state before the first row."""
    return Aligner(binding).freeze()


def push(binding: Binding, state: AlignState, rows: Iterable[tuple[int, float, float]]) -> Aligned:
    """Fold rows (port, t, value) in the order of the journal; a port number `len(ports)` is the clock."""
    aligner = Aligner(binding, state)
    readings, outcomes = aligner.push(rows)
    return Aligned(aligner.freeze(), tuple(readings), tuple(outcomes))


def bin_of(t: float, period: float) -> int:
    """The bin of an event time: ceil(t / period), where what misses the grid by rounding only is on it."""
    ratio = t / period
    return math.ceil(ratio - TOLERANCE - 4 * math.ulp(ratio))


def slack_of(t: float, period: float) -> float:
    """Seconds by which two times may differ and still be the same: part of a period, or the rounding of `t`."""
    return max(TOLERANCE * period, 4 * math.ulp(t))


def source_of(binding: Binding, port: int) -> str:
    """Who may write the port."""
    return CLOCK if port == len(binding.ports) else binding.ports[port].authority


class _Open:
    """A bin in the making, with its columns as lists, which are faster to write one by one."""

    __slots__ = ("final", "t", "value")

    def __init__(self, t: list[float], value: list[float], final: int = 0):
        self.t, self.value = t, value
        self.final = final
        """Ports that have a value at the bin's own time, so that no later row of theirs can belong to it."""


class Aligner:
    """The fold, thawed: `push` moves it, `freeze` says where it is. For one thread at a time."""

    def __init__(self, binding: Binding, state: AlignState | None = None):
        self.binding, self.n = binding, len(binding.ports)
        clock = -math.inf if binding.time == "wall" else math.inf
        self.marks = Watermarks(binding.sources, binding.period, binding.jump, clock)
        self.cursor = Cursor()
        self.dirty: int | None = None
        """The earliest bin that has changed since `clean`."""
        index = {rule.name: i for i, rule in enumerate(binding.sources)}
        self.source = [*(index[port.authority] for port in binding.ports), None]
        """Index of the source of each port; None of the clock."""
        self._columns = {
            kind: [
                next((i for i, p in enumerate(binding.ports) if (p.kind, p.column) == (kind, c)), -1) for c in range(n)
            ]
            for kind, n in (("sensor", binding.n_sensors), ("input", binding.n_inputs))
        }
        self._newest = [-math.inf] * self.n
        self._bins: dict[int, _Open] = {}
        self._keys: list[int] = []
        self._ahead: dict[str, Ahead] = {}
        if state is not None:
            self._thaw(state)

    @property
    def open(self) -> int:
        """Bins with a value that are not settled."""
        return len(self._keys)

    def freeze(self) -> AlignState:
        """The state as a value."""
        m, c, shape = self.marks, self.cursor, (len(self._keys), self.n)
        return AlignState(
            m.top, m.clock, m.settled, m.present, c.next_bin, c.count, c.empty, np.array(self._newest),
            np.array(m.newest), np.array(m.at), np.array(self._keys, dtype=np.int64),
            np.array([self._bins[k].t for k in self._keys], dtype=np.float64).reshape(shape),
            np.array([self._bins[k].value for k in self._keys], dtype=np.float64).reshape(shape),
            tuple(self._ahead[name] for name in sorted(self._ahead)),
        )  # fmt: skip

    def push(self, rows: Iterable[tuple[int, float, float]]) -> tuple[list[Readings], list[Outcome]]:
        """Fold rows: the readings that are settled by them, and the rows that are not fused."""
        readings: list[Readings] = []
        outcomes: list[Outcome] = []
        for port, t, value in rows:
            if t > self.marks.top + self.binding.jump and not self._plausible(port, t):
                outcomes.append(Outcome(port, t, value, "future"))
                continue
            reason = self._place(port, t, value) if port < self.n else None
            if reason is not None:
                outcomes.append(Outcome(port, t, value, reason))
            self.marks.heard(self.source[port], t)
            if len(self._keys) > OPEN:
                self.marks.settled = max(self.marks.settled, (self._keys[-OPEN] - 0.5) * self.binding.period)
            self._settle(readings)
        return readings, outcomes

    def settle_until(self, end: int) -> list[Readings]:
        """Hand on every bin before `end`, whatever may still come."""
        self.cursor, found = self.walk(self.cursor, math.inf, end)
        self._forget()
        return [readings for _, readings in found]

    def ahead(self, cursor: Cursor) -> list[tuple[Cursor, Readings]]:
        """What would be handed on from `cursor` on were there no lag, up to the present; with the place after each."""
        return self.walk(cursor, self.marks.present)[1]

    def clean(self) -> int | None:
        """The earliest bin that has changed since the last call."""
        dirty, self.dirty = self.dirty, None
        return dirty

    def walk(self, c: Cursor, front: float, end: float = math.inf) -> tuple[Cursor, list[tuple[Cursor, Readings]]]:
        """What is handed on from `c` with the front at `front`, before the bin `end`; changes nothing."""
        found: list[tuple[Cursor, Readings]] = []
        while True:
            k = self._candidate(c)
            if k is None or k >= end:
                return c, found
            here = self._bins.get(k)
            complete = here is not None and here.final == self.n and c.next_bin is not None
            if not complete and not self._passed(k, front):
                return c, found
            if here is None and c.empty >= MAX_EMPTY:  # a long silence: on to the next value, or to what is still open
                c = replace(c, next_bin=min(self._key_from(k, end), max(self._first_open(front, end), k + 1)))
                continue
            c = Cursor(k + 1, c.count + 1, c.empty + 1 if here is None else 0)
            found.append((c, self._readings(k, c.count - 1, here)))

    def _candidate(self, c: Cursor) -> int | None:
        """The bin that is handed on next: one with a value, or the next of the pulse."""
        if c.next_bin is None:
            return self._keys[0] if self._keys else None
        if c.next_bin in self._bins:
            return c.next_bin
        pulse = self.binding.pulse
        return c.next_bin if pulse == 1 else int(self._key_from(c.next_bin, -(-c.next_bin // pulse) * pulse))

    def _key_from(self, k: int, other: float) -> float:
        """The first bin with a value from `k` on, or `other` where that is earlier."""
        i = bisect_left(self._keys, k)
        return min(self._keys[i], other) if i < len(self._keys) else other

    def _first_open(self, front: float, end: float) -> float:
        return end if math.isinf(front) else min(bin_of(front, self.binding.period), end)

    def _passed(self, k: int, front: float) -> bool:
        t = k * self.binding.period
        return front - t > slack_of(t, self.binding.period)

    def _own(self, k: int) -> float:
        """From when on a time is the bin's own."""
        t = k * self.binding.period
        return t - slack_of(t, self.binding.period)

    def _readings(self, k: int, count: int, here: _Open | None) -> Readings:
        b = self.binding
        values, inputs = (
            np.array([math.nan if here is None or i < 0 else here.value[i] for i in self._columns[kind]])
            for kind in ("sensor", "input")
        )
        return Readings(b.twin, k * b.period, f"{b.twin}:r{count}", f"journal:{k}", values, inputs)

    def _settle(self, readings: list[Readings]) -> None:
        nxt = self.cursor.next_bin
        if nxt is not None and not self._passed(nxt, self.marks.settled):
            here = self._bins.get(nxt)
            if here is None or here.final < self.n:
                return
        self.cursor, found = self.walk(self.cursor, self.marks.settled)
        if self.cursor.next_bin != nxt:
            self._forget()
        readings.extend(r for _, r in found)

    def _forget(self) -> None:
        """Drop the bins that are settled."""
        if self.cursor.next_bin is not None:
            gone = bisect_left(self._keys, self.cursor.next_bin)
            for k in self._keys[:gone]:
                del self._bins[k]
            del self._keys[:gone]

    def _place(self, port: int, t: float, value: float) -> Literal["late", "duplicate"] | None:
        """Put a row into its bin, or say why it is not fused."""
        if t == self._newest[port]:
            return "duplicate"
        k = bin_of(t, self.binding.period)
        if self.cursor.next_bin is not None and k < self.cursor.next_bin:
            return "late"
        here = self._bins.get(k)
        if here is None:
            here = self._bins[k] = _Open([-math.inf] * self.n, [math.nan] * self.n)
            insort(self._keys, k)
        if t == here.t[port]:
            return "duplicate"
        if t > here.t[port]:
            own = self._own(k)
            here.final += t >= own > here.t[port]
            here.t[port], here.value[port] = t, value
            if self.dirty is None or k < self.dirty:
                self.dirty = k
        if t > self._newest[port]:
            self._newest[port] = t
        return None

    def _plausible(self, port: int, t: float) -> bool:
        """Whether a jump ahead is believed: see the module docstring. Wall time was checked at the border."""
        now, jump = self.marks.top, self.binding.jump
        if now == -math.inf or self.binding.time == "wall" or port == self.n:
            return True
        source = source_of(self.binding, port)
        before = self._ahead.get(source)
        if before is None or abs(t - before.t) > jump:
            self._ahead[source] = Ahead(source, t, 1)
        elif t > before.t:
            self._ahead[source] = Ahead(source, t, before.times + 1)
        alive = {source_of(self.binding, i) for i, newest in enumerate(self._newest) if newest >= now - jump} - {source}
        if alive:
            believed = any(abs(a.t - t) <= jump for name, a in self._ahead.items() if name != source)
        else:
            believed = self._ahead[source].times >= PROOF
        if believed:
            self._ahead.clear()
        return believed

    def _thaw(self, s: AlignState) -> None:
        m = self.marks
        m.top, m.clock, m.settled, m.present = s.watermark, s.clock, s.settled, s.present
        m.newest, m.at = s.source_newest.tolist(), s.source_at.tolist()
        self.cursor = Cursor(s.next_bin, s.count, s.empty)
        self._newest = s.newest.tolist()
        self._keys = s.k.tolist()
        for k, t, value in zip(self._keys, s.t, s.value, strict=True):
            self._bins[k] = _Open(t.tolist(), value.tolist(), int(np.count_nonzero(t >= self._own(k))))
        self._ahead = {a.source: a for a in s.ahead}
