"""The members of an ensemble: first states from a belief and parameters from their priors, each by its own counter.

    x_i = clip(m + L z_i),   L L' = P        theta_ij = theta_j exp(s sd_j z_ij)  or  theta_j + s sd_j z_ij

for a log-normal and a normal prior, `s` being the share of the prior's width that is used. Functions of one member,
to be called inside a program whose fleet axis is the ensemble; a larger ensemble contains the smaller one.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from pollux.core.priors import LogNormal
from pollux.model.backend import Program
from pollux.model.random import Stream, normal
from pollux.model.statespace import StateSpace

Bounds = tuple[tuple[float, ...], tuple[float, ...]]
"""Lowest and highest value of each state: part of a program, so that a bound at infinity is not compared with."""


def bounds_of(space: StateSpace) -> Bounds:
    """Bounds of the states as a key."""
    low, high = space.bounds("x")
    return tuple(low.tolist()), tuple(high.tolist())


@dataclass(frozen=True)
class Widened:
    """Parameters that differ between members. Compared by structure: which they are, and which are log-normal."""

    index: tuple[int, ...]
    log: tuple[bool, ...]
    widths: Float[np.ndarray, "3 w"] = field(compare=False, repr=False)
    """Rows: standard deviation (of the logarithm where `log`), lowest, highest."""


def widened(space: StateSpace, *, share: float = 1.0, known: Iterable[str] = ()) -> Widened:
    """Parameters with a prior, `share` times as wide; `known` ones, as those tracked in a belief, are left out.

    A share of 0 widens none.
    """
    left_out = frozenset(known)
    chosen = [
        (i, c.prior, c) for i, c in enumerate(space.p) if share > 0 and c.prior is not None and c.name not in left_out
    ]
    return Widened(
        tuple(i for i, _, _ in chosen),
        tuple(isinstance(prior, LogNormal) for _, prior, _ in chosen),
        np.array([[share * prior.sd, c.low, c.high] for _, prior, c in chosen]).reshape(-1, 3).T.copy(),
    )


def draw_parameters(wide: Widened, p: Array, widths: Any, seed: Any, stream: int, member: Any) -> Array:
    """Parameters (k,) of one member, clipped to their bounds; those that are not widened stay as they are."""
    if not wide.index:
        return p
    sd, low, high = widths
    index, log = np.array(wide.index), np.array(wide.log)
    z, value = sd * normal(seed, stream, member, 0, len(index)), p[index]
    drawn = jnp.where(log, value * jnp.exp(jnp.where(log, z, 0.0)), value + z)
    return p.at[index].set(jnp.clip(drawn, low, high))


def draw_state(mean: Array, root: Array, low: Array, high: Array, seed: Any, stream: int, member: Any) -> Array:
    """State (n,) of one member of a belief N(mean, root root'), clipped to its bounds."""
    return jnp.clip(mean + root @ normal(seed, stream, member, 0, mean.shape[0]), low, high)


@lru_cache(maxsize=64)
def members_program(wide: Widened, bounds: Bounds, start: Stream, parameters: Stream) -> Program:
    """Per-member program (mean, root, p, widths, seed, member) -> (x,), or (x, p) where some are widened."""
    low, high = map(jnp.asarray, bounds)

    def fn(mean, root, p, widths, seed, member):
        x = draw_state(mean, root, low, high, seed, start, member)
        return (x, draw_parameters(wide, p, widths, seed, parameters, member)) if wide.index else (x,)

    return Program("members", (wide, bounds, start, parameters), fn, (False,) * 5 + (True,))


def root_of(cov: Float[np.ndarray, "n n"]) -> Float[np.ndarray, "n n"]:
    """A root L of a covariance, L L' = cov, singular or not; on the host, once for an ensemble."""
    values, vectors = np.linalg.eigh(0.5 * (cov + cov.T))
    return vectors * np.sqrt(np.maximum(values, 0.0))
