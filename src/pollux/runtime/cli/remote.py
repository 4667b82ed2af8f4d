"""One command for each capability, generated from the table: the server decides, this only asks and shows."""

import inspect
import math
import types
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

import typer
from pydantic.fields import FieldInfo

from pollux.core.errors import InputError
from pollux.runtime.cli.connection import connect
from pollux.runtime.cli.output import emit
from pollux.runtime.cli.views import seen
from pollux.runtime.serve.capabilities import CAPABILITIES
from pollux.runtime.serve.capability import Capability

Twin = Annotated[str, typer.Option("--twin", "-t", help="Name of the twin; not needed where there is only one")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON")]
Url = Annotated[str | None, typer.Option("--url", envvar="POLLUX_URL", help="Address of the server")]
Token = Annotated[str | None, typer.Option("--token", envvar="POLLUX_TOKEN", help="Token, for a server elsewhere")]
State = Annotated[Path | None, typer.Option("--state", envvar="POLLUX_STATE", help="State folder of the project")]
Assigned = Annotated[list[str], typer.Option("--set", metavar="NAME=VALUE", help="A name and its value; repeatable")]


OWN = ("audit", "recall", "refold", "stop")
"""Capabilities whose command does more than ask the server (`local`)."""


def add_commands(app: typer.Typer) -> None:
    """Add the commands to the application."""
    for capability in CAPABILITIES.values():
        if capability.name in OWN:
            continue
        name = capability.name.replace("_", "-")
        panel = "Look" if capability.kind == "query" else "Act"
        app.command(name, help=capability.summary, rich_help_panel=panel)(command_of(capability))


def command_of(capability: Capability) -> Any:
    """The function that typer calls: required texts and numbers are arguments, the rest are options."""
    fields = capability.params.model_fields
    parameters = [_parameter(n, f) for n, f in sorted(fields.items(), key=lambda item: not item[1].is_required())]
    common = {
        "twin": (Twin, ""),
        "json": (Json, False),
        "url": (Url, None),
        "token": (Token, None),
        "state": (State, None),
    }
    if capability.scope == "fleet":
        del common["twin"]
    parameters += [_keyword(n, kind, default) for n, (kind, default) in common.items()]

    def run(**given: Any) -> None:
        params = {n: _given(n, given[n]) for n in fields}
        link = connect(given["url"], given["token"], given["state"])
        found = link.run(capability, given.get("twin", ""), params)
        emit(found if given["json"] else seen(capability.name, found), given["json"])

    run.__name__ = capability.name
    run.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportFunctionMemberAccess]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    return run


def assignments(pairs: list[str]) -> dict[str, float]:
    """`["pump=0.5"]` -> `{"pump": 0.5}`. Raises `InputError`."""
    found: dict[str, float] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (equals and name and math.isfinite(value)):
            raise InputError(f"`--set` takes NAME=VALUE with a finite number, received {pair!r}")
        found[name.strip()] = value
    return found


def _parameter(name: str, field: FieldInfo) -> inspect.Parameter:
    kind, help_ = _plain(field.annotation), field.description or ""
    if name == "values":
        return _keyword(name, Assigned, ... if field.is_required() else [])
    if field.is_required():
        return _keyword(name, Annotated[kind, typer.Argument(help=help_)], ...)
    option = typer.Option(f"--{name.replace('_', '-')}", help=help_)
    optional = type(None) in get_args(field.annotation)
    return _keyword(name, Annotated[kind | None if optional else kind, option], field.default)


def _keyword(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    default = inspect.Parameter.empty if default is ... else default
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _plain(annotation: Any) -> Any:
    """`Annotated[float, ...] | None` -> `float`."""
    if get_origin(annotation) is Annotated:
        return _plain(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return _plain(next(a for a in get_args(annotation) if a is not type(None)))
    return annotation


def _given(name: str, value: Any) -> Any:
    return assignments(value) if name == "values" else value
