"""`pollux recall`: what a twin knew at a moment, from the running project, or from a state folder without it."""

from pathlib import Path
from typing import Annotated, Any

import typer

from pollux.runtime.cli.output import emit
from pollux.runtime.cli.remote import Json, State, Token, Url
from pollux.runtime.cli.views import seen
from pollux.runtime.serve.capabilities import CAPABILITIES


def recall(
    twin: Annotated[str, typer.Argument(help="Name of the twin; not needed where there is only one")] = "",
    at: Annotated[
        str, typer.Option(help="2026-11-24T14:03 (UTC unless it says otherwise), or seconds since 1970")
    ] = "",
    event_time: Annotated[
        bool, typer.Option("--event-time", help="What was believed about this time, instead of at this time")
    ] = False,
    plant_clock: Annotated[
        bool,
        typer.Option("--plant-clock", help="The time is what the plant's own clock showed (a simulation, a replay)"),
    ] = False,
    project: Annotated[
        Path | None, typer.Option(help="Compute it here, from the project's files and its state folder, not the server")
    ] = None,
    json: Json = False,
    url: Url = None,
    token: Token = None,
    state: State = None,
) -> None:
    """What the twin knew at a past moment, computed again from the journal, bit for bit."""
    from pollux.runtime.cli.connection import connect
    from pollux.runtime.moments import moment

    when = moment(at, event_time, plant_clock)
    if project is None:
        asked = {"event_time": event_time, "plant_clock": plant_clock}
        params = {"at": at} | {name: "true" for name, yes in asked.items() if yes}
        found = connect(url, token, state).run(CAPABILITIES["recall"], twin, params)
    else:
        found = offline(project, state, twin, when)
    emit(found if json else seen("recall", found), json)


def offline(project: Path, state: Path | None, twin: str, when: Any) -> dict[str, Any]:
    """The same without a server. Beside a running project this is safe: the store is only read."""
    from pollux.runtime.clock import SystemClock
    from pollux.runtime.fleets.build import fleet_base
    from pollux.runtime.fleets.kept import fleet_of
    from pollux.runtime.fleets.recall import recall_member
    from pollux.runtime.launch import default_state, use_compilation_cache
    from pollux.runtime.moments import Moment
    from pollux.runtime.reached import reached
    from pollux.runtime.recall import answer, recall, subject
    from pollux.runtime.store.reading import reading
    from pollux.runtime.wiring import read_wiring

    use_compilation_cache()
    wiring = read_wiring(project)
    with reading((state or default_state(wiring)) / "journal.db") as store:
        fleet = fleet_of(wiring, store, twin)
        if fleet is not None:
            base = fleet_base(fleet, wiring.folder, SystemClock())
            return answer(recall_member(base, twin, store, when))
        whose = subject(wiring, twin)
        if when.plant_clock:
            when = Moment(reached(whose, store, when.t, SystemClock().now()))
        return answer(recall(whose, store, when))
