"""Records on the disk as messages in order: CSV, ULog (PX4), Parquet (extra `frames`), MCAP (extra `mcap`).

    wide   one column of time, one column for each tag; an empty cell or NaN says nothing
    long   columns time, tag, value

Time is a number of seconds (plus `origin`), or ISO 8601 text (UTC where no zone is named), or, without a time column,
the row number times `step`.
"""

import csv
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pollux.core.errors import InputError, MessageError
from pollux.core.extras import need
from pollux.runtime.connect.base import Unread
from pollux.runtime.connect.mcap import read_mcap
from pollux.runtime.connect.ulog import read_ulog
from pollux.runtime.connect.wire import Message, refuse
from pollux.runtime.tables import closest


@dataclass(frozen=True)
class RecordFormat:
    """How a record is to be read."""

    time: str | None = "t"
    """Column of time; None: there is none, `step` gives it."""
    step: float = 1.0
    origin: float = 0.0
    """Seconds since 1970 at time zero of the record."""
    layout: str = "wide"
    """`wide` or `long`."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Column -> tag (wide); empty: every other column is the tag of its name."""
    tag: str = "tag"
    value: str = "value"


@dataclass(frozen=True)
class Entry:
    """What one row says, and what of it could not be read."""

    messages: tuple[Message, ...] = ()
    unread: tuple[Unread, ...] = ()


def read_record(path: Path, form: RecordFormat, source: str, site: str) -> Iterator[Entry]:
    """The rows of a record. A cell that is no number and a row without a time are unread, with row and column named.

    Raises `InputError` where the whole file is wrong: missing, empty, not of its kind, without a column that is named.
    """
    if path.suffix in (".ulg", ".mcap"):
        read = read_ulog if path.suffix == ".ulg" else read_mcap
        for said in read(path, form.columns, form.origin, source, site):
            yield Entry((said.message,) if said.message else (), (said.unread,) if said.unread else ())
        return
    rows = _parquet_rows(path) if path.suffix in (".parquet", ".pq") else _csv_rows(path)
    names = next(rows, None)
    if names is None:
        raise InputError(f"A record has a heading: {path} is empty. Name another file.")
    where = {name: i for i, name in enumerate(names)}
    column = _column(path, where, form.time) if form.time is not None else None
    if form.layout == "long":
        cells = _long(_column(path, where, form.tag), _column(path, where, form.value), form.value)
    else:
        named = {_column(path, where, name): tag for name, tag in form.columns.items()}
        cells = _wide(named or {i: name for name, i in where.items() if i != column}, names)
    for number, row in enumerate(rows):
        yield _entry(path, number, row, column, cells(row), form, (source, site))


Cells = Callable[[Sequence[Any]], list[tuple[str, str, Any]]]
"""(tag, column, cell) of a row."""


def _long(tag: int, value: int, name: str) -> Cells:
    return lambda row: [(str(row[tag]), name, row[value])]


def _wide(tags: Mapping[int, str], names: Sequence[str]) -> Cells:
    return lambda row: [(tag, names[i], row[i]) for i, tag in tags.items()]


def _entry(
    path: Path,
    number: int,
    row: Sequence[Any],
    column: int | None,
    cells: list[tuple[str, str, Any]],
    form: RecordFormat,
    origin: tuple[str, str],
) -> Entry:
    source, site = origin
    messages: list[Message] = []
    unread: list[Unread] = []
    try:
        t = _time(path, number, row, column, form)
    except MessageError as error:
        return Entry((), (Unread(source, f"{path.name}:{number + 1}", _bytes(row), error),))
    for tag, name, cell in cells:
        try:
            value = _value(path, number, name, cell)
        except MessageError as error:
            unread.append(Unread(source, f"{path.name}:{number + 1}:{name}", _bytes(cell), error))
        else:
            if value is not None:
                messages.append(Message(source, site, tag, t, value))
    return Entry(tuple(messages), tuple(unread))


def _csv_rows(path: Path) -> Iterator[Sequence[Any]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            names = next(reader, None)
            if names is None:
                return
            yield [name.strip() for name in names]
            for row in reader:
                if row:
                    yield row + [""] * (len(names) - len(row))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"A record is a readable CSV file: {path}: {error}. Correct the path or the file.") from error


def _parquet_rows(path: Path) -> Iterator[Sequence[Any]]:
    parquet = need("pyarrow.parquet", "frames")
    try:
        file = parquet.ParquetFile(path)
        yield file.schema_arrow.names
        for batch in file.iter_batches():
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)
    except (OSError, ValueError) as error:
        raise InputError(f"A record is a readable Parquet file: {path}: {error}. Correct the path or file.") from error


def _column(path: Path, where: Mapping[str, int], name: str) -> int:
    if name not in where:
        raise InputError(
            f"A record has the columns that the wiring names: {path} has no {name!r}. {closest(name, where)}"
        )
    return where[name]


def _time(path: Path, number: int, row: Sequence[Any], column: int | None, form: RecordFormat) -> float:
    if column is None:
        return form.origin + number * form.step
    cell = row[column]
    try:
        if isinstance(cell, datetime):
            t = (cell if cell.tzinfo else cell.replace(tzinfo=UTC)).timestamp()
        else:
            t = _number_or_date(cell) + form.origin
        if math.isfinite(t):
            return t
    except (ValueError, TypeError, OverflowError):
        pass
    refuse("time", f"time is seconds or ISO 8601, in row {number + 1} of {path.name}", cell, "Correct that row.")


def _number_or_date(cell: Any) -> float:
    try:
        return float(cell)
    except ValueError:
        date = datetime.fromisoformat(str(cell).strip())
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()


def _value(path: Path, number: int, column: str, cell: Any) -> float | None:
    """A finite value, None for "nothing was said"."""
    if cell is None or (isinstance(cell, str) and cell.strip().lower() in ("", "nan", "na", "null")):
        return None
    try:
        value = float(cell)
    except (ValueError, TypeError):
        refuse(
            "malformed", f"a value is a number, in row {number + 1}, column {column!r} of {path.name}", cell,
            "Correct it, or leave the cell empty.",
        )  # fmt: skip
    if math.isinf(value):
        refuse(
            "nonfinite",
            f"a value is finite, in row {number + 1}, column {column!r} of {path.name}",
            cell,
            "Correct it.",
        )
    return None if math.isnan(value) else value


def _bytes(cell: Any) -> bytes:
    return repr(cell)[:1024].encode("utf-8", "replace")
