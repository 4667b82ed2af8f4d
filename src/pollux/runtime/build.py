"""From wiring to parts: load a definition, compile what one live twin needs. Slow; runs in worker threads.

The numerical stack is imported inside the functions, so that the port opens before it is loaded.
"""

import hashlib
import inspect
import logging
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pollux import __version__
from pollux.core.errors import InputError, PolluxError, WiringError
from pollux.core.signals import Belief, Readings
from pollux.runtime.blueprint import Blueprint
from pollux.runtime.definition import made
from pollux.runtime.face import TwinFace, face_of
from pollux.runtime.failing import contained
from pollux.runtime.filters import filter_of
from pollux.runtime.ports import Detector, Forecaster, Gauge, Mirror, Planner
from pollux.runtime.settings import LiveSettings
from pollux.runtime.tables import closest
from pollux.runtime.wiring import TwinWiring

if TYPE_CHECKING:
    from pollux.autonomy.authorise import Authority
    from pollux.core.twin import Twin
    from pollux.model.statespace import StateSpace

log = logging.getLogger("pollux.build")


@dataclass(frozen=True)
class Foundation:
    """What the fold over the journal needs: its result depends on nothing else."""

    blueprint: Blueprint
    space: "StateSpace"
    face: TwinFace
    settings: LiveSettings
    mirror: Mirror
    detector: Detector | None
    authority: "Authority | None"
    gauge: Gauge
    model_hash: str


def blueprint_of(wiring: TwinWiring, folder: Path) -> Blueprint:
    """Load what `definition` names and put in the wiring's parameters. Raises `WiringError` or `DefinitionError`."""
    from pollux.core.twin import Twin

    try:
        found = made(wiring.definition, folder)
    except InputError as error:
        raise WiringError(f"{wiring.where}: `definition`: {error}") from None
    blueprint = Blueprint(found) if isinstance(found, Twin) else found
    if not isinstance(blueprint, Blueprint):
        raise WiringError(
            f"{wiring.where}: `definition` must name a `Twin` or a `Blueprint`; {wiring.definition!r} is a "
            f"{type(found).__name__}. Write a function that returns `Blueprint(twin=...)`"
        )
    twin = _with_parameters(blueprint.twin, wiring)
    return replace(blueprint, twin=twin, track=wiring.track or blueprint.track)


def foundation(wiring: TwinWiring, blueprint: Blueprint) -> Foundation:
    """Check the twin and compile mirror, detector and guard."""
    from pollux.core.unitcheck import check_units
    from pollux.model.statespace import flatten

    check_units(blueprint.twin)
    space = flatten(blueprint.twin)
    settings = settings_of(wiring, blueprint)
    face = face_of(
        space,
        name=wiring.name,
        title=blueprint.title,
        kind=blueprint.kind,
        doc=inspect.getdoc(type(blueprint.twin)) or "",
        tracked=blueprint.track,
        schematic=blueprint.schematic,
        faults=blueprint.faults,
    )
    mirror = _named(blueprint.mirror() if blueprint.mirror else _default_mirror(wiring, blueprint), wiring.name)
    digest = model_hash(blueprint, space, wiring)
    return Foundation(
        blueprint=blueprint,
        space=space,
        face=face,
        settings=settings,
        mirror=mirror,
        detector=_detector(wiring, blueprint, space),
        authority=_authority(wiring, blueprint, mirror, digest),
        gauge=_gauge(mirror),
        model_hash=digest,
    )


def warm(base: Foundation) -> None:
    """Run mirror, detector and gauge once on a silent reading, so that the first real one compiles nothing.

    One that fails here is logged: its readings will raise an alarm of their twin, and the other twins go on.
    """
    silent = np.full(len(base.space.y), np.nan)
    readings = Readings(base.face.name, 1.0, "warm", "", silent, np.full(len(base.space.u), np.nan))
    try:
        belief = base.mirror.update(base.mirror.start(0.0), readings)
        base.gauge(belief)
        if base.detector is not None:
            base.detector.update(base.detector.start(), belief)
    except Exception as error:
        log.error("first step failed", exc_info=error, extra={"data": {"twin": base.face.name}})


def warm_guard(base: Foundation) -> None:
    """Run the guard's twin check once, so that the first judgement compiles nothing."""
    if base.authority is None:
        return
    policy = base.authority.policy
    with contained(f"The guard's twin check of {base.face.name!r}"):
        belief = base.mirror.start(0.0)
        edges = np.array([0.0, base.settings.forecast_step])
        base.authority.check(belief, edges, belief.inputs[None], policy.draws, policy.seed)


def forecaster_of(base: Foundation, wiring: TwinWiring) -> Forecaster:
    """Compile the forecaster."""
    with contained(f"The forecaster of {base.face.name!r}"):
        if base.blueprint.forecaster is not None:
            return base.blueprint.forecaster()
        return default_forecaster(wiring, base.blueprint, base.settings)


def default_forecaster(wiring: TwinWiring, blueprint: Blueprint, s: LiveSettings) -> Any:
    """The forecaster of a blueprint that brings none; slow."""
    from pollux.intervene.forecast import build_forecaster

    options = {"horizon": s.horizon, "step": s.forecast_step, "samples": s.samples, **wiring.options["forecast"]}
    return build_forecaster(blueprint.twin, track=blueprint.track, **options)


def planner_of(base: Foundation, forecaster: Forecaster) -> Planner | None:
    """Compile the planner, if the asset has one."""
    with contained(f"The planner of {base.face.name!r}"):
        return base.blueprint.planner(forecaster) if base.blueprint.planner else None


def _with_parameters(twin: "Twin", wiring: TwinWiring) -> "Twin":
    if not wiring.parameters:
        return twin
    from pollux.core.edit import with_parameters

    try:
        return with_parameters(twin, wiring.parameters)
    except PolluxError as error:
        raise WiringError(f"{wiring.where}: `parameters`: {error}") from None


def settings_of(wiring: TwinWiring, blueprint: Blueprint) -> LiveSettings:
    """How the twin is run, from its wiring and its blueprint."""
    horizon = 3600.0 * wiring.forecast_hours
    values: dict[str, Any] = {
        "time": wiring.time,
        "horizon": horizon,
        "forecast_step": horizon / 96,
        "forecast_every": max(wiring.period, horizon / 288),
        **blueprint.settings,
        **wiring.options["live"],
    }
    try:
        return LiveSettings(**values)
    except TypeError:
        known = [f.name for f in fields(LiveSettings)]
        wrong = sorted(set(values) - set(known))
        raise WiringError(f"{wiring.where}: `live` has no setting {wrong[0]!r}. {closest(wrong[0], known)}") from None


def _default_mirror(wiring: TwinWiring, blueprint: Blueprint) -> Mirror:
    from pollux.mirror.update import build_mirror

    options = dict(wiring.options["mirror"])
    if "method" in options:
        options["method"] = filter_of(options["method"], f"{wiring.where}.mirror")
    return build_mirror(blueprint.twin, track=blueprint.track, **options)


def _default_detector(wiring: TwinWiring, blueprint: Blueprint) -> Detector:
    from pollux.intervene.detect import build_detector

    return build_detector(blueprint.twin, track=blueprint.track, **wiring.options["detect"])


def _detector(wiring: TwinWiring, blueprint: Blueprint, space: "StateSpace") -> Detector:
    """The detector, told in which units the sensors are wired: what their unit may slip to."""
    from pollux.intervene.detect import Detector as Built

    detector = blueprint.detector() if blueprint.detector else _default_detector(wiring, blueprint)
    if not isinstance(detector, Built):
        return detector
    sensors = {c.name for c in space.y}
    wired = {tag.field.removeprefix("sensor."): tag.unit for tag in wiring.tags if tag.unit is not None}
    try:
        return detector.wired({name: unit for name, unit in wired.items() if name in sensors})
    except PolluxError:
        return detector  # a unit that is none, or of another dimension: joining the wiring to the twin says where


def _named(mirror: Any, name: str) -> Mirror:
    """The mirror under the name that the project gives its twin."""
    return mirror if mirror.name == name else replace(mirror, name=name)


def _authority(wiring: TwinWiring, blueprint: Blueprint, mirror: Any, model_hash: str) -> "Authority | None":
    """The guard; None where the wiring has no policy: such a twin observes only."""
    table: Mapping[str, Any] = wiring.options["policy"]
    if not table:
        return None
    from pollux.autonomy.authorise import Authority
    from pollux.autonomy.guard_facts import recorded
    from pollux.autonomy.judgement import Plant
    from pollux.autonomy.policy_toml import parse_policy
    from pollux.autonomy.twin_check import build_twin_check

    space = mirror.space
    plant = Plant(
        twin=wiring.name,
        tracked=space.system.x_names,
        inputs=space.system.u_names,
        sensors=space.system.y_names,
        margins=space.system.margin_names,
        model_hash=model_hash,
    )
    facts = recorded(plant, mirror.start(0.0))
    policy = parse_policy(
        table,
        inputs={c.name: c.unit for c in space.u},
        names=tuple(facts),
        sensors=space.system.y_names,
        where=f"{wiring.where}.policy",
    )
    check = build_twin_check(
        space,
        longest_step=blueprint.check_step or wiring.period,
        prior_share=blueprint.prior_share,
        params=mirror.params,
        Q=mirror.Q,
    )
    return Authority(policy, plant, check)


def _gauge(mirror: Any) -> Gauge:
    from pollux.model.compile import programs

    kernel = mirror.backend.one(programs(mirror.space.system, 1)[3])

    def gauge(belief: Belief) -> np.ndarray:
        return kernel(belief.t, belief.mean, belief.inputs, mirror.params)[0]

    return gauge


def model_hash(blueprint: Blueprint, space: "StateSpace", wiring: TwinWiring) -> str:
    """Version of everything that a belief depends on: a snapshot of another version is not used."""
    parts = [__version__, wiring.definition, repr(blueprint.track), repr(sorted(wiring.options["mirror"].items()))]
    for kind in type(blueprint.twin).__mro__:
        if kind.__module__.split(".")[0] not in ("equinox", "builtins", "typing", "abc"):
            module = inspect.getmodule(kind)
            parts.append(inspect.getsource(module) if module else kind.__qualname__)
    digest = hashlib.sha256("\0".join(parts).encode())
    for array in (space.p0, space.Q, space.R, space.P0, space.x0):
        digest.update(array.tobytes())
    return digest.hexdigest()[:16]
