"""The mirror over a whole record in one compiled loop: what `assimilate` shows and `tune` differentiates."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pollux.core.errors import InputError
from pollux.mirror.method import Carrying, Method, carrier
from pollux.model import pieces
from pollux.model.backend import Program, default
from pollux.model.record import Record
from pollux.model.statespace import System


@dataclass(frozen=True)
class Steps:
    """A record as the filter walks it: T steps, of which the first has length zero."""

    t: np.ndarray
    """Start of each step (T,)."""
    dt: np.ndarray
    u: np.ndarray
    """Inputs held over each step (T, m)."""
    v: np.ndarray
    """Inputs at its end."""
    y: np.ndarray
    pieces: int
    """Pieces of each step: as many as the longest needs."""


def steps(record: Record, system: System, dt_max: float) -> Steps:
    """Cut a record into steps. A discrete twin's sampling instants must be at most `pieces.MAX_PIECES` apart.

    Raises `InputError` for a record without rows.
    """
    if not len(record.t):
        raise InputError("A record needs at least one row; received one without any")
    start = np.concatenate([record.t[:1], record.t[:-1]])
    held = np.concatenate([record.u[:1], record.u[:-1]])
    most = pieces.most(system.period, dt_max, start, record.t)
    return Steps(start, record.t - start, held, record.u, record.y, max(1, most))


def cut(t: Any, dt: Any, period: float | None, n_pieces: int) -> tuple[Any, Any]:
    """(start, length) of each piece of one step, (n_pieces,); a discrete twin's surplus pieces have length zero."""
    if period is None:
        sizes = jnp.full(n_pieces, dt / n_pieces)
    else:
        count = jnp.round((t + dt) / period) - jnp.round(t / period)
        sizes = jnp.where(jnp.arange(n_pieces) < count, period, 0.0)
    return t + jnp.cumsum(sizes) - sizes, sizes


def stepping(
    system: System, method: Method | Carrying, substeps: int, low: tuple, high: tuple, n_pieces: int
) -> tuple[Any, Any]:
    """(across, over): a method's state moved over one step of a record without its reading, and with it.

    across(state, t, dt, u, p, Q, R) -> state; over((state, refused), row, p, Q, R, gate, reopen) -> carry, outputs.
    """
    step = carrier(method).carry(system, substeps, np.array(low), np.array(high))
    ny = len(system.y_names)
    silent, use = np.full(ny, np.nan), np.ones(ny)

    def silently(state, starts, sizes, u, bound, p, Q, R):
        def piece(state, row):
            return step(*row, state, u, u, silent, use, bound, p, Q, R)[0], None

        return jax.lax.scan(piece, state, (starts, sizes))[0] if len(sizes) else state

    def across(state, t, dt, u, p, Q, R):
        return silently(state, *cut(t, dt, system.period, n_pieces), u, math.inf, p, Q, R)

    def over(carry, row, p, Q, R, gate, reopen):
        state, refused = carry
        t, dt, u, v, y = row
        bound = jnp.where(refused >= reopen, math.inf, gate)
        starts, sizes = cut(t, dt, system.period, n_pieces)
        state = silently(state, starts[:-1], sizes[:-1], u, bound, p, Q, R)
        state, out = step(starts[-1], sizes[-1], state, u, v, y, use, bound, p, Q, R)
        _, _, _, nu, _, used, *_ = out
        came = ~jnp.isnan(nu)
        refused = jnp.where(came & (used == 0), refused + 1.0, jnp.where(came, 0.0, refused))
        return (state, refused), out

    return across, over


@lru_cache(maxsize=64)
def filtered(system: System, method: Method | Carrying, substeps: int, low: tuple, high: tuple, n_pieces: int) -> Any:
    """(t, dt, u, v, y, first, p, Q, R, gate, reopen) -> (x, P, y_hat, nu, S_diag, used, nis, logdet), stacked over T.

    `first` is `carrier(method).start(x0, P0)`. A pure function of JAX arrays; differentiable in p, Q and R.
    """
    _, over = stepping(system, method, substeps, low, high, n_pieces)

    def walk(t, dt, u, v, y, first, p, Q, R, gate, reopen):
        start = (first, jnp.zeros(y.shape[1]))
        return jax.lax.scan(lambda c, r: over(c, r, p, Q, R, gate, reopen), start, (t, dt, u, v, y))[1]

    return walk


def walked(
    name: str, outputs: slice, key: tuple[System, Method | Carrying, int, tuple, tuple, int]
) -> Callable[..., tuple[np.ndarray, ...]]:
    """`filtered` of `key` as a kernel of the default back end, of which some of the outputs are wanted.

    A long record is walked in stretches of equal length by one kernel, which is compiled for a stretch: neither code
    nor the time to make it grows with the record. Host arrays in, host arrays out.
    """
    _, over = stepping(*key)

    def walk(rows, carry, p, Q, R, gate, reopen):
        carry, out = jax.lax.scan(lambda c, r: over(c, r, p, Q, R, gate, reopen), carry, rows)
        return carry, out[outputs]

    def run(t, dt, u, v, y, first, p, Q, R, gate, reopen) -> tuple[np.ndarray, ...]:
        T = len(t)
        count = -(-T // STRETCH)
        size = -(-T // count)
        rows = _filled((t, dt, u, v, y), count * size - T)
        carry, tree = jax.tree.flatten((first, np.zeros(y.shape[1])))

        def fn(*args):
            rest = args[5 + len(carry) :]
            return tuple(jax.tree.leaves(walk(args[:5], tree.unflatten(args[5 : 5 + len(carry)]), *rest)))

        program = Program(name, (*key, tree), fn, (False,) * (10 + len(carry)))
        kernel = default().one(program)
        made: list[np.ndarray] = []
        for at in range(0, count * size, size):
            got = kernel(*(a[at : at + size] for a in rows), *carry, p, Q, R, gate, reopen)
            carry, found = list(got[: len(carry)]), got[len(carry) :]
            if count == 1:
                return found
            made = made or [np.empty((count * size, *a.shape[1:]), a.dtype) for a in found]
            for whole, part in zip(made, found, strict=True):
                whole[at : at + size] = part
        return tuple(a[:T] for a in made)

    return run


STRETCH = 1024
"""Rows of a record that one call walks over, at most."""


def _filled(rows: tuple[np.ndarray, ...], more: int) -> list[np.ndarray]:
    """(t, dt, u, v, y) with steps of no length and without readings behind the last, whose outputs nobody reads."""
    t, dt, u, v, y = (np.asarray(a, np.float64) for a in rows)
    if not more:
        return [t, dt, u, v, y]
    ends = [np.repeat(a[-1:], more, axis=0) for a in (t + dt, u, v)]
    none = np.full((more, y.shape[1]), np.nan)
    tails = (ends[0], np.zeros(more), ends[1], ends[2], none)
    return [np.concatenate([a, tail]) for a, tail in zip((t, dt, u, v, y), tails, strict=True)]


def compiled(*key: Any) -> Callable[..., tuple[np.ndarray, ...]]:
    """`filtered`, compiled."""
    return walked("record", slice(None), key)
