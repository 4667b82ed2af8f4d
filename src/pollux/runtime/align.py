"""Alignment: a pure fold from accepted rows to `Readings` on the twin's grid of event time.

Bin k holds the rows with (k-1) P < t <= k P and becomes the `Readings` at t_k = k P; of several values of one tag the
newest counts (it is the freshest that is known at t_k). With the watermark W, the newest event time accepted,

    bin k is handed on when every tag has a value at t_k itself (nothing can change it any more), or when W > t_k + lag

and always after bin k-1. So the result depends on the set of rows, not on their order, as long as no row comes more
than `lag` behind the watermark. What comes later is `late`: stored, marked, not fused. No clock is read: the same
journal gives the same bits.

A row further than `jump` ahead of W is refused (`future`) until another source that was alive says so too, or, where
there is none, until the same source has said so at `PROOF` different times: one source with a wrong clock never moves
the watermark alone.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float

from pollux.core.signals import Readings
from pollux.runtime.binding import Binding

MAX_EMPTY = 60
"""Bins without any value that are handed on in a row; then the grid is skipped up to the next value."""

PROOF = 3
"""Different times at which a lone source must say that it is far ahead."""

CLOCK = "@clock"
"""Reserved tag: its rows say only "it is t now". The port number of it is the number of ports."""

TOLERANCE = 1e-6
"""Part of a period by which a time may miss the grid and still be on it (rounding of decimal times)."""


@dataclass(frozen=True)
class Bin:
    """A tick in the making: for each port the newest event time (-inf: none) and its value."""

    k: int
    t: Float[np.ndarray, " ports"]
    value: Float[np.ndarray, " ports"]


@dataclass(frozen=True)
class Ahead:
    """A source that is far ahead of the watermark: its last such time, and how many different times it said so."""

    source: str
    t: float
    times: int


@dataclass(frozen=True)
class AlignState:
    """Everything that the fold carries; arrays are never written after construction."""

    watermark: float
    next_bin: int | None
    """The bin to hand on next; None before the first."""
    count: int
    """Readings handed on so far; makes their ids."""
    empty: int
    """Bins without a value handed on in a row."""
    newest: Float[np.ndarray, " ports"]
    """Event time of the newest accepted row of each port, -inf before the first."""
    bins: tuple[Bin, ...] = ()
    """Waiting bins in order of k."""
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
    return AlignState(-math.inf, None, 0, 0, np.full(len(binding.ports), -np.inf))


def push(binding: Binding, state: AlignState, rows: Iterable[tuple[int, float, float]]) -> Aligned:
    """Fold rows (port, t, value) in the order of the journal; a port number `len(ports)` is the clock."""
    fold = _Fold(binding, state)
    for port, t, value in rows:
        fold.row(port, t, value)
    return Aligned(fold.freeze(), tuple(fold.readings), tuple(fold.outcomes))


def bin_of(t: float, period: float) -> int:
    """The bin of an event time: ceil(t / period), where what misses the grid by rounding only is on it."""
    ratio = t / period
    return math.ceil(ratio - TOLERANCE - 4 * math.ulp(ratio))


def source_of(binding: Binding, port: int) -> str:
    """Who may write the port."""
    return CLOCK if port == len(binding.ports) else binding.ports[port].authority


@dataclass
class _Open:
    """A bin with its columns as lists, which are faster to write one by one."""

    k: int
    t: list[float]
    value: list[float]
    final: int = 0
    """Ports that have a value at the bin's own time, so that no later row of theirs can belong to it."""


@dataclass
class _Fold:
    """The fold with its state thawed."""

    binding: Binding
    state: AlignState
    readings: list[Readings] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)

    def __post_init__(self) -> None:
        s = self.state
        self.watermark, self.next_bin, self.count, self.empty = s.watermark, s.next_bin, s.count, s.empty
        self.n = len(self.binding.ports)
        self.newest: list[float] = s.newest.tolist()
        self.bins = {b.k: self._open(b) for b in s.bins}
        self.ahead = {a.source: a for a in s.ahead}

    def freeze(self) -> AlignState:
        return AlignState(
            self.watermark,
            self.next_bin,
            self.count,
            self.empty,
            np.array(self.newest),
            tuple(Bin(k, np.array(b.t), np.array(b.value)) for k, b in sorted(self.bins.items())),
            tuple(self.ahead[name] for name in sorted(self.ahead)),
        )

    def row(self, port: int, t: float, value: float) -> None:
        if t > self.watermark + self.binding.jump and not self._plausible(port, t):
            self.outcomes.append(Outcome(port, t, value, "future"))
            return
        if port < self.n and not self._place(port, t, value):
            return
        if t > self.watermark:
            self.watermark = t
        self._hand_on()

    def _plausible(self, port: int, t: float) -> bool:
        """Whether a jump ahead is believed: see the module docstring. Wall time was checked at the border."""
        if self.watermark == -math.inf or self.binding.time == "wall" or port == len(self.binding.ports):
            return True
        source, jump = source_of(self.binding, port), self.binding.jump
        before = self.ahead.get(source)
        if before is None or abs(t - before.t) > jump:
            self.ahead[source] = Ahead(source, t, 1)
        elif t > before.t:
            self.ahead[source] = Ahead(source, t, before.times + 1)
        alive = {
            source_of(self.binding, i) for i, newest in enumerate(self.newest) if newest >= self.watermark - jump
        } - {source}
        if alive:
            believed = any(abs(a.t - t) <= jump for name, a in self.ahead.items() if name != source)
        else:
            believed = self.ahead[source].times >= PROOF
        if believed:
            self.ahead.clear()
        return believed

    def _place(self, port: int, t: float, value: float) -> bool:
        """Put a row into its bin; False when it is not fused."""
        if t == self.newest[port]:
            self.outcomes.append(Outcome(port, t, value, "duplicate"))
            return False
        k = bin_of(t, self.binding.period)
        if self.next_bin is not None and k < self.next_bin:
            self.outcomes.append(Outcome(port, t, value, "late"))
            return False
        here = self.bins.get(k)
        if here is None:
            here = self.bins[k] = _Open(k, [-math.inf] * self.n, [math.nan] * self.n)
        if t == here.t[port]:
            self.outcomes.append(Outcome(port, t, value, "duplicate"))
            return False
        if t > here.t[port]:
            own = (k - TOLERANCE) * self.binding.period
            here.final += t >= own > here.t[port]
            here.t[port], here.value[port] = t, value
        if t > self.newest[port]:
            self.newest[port] = t
        return True

    def _hand_on(self) -> None:
        while True:
            if self.next_bin is None:
                first = min(self.bins, default=None)
                if first is None or not self._expired(first):
                    return
                self._emit(first)
            elif self.next_bin in self.bins:
                if self.bins[self.next_bin].final < self.n and not self._expired(self.next_bin):
                    return
                self._emit(self.next_bin)
            elif not self._expired(self.next_bin):
                return
            elif self.empty < MAX_EMPTY:
                self._emit(self.next_bin)
            else:  # a long silence: on to the next bin that has a value, or that is still open
                p = self.binding.period
                still_open = bin_of(self.watermark - self.binding.lag, p)
                self.next_bin = max(min(min(self.bins, default=still_open), still_open), self.next_bin + 1)

    def _expired(self, k: int) -> bool:
        p = self.binding.period
        return self.watermark - (k * p + self.binding.lag) > TOLERANCE * p

    def _open(self, b: Bin) -> _Open:
        own = (b.k - TOLERANCE) * self.binding.period
        return _Open(b.k, b.t.tolist(), b.value.tolist(), int(np.count_nonzero(b.t >= own)))

    def _emit(self, k: int) -> None:
        b = self.binding
        values, inputs = np.full(b.n_sensors, np.nan), np.full(b.n_inputs, np.nan)
        here = self.bins.pop(k, None)
        if here is not None:
            for port, value in zip(b.ports, here.value, strict=True):
                (values if port.kind == "sensor" else inputs)[port.column] = value
        self.empty = self.empty + 1 if here is None else 0
        self.readings.append(Readings(b.twin, k * b.period, f"{b.twin}:r{self.count}", f"journal:{k}", values, inputs))
        self.count += 1
        self.next_bin = k + 1
