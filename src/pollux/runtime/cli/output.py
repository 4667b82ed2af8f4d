"""How the command line speaks: tables for people, `--json` for programs, one message for an error."""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from pollux.runtime.jsonable import jsonable

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
            table.add_row(k.replace("_", " "), cell(v) if v not in ({}, []) else "none")
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
    for column in columns:
        table.add_column(column.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(cell(row.get(c)) for c in columns))
    return table


def is_terminal() -> bool:
    """Whether somebody is watching."""
    return sys.stdout.isatty()
