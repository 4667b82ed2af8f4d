"""`pollux export parquet` and `pollux export csv`: what a project's store holds, as tables."""

from pathlib import Path
from typing import Annotated

import typer

from pollux.core.errors import InputError
from pollux.runtime.cli.output import emit
from pollux.runtime.cli.remote import Json, State
from pollux.runtime.cli.state import only_state

Out = Annotated[Path, typer.Argument(help="Folder to make; it must not exist yet")]
Start = Annotated[str, typer.Option(help="First event time: 2026-11-24T14:03 (UTC unless it says), or seconds")]
End = Annotated[str, typer.Option(help="Last event time")]
Twins = Annotated[list[str] | None, typer.Option("--twin", "-t", help="Only this twin, or this fleet; repeatable")]
NOT_KEPT = (
    "Estimates of members of fleets are not in the store, because they can be computed again: "
    "`pollux recall MEMBER --at TIME` gives those of a moment"
)
What = Annotated[str, typer.Option(help="Of readings, estimates, events: which, comma-separated; left out = all")]


def export_parquet(
    out: Out, start: Start = "", end: End = "", twin: Twins = None, what: What = "", json: Json = False,
    state: State = None,
) -> None:  # fmt: skip
    """Write readings, estimates and events as Parquet, by day; from a running or a stopped project."""
    _export(out, start, end, twin, what, json, state, "parquet")


def export_csv(
    out: Out, start: Start = "", end: End = "", twin: Twins = None, what: What = "", json: Json = False,
    state: State = None,
) -> None:  # fmt: skip
    """Write readings, estimates and events as CSV, by day; from a running or a stopped project."""
    _export(out, start, end, twin, what, json, state, "csv")


def _export(
    out: Path, start: str, end: str, twin: list[str] | None, what: str, json: bool, state: Path | None, form: str
) -> None:
    from pollux.runtime.export import TABLES, Wanted, export
    from pollux.runtime.fleets.kept import fleets_in
    from pollux.runtime.moments import moment
    from pollux.runtime.store.reading import reading

    tables = tuple(n for n in what.split(",") if n) or TABLES
    for name in tables:
        if name not in TABLES:
            raise InputError(f"`--what` takes {', '.join(TABLES)}, received {name!r}")
    given = {k: moment(v).t for k, v in (("start", start), ("end", end)) if v}
    with reading((state or only_state()) / "journal.db") as store:
        for name in twin or ():
            if name not in store.twins:
                raise InputError(f"The store holds no twin {name!r}; it holds {store.twins[:20]}")
        fleets = fleets_in(store)
        theirs = set(fleets).union(*fleets.values())
        if twin and tables == ("estimates",) and theirs.issuperset(twin):
            raise InputError(NOT_KEPT)
        note = {"note": NOT_KEPT} if "estimates" in tables and not theirs.isdisjoint(twin or theirs) else {}
        rows = export(store, out, Wanted(**given, twins=tuple(twin or ()), tables=tables), form)
    emit({"folder": str(out), **rows, **note}, json)
