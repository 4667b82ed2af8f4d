"""The problems of the work item `simulate`, each as a twin and as its peers want it, with reference solutions.

Lorenz (1963); Robertson (1966); Van der Pol with mu = 1000 (Hairer and Wanner II, sec. IV.10, in their first scaling);
heat equation u_t = a u_xx on 200 nodes, zero at both ends (method of lines), whose semidiscrete solution is known.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import casadi as ca
import jax.numpy as jnp
import numpy as np
from scipy.integrate import solve_ivp

from pollux import Adaptive, Scalar, Signals, Stiff, Twin, flatten, param, var
from pollux.model.backend import default
from pollux.model.integrate import Method
from pollux.model.simulate import simulation

NODES = 200


class Nothing(Signals):
    """No input."""


class Three(Signals):
    a: Scalar = var("1", noise=1.0)
    b: Scalar = var("1", noise=1.0)
    c: Scalar = var("1", noise=1.0)


class Lorenz(Twin[Three, Nothing, Three]):
    """Deterministic nonperiodic flow."""

    sigma: Scalar = param("1/s", 10.0)
    rho: Scalar = param("1", 28.0)
    beta: Scalar = param("1/s", 8 / 3)
    rate: Scalar = param("1/s", 1.0)

    def dynamics(self, t: Scalar, x: Three, u: Nothing) -> Three:
        """Rolls of a heated layer."""
        return Three(
            a=self.sigma * (x.b - x.a),
            b=self.rate * (x.a * (self.rho - x.c) - x.b),
            c=self.rate * x.a * x.b - self.beta * x.c,
        )

    def observe(self, t: Scalar, x: Three, u: Nothing) -> Three:
        """All states."""
        return x


class Robertson(Twin[Three, Nothing, Three]):
    """An autocatalytic reaction."""

    k1: Scalar = param("1/s", 0.04)
    k2: Scalar = param("1/s", 3e7)
    k3: Scalar = param("1/s", 1e4)

    def dynamics(self, t: Scalar, x: Three, u: Nothing) -> Three:
        """Three reactions."""
        r1, r2, r3 = self.k1 * x.a, self.k2 * x.b**2, self.k3 * x.b * x.c
        return Three(a=-r1 + r3, b=r1 - r2 - r3, c=r2)

    def observe(self, t: Scalar, x: Three, u: Nothing) -> Three:
        """All states."""
        return x


class Two(Signals):
    x: Scalar = var("1", noise=1.0)
    v: Scalar = var("1/s", noise=1.0)


class VanDerPol(Twin[Two, Nothing, Two]):
    """A relaxation oscillator."""

    mu: Scalar = param("1/s", 1000.0)
    rate: Scalar = param("1/s^2", 1.0)

    def dynamics(self, t: Scalar, x: Two, u: Nothing) -> Two:
        """Damping that changes its sign."""
        return Two(x=x.v, v=self.mu * (1.0 - x.x**2) * x.v - self.rate * x.x)

    def observe(self, t: Scalar, x: Two, u: Nothing) -> Two:
        """All states."""
        return x


class Rod(Signals):
    T: Any = var("K", noise=1.0, shape=(NODES,))


class Heat(Twin[Rod, Nothing, Rod]):
    """A rod of length one."""

    a: Scalar = param("1/s", 1.0)

    def dynamics(self, t: Scalar, x: Rod, u: Nothing) -> Rod:
        """Second differences."""
        wide = jnp.pad(x.T, 1)
        return Rod(T=self.a * (NODES + 1) ** 2 * (wide[:-2] - 2.0 * x.T + wide[2:]))

    def observe(self, t: Scalar, x: Rod, u: Nothing) -> Rod:
        """All nodes."""
        return x


@dataclass(frozen=True)
class Problem:
    """One problem: solve from `x0` over `horizon` for every column of `sets`; error relative to |x| + `floor`."""

    name: str
    twin: Twin
    x0: np.ndarray
    horizon: float
    floor: float
    atol: float
    """Absolute tolerance as a part of the relative one, the same for every contender."""
    free: int
    """The first so many parameters differ between sets, by 10 % either way."""
    stiff: bool
    f: Callable[[float, np.ndarray, Any], Any]
    symbolic: Callable[[Any, Any], Any]

    def sets(self, n: int) -> np.ndarray:
        """Parameter sets (k, n); the first is the nominal one."""
        p = np.tile(flatten(self.twin).p0[:, None], n)
        p[: self.free, 1:] *= np.random.default_rng(0).uniform(0.9, 1.1, (self.free, n - 1))
        return p

    def error(self, x: np.ndarray, exact: np.ndarray) -> float:
        """Largest error of end states (n, N); infinite where a solver gave up."""
        e = np.abs(x - exact) / (np.abs(exact) + self.floor)
        return float(np.max(e)) if np.all(np.isfinite(e)) else np.inf


def lorenz(t, x, p):
    return [p[0] * (x[1] - x[0]), x[0] * (p[1] - x[2]) - x[1], x[0] * x[1] - p[2] * x[2]]


def robertson(t, x, p):
    r1, r2, r3 = p[0] * x[0], p[1] * x[1] ** 2, p[2] * x[1] * x[2]
    return [-r1 + r3, r1 - r2 - r3, r2]


def van_der_pol(t, x, p):
    return [x[1], p[0] * (1.0 - x[0] ** 2) * x[1] - x[0]]


def heat(t, x, p):
    y = -2.0 * x
    y[1:] += x[:-1]
    y[:-1] += x[1:]
    return p[0] * (NODES + 1) ** 2 * y


def heat_symbolic(x, p):
    return p[0] * (NODES + 1) ** 2 * (ca.vertcat(0, x[:-1]) - 2 * x + ca.vertcat(x[1:], 0))


_PLACE = np.arange(1, NODES + 1) / (NODES + 1)
PROBLEMS = {
    p.name: p
    for p in (
        Problem(
            "lorenz", Lorenz(), np.ones(3), 10.0, 20.0, 1.0, 3, False,
            lorenz, lambda x, p: ca.vertcat(*lorenz(0, ca.vertsplit(x), p)),
        ),
        Problem(
            "robertson", Robertson(), np.array([1.0, 0.0, 0.0]), 1e5, 0.0, 1e-6, 3, True,
            robertson, lambda x, p: ca.vertcat(*robertson(0, ca.vertsplit(x), p)),
        ),
        Problem(
            "van_der_pol", VanDerPol(), np.array([2.0, 0.0]), 2000.0, 0.0, 1e-3, 1, True,
            van_der_pol, lambda x, p: ca.vertcat(*van_der_pol(0, ca.vertsplit(x), p)),
        ),
        Problem("heat", Heat(), np.minimum(_PLACE, 1 - _PLACE), 0.1, 1e-2, 1e-2, 1, True, heat, heat_symbolic),
    )
}  # fmt: skip


@lru_cache
def kernel(name: str, method: Method, fleet: bool) -> Callable[..., tuple[np.ndarray, ...]]:
    """The program behind `simulate`, on the default back end."""
    program = simulation(flatten(PROBLEMS[name].twin).system, method)
    return default().fleet(program) if fleet else default().one(program)


def pollux(problem: Problem, method: Method, p: np.ndarray) -> np.ndarray:
    """End states (n, N) for parameter sets (k, N)."""
    times, U = np.array([0.0, problem.horizon]), np.zeros((2, 0))
    if p.shape[1] == 1:
        return kernel(problem.name, method, fleet=False)(times, U, problem.x0, p[:, 0])[0][-1][:, None]
    x0 = np.tile(problem.x0[:, None], p.shape[1])
    return kernel(problem.name, method, fleet=True)(times, U, x0, p)[0][-1]


def reference(problem: Problem, p: np.ndarray) -> np.ndarray:
    """End states to at least 1e-7: in closed form, or by a tight run that SciPy confirms on three sets."""
    if problem.name == "heat":
        k = np.arange(1, NODES + 1)
        V = np.sqrt(2 / (NODES + 1)) * np.sin(np.pi * np.outer(_PLACE, k))
        rates = (2 * (NODES + 1) * np.sin(np.pi * k / (2 * (NODES + 1)))) ** 2
        return V @ (np.exp(-np.outer(rates, p[0]) * problem.horizon) * (V.T @ problem.x0)[:, None])
    tight = Stiff(1e-9, 1e-9 * problem.atol, max_steps=100_000) if problem.stiff else Adaptive(1e-12, 1e-12, order=8)
    exact = pollux(problem, tight, p)
    for i in range(min(3, p.shape[1])):
        other = solve_ivp(
            problem.f, (0.0, problem.horizon), problem.x0, args=(p[:, i],), rtol=1e-10, atol=1e-10 * problem.atol,
            method="Radau" if problem.stiff else "DOP853",
        ).y[:, -1:]  # fmt: skip
        if not problem.error(exact[:, i : i + 1], other) < 2e-7:
            raise AssertionError(f"no reference for {problem.name}: {exact[:, i]} against SciPy's {other[:, 0]}")
    return exact


SPARSITY = np.eye(NODES, k=-1) + np.eye(NODES) + np.eye(NODES, k=1)
"""What SciPy's implicit solvers are told of the heat equation's Jacobian."""
