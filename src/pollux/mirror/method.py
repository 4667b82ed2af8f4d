"""The one interface of the filters: a per-twin program from the prior at one time to the posterior at the next.

    step(t, dt, x, P, u, v, y, use, gate, p, Q, R) -> x, P, y_hat, nu, S_diag, used, nis, logdet

t, dt    start of the interval and its length (s)          x, P     belief at t: (n,), (n, n)
u, v     inputs held over the interval, and at its end     y        readings at t + dt, NaN where none came
use      1 where a sensor may be fused, 0 where excluded   gate     bound on nu_i^2 / S_ii, (ny,)
Q, R     noise variance per second (n,), per reading (ny,) p        parameters

The outputs are the belief at t + dt; the predicted readings, the innovations nu = y - y_hat (NaN where none came) and
the diagonal of their predicted covariance S, all three before gating; `used` (1 where a reading was fused); and
nis = nu' S^-1 nu and logdet = log det S over the used sensors. A reading outside its gate leaves the belief as if it
had never come.

Bounds: a mean outside `within` is moved to the bound after either update. The covariance is left as it was, which is
never too small: cutting a Gaussian at a bound can only reduce its variance.

A method whose belief is more than a mean and a covariance (an ensemble, particles, a bank of modes) carries that as its
`State`, any pytree of float64 arrays, in the place of (x, P); mean and covariance are derived from it at every step:

    carry(t, dt, state, u, v, y, use, gate, p, Q, R) -> state, (x, P, y_hat, nu, S_diag, used, nis, logdet)

`carrier` makes every method one of these: the state of a Gaussian method is (x, P).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.flatten_util import ravel_pytree

from pollux.model.backend import Program
from pollux.model.statespace import StateSpace, System

Outputs = tuple[Array, Array, Array, Array, Array, Array, Array, Array]
StepFn = Callable[..., Outputs]
State = Any
CarryFn = Callable[..., tuple[State, Outputs]]

PER_TWIN = (True, True, True, True, True, True, True, True, True, True, False, False)
"""Which arguments carry the fleet axis: all but Q and R."""


class Method(Protocol):
    """A Gaussian filter: a small frozen value, `Ekf()` or `Ukf()`."""

    def step(self, system: System, substeps: int, low: Any, high: Any) -> StepFn:
        """The per-twin function of the module docstring; `low` and `high` are the bounds of x."""
        ...


@runtime_checkable
class Carrying(Protocol):
    """A filter that carries more than mean and covariance: a small frozen value, `Etkf(24)` or `Particles(1000)`."""

    def start(self, x0: Any, P0: Any) -> State:
        """The first state, for the belief x ~ N(x0, P0)."""
        ...

    def carry(self, system: System, substeps: int, low: Any, high: Any) -> CarryFn:
        """The per-twin function of the module docstring; `low` and `high` are the bounds of x."""
        ...


@runtime_checkable
class OfTwin(Protocol):
    """A filter whose state depends on a twin's sizes or names: a small frozen value, `Mhe(20)`."""

    def of(self, space: StateSpace) -> Carrying:
        """The filter of this twin; tracked parameters are the last states of `space`."""
        ...


@dataclass(frozen=True)
class Gaussian:
    """A Gaussian method as a carrying one."""

    method: Method

    def start(self, x0: Any, P0: Any) -> State:
        """(x0, P0)"""
        return jnp.asarray(x0, jnp.float64), jnp.asarray(P0, jnp.float64)

    def carry(self, system: System, substeps: int, low: Any, high: Any) -> CarryFn:
        """The method's step."""
        step = self.method.step(system, substeps, low, high)

        def carry(t, dt, state, u, v, y, use, gate, p, Q, R):
            out = step(t, dt, *state, u, v, y, use, gate, p, Q, R)
            return out[:2], out

        return carry


def of_twin(method: Method | Carrying | OfTwin, space: StateSpace) -> Method | Carrying:
    """The method as that of one twin."""
    return method.of(space) if isinstance(method, OfTwin) else method


def carrier(method: Method | Carrying) -> Carrying:
    """The method as one that carries its state."""
    return method if isinstance(method, Carrying) else Gaussian(method)


def program(method: Method, system: System, substeps: int, low: Any, high: Any) -> Program:
    """The step as a `Program` without its last output, cached by structure, method and bounds."""
    key = (system, method, substeps, low.tobytes(), high.tobytes())
    step = method.step(system, substeps, low, high)
    return Program(type(method).__name__.lower(), key, lambda *args: step(*args)[:7], PER_TWIN)


def remember(state: State) -> np.ndarray:
    """A carried state as one float64 vector, for a belief to keep."""
    return np.concatenate([np.ravel(np.asarray(a, np.float64)) for a in jax.tree.leaves(state)])


def carried_program(method: Carrying, space: StateSpace, substeps: int) -> Program:
    """The step of a carrying method as a `Program` on that vector, for one twin (`build_fleet` takes Gaussian methods):

    (t, dt, memory, u, v, y, use, gate, p, Q, R) -> x, P, y_hat, nu, S_diag, used, nis, memory
    """
    low, high = space.bounds("x")
    carry = method.carry(space.system, substeps, low, high)
    unravel = ravel_pytree(method.start(space.x0, np.diag(space.P0)))[1]

    def fn(t, dt, memory, *rest):
        state, out = carry(t, dt, unravel(memory), *rest)
        return (*out[:7], ravel_pytree(state)[0])

    key = (space.system, method, substeps, low.tobytes(), high.tobytes())
    return Program(f"carried {type(method).__name__.lower()}", key, fn, (False,) * 11)
