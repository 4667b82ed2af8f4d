"""`pollux audit replay`: decide again everything that a journal says was decided, and compare bit for bit."""

from pathlib import Path
from typing import Annotated, Any

import typer

from pollux.core.errors import AccessError, InputError
from pollux.runtime.cli.output import emit
from pollux.runtime.cli.remote import Json, State


def audit_replay(
    project: Annotated[Path, typer.Argument(help="Folder with a `pollux.toml`, or the file itself")] = Path(),
    twin: Annotated[str, typer.Option("--twin", "-t", help="Only this twin, or this fleet")] = "",
    json: Json = False,
    state: State = None,
) -> None:
    """Decide again all that the journal tells of, and compare bit for bit. Exit status 7 at the first difference.

    It only reads, so a copy, a backup, or the folder of a running project will do.
    """
    found = retraced(project, state, twin)
    emit(found, json)
    if found["difference"]:
        raise AccessError(f"The journal does not come out again: {found['difference']}; keep the folder as it is")


def retraced(project: Path, state: Path | None, only: str) -> dict[str, Any]:
    """What came of every twin and fleet, and of the audit log."""
    from pollux.runtime.clock import SystemClock
    from pollux.runtime.fleets.build import fleet_base
    from pollux.runtime.launch import default_state, use_compilation_cache
    from pollux.runtime.recall import subject
    from pollux.runtime.retrace import judges_of, retrace_all
    from pollux.runtime.wiring import read_wiring

    use_compilation_cache()
    wiring = read_wiring(project)
    fleets = [f for f in wiring.fleets if only in ("", f.each.name)]
    members = {m.name: f.each.name for f in wiring.fleets for m in f.members}
    if only in members:
        raise InputError(f"{only!r} is a member of a fleet, which is retraced as a whole: `--twin {members[only]}`")
    names = [] if only and fleets else [only] if only else [t.name for t in wiring.twins]
    whose = [subject(wiring, name) for name in names]
    judged = [(each, judges_of(each)) for each in whose]
    bases = [fleet_base(fleet, wiring.folder, SystemClock()) for fleet in fleets]
    return retrace_all(judged, state or default_state(wiring), bases)
