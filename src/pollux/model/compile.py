"""`compile`: from a definition to kernels, cached by structure and never by value."""

from dataclasses import dataclass, field
from functools import lru_cache

import jax

from pollux.core.twin import Twin
from pollux.core.unitcheck import check_units
from pollux.model.augment import augment
from pollux.model.backend import Backend, Kernel, Program, default
from pollux.model.rk4 import transition
from pollux.model.statespace import StateSpace, System, flatten


@dataclass(frozen=True)
class Kernels:
    """A compiled twin: its flat form and its kernels, all on host arrays.

    Kernels take the parameter vector as an argument, so another value compiles nothing.
    """

    space: StateSpace
    backend: Backend
    substeps: int
    flow: Kernel = field(repr=False)
    """(t, dt, x, u, p) -> (x at t + dt,)"""
    linearise: Kernel = field(repr=False)
    """(t, x, u, p) -> (A, B, C, D): df/dx, df/du, dh/dx, dh/du"""
    observe: Kernel = field(repr=False)
    """(t, x, u, p) -> (y,)"""
    margins: Kernel = field(repr=False)
    """(t, x, u, p) -> (g,)"""


def compile(twin: Twin, *, track: tuple[str, ...] = (), substeps: int = 4, backend: Backend | None = None) -> Kernels:
    """Check a twin (units, shapes, finiteness) and derive its kernels.

    `track` names parameters to carry in the state; `substeps` is the number of RK4 steps in one `flow`.
    Raises `DefinitionError`, `UnitError` or `ShapeError` before anything runs.
    """
    backend = backend or default()
    check_units(twin)
    space = augment(flatten(twin), track)
    flow, linearise, observe, margins = (backend.one(p) for p in programs(space.system, substeps))
    return Kernels(space, backend, substeps, flow, linearise, observe, margins)


@lru_cache(maxsize=256)
def programs(system: System, substeps: int) -> tuple[Program, Program, Program, Program]:
    """The per-twin programs behind `Kernels`: flow, linearise, observe, margins."""
    step = transition(system, substeps)

    def linearise(t, x, u, p):
        A, B = jax.jacfwd(system.f, argnums=(1, 2))(t, x, u, p)
        C, D = jax.jacfwd(system.h, argnums=(1, 2))(t, x, u, p)
        return A, B, C, D

    return (
        Program("flow", (system, substeps), lambda *a: (step(*a),), (False, False, True, True, True)),
        Program("linearise", system, linearise, (False, True, True, True)),
        Program("observe", system, lambda *a: (system.h(*a),), (False, True, True, True)),
        Program("margins", system, lambda *a: (system.margins(*a),), (False, True, True, True)),
    )
