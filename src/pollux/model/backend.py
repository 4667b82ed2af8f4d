"""A back end turns a per-twin program into a kernel on host arrays. It is a value, chosen where kernels are compiled.

A `Program` is mathematics for ONE twin, written in plain matrix JAX. A kernel runs it for one twin or for a fleet,
whose axis is the last one of every array that carries it (structure of arrays). XLA is one back end; native
machine code is another behind the same two methods.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol

import jax
import numpy as np

from pollux.model.unroll_jax import fleet_tape, play

Kernel = Callable[..., tuple[np.ndarray, ...]]
"""Host arrays in, host arrays out."""


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
    """The XLA back end: batched, differentiable, and the oracle of tests.

    A fleet of small programs runs as straight-line code in which every scalar is a contiguous (fleet,) vector
    (`pollux.model.unroll`); a large program, or one with a primitive that is not unrolled, runs under `vmap`.
    """

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
    arrays = jax.vmap(program.fn, in_axes=axes, out_axes=-1)

    def run(*args: Any) -> tuple[Any, ...]:
        tape = fleet_tape(program.fn, args, program.fleet)
        if tape is None:
            return arrays(*args)
        return play(tape, args, program.fleet, _fleet_size(args, program.fleet))

    return _on_host(jax.jit(run))


def _fleet_size(args: tuple[Any, ...], fleet: tuple[bool, ...]) -> int:
    return next(np.shape(a)[-1] for a, batched in zip(args, fleet, strict=True) if batched)


def _on_host(fn: Callable[..., Any]) -> Kernel:
    def kernel(*args: Any) -> tuple[np.ndarray, ...]:
        return tuple(np.asarray(out) for out in fn(*args))

    return kernel
