"""Which twin it was: what a project says about itself in the journal at every start.

A past state can be computed again only by the definition, the wiring and the software that computed it then. So each
start writes an event `raised` with their fingerprints, with the names and units of all that the journal holds (which
an export or an auditor needs without the project), and with the row from which the fold went on.
"""

import hashlib
import inspect
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pollux import __version__
from pollux.core.errors import InputError
from pollux.runtime.binding import Binding
from pollux.runtime.build import Foundation
from pollux.runtime.events import Event
from pollux.runtime.face import TwinFace
from pollux.runtime.store import base
from pollux.runtime.wiring import TwinWiring

KIND = "raised"
NUMERICS = ("jax", "jaxlib", "numpy", "scipy", "llvmlite")
"""What else may change the last bits of a result."""


@dataclass(frozen=True)
class Raised:
    """A start, as the journal tells it."""

    event: int
    """Id of the event."""
    seq: int
    """Rows that the journal held."""
    received: float
    """Wall time."""
    identity: str
    software: str
    began: int
    """The row from which the fold went on: that of its snapshot, 0 without one."""
    about: Mapping[str, Any]


def identity(base: Foundation, wiring: TwinWiring) -> str:
    """Fingerprint of everything that decides what a twin makes of its journal: model, wiring, policy, own code."""
    plan = base.blueprint
    parts = [base.model_hash, repr(replace(wiring, where="")), repr(plan.settings), repr(plan.prior_share)]
    made = (plan.mirror, plan.detector, plan.forecaster, plan.planner, plan.outlook, base.mirror, base.detector)
    parts += [_source(each) for each in made if each is not None]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def software() -> str:
    """Versions and machine: the same ones give the same bits."""
    return ", ".join([f"pollux {__version__}", *(f"{n} {_version(n)}" for n in NUMERICS), platform.machine()])


def raised(base: Foundation, binding: Binding, wiring: TwinWiring, seq: int, began: int, now: float) -> Event:
    """The event of the start of a twin; derived, because nothing follows from it."""
    return started(wiring.name, identity(base, wiring), base.model_hash, base.face, binding, seq, began, now)


def started(
    name: str, identity: str, model: str, face: TwinFace, binding: Binding, seq: int, began: int, now: float
) -> Event:
    """The event of a start: of a twin, or of a fleet, whose members have these estimates and tags."""
    data = {
        "identity": identity,
        "model": model,
        "software": software(),
        "began": began,
        "estimates": [[s.name, s.unit] for s in face.estimated],
        "tags": {p.tag: [p.field, p.field_unit, p.kind] for p in binding.ports},
    }
    return Event(name, now, f"{name}/raised/{seq}", KIND, "pollux", data, derived=True)


def starts(rows: Iterable[base.Event]) -> list[Raised]:
    """The starts among the events of one twin, in the order in which they happened."""
    return [
        Raised(
            row.id, row.seq, float(row.data["received"]), data["identity"], data["software"], data["began"], data
        )
        for row in rows
        if row.kind == KIND
        for data in (row.data["data"],)
    ]  # fmt: skip


def same(mine: str, start: Raised, what: str) -> None:
    """Raises `InputError` when the twin of `start` was another one than `mine`."""
    if start.identity != mine:
        raise InputError(
            f"{what} was computed by another definition or wiring of the twin: then {start.identity} "
            f"({start.software}), now {mine}; take the project's files of that time and ask again with "
            "`--project FOLDER --state COPY`"
        )


def since(begun: Sequence[Raised], mine: str, what: str) -> Sequence[Raised]:
    """The starts at the end of `begun`, which is not empty, since when it has been as it is now.

    Raises `InputError` when it was another one at the last of them, as in `same`.
    """
    same(mine, begun[-1], what)
    first = len(begun)
    while first and begun[first - 1].identity == mine:
        first -= 1
    return begun[first:]


def _source(made: Any) -> str:
    thing = made if inspect.isroutine(made) or inspect.isclass(made) else type(made)
    module = inspect.getmodule(thing)
    if module is None or module.__name__.split(".")[0] == "pollux":
        return f"{getattr(module, '__name__', '')}.{getattr(thing, '__qualname__', thing)}"
    return inspect.getsource(module)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "-"
