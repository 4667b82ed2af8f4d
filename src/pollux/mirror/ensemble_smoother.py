"""The ensemble smoother in the form of Rauch, Tung and Striebel: members are corrected backwards by regression.

    E_k|T = E_k + (E_k+1|T - E_k+1-) A-^+ A,      A, A- contrasts of E_k and E_k+1-

A-^+ A is the regression of a member's state on its own forecast, so no Jacobian is needed. Forecasts are computed
again from the members, with the same random numbers, rather than kept. For linear twins without inflation and process
noise it is the ensemble Kalman smoother of Evensen and van Leeuwen.

Source: Raanes (2016), On the ensemble Rauch-Tung-Striebel smoother and its equivalence to the ensemble Kalman
smoother, QJRMS 142.
"""

from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pollux.mirror.contrasts import contrasts
from pollux.mirror.method import Carrying
from pollux.mirror.scan import stepping
from pollux.model.statespace import System

DEPENDENT = 1e-9
"""Singular values of the forecast below this share of the largest carry no information."""


@lru_cache(maxsize=64)
def ensemble_backward(system: System, method: Carrying, substeps: int, low: tuple, high: tuple, n_pieces: int) -> Any:
    """Compiled (t, dt, u, v, y, first, p, Q, R, gate, reopen) -> (smoothed x, P; outputs of the filter, stacked)."""
    across, over = stepping(system, method, substeps, low, high, n_pieces)

    def run(t, dt, u, v, y, first, p, Q, R, gate, reopen):
        def forward(carry, row):
            carry, out = over(carry, row, p, Q, R, gate, reopen)
            return carry, (carry[0], out)

        _, (states, out) = jax.lax.scan(forward, (first, jnp.zeros(y.shape[1])), (t, dt, u, v, y))

        def back(later, row):
            t, dt, u, state = row
            ahead = across(state, t, dt, u, p, Q, R).E
            gain = jnp.linalg.pinv(contrasts(ahead)[1], rtol=DEPENDENT) @ contrasts(state.E)[1]
            E = jnp.clip(state.E + (later - ahead) @ gain, np.array(low), np.array(high))
            return E, E

        before = jax.tree.map(lambda a: a[:-1], states)
        _, E = jax.lax.scan(back, states.E[-1], (t[1:], dt[1:], u[1:], before), reverse=True)
        E = jnp.concatenate([E, states.E[-1:]])
        x, A = jax.vmap(contrasts)(E)
        return x, jnp.einsum("tkn,tkm->tnm", A, A), out

    return jax.jit(run)
