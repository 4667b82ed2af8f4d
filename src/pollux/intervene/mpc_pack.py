"""What a solve is given, as one flat vector: a kernel with a single argument has the least to do for each call."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from jax import Array

from pollux.core.errors import ShapeError
from pollux.intervene.mpc_problem import Values


class Given(NamedTuple):
    """A solve: the values of the problem, the plan to start from (N, m), and when to stop."""

    values: Values
    start: Any
    iterations: Any
    tolerance: Any


@dataclass(frozen=True)
class Packing:
    """Where each value lies in the vector. Build it with `packing`."""

    at: Mapping[str, slice]
    shapes: Mapping[str, tuple[int, ...]]
    template: np.ndarray = field(repr=False)
    """The default of every value."""

    def view(self, flat: np.ndarray, name: str) -> np.ndarray:
        """A value in a vector, to be read or written in place."""
        return flat[self.at[name]].reshape(self.shapes[name])

    def put(self, flat: np.ndarray, name: str, value: Any) -> None:
        """Write a value of the right shape into a vector. Raises `ShapeError`."""
        if np.shape(value) != self.shapes[name]:
            raise ShapeError(f"`{name}` of an MPC has shape {self.shapes[name]}, received {np.shape(value)}")
        self.view(flat, name)[...] = value

    def unpack(self, flat: Array) -> Given:
        """The values in a vector, inside a program."""
        parts = {name: flat[at].reshape(self.shapes[name]) for name, at in self.at.items()}
        return Given(
            Values(**{name: parts[name] for name in Values._fields}),
            parts["start"], parts["iterations"], parts["tolerance"],
        )  # fmt: skip


def packing(defaults: Given) -> Packing:
    """The places of all values, in the order of `Values` and `Given`."""
    parts = {**defaults.values._asdict(), **defaults._asdict()}
    del parts["values"]
    shapes = {name: np.shape(part) for name, part in parts.items()}
    ends = np.cumsum([int(np.prod(shape, dtype=int)) for shape in shapes.values()])
    starts = [0, *ends[:-1]]
    at = {name: slice(int(a), int(b)) for name, a, b in zip(shapes, starts, ends, strict=True)}
    return Packing(at, shapes, np.concatenate([np.ravel(np.asarray(part, float)) for part in parts.values()]))
