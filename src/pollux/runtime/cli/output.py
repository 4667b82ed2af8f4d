"""How the command line speaks: tables for people, `--json` for programs, one message for an error."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table

from pollux.runtime.jsonable import jsonable

INSTANTS = ("t", "t0", "t_median", "t_early", "expires", "auto_at", "wall", "start", "end")
"""Fields that hold seconds since 1970 UTC."""
LONG = 22
"""Characters beyond which a column is folded."""
WIDE = 12
"""Columns of a table beyond this many are left to `--json`."""


def emit(value: Any, as_json: bool) -> None:
    """Print a result."""
    if as_json:
        print(json.dumps(jsonable(value), allow_nan=False, ensure_ascii=False, indent=1))
    else:
        show(Console(), value)


def complain(message: str, way_out: str = "", rule: str = "") -> None:
    """Print an error on stderr: what is wrong, and the way out."""
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    console.print(f"[bold]Error[/bold]{f' ({rule})' if rule else ''}: ", end="")
    console.print(message, markup=False)
    if way_out:
        console.print(f"  {way_out}", markup=False)


def show(console: Console, value: Any, title: str = "") -> None:
    """Print anything that a capability answers: scalars as lines, lists of records as tables, series as their ends."""
    if isinstance(value, str):
        console.print(value, markup=False)
    elif isinstance(value, Mapping):
        _mapping(console, value, title)
    elif isinstance(value, Sequence) and value and all(isinstance(v, Mapping) for v in value):
        console.print(_table(value, title))
    elif isinstance(value, Sequence) and value and all(isinstance(v, str) for v in value):
        console.print(f"{title}:", *value, sep="\n  ", markup=False, highlight=False, soft_wrap=True)
    else:
        console.print(f"{title}: {cell(value)}" if title else cell(value), markup=False)


def cell(value: Any) -> str:
    """One value in one cell."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}" if abs(value) < 1e8 else f"{value:.0f}"
    if isinstance(value, Mapping):
        if {"label", "value", "unit"} <= set(value):
            unit = "" if value["unit"] == "1" else f" {value['unit']}"
            return f"{value['label']} {cell(value['value'])}{unit}"
        return ", ".join(f"{k} {cell(v)}" for k, v in value.items())
    if isinstance(value, list):
        if len(value) > 6 and not isinstance(value[0], Mapping | list):
            return f"{cell(value[0])} .. {cell(value[-1])} ({len(value)})"
        return "; ".join(cell(v) for v in value)
    return str(value)


def _mapping(console: Console, value: Mapping[str, Any], title: str) -> None:
    plain = {k: v for k, v in value.items() if not isinstance(v, Mapping | list) or not v}
    if plain:
        table = Table(show_header=False, box=None, title=title or None, title_justify="left")
        for k, v in plain.items():
            table.add_row(k.replace("_", " "), _named(k, v) if v not in ({}, []) else "none")
        console.print(table)
    for k, v in value.items():
        if k in plain:
            continue
        if isinstance(v, Mapping) and all(isinstance(r, Mapping) for r in v.values()):
            console.print(_table([{"name": n, **row} for n, row in v.items()], k))
        elif isinstance(v, Mapping):
            console.print(_table([{"name": n, "value": row} for n, row in v.items()], k))
        else:
            show(console, v, k)


def _table(rows: Sequence[Mapping[str, Any]], title: str) -> Table:
    columns = list(dict.fromkeys(k for row in rows for k in row))[:WIDE]
    table = Table(title=title or None, title_justify="left")
    cells = [[_named(c, row.get(c)) for c in columns] for row in rows]
    for i, column in enumerate(columns):
        long = max((len(row[i]) for row in cells), default=0) > LONG
        table.add_column(column.replace("_", " "), overflow="fold", no_wrap=not long, min_width=LONG if long else None)
    for row in cells:
        table.add_row(*row)
    return table


def _named(name: str, value: Any) -> str:
    """A cell; instants as people write them."""
    if name in INSTANTS and isinstance(value, float) and 1e8 < value < 1e11:
        return instant(value)
    return cell(value)


def instant(t: float | None) -> str:
    """Seconds since 1970 UTC as people write them."""
    return "-" if t is None else f"{datetime.fromtimestamp(t, UTC):%Y-%m-%d %H:%M:%S}"
