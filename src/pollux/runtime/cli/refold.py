"""`pollux refold`: fuse what came too late, in the running project, or in a stopped one from its state folder."""

import asyncio
import getpass
from pathlib import Path
from typing import Annotated, Any

import typer

from pollux.runtime.cli.output import emit
from pollux.runtime.cli.remote import Json, State, Token, Url
from pollux.runtime.serve.capabilities import CAPABILITIES


def refold(
    twin: Annotated[str, typer.Argument(help="Name of the twin; not needed where there is only one")] = "",
    start: Annotated[
        str, typer.Option("--from", help="2026-11-24T14:03 (UTC) or seconds since 1970; left out = everything")
    ] = "",
    reason: Annotated[str, typer.Option(help="Why; it is recorded")] = "values came late",
    project: Annotated[
        Path | None, typer.Option(help="Do it here, in a project that does not run, from its files and state folder")
    ] = None,
    json: Json = False,
    url: Url = None,
    token: Token = None,
    state: State = None,
) -> None:
    """Fuse values that came too late: the estimate goes on as if all had come in order; what was recorded stays."""
    from pollux.runtime.cli.connection import connect
    from pollux.runtime.moments import moment

    since = moment(start).t if start else None
    if project is None:
        found = connect(url, token, state).run(CAPABILITIES["refold"], twin, {"start": since, "reason": reason})
    else:
        found = asyncio.run(offline(project, state, twin, since, reason))
    emit(found, json)


async def offline(project: Path, state: Path | None, twin: str, start: float | None, reason: str) -> dict[str, Any]:
    """The same without a server: the project is raised without its connectors. Raises `FencedError` where it runs."""
    from pollux.autonomy.policy import Principal
    from pollux.runtime.clock import SystemClock
    from pollux.runtime.connect.memory import MemoryConnector
    from pollux.runtime.engine import Engine
    from pollux.runtime.launch import default_state, use_compilation_cache
    from pollux.runtime.wiring import read_wiring

    use_compilation_cache()
    wiring = read_wiring(project)
    engine = Engine(wiring, state or default_state(wiring), SystemClock())
    running = asyncio.create_task(engine.run(lambda wired, after: MemoryConnector(wired.name)))
    live = asyncio.create_task(engine.live.wait())
    try:
        await asyncio.wait([running, live], return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            await running
        name = twin or (wiring.twins[0].name if len(wiring.twins) == 1 else "")
        return await engine.archive.refold(name, Principal(getpass.getuser(), "engineer", "person"), start, reason)
    finally:
        live.cancel()
        running.cancel()
        await asyncio.gather(live, running, return_exceptions=True)
