"""What a linearly implicit method needs of a Jacobian: to form it, to factor W = shift I - J, and to solve with it."""

from collections.abc import Callable
from typing import Any, NamedTuple

from jax import Array


class Linear(NamedTuple):
    """Linear algebra for one structure of df/dx."""

    slopes: Callable[[Callable[[Any, Array], Array], Any, Array], tuple[Array, Any]]
    """(f(s, x), s, x) -> (df/ds (n,), df/dx in the form that `factor` takes)."""
    factor: Callable[[Any, Any], Any]
    """(df/dx, shift) -> factors of shift I - df/dx. A singular one gives solutions that are not finite."""
    solve: Callable[[Any, Array], Array]
    """(factors, b (n,)) -> (shift I - df/dx)^{-1} b."""
