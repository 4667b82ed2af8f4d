"""How each possible fault would show in the innovations: signatures through the mirror's own filter.

For a fault of unit size that is present from an onset on, the filter's error and innovation follow (Friedland's
two-stage filter; V = 0 at the onset)

    U = Phi V + G         effect on the predicted state          G = d flow / d fault
    T = H U + D           effect on the innovation               D = d h / d fault
    V = U - K T           effect left in the estimate            K = P+ H' R^-1 over the sensors that were fused

so nu ~ N(T b, S) for size b, and since the onset

    s = s + T' S^-1 nu,   J = J + T' S^-1 T,   b = s_j / J_jj,   z_j = s_j / sqrt(J_jj) ~ N(0, 1) when nothing is wrong

for each of several onsets (rows). Faults that were called already, of sizes B, have an effect E on the estimate that
follows the same equations; what is tested is nu - (H (Phi E + G B) + D B), so a row asks for a *change* of a fault.
Row 0 of E and B holds all called faults, row 1 all but the last, whose own row of s and J goes on being compared.

Faults: a constant bias of a sensor (G = 0, D = e_i), a parameter that moved (G, D by differentiation), an unknown
constant input to a state (dx_j/dt = f_j + b).

Sources: Friedland (1969), Treatment of bias in recursive filtering, IEEE TAC 14; Willsky and Jones (1976), A
generalized likelihood ratio approach to the detection and estimation of jumps in linear systems, IEEE TAC 21.
"""

import math
from fnmatch import fnmatchcase
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import solve_triangular

from pollux.core.errors import DefinitionError
from pollux.core.signals import Cause
from pollux.intervene.diagnose import Fault
from pollux.model.backend import Program
from pollux.model.gaussian import propagate
from pollux.model.rk4 import rk4
from pollux.model.statespace import Channel, StateSpace, System

SLACK = 0.2
"""A called fault explains its innovations to this share: sizes are estimates, and models bend."""

WILD = 6.0
"""An innovation beyond this many standard deviations is a spike until it has come three times in a row."""


def hypotheses(
    space: StateSpace,
    tracked: int,
    faults: tuple[str, ...] | None,
    one_sided: tuple[str, ...],
    least: dict[str, float],
) -> tuple[Fault, ...]:
    """A bias of every sensor, then the process faults named by `faults` (None: an unknown input to every state)."""
    bank = [
        Fault(c.name, Cause.SENSOR, "y", i, c.label, c.unit, False, _scale(c), least.get(c.name, 1.5 * c.noise))
        for i, c in enumerate(space.y)
    ]
    states = space.x[: len(space.x) - tracked]
    names = tuple(c.name for c in states) if faults is None else faults
    held = {c.name for c in space.x[len(states) :]}
    for pattern in names:
        found = [
            Fault(
                c.name,
                Cause.PROCESS,
                kind,
                i,
                c.label,
                c.unit,
                _any(c.name, one_sided),
                _scale(c) if kind == "p" else math.inf,
                least.get(c.name, 0.0),
            )
            for kind, channels in (("p", space.p), ("x", states))
            for i, c in enumerate(channels)
            if fnmatchcase(c.name, pattern) or c.name == pattern
        ]
        if not found:
            raise DefinitionError(
                f"A fault is a parameter or a state of `{space.system.name}`; {pattern!r} is none. "
                f"It has states {[c.name for c in states]} and parameters {[c.name for c in space.p]}"
            )
        for fault in found:
            if fault.subject in held:
                raise DefinitionError(
                    f"{fault.subject!r} is tracked, so its change is followed and not a fault; give its normal band in "
                    "`bands` instead"
                )
        bank += found
    return tuple(dict.fromkeys(bank))


def _scale(channel: Channel) -> float:
    """Sizes that make sense: the width of `within`; else, of a parameter, three times its prior's or its own size."""
    width = channel.high - channel.low
    if math.isfinite(width):
        return width
    return 3.0 * max(channel.spread, abs(channel.start)) if channel.prior is not None else math.inf


def _any(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, p) for p in patterns)


def program(space: StateSpace, bank: tuple[Fault, ...], substeps: int, low: np.ndarray, high: np.ndarray) -> Program:
    """One update of signatures and scores for one twin.

    (t, dt, pieces, x, P, V, s, J, E, B, wild, u, v, nu, used, P_post, p, Q, R) -> V, s, J, E, wild, e

    x, P (n,), (n, n) the belief at t; V (k, n, M), s (k, M), J (k, M, M) for M faults and k onsets, the last of which
    is tested against row 1 of E (2, n), B (2, M); nu (ny,) with NaN where none came; used 1 where a reading was fused;
    P_post the covariance after the update. `wild` (ny,) counts readings in a row beyond `WILD`; the first two are left
    out. e (ny,) are the innovations that no called fault explains, in standard deviations.
    """
    shape = tuple((f.kind, f.index) for f in bank)
    key = (space.system, shape, substeps, low.tobytes(), high.tobytes())
    return Program("signature", key, _step(space.system, shape, substeps, low, high), (True,) * 19)


def _step(system: System, bank: tuple[tuple[str, int], ...], substeps: int, low: np.ndarray, high: np.ndarray):
    M, ny = len(bank), len(system.y_names)
    place = {kind: [(m, i) for m, (k, i) in enumerate(bank) if k == kind] for kind in "ypx"}
    at_p, to_p = _columns(place["p"])
    at_x, to_x = _columns(place["x"])
    discrete = system.period is not None
    direct = np.zeros((ny, M))
    for m, i in place["y"]:
        direct[i, m] = 1.0

    def faulty(p, b):
        return p.at[at_p].add(b[to_p]) if len(to_p) else p

    def f(t, x, u, pb):
        p, b = pb
        out = system.f(t, x, u, faulty(p, b))
        return out.at[at_x].add(b[to_x] * (system.period or 1.0)) if len(to_x) else out

    flow: Any = (lambda t, dt, x, u, pb: f(t, x, u, pb)) if discrete else rk4(f, substeps)

    def step(t, dt, pieces, x, P, V, s, J, E, B, wild, u, v, nu, used, P_post, p, Q, R):
        none = jnp.zeros(M)
        h = dt / jnp.maximum(pieces, 1)

        def piece(i, carry):
            x, P, U, UE = carry
            at = t + i * h

            def both(x, b):
                out = flow(at, h, x, u, (p, b))
                return out, out

            (Phi, G), x = jax.jacfwd(both, argnums=(0, 1), has_aux=True)(x, none)
            P = propagate(P, Phi, Q, h, discrete)
            return jnp.clip(x, low, high), P, Phi @ U + G, UE @ Phi.T + B @ G.T

        x, P, U, UE = jax.lax.fori_loop(0, pieces, piece, (x, P, V, E))
        H, D = jax.jacfwd(lambda x, b: system.h(t + dt, x, v, faulty(p, b)), argnums=(0, 1))(x, none)
        D = D + direct
        T = H @ U + D  # (k, ny, M)
        explained = UE @ H.T + B @ D.T  # (2, ny)
        S = H @ P @ H.T + jnp.diag(R + (SLACK * explained[0]) ** 2)
        e = (nu - explained[0]) / jnp.sqrt(jnp.diag(S))
        wild = jnp.where(jnp.abs(e) > WILD, wild + 1.0, jnp.where(jnp.isnan(e), wild, 0.0))
        came = jnp.isfinite(nu) & ((wild == 0) | (wild > 2))
        S = jnp.where(came[:, None] & came[None, :], S, jnp.eye(ny))
        L = jnp.linalg.cholesky(S)

        def whiten(columns):
            return solve_triangular(L, jnp.where(came[:, None], columns, 0.0), lower=True)

        A = jax.vmap(whiten)(T)
        rest = whiten((nu - explained).T)  # (ny, 2)
        rows = jnp.concatenate([jnp.repeat(rest[:, :1], len(V) - 1, axis=1), rest[:, 1:]], axis=1)
        s = s + jnp.einsum("kim,ik->km", A, rows)
        J = J + jnp.einsum("kim,kin->kmn", A, A)
        K = P_post @ H.T * (used / R)
        return U - K @ T, s, J, UE - explained @ K.T, wild, e

    return step


def _columns(pairs: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    """(positions in the vector, positions in the bank)."""
    return np.array([i for _, i in pairs], dtype=int), np.array([m for m, _ in pairs], dtype=int)
