"""`Native`: the back end that compiles a program for this CPU, with XLA for what is not lowered."""

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from pollux.core.errors import InputError
from pollux.model.backend import Backend, Kernel, Program, Xla
from pollux.model.native import machine
from pollux.model.native.cache import Cache, Folder, default_folder
from pollux.model.native.compiled import Compiled, Report, Spec, compile_program
from pollux.model.native.kernel import Bound, Fleet, Large, One, large
from pollux.model.native.tape import UnsupportedError

_LOG = logging.getLogger("pollux.kernels")


@dataclass(frozen=True)
class Native:
    """Machine code for SIMD lanes of this CPU.

    `real` is the arithmetic of what the program has in float64; `lanes` the twins of one group (None: by the CPU);
    `threads` over which a fleet is split (None: one for each core). Where a program is not lowered it runs on
    `fallback`, which is said once in the log `pollux.kernels`; with None it raises `UnsupportedError` instead.
    """

    real: Literal["float64", "float32"] = "float64"
    lanes: int | None = None
    threads: int | None = None
    fallback: Backend | None = field(default_factory=Xla)
    cache: Cache = field(default_factory=lambda: Folder(default_folder()))

    def __post_init__(self) -> None:
        """Refuse lanes that no vector register has."""
        if self.lanes is not None and self.lanes not in (2, 4, 8, 16, 32, 64):
            raise InputError(f"`lanes` is a power of two from 2 to 64 (None: by the CPU), received {self.lanes}")

    def one(self, program: Program) -> "Lowered":
        """Kernel for one twin."""
        return _lowered(self, program, False)

    def fleet(self, program: Program) -> "Lowered":
        """Kernel for a fleet, axis last; the same for every fleet size."""
        return _lowered(self, program, True)


@lru_cache(maxsize=512)
def _lowered(backend: Native, program: Program, fleet: bool) -> "Lowered":
    return Lowered(backend, program, fleet)


class Lowered:
    """A kernel that is compiled when it first sees the shapes of its arguments."""

    def __init__(self, backend: Native, program: Program, fleet: bool):
        self.backend = backend
        self.program = program
        self.for_fleet = fleet
        self.reason: str | None = None
        """Why it runs on the fallback, if it does."""
        self._made: dict[tuple[Spec, ...], One | Large | Fleet | Kernel] = {}

    @property
    def reports(self) -> tuple[Report, ...]:
        """One for each set of shapes that was compiled."""
        return tuple(k.compiled.report for k in self._made.values() if isinstance(k, (One, Large, Fleet)))

    def __call__(self, *args: Any, out: tuple[np.ndarray, ...] | None = None) -> tuple[np.ndarray, ...]:
        """Host arrays in, host arrays out: new ones, or those given as `out`."""
        return self.ready(*args)(*args, out=out)

    def ready(self, *args: Any) -> Callable[..., tuple[np.ndarray, ...]]:
        """The kernel for arguments like these, compiled where it is not yet."""
        if len(args) != len(self.program.fleet):
            raise InputError(f"`{self.program.name}` takes {len(self.program.fleet)} arguments, received {len(args)}")
        specs = tuple(_spec(a, self.for_fleet and fleet) for a, fleet in zip(args, self.program.fleet, strict=True))
        made = self._made.get(specs)
        return self._make(specs) if made is None else made

    def bind(self, *args: Any, feed: Mapping[int, int] | None = None) -> Bound:
        """The kernel of one twin on arrays of its own, filled with `args`; see `Bound`. Raises `UnsupportedError`."""
        kernel = self.ready(*args)
        if not isinstance(kernel, (One, Large)):
            raise UnsupportedError(self.reason or "only the kernel of one twin is bound to arrays")
        bound = Bound(kernel.compiled, _machine_real(self.backend), feed or {})
        for room, value in zip(bound.inputs, args, strict=True):
            room[...] = value
        return bound

    def _make(self, specs: tuple[Spec, ...]) -> Any:
        real = _machine_real(self.backend)
        try:
            compiled = self._compile(specs, real)
        except UnsupportedError as error:
            if self.backend.fallback is None:
                raise UnsupportedError(f"`{self.program.name}` is not lowered to native code: {error}") from None
            if self.reason is None:
                _LOG.info("kernel `%s` runs on XLA: %s", self.program.name, error)
            self.reason = str(error)
            other = self.backend.fallback
            made = (other.fleet if self.for_fleet else other.one)(self.program)
        else:
            threads = self.backend.threads or os.cpu_count() or 1
            if self.for_fleet:
                made = Fleet(compiled, real, threads)
            else:
                made = (Large if large(compiled) else One)(compiled, real)
            _LOG.debug("%s", compiled.report)
        self._made[specs] = made
        return made

    def _compile(self, specs: tuple[Spec, ...], real: str) -> Compiled:
        target = machine.host()
        width = target.width // (64 if real == "double" else 32)
        lanes = (self.backend.lanes or width) if self.for_fleet else 1
        return compile_program(self.program, specs, lanes, real, target, self.backend.cache)


_FLOAT = np.dtype(np.float64)


def _machine_real(backend: Native) -> str:
    return {"float64": "double", "float32": "float"}[backend.real]


def _spec(a: Any, fleet: bool) -> Spec:
    if isinstance(a, np.ndarray):
        shape, dtype = a.shape, a.dtype
    elif isinstance(a, float):  # on every tick: the general way takes a microsecond
        shape, dtype = (), _FLOAT
    else:
        shape, dtype = np.shape(a), np.asarray(a).dtype
    if fleet and not shape:
        raise InputError("An argument that differs between twins needs the fleet axis, its last; received one number")
    return (shape[:-1] if fleet else shape), dtype.str
