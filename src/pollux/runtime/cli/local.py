"""The commands that are not capabilities: run a project, check, fit and replay a twin, export, audit, MCP."""

import asyncio
import contextlib
import getpass
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer

from pollux.core.errors import AccessError, DefinitionError, InputError, StoreError
from pollux.runtime.cli.backup import backup, restore
from pollux.runtime.cli.edge import EdgeKernel
from pollux.runtime.cli.export import export_csv, export_parquet
from pollux.runtime.cli.output import emit
from pollux.runtime.cli.recall import recall
from pollux.runtime.cli.refold import refold
from pollux.runtime.cli.remote import Json, State, Token, Twin, Url, command_of
from pollux.runtime.cli.retrace import audit_replay
from pollux.runtime.cli.state import only_state
from pollux.runtime.serve.capabilities import CAPABILITIES

Project = Annotated[Path, typer.Argument(help="Folder with a `pollux.toml`, or the file itself")]
Definition = Annotated[str, typer.Argument(metavar="TWIN", help="`module:Name` or `file.py:Name`")]
Data = Annotated[Path, typer.Argument(metavar="DATA", help="CSV or Parquet with a column `t` in seconds")]
Port = Annotated[int | None, typer.Option(help="Port; left out = as wired, else 8850")]
Speed = Annotated[float | None, typer.Option(min=0.0, help="Speed-up of a replay or of the demo plant")]
NoBrowser = Annotated[bool, typer.Option("--no-browser", help="Do not open a browser")]

STOP_FILE = "STOPPED"
"""Name of the stop file in the state folder; the engine watches it."""

audit_app = typer.Typer(help="The audit log.", no_args_is_help=True)
export_app = typer.Typer(help="Write what a project holds as tables, or a kernel of a twin as C.", no_args_is_help=True)


def add_commands(app: typer.Typer) -> None:
    """Add the commands to the application."""
    for name, command, panel in (
        ("run", run, "Run"),
        ("demo", demo, "Run"),
        ("mcp", mcp, "Run"),
        ("check", check, "Twins"),
        ("fit", fit, "Twins"),
        ("replay", replay, "Twins"),
        ("recall", recall, "Look"),
        ("backup", backup, "Run"),
        ("restore", restore, "Run"),
        ("refold", refold, "Act"),
        ("stop", stop, "Act"),
    ):
        app.command(name, rich_help_panel=panel)(command)
    audit_app.command("log", help=CAPABILITIES["audit"].summary)(command_of(CAPABILITIES["audit"]))
    audit_app.command("replay")(audit_replay)
    app.add_typer(audit_app, name="audit", rich_help_panel="Look")
    export_app.command("parquet")(export_parquet)
    export_app.command("csv")(export_csv)
    export_app.command("c")(export_c)
    app.add_typer(export_app, name="export", rich_help_panel="Look")


def run(
    project: Project = Path(),
    port: Port = None,
    no_browser: NoBrowser = False,
    speed: Speed = None,
    state: State = None,
    json: Json = False,
) -> None:
    """Run a project: mirror its twins, serve the page and the API until interrupted."""
    _launch(project, port, no_browser, speed, state, json, demo=False)


def demo(
    project: Project = Path(),
    port: Port = None,
    no_browser: NoBrowser = False,
    speed: Speed = None,
    state: State = None,
    json: Json = False,
) -> None:
    """Run a project together with its simulated plant."""
    _launch(project, port, no_browser, speed, state, json, demo=True)


def mcp(url: Url = None, token: Token = None, state: State = None) -> None:
    """Serve the capabilities of the running project to an agent: Model Context Protocol over stdin and stdout."""
    from pollux.runtime.cli.mcp import serve_stdio

    serve_stdio(url, token, state)


def check(twin: Definition, json: Json = False) -> None:
    """Check a twin: units, shapes, speed, and whether its sensors determine its states and parameters."""
    from pollux.runtime.cli import offline

    loaded = offline.load_twin(twin)
    report = offline.check(loaded)
    kernels = offline.kernels(loaded)
    emit({**report.to_dict(), "kernels": kernels} if json else f"{report}\n{offline.kernel_lines(kernels)}", json)
    if not report.ok:
        raise typer.Exit(DefinitionError.exit_code)


def fit(
    twin: Definition,
    data: Data,
    free: Annotated[str, typer.Option(help="Parameters, comma-separated; left out = those with a prior")] = "",
    starts: Annotated[int, typer.Option(min=1, max=1000, help="Number of starts")] = 8,
    json: Json = False,
) -> None:
    """Calibrate a twin on a record: estimates, errors, and what the record cannot say."""
    from pollux.runtime.cli import offline

    names = tuple(n for n in free.split(",") if n) or None
    found = offline.fit(offline.load_twin(twin), data, names, starts)
    emit(found.to_dict() if json else repr(found), json)


def replay(
    twin: Definition,
    data: Data,
    track: Annotated[str, typer.Option(help="Parameters to track, comma-separated")] = "",
    json: Json = False,
) -> None:
    """Run a record through the mirror: errors, coverage, consistency, last estimates."""
    from pollux.runtime.cli import offline

    names = tuple(n for n in track.split(",") if n)
    emit(offline.replay(offline.load_twin(twin), data, names), json)


def export_c(
    twin: Definition,
    kernel: Annotated[EdgeKernel, typer.Option(help="What to print")] = "filter",
    out: Annotated[Path, typer.Option(help="Folder for the header and the source")] = Path(),
    single: Annotated[bool, typer.Option("--float", help="Single precision throughout")] = False,
    track: Annotated[str, typer.Option(help="Parameters to carry in the state, comma-separated")] = "",
    options: Annotated[str | None, typer.Option(help="For mpc: `module:NAME` of its `MpcOptions`")] = None,
    json: Json = False,
) -> None:
    """Print a kernel of a twin as one C99 file and its header, for a controller at the edge."""
    from pollux.runtime.cli import edge, offline

    names = tuple(n for n in track.split(",") if n)
    real = "float" if single else "double"
    emit(edge.export_c(offline.load_twin(twin), kernel, out, real, names, options), json)


def stop(
    reason: Annotated[str, typer.Option(help="Why; it is recorded")] = "",
    twin: Twin = "",
    json: Json = False,
    url: Url = None,
    token: Token = None,
    state: State = None,
) -> None:
    """Stop at once: latched, safe command sent; only a person resets it. Works without a server, by the stop file."""
    from pollux.autonomy.killswitch import KillSwitch
    from pollux.runtime.cli.connection import Refused, connect
    from pollux.runtime.clock import SystemClock

    try:
        emit(connect(url, token, state).run(CAPABILITIES["stop"], twin, {"reason": reason}), json)
    except Refused:
        raise
    except (InputError, AccessError):
        if url is not None:
            raise
        folder = state or only_state()
        switch = KillSwitch(folder / STOP_FILE)
        if not switch.stop(getpass.getuser(), reason, SystemClock().now()):
            raise StoreError(f"The stop file {str(switch.path)!r} cannot be written; stop the process") from None
        emit({"stopped": True, "file": str(switch.path), "note": "no server answered; it finds the file"}, json)


@audit_app.command("verify")
def audit_verify(
    state: State = None,
    json: Json = False,
) -> None:
    """Verify the whole audit chain against its head. Exit status 7 when it does not hold."""
    from pollux.autonomy.audit import verify

    folder = state or only_state()
    report = verify(folder / "audit.jsonl", folder / "audit.head", folder / "keys" / "audit.key")
    emit({"folder": str(folder), **vars(report)}, json)
    if not report.ok:
        raise AccessError(f"The audit log does not hold: {report.reason}; keep the folder as it is and investigate")


def _launch(
    project: Path, port: int | None, no_browser: bool, speed: float | None, state: Path | None, json: bool, demo: bool
) -> None:
    from pollux.runtime.clock import SystemClock
    from pollux.runtime.launch import launch
    from pollux.runtime.telemetry import start_logging

    start_logging(SystemClock())

    def announce(text: str) -> None:
        emit({"url": text.rpartition(" ")[2]} if json else text, json)
        sys.stdout.flush()

    asyncio.run(
        until_told(
            launch(
                project, state=state, port=port, demo=demo, speed=speed, open_browser=not no_browser, announce=announce
            )
        )
    )


async def until_told(work: Coroutine[Any, Any, None]) -> None:
    """Run until it ends or the process is told to (SIGINT, SIGTERM): then it is cancelled and winds up."""
    task = asyncio.ensure_future(work)
    told = False

    def tell() -> None:
        nonlocal told
        told = True
        task.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, tell)
    try:
        await task
    except asyncio.CancelledError:
        if not told:
            raise
