"""A back end turns a per-twin program into a kernel on host arrays. It is a value, chosen where kernels are compiled.

A `Program` is mathematics for ONE twin, written in plain matrix JAX. A kernel runs it for one twin or for a fleet,
whose axis is the last one of every array that carries it (structure of arrays). `pollux.model.native`
makes machine code for this CPU; XLA runs what is too large or not lowered there, and everything on accelerators.
"""

import logging
import os
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol

import jax
import numpy as np

from pollux.core.errors import InputError

Kernel = Callable[..., tuple[np.ndarray, ...]]
"""Host arrays in, host arrays out: new ones, or those given as `out=`."""


@dataclass(frozen=True, eq=False)
class Program:
    """A pure function of one twin's arrays, with the identity that its kernels are cached by.

    `fn(*args) -> tuple of arrays`. `fleet[i]` says whether argument i carries the fleet axis when the program runs
    for a fleet; every output does.
    """

    name: str
    key: Hashable
    fn: Callable[..., tuple[Any, ...]] = field(repr=False)
    fleet: tuple[bool, ...]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Program) and (self.name, self.key) == (other.name, other.key)

    def __hash__(self) -> int:
        return hash((self.name, self.key))


class Backend(Protocol):
    """What can run a `Program`."""

    def one(self, program: Program) -> Kernel:
        """Kernel for one twin."""
        ...

    def fleet(self, program: Program) -> Kernel:
        """Kernel for a fleet, axis last. Compiles once for each fleet size."""
        ...


@dataclass(frozen=True)
class Xla:
    """XLA: any program of any size, on accelerators too; the oracle of tests. A fleet runs under `vmap`."""

    def one(self, program: Program) -> Kernel:
        """Kernel for one twin."""
        return _one(program)

    def fleet(self, program: Program) -> Kernel:
        """Kernel for a fleet, axis last."""
        return _fleet(program)


@lru_cache(maxsize=512)
def _one(program: Program) -> Kernel:
    return _on_host(jax.jit(program.fn))


@lru_cache(maxsize=512)
def _fleet(program: Program) -> Kernel:
    axes = tuple(-1 if batched else None for batched in program.fleet)
    return _on_host(jax.jit(jax.vmap(program.fn, in_axes=axes, out_axes=-1)))


SWITCH = "POLLUX_BACKEND"
"""Environment variable that forces a back end: `xla`, or `native` (then what is not lowered is an error)."""


def default() -> Backend:
    """Native machine code where the CPU does the work, with XLA for what is not lowered; XLA on accelerators."""
    return _default(os.environ.get(SWITCH, ""))


@lru_cache(maxsize=8)
def _default(forced: str) -> Backend:
    from pollux.model.native import Native, UnsupportedError, machine  # it is built on this module

    if forced == "native":
        return Native(fallback=None)
    if forced == "xla":
        return Xla()
    if forced:
        raise InputError(f"{SWITCH} is `native` or `xla`, received {forced!r}; leave it out for the default")
    if jax.default_backend() != "cpu":
        return Xla()
    try:
        machine.host()
    except UnsupportedError as error:
        logging.getLogger("pollux.kernels").info("kernels run on XLA: %s", error)
        return Xla()
    return Native()


def _on_host(fn: Callable[..., Any]) -> Kernel:
    def kernel(*args: Any, out: tuple[np.ndarray, ...] | None = None) -> tuple[np.ndarray, ...]:
        got = tuple(np.asarray(a) for a in fn(*args))
        if out is None:
            return got
        for room, a in zip(out, got, strict=True):
            room[...] = a
        return out

    return kernel
