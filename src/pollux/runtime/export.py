"""Everything that a store holds as plain tables, for people who analyse data: Parquet or CSV, in files by day.

    OUT/readings/date=2026-11-24/part-0.parquet    time, t, received, twin, tag, field, unit, value
    OUT/estimates/date=.../...                     time, t, twin, name, unit, mean, sd
    OUT/events/date=.../...                        time, t, received, twin, kind, id, by, derived, belief, data (JSON)

`t` is the exact event time in seconds since 1970 UTC, `time` the same as a timestamp (microseconds), `received` the
wall time at which it was accepted. Readings are all that were accepted, late and doubled ones too, in the field's unit.
Rows are read and written a batch at a time, whatever the size of the store.
"""

import json
from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from pollux.core.extras import need
from pollux.runtime.align import CLOCK
from pollux.runtime.fleets.kept import fleets_in
from pollux.runtime.folders import new_folder
from pollux.runtime.identity import KIND, starts
from pollux.runtime.store.base import Block
from pollux.runtime.store.reading import Reading

BATCH = 200_000
"""Rows that are held in memory."""
OPEN = 16
"""Files that are open at a time."""
DAY = 86_400.0
TABLES = ("readings", "estimates", "events")

Column = np.ndarray | tuple[np.ndarray, Sequence[str]]
"""Values, or (index of each, names)."""
Table = Mapping[str, Column]


class Tables(Protocol):
    """Where rows go."""

    def write(self, path: Path, table: Table) -> None:
        """Append rows to the file of this path (without its ending), or to the next part of it."""
        ...

    def close(self) -> None:
        """Finish all files."""
        ...


@dataclass(frozen=True)
class Wanted:
    """Which part of a store: event times, twins (none named: all; a fleet: all its members), tables."""

    start: float = -inf
    end: float = inf
    twins: Collection[str] = ()
    tables: tuple[str, ...] = TABLES


def export(reading: Reading, out: Path, wanted: Wanted, form: str) -> dict[str, int]:
    """Write a store into the new folder `out`, as `parquet` or `csv`: the rows of each table.

    Raises `MissingExtraError` for Parquet without pyarrow, `InputError` where `out` is taken, `StoreError`.
    """
    if form == "parquet":
        need("pyarrow.parquet", "frames")
    counts = dict.fromkeys(wanted.tables, 0)
    wanted = replace(wanted, twins=_with_members(reading, wanted.twins))
    with new_folder(out) as partial:
        tables: Tables = ParquetTables() if form == "parquet" else CsvTables()
        try:
            for name in wanted.tables:
                (partial / name).mkdir()
                for t, table in SOURCES[name](reading, wanted):
                    _by_day(tables, partial / name, t, table)
                    counts[name] += len(t)
        finally:
            tables.close()
    return counts


def readings(store: Reading, wanted: Wanted) -> Iterator[tuple[np.ndarray, Table]]:
    """The journal in batches, in the order of acceptance."""
    about = _about(store)
    keys = [(twin, tag, *about.get((twin, tag), ("", ""))) for twin, tag in store.tags]
    size = max(store.tags.values(), default=0) + 1
    columns = [sorted({key[i] for key in keys}) for i in range(4)]
    index = [{name: k for k, name in enumerate(names)} for names in columns]
    places = np.zeros((4, size), np.int32)
    use = np.zeros(size, bool)
    for (twin, tag), row, id in zip(store.tags, keys, store.tags.values(), strict=True):
        places[:, id] = [known[value] for known, value in zip(index, row, strict=True)]
        use[id] = tag != CLOCK and (not wanted.twins or twin in wanted.twins)
    held: list[Block] = []
    for block in store.blocks(store.first_seq):
        held.append(block)
        if sum(len(b.rows) for b in held) >= BATCH:
            yield from _readings(held, wanted, use, places, columns)
            held = []
    yield from _readings(held, wanted, use, places, columns)


def estimates(store: Reading, wanted: Wanted) -> Iterator[tuple[np.ndarray, Table]]:
    """Means and standard deviations, twin by twin, in the order of their times; each instant once."""
    members = {name for names in fleets_in(store).values() for name in names}  # theirs are not kept
    for twin in store.twins:
        if twin in members or (wanted.twins and twin not in wanted.twins):
            continue
        known = {len(s.about["estimates"]): s.about["estimates"] for s in starts(store.events(twin, (KIND,)))}
        for start, end in _windows(store.track_spans(twin), wanted):
            track = store.track(twin, start, end)
            n = track.mean.shape[1] if len(track) else 0
            if n == 0:
                continue
            names = known.get(n, [[f"x{i}", ""] for i in range(n)])
            t = np.repeat(track.t, n)
            each = np.tile(np.arange(n, dtype=np.int32), len(track))
            yield (
                t,
                {
                    "time": _time(t),
                    "t": t,
                    "twin": (np.zeros(len(t), np.int32), [twin]),
                    "name": (each, [name for name, _ in names]),
                    "unit": (each, [unit for _, unit in names]),
                    "mean": track.mean.ravel(),
                    "sd": track.sd.ravel(),
                },
            )


def events(store: Reading, wanted: Wanted) -> Iterator[tuple[np.ndarray, Table]]:
    """What happened, in the order in which it was written."""
    after = 0
    while page := store.event_page(after, 2000):
        after = page[-1].id
        rows = [
            e for e in page
            if wanted.start <= e.t <= wanted.end and (not wanted.twins or e.twin in wanted.twins)
        ]  # fmt: skip
        t = np.array([e.t for e in rows])
        texts = {
            "twin": [e.twin for e in rows],
            "kind": [e.kind for e in rows],
            "id": [e.ref for e in rows],
            "by": [str(e.data.get("by", "")) for e in rows],
            "derived": [str(bool(e.data.get("derived"))).lower() for e in rows],
            "belief": [str(e.data.get("belief", "")) for e in rows],
            "data": [json.dumps(e.data.get("data", e.data), sort_keys=True, ensure_ascii=False) for e in rows],
        }
        received = np.array([float(e.data.get("received", np.nan)) for e in rows])
        yield t, {"time": _time(t), "t": t, "received": received, **{k: _texts(v) for k, v in texts.items()}}


class ParquetTables:
    """Parquet files of one row group a batch, compressed; names are dictionaries."""

    def __init__(self) -> None:
        self._arrow, self._parquet = need("pyarrow", "frames"), need("pyarrow.parquet", "frames")
        self._open: OrderedDict[Path, Any] = OrderedDict()
        self._parts: dict[Path, int] = {}

    def write(self, path: Path, table: Table) -> None:
        """Append a row group."""
        arrays = {name: self._array(column) for name, column in table.items()}
        rows = self._arrow.table(arrays)
        writer = self._open.pop(path, None)
        if writer is None:
            part = self._parts[path] = self._parts.get(path, -1) + 1
            path.mkdir(parents=True, exist_ok=True)
            writer = self._parquet.ParquetWriter(path / f"part-{part}.parquet", rows.schema, compression="zstd")
            if len(self._open) >= OPEN:
                self._open.popitem(last=False)[1].close()
        self._open[path] = writer
        writer.write_table(rows)

    def close(self) -> None:
        """Finish all files."""
        while self._open:
            self._open.popitem()[1].close()

    def _array(self, column: Column) -> Any:
        if isinstance(column, tuple):
            index, names = column
            texts = self._arrow.array(list(names), self._arrow.string())
            return self._arrow.DictionaryArray.from_arrays(self._arrow.array(index, self._arrow.int32()), texts)
        if column.dtype.kind == "M":
            return self._arrow.array(column).cast(self._arrow.timestamp("us", tz="UTC"))
        return self._arrow.array(column)


class CsvTables:
    """CSV files with a header; what is missing (NaN) is empty, numbers keep every digit."""

    def __init__(self) -> None:
        self._begun: set[Path] = set()

    def write(self, path: Path, table: Table) -> None:
        """Append rows."""
        import csv

        path.mkdir(parents=True, exist_ok=True)
        with (path / "part-0.csv").open("a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            if path not in self._begun:
                self._begun.add(path)
                writer.writerow(table)
            writer.writerows(zip(*(_cells(column) for column in table.values()), strict=True))

    def close(self) -> None:
        """Nothing is open between two batches."""


def _readings(
    held: Sequence[Block], wanted: Wanted, use: np.ndarray, places: np.ndarray, columns: Sequence[Sequence[str]]
) -> Iterator[tuple[np.ndarray, Table]]:
    if not held:
        return
    t = np.concatenate([b.rows.t for b in held])
    tag = np.concatenate([b.rows.tag for b in held])
    keep = use[tag] & (t >= wanted.start) & (t <= wanted.end)
    if not keep.any():
        return
    value = np.concatenate([b.rows.value for b in held])[keep]
    received = np.concatenate([np.full(len(b.rows), b.received) for b in held])[keep]
    t, tag = t[keep], tag[keep]
    texts = {n: (places[i][tag], columns[i]) for i, n in enumerate(("twin", "tag", "field", "unit"))}
    yield t, {"time": _time(t), "t": t, "received": received, **texts, "value": value}


def _about(store: Reading) -> dict[tuple[str, str], tuple[str, str]]:
    """(twin, tag) -> (field, unit), as the newest start that wired the tag says."""
    found: dict[tuple[str, str], tuple[str, str]] = {}
    members = fleets_in(store)
    for start in store.events(kinds=(KIND,)):
        for tag, (field, unit, _) in start.data["data"]["tags"].items():
            for twin in members.get(start.twin, (start.twin,)):
                found[twin, tag] = field, unit
    return found


def _with_members(store: Reading, twins: Collection[str]) -> frozenset[str]:
    """The twins, and of fleets among them the members."""
    if not twins:
        return frozenset()
    members = fleets_in(store)
    return frozenset(twins).union(*(members.get(twin, ()) for twin in twins))


def _windows(spans: Sequence[tuple[float, float, int]], wanted: Wanted) -> Iterator[tuple[float, float]]:
    """Times that together hold every instant once, with about `BATCH` estimates in each."""
    held, start, newest = 0, wanted.start, -inf
    for oldest, last, rows in spans:
        if held and held + rows > BATCH // 16 and oldest > start:
            yield start, min(float(np.nextafter(oldest, -inf)), wanted.end)
            held, start = 0, max(oldest, wanted.start)
        held, newest = held + rows, max(newest, last)
    if held and start <= min(newest, wanted.end):
        yield start, min(newest, wanted.end)


def _by_day(tables: Tables, folder: Path, t: np.ndarray, table: Table) -> None:
    days, which = np.unique(np.floor(t / DAY), return_inverse=True)
    for i, day in enumerate(days):
        mine = np.flatnonzero(which == i)
        name = str(np.datetime64(int(day), "D"))
        part = {k: (c[0][mine], c[1]) if isinstance(c, tuple) else c[mine] for k, c in table.items()}
        tables.write(folder / f"date={name}", part)


def _time(t: np.ndarray) -> np.ndarray:
    return np.round(np.clip(t, -1e11, 1e11) * 1e6).astype("datetime64[us]")


def _texts(values: Sequence[str]) -> Column:
    names = sorted(set(values))
    place = {name: i for i, name in enumerate(names)}
    return np.array([place[v] for v in values], np.int32), names


def _cells(column: Column) -> list[Any]:
    if isinstance(column, tuple):
        index, names = column
        return [names[i] for i in index.tolist()]
    if column.dtype.kind == "M":
        return [f"{text}Z" for text in np.datetime_as_string(column).tolist()]
    return ["" if v != v else v for v in column.tolist()]


SOURCES = {"readings": readings, "estimates": estimates, "events": events}
