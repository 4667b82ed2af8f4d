"""A twin with three sources through the real fold, over a journal in memory; and a plain filter as the oracle."""

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np

from pollux.core.signals import Cause, Readings
from pollux.core.time import ManualClock
from pollux.runtime import build
from pollux.runtime.binding import Binding, bind
from pollux.runtime.fold import Fold
from pollux.runtime.intake import TagTable
from pollux.runtime.lane import Lane
from pollux.runtime.live import LiveTwin
from pollux.runtime.store.base import Block, Rows, Snapshot, Track
from pollux.runtime.store.writer import StoreWriter
from pollux.runtime.wiring import read_wiring

Row = tuple[int, float, float]
"""(port, event time, value)."""

TWIN = '''
"""Two levels that drain into each other, one of them seen by the laboratory too."""
import jax.numpy as jnp
from pollux import Scalar, Signals, Twin, param, var


class State(Signals):
    a: Scalar = var("m", start=1.0, within=(0.05, 5.0), drift=1e-3)
    b: Scalar = var("m", start=0.5, within=(0.05, 5.0), drift=1e-3)


class Input(Signals):
    q: Scalar = var("m/s", start=0.01, within=(0.0, 0.1))


class Sensors(Signals):
    top: Scalar = var("m", noise=0.01)
    low: Scalar = var("m", noise=0.02)
    lab: Scalar = var("m", noise=0.002)


class Pair(Twin[State, Input, Sensors]):
    """dh/dt = (flow in - flow out) / area."""

    k: Scalar = param("1/s", 0.02)

    def dynamics(self, t, x, u):
        return State(a=u.q - self.k * (x.a - x.b), b=self.k * (x.a - x.b) - self.k * x.b)

    def observe(self, t, x, u):
        return Sensors(top=x.a, low=x.b, lab=x.b)
'''
WIRING = """
[project]
name = "time"

[connector.field]
kind = "memory"

[[twin]]
name = "pair"
definition = "twin.py:Pair"
period = 1.0
lag = 3
{keys}

[twin.source.lab]
lag = {lab}

{sources}

[[twin.tag]]
tag = "top"
authority = "plc1"

[[twin.tag]]
tag = "low"
authority = "plc2"

[[twin.tag]]
tag = "lab"
authority = "lab"
period = 20

[[twin.tag]]
tag = "q"
authority = "plc1"
"""


@dataclass(frozen=True)
class Twin:
    """What takes time to build."""

    base: build.Foundation
    binding: Binding


def write(folder: Path, *, lab: float = 30.0, keys: str = "", sources: str = "") -> Path:
    """The project in a new folder."""
    folder.mkdir(parents=True)
    (folder / "twin.py").write_text(TWIN)
    (folder / "pollux.toml").write_text(WIRING.format(lab=lab, keys=keys, sources=sources))
    return folder


def make(folder: Path, **options: Any) -> Twin:
    """The twin, compiled."""
    wiring = read_wiring(write(folder, **options)).twins[0]
    base = build.foundation(wiring, build.blueprint_of(wiring, folder))
    build.warm(base)
    return Twin(base, bind(wiring, base.space.y, base.space.u))


@dataclass
class Journal:
    """A store's journal and snapshots in lists. Its own writer."""

    parts: list[Block] = field(default_factory=list)
    snapshots: list[Snapshot] = field(default_factory=list)
    tracks: list[Track] = field(default_factory=list)
    next_seq: int = 0
    first_seq: int = 0

    async def do(self, work: Callable[[Any], Any]) -> Any:
        return work(self)

    def append(self, rows: Sequence[Row]) -> None:
        port, t, value = (np.array(column) for column in zip(*rows, strict=True))
        self.parts.append(Block(self.next_seq, 0.0, Rows(t.astype(float), port.astype(np.uint32), value)))
        self.next_seq += len(rows)

    def tag_ids(self, twin: str, names: Sequence[str]) -> np.ndarray:
        return np.arange(len(names), dtype=np.uint32)

    def blocks(self, start: int = 0):
        return iter([b for b in self.parts if b.first + len(b.rows) > start])

    def save_snapshot(self, snapshot: Snapshot) -> None:
        self.snapshots.append(snapshot)

    def load_snapshot(self, twin: str, model: str) -> Snapshot | None:
        return self.snapshots[-1] if self.snapshots else None

    def add_track(self, twin: str, track: Track) -> None:
        self.tracks.append(track)

    def events_from(self, twin: str, seq: int, after: int = 0) -> list[Any]:
        return []

    def track(self, twin: str, start: float, end: float) -> Track:
        return Track(np.empty(0), np.empty((0, 0)), np.empty((0, 0)))

    def history(self, twin: str, tag: str, start: float, end: float):
        return np.empty(0), np.empty(0)


class Events:
    """Nothing happens but readings."""

    async def append(self, events: Any) -> None:
        pass


class Run:
    """One run of the real fold; `beliefs` holds what was settled: t -> bits of mean and covariance."""

    def __init__(self, twin: Twin, journal: Journal | None = None):
        self.twin, self.journal = twin, journal or Journal()
        base = twin.base
        self.live = LiveTwin(
            base.face, ManualClock(1e6), settings=base.settings, mirror=base.mirror, detector=base.detector
        )
        self.lane = Lane(self.live, Events())
        self.late: list[str] = []
        self.fold = Fold(
            base, twin.binding, self.lane, cast(StoreWriter, self.journal), lambda _, o: self.late.append(o.reason)
        )
        self.beliefs: dict[float, tuple[bytes, bytes]] = {}
        self.tags = TagTable(cast(Any, self.journal), [twin.binding])
        if self.journal.next_seq:
            self.fold.replay(cast(Any, self.journal), self.tags)
        step = self.live.step

        def noted(readings: Readings):
            result = step(readings)
            self.beliefs[result.belief.t] = bits(result.belief)
            return result

        self.live.step = noted

    async def feed(self, rows: Sequence[Row]) -> None:
        self.journal.append(rows)
        block = self.journal.parts[-1]
        for delivery in self.tags.deliveries(block.first, block.rows):
            await self.fold.feed(delivery)

    def restart(self) -> "Run":
        """Another process over the same journal and its last snapshot; what was settled so far is remembered."""
        again = Run(self.twin, self.journal)
        again.beliefs = self.beliefs | again.beliefs
        return again


def bits(belief: Any) -> tuple[bytes, bytes]:
    return belief.mean.tobytes(), belief.cov.tobytes()


def oracle(twin: Twin, rows: Sequence[Row], until: float = math.inf) -> dict[float, Any]:
    """t -> belief: a filter run over the merged list of all rows in order, tick by tick, with no lag and no fold."""
    b, mirror, detector = twin.binding, twin.base.mirror, twin.base.detector
    newest: dict[int, dict[int, tuple[float, float]]] = {}
    for port, t, value in rows:
        cell = newest.setdefault(math.ceil(t / b.period - 1e-6), {})
        if t > cell.get(port, (-math.inf, 0.0))[0]:
            cell[port] = (t, value)
    found, belief, memory, suspects = {}, None, None, frozenset[str]()
    names, k = {s.name for s in twin.base.face.sensors}, min(newest)
    while k <= max(newest) and k * b.period <= until:
        values, inputs = np.full(b.n_sensors, np.nan), np.full(b.n_inputs, np.nan)
        for port, (_, value) in newest.get(k, {}).items():
            p = b.ports[port]
            (values if p.kind == "sensor" else inputs)[p.column] = value
        if belief is None:
            belief = mirror.start(k * b.period)
            memory = None if detector is None else detector.start()
        belief = mirror.update(belief, Readings(b.twin, k * b.period, "r", "", values, inputs), suspects)
        if detector is not None:
            memory, faults = detector.update(memory, belief)
            suspects = frozenset({f.subject for f in faults if f.cause is Cause.SENSOR} & names)
        found[k * b.period] = belief
        k += 1
    return found


def signals(seed: int, seconds: int = 40) -> list[Row]:
    """What three sources say: two every second with some jitter, the laboratory every 20 s."""
    rng = np.random.default_rng(seed)
    rows: list[Row] = []
    for k in range(1, seconds + 1):
        for port, level in ((0, 1.0), (1, 0.4)):
            if rng.random() < 0.95:
                rows.append((port, k - float(rng.choice([0.0, 0.25, 0.5])), level + 0.02 * rng.standard_normal()))
        rows.append((3, float(k), 0.01 + 0.002 * rng.standard_normal()))
        if k % 20 == 7:
            rows.append((2, k - 0.4, 0.41 + 0.002 * rng.standard_normal()))
    return rows


def shuffled(rows: Sequence[Row], twin: Twin, rng: np.random.Generator, doubled: float = 0.3) -> list[Row]:
    """An order of arrival in which every row comes within the lag of its source; some come again at any later time."""
    lag = {rule.name: rule.lag for rule in twin.binding.sources}
    due = []
    for row in rows:
        at = row[1] + rng.random() * lag[twin.binding.ports[row[0]].authority]
        due.append((at, rng.random(), row))
        if rng.random() < doubled:
            due.append((at + rng.exponential(10.0), rng.random(), row))
    return [row for *_, row in sorted(due)]


def tail(seconds: float, *, after: float = 200.0) -> list[Row]:
    """Rows long after, which settle everything before them."""
    return [(port, seconds + after, 0.5) for port in (0, 1, 2, 3)]


def run(work: Any) -> Any:
    return asyncio.run(work)
