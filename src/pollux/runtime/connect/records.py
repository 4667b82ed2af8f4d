"""Records on the disk as messages in order: CSV with the standard library, Parquet with pyarrow (extra `frames`).

    wide   one column of time, one column for each tag; an empty cell or NaN says nothing
    long   columns time, tag, value

Time is a number of seconds (plus `origin`), or ISO 8601 text (UTC where no zone is named), or, without a time column,
the row number times `step`.
"""

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from pollux.core.errors import InputError, MissingExtraError
from pollux.runtime.connect.wire import Message
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


def read_record(path: Path, form: RecordFormat, source: str, site: str) -> Iterator[list[Message]]:
    """The messages of each row. Raises `InputError` that names file, row and column."""
    rows = _parquet_rows(path) if path.suffix in (".parquet", ".pq") else _csv_rows(path)
    names = next(rows, None)
    if names is None:
        raise InputError(f"A record has a heading: {path} is empty. Name another file.")
    where = {name: i for i, name in enumerate(names)}
    column = _column(path, where, form.time) if form.time is not None else None
    if form.layout == "long":
        tag, value = _column(path, where, form.tag), _column(path, where, form.value)
        for number, row in enumerate(rows):
            t = _time(path, number, row, column, form)
            v = _value(path, number, form.value, row[value])
            yield [] if v is None else [Message(source, site, str(row[tag]), t, v)]
        return
    tags = {_column(path, where, name): tag for name, tag in form.columns.items()} or {
        i: name for name, i in where.items() if i != column
    }
    for number, row in enumerate(rows):
        t = _time(path, number, row, column, form)
        values = ((tag, _value(path, number, names[i], row[i])) for i, tag in tags.items())
        yield [Message(source, site, tag, t, v) for tag, v in values if v is not None]


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
    try:
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise MissingExtraError("pyarrow", "frames") from error
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
    raise InputError(f"Time is a number of seconds or ISO 8601: row {number + 1} of {path} has {cell!r}. Correct it.")


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
        raise InputError(
            f"A value is a number: row {number + 1}, column {column!r} of {path} has {cell!r}. "
            "Correct it, or leave the cell empty."
        ) from None
    return None if math.isnan(value) else value


def first_time(path: Path, form: RecordFormat) -> float | None:
    """Event time of the first row that says something: where a twin may start."""
    for messages in islice(read_record(path, form, "", ""), 10_000):
        if messages:
            return messages[0].t
    return None
