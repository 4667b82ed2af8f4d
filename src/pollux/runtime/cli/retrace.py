"""`pollux audit replay`: decide again everything that a journal says was decided, and compare bit for bit."""

from pathlib import Path
from typing import Annotated, Any

import typer

from pollux.core.errors import AccessError
from pollux.runtime.cli.output import emit
from pollux.runtime.cli.remote import Json, State


def audit_replay(
    project: Annotated[Path, typer.Argument(help="Folder with a `pollux.toml`, or the file itself")] = Path(),
    twin: Annotated[str, typer.Option("--twin", "-t", help="Only this twin")] = "",
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
    """What came of every twin, and of the audit log."""
    from pollux.autonomy.audit import verify
    from pollux.runtime.launch import default_state, use_compilation_cache
    from pollux.runtime.recall import subject
    from pollux.runtime.retrace import compare_audit, retrace
    from pollux.runtime.store.reading import reading
    from pollux.runtime.wiring import read_wiring

    use_compilation_cache()
    wiring = read_wiring(project)
    folder = state or default_state(wiring)
    log, head, key = folder / "audit.jsonl", folder / "audit.head", folder / "keys" / "audit.key"
    names = [only] if only else [t.name for t in wiring.twins]
    with reading(folder / "journal.db") as store:
        found = [retrace(subject(wiring, name), store) for name in names]
    chain = verify(log, head, key)
    audit = compare_audit(found, log) if log.exists() else (0, 0, "")
    wrong = [f"{f.twin}: {f.difference}" for f in found if f.difference]
    wrong += [] if chain.ok else [f"the audit log does not hold: {chain.reason}"]
    wrong += [audit[2]] if audit[2] else []
    return {
        "twins": [{"twin": f.twin, **vars(f.tally), "note": f.note} for f in found],
        "audit_records": audit[0],
        "audit_lost": audit[1],
        "difference": wrong[0] if wrong else "",
    }
