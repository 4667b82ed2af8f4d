"""From wiring to a fleet: load its definition, its members, and compile one kernel for all. Slow; in worker threads."""

import inspect
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pollux.core.errors import WiringError
from pollux.core.time import Clock
from pollux.runtime import build
from pollux.runtime.binding import Binding, bind
from pollux.runtime.face import TwinFace, face_of
from pollux.runtime.fleets.foresee import OneForAll
from pollux.runtime.fleets.members import Member, table
from pollux.runtime.fleets.opened import Opened
from pollux.runtime.tables import closest
from pollux.runtime.wiring import FleetWiring

if TYPE_CHECKING:
    from pollux.mirror.fleet import Fleet

STALE = 3.0
"""A sensor is stale when nothing of it was fused for this many periods."""

MIRROR = ("substeps", "dt_max", "gate", "reopen")
"""What the table `mirror` of a fleet may set."""


@dataclass(frozen=True, eq=False)
class FleetBase:
    """What the fold of a fleet needs: its result depends on nothing else."""

    name: str
    wiring: FleetWiring
    binding: Binding
    fleet: "Fleet"
    face: TwinFace
    members: tuple[Member, ...]
    params: np.ndarray
    stale_after: float
    model_hash: str
    opened: Opened


def fleet_base(wiring: FleetWiring, folder: Path, clock: Clock) -> FleetBase:
    """Load and compile. Raises `WiringError`, `DefinitionError`."""
    from pollux.core.unitcheck import check_units
    from pollux.mirror.fleet import build_fleet
    from pollux.model.compile import programs
    from pollux.model.statespace import flatten

    each = wiring.each
    unknown = sorted(set(each.options["mirror"]) - set(MIRROR))
    if unknown:
        raise WiringError(f"{each.where}: `mirror` of a fleet has no {unknown[0]!r}. {closest(unknown[0], MIRROR)}")
    blueprint = build.blueprint_of(each, folder)
    check_units(blueprint.twin)
    space = flatten(blueprint.twin)
    fleet = build_fleet(space, wiring.capacity, track=blueprint.track, **each.options["mirror"])
    face = face_of(
        space,
        name=each.name,
        title=blueprint.title,
        kind=blueprint.kind,
        doc=inspect.getdoc(type(blueprint.twin)) or "",
        tracked=blueprint.track,
        schematic=blueprint.schematic,
    )
    settings = build.settings_of(each, blueprint)
    binding = bind(each, space.y, space.u)
    margins = fleet.backend.one(programs(fleet.space.system, 1)[3])
    forecaster = OneForAll(partial(build.default_forecaster, each, blueprint, settings))
    slowest = max((port.period for port in binding.ports), default=each.period)
    return FleetBase(
        name=each.name,
        wiring=wiring,
        binding=binding,
        fleet=fleet,
        face=face,
        members=wiring.members,
        params=table(wiring.members, [c.name for c in fleet.space.p], fleet.space.p0, each.where),
        stale_after=STALE * slowest,
        model_hash=build.model_hash(blueprint, space, each),
        opened=Opened(face, clock, settings, margins, forecaster),
    )
