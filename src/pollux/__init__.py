"""Pollux: digital twins of real assets, from one typed, differentiable definition to guarded autonomy.

This is the public face: everything in the README and the docs imports from here. Names are loaded on first use, so
that `import pollux` costs nothing and the command line can open its port before the numerical stack is loaded.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pollux.core.errors import PolluxError as PolluxError
    from pollux.core.priors import LogNormal as LogNormal
    from pollux.core.priors import Normal as Normal
    from pollux.core.signals import Belief as Belief
    from pollux.core.signals import Command as Command
    from pollux.core.signals import Decision as Decision
    from pollux.core.signals import Forecast as Forecast
    from pollux.core.signals import Readings as Readings
    from pollux.core.signals import Refusal as Refusal
    from pollux.core.twin import NoInput as NoInput
    from pollux.core.twin import Scalar as Scalar
    from pollux.core.twin import Signals as Signals
    from pollux.core.twin import Twin as Twin
    from pollux.core.twin import const as const
    from pollux.core.twin import param as param
    from pollux.core.twin import part as part
    from pollux.core.twin import var as var
    from pollux.intervene.decide import Targets as Targets
    from pollux.intervene.decide import build_planner as build_planner
    from pollux.intervene.decide import what_if as what_if
    from pollux.intervene.detect import build_detector as build_detector
    from pollux.intervene.duty import Duty as Duty
    from pollux.intervene.explain import Explanation as Explanation
    from pollux.intervene.explain import explain as explain
    from pollux.intervene.forecast import build_forecaster as build_forecaster
    from pollux.intervene.life import build_life as build_life
    from pollux.intervene.mpc import build_mpc as build_mpc
    from pollux.intervene.mpc_options import InteriorPoint as InteriorPoint
    from pollux.intervene.mpc_options import MpcOptions as MpcOptions
    from pollux.intervene.mpc_options import Riccati as Riccati
    from pollux.mirror.adapt import Learned as Learned
    from pollux.mirror.adapt import SelfTuning as SelfTuning
    from pollux.mirror.adapt import learned as learned
    from pollux.mirror.assimilate import Track as Track
    from pollux.mirror.assimilate import assimilate as assimilate
    from pollux.mirror.auxiliary import AuxiliaryParticleFilter as AuxiliaryParticleFilter
    from pollux.mirror.cubature import Cubature as Cubature
    from pollux.mirror.dual import Dual as Dual
    from pollux.mirror.ekf import Ekf as Ekf
    from pollux.mirror.enkf import Enkf as Enkf
    from pollux.mirror.etkf import Etkf as Etkf
    from pollux.mirror.fleet import build_fleet as build_fleet
    from pollux.mirror.horizon import Mhe as Mhe
    from pollux.mirror.ienkf import Ienkf as Ienkf
    from pollux.mirror.imm import Imm as Imm
    from pollux.mirror.imm import Mode as Mode
    from pollux.mirror.inflation import AdaptiveInflation as AdaptiveInflation
    from pollux.mirror.iterated_ekf import IteratedEkf as IteratedEkf
    from pollux.mirror.letkf import Letkf as Letkf
    from pollux.mirror.localise import Localisation as Localisation
    from pollux.mirror.localise import localisation as localisation
    from pollux.mirror.marginal import RaoBlackwellParticleFilter as RaoBlackwellParticleFilter
    from pollux.mirror.means import means as means
    from pollux.mirror.particle import ParticleFilter as ParticleFilter
    from pollux.mirror.smooth import Smoothed as Smoothed
    from pollux.mirror.smooth import smooth as smooth
    from pollux.mirror.square_root_ekf import SquareRootEkf as SquareRootEkf
    from pollux.mirror.square_root_ukf import SquareRootUkf as SquareRootUkf
    from pollux.mirror.tune import Noise as Noise
    from pollux.mirror.tune import tune as tune
    from pollux.mirror.ukf import Ukf as Ukf
    from pollux.mirror.update import build_mirror as build_mirror
    from pollux.mirror.var3d import Var3d as Var3d
    from pollux.mirror.var3d import var3d as var3d
    from pollux.mirror.variational import Analysis as Analysis
    from pollux.mirror.variational import variational as variational
    from pollux.model.adaptive import Adaptive as Adaptive
    from pollux.model.calibrate import calibrate as calibrate
    from pollux.model.calibrate_fleet import calibrate_fleet as calibrate_fleet
    from pollux.model.check import check as check
    from pollux.model.compile import compile as compile
    from pollux.model.fit import Fit as Fit
    from pollux.model.fleetfit import FleetFit as FleetFit
    from pollux.model.linearise import linearise as linearise
    from pollux.model.record import Record as Record
    from pollux.model.rk4 import RK4 as RK4
    from pollux.model.rollout import rollout as rollout
    from pollux.model.sensor_value import SensorValue as SensorValue
    from pollux.model.sensor_value import sensor_value as sensor_value
    from pollux.model.simulate import simulate as simulate
    from pollux.model.statespace import flatten as flatten
    from pollux.model.stiff import Stiff as Stiff
    from pollux.runtime.blueprint import Blueprint as Blueprint
    from pollux.runtime.face import FaultKind as FaultKind

_HOMES = {
    "Blueprint": "runtime.blueprint",
    "FaultKind": "runtime.face",
    "PolluxError": "core.errors",
    "LogNormal": "core.priors",
    "Normal": "core.priors",
    "Belief": "core.signals",
    "Command": "core.signals",
    "Decision": "core.signals",
    "Forecast": "core.signals",
    "Readings": "core.signals",
    "Refusal": "core.signals",
    "NoInput": "core.twin",
    "Scalar": "core.twin",
    "Signals": "core.twin",
    "Twin": "core.twin",
    "const": "core.twin",
    "param": "core.twin",
    "part": "core.twin",
    "var": "core.twin",
    "Noise": "mirror.tune",
    "SelfTuning": "mirror.adapt",
    "Learned": "mirror.adapt",
    "learned": "mirror.adapt",
    "Track": "mirror.assimilate",
    "assimilate": "mirror.assimilate",
    "means": "mirror.means",
    "build_detector": "intervene.detect",
    "build_forecaster": "intervene.forecast",
    "build_life": "intervene.life",
    "Riccati": "intervene.mpc_options",
    "InteriorPoint": "intervene.mpc_options",
    "build_planner": "intervene.decide",
    "what_if": "intervene.decide",
    "Targets": "intervene.decide",
    "Duty": "intervene.duty",
    "explain": "intervene.explain",
    "Explanation": "intervene.explain",
    "build_mpc": "intervene.mpc",
    "MpcOptions": "intervene.mpc_options",
    "Cubature": "mirror.cubature",
    "Dual": "mirror.dual",
    "Ekf": "mirror.ekf",
    "variational": "mirror.variational",
    "Analysis": "mirror.variational",
    "Imm": "mirror.imm",
    "Mode": "mirror.imm",
    "smooth": "mirror.smooth",
    "Smoothed": "mirror.smooth",
    "Ienkf": "mirror.ienkf",
    "Mhe": "mirror.horizon",
    "Var3d": "mirror.var3d",
    "var3d": "mirror.var3d",
    "ParticleFilter": "mirror.particle",
    "RaoBlackwellParticleFilter": "mirror.marginal",
    "AuxiliaryParticleFilter": "mirror.auxiliary",
    "Etkf": "mirror.etkf",
    "Letkf": "mirror.letkf",
    "Enkf": "mirror.enkf",
    "AdaptiveInflation": "mirror.inflation",
    "localisation": "mirror.localise",
    "Localisation": "mirror.localise",
    "IteratedEkf": "mirror.iterated_ekf",
    "SquareRootEkf": "mirror.square_root_ekf",
    "SquareRootUkf": "mirror.square_root_ukf",
    "Ukf": "mirror.ukf",
    "build_fleet": "mirror.fleet",
    "build_mirror": "mirror.update",
    "Adaptive": "model.adaptive",
    "calibrate": "model.calibrate",
    "calibrate_fleet": "model.calibrate_fleet",
    "check": "model.check",
    "tune": "mirror.tune",
    "compile": "model.compile",
    "Fit": "model.fit",
    "FleetFit": "model.fleetfit",
    "linearise": "model.linearise",
    "Record": "model.record",
    "RK4": "model.rk4",
    "rollout": "model.rollout",
    "SensorValue": "model.sensor_value",
    "sensor_value": "model.sensor_value",
    "simulate": "model.simulate",
    "flatten": "model.statespace",
    "Stiff": "model.stiff",
}

__version__ = "0.1.0"
__all__ = sorted([*_HOMES, "__version__"])  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'pollux' has no attribute {name!r}")
    return getattr(importlib.import_module(f"pollux.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
