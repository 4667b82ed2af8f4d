"""The command line. Every command takes `--json`; errors are one message, and the exit status tells their kind.

0 done   1 failed   2 wrong usage   3 the twin is declared wrongly   4 a computation failed   5 wrong input
6 the store cannot be used   7 not allowed   8 an optional package is missing   130 interrupted
"""

import sys

import typer

import pollux
from pollux.core.errors import PolluxError
from pollux.runtime.cli import local, remote
from pollux.runtime.cli.connection import Refused
from pollux.runtime.cli.output import complain

EXIT_CODES = (
    "Exit status: 0 done, 1 failed, 2 wrong usage, 3 twin declared wrongly, 4 computation failed, 5 wrong input, "
    "6 store unusable, 7 not allowed, 8 optional package missing, 130 interrupted."
)

cli = typer.Typer(
    name="pollux",
    help="Digital twins of real assets, from definition to guarded autonomy.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"pollux {pollux.__version__}")
        raise typer.Exit


@cli.callback()
def _main(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version"),
) -> None:
    pass


local.add_commands(cli)
remote.add_commands(cli)


def app(arguments: list[str] | None = None) -> None:
    """Run a command and leave the process with its exit status; never with a traceback."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: list[str]) -> int:
    """Run a command: its exit status."""
    try:
        status = cli(arguments, prog_name="pollux", standalone_mode=False)
        return status if isinstance(status, int) else 0
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except BaseExceptionGroup as group:
        return _tell(_first(group))
    except Exception as error:
        return _tell(error)


def _tell(error: BaseException) -> int:
    if isinstance(error, Refused):
        complain(str(error), error.way_out, error.rule)
        return error.exit_code
    if isinstance(error, PolluxError):
        message, _, way_out = str(error).rpartition("; ")
        complain(message or way_out, way_out if message else "")
        return error.exit_code
    if callable(show := getattr(error, "show", None)) and hasattr(error, "exit_code"):
        show()  # wrong usage, said by the parser; newer typer has its own copy of click, so its type says nothing
        return int(getattr(error, "exit_code", 2))
    if isinstance(error, OSError) and error.filename:
        complain(f"{error.filename!r} cannot be used ({error.strerror})", "Give another place, or its permissions")
        return 5
    complain(f"Pollux failed ({type(error).__name__}: {error})", "Please report it with the command that you gave")
    return 1


def _first(group: BaseExceptionGroup) -> BaseException:
    """The first error in a group that says something."""
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            error = _first(error)
        if isinstance(error, PolluxError):
            return error
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
