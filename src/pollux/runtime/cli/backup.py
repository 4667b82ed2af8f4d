"""`pollux backup` and `pollux restore`: a copy of a project while it runs, and the way back."""

from pathlib import Path
from typing import Annotated

import typer

from pollux.runtime.cli.output import emit
from pollux.runtime.cli.remote import Json, State


def backup(
    out: Annotated[Path, typer.Argument(help="Folder to make; it must not exist yet")],
    project: Annotated[Path, typer.Argument(help="Folder with a `pollux.toml`, or the file itself")] = Path(),
    json: Json = False,
    state: State = None,
) -> None:
    """Copy a project, running or not, into a new folder: journal, audit log, keys, tokens, stop, wiring and code."""
    from rich.console import Console
    from rich.progress import Progress

    from pollux.runtime.backup import back_up
    from pollux.runtime.clock import SystemClock
    from pollux.runtime.launch import default_state
    from pollux.runtime.wiring import read_wiring

    wiring = read_wiring(project)
    with Progress(console=Console(stderr=True), transient=True, disable=json) as bar:
        task = bar.add_task("journal", total=1.0)
        found = back_up(
            wiring, state or default_state(wiring), out, SystemClock().now(),
            lambda share: bar.update(task, completed=share),
        )  # fmt: skip
    told = {k: v for k, v in found.items() if k != "files"} | {"folder": str(out), "files": len(found["files"])}
    if found["journal"] == "postgresql":
        told["note"] = "The journal is in PostgreSQL and is not in this copy: take it with pg_dump, before this command"
    emit(told, json)


def restore(
    folder: Annotated[Path, typer.Argument(help="Folder that `pollux backup` made")],
    json: Json = False,
    state: State = None,
) -> None:
    """Check a backup and put its state where a project can run on it; refuses to overwrite."""
    from pollux.runtime import backup as backups

    name = backups.check_backup(folder)["project"]
    target = state or Path(".pollux") / name
    found = backups.restore(folder, target)
    emit(
        {"state": str(target), "rows": found["rows"], "made": found["made"],
         "next": f"pollux run {folder / 'project'} --state {target}"}, json,
    )  # fmt: skip
