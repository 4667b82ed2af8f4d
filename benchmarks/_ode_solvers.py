"""The contenders of the work item `simulate`, with one signature: (problem, sets (k, N), rtol) -> end states (n, N)."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import casadi as ca
import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from scipy.integrate import solve_ivp

from benchmarks._odes import PROBLEMS, SPARSITY, Problem, pollux
from pollux import Adaptive, Stiff, flatten
from pollux.model.backend import Program, default
from pollux.model.control import Tolerance
from pollux.model.dop853 import DOP853
from pollux.model.embedded import march
from pollux.model.integrate import Leg
from pollux.model.lu import DENSE
from pollux.model.rodas5p import rodas5p
from pollux.model.tridiagonal import TRIDIAGONAL
from pollux.model.tsit5 import TSIT5

Solve = Callable[[Problem, np.ndarray, float], np.ndarray]


@dataclass(frozen=True)
class Contender:
    """A solver; a batch of more than `most` sets is timed on that many and scaled up."""

    name: str
    solve: Solve
    most: int = 1_000_000
    search: Solve | None = None
    """What finds the tolerance, where `solve` would compile for each."""


def contenders(problem: Problem) -> list[Contender]:
    """Ours and the peers that suit the problem."""
    ours = {"pollux Stiff": (_stiff, "stiff")}
    if not problem.stiff:
        ours = {"pollux Adaptive(5)": (_five, "tsit5"), "pollux Adaptive(8)": (_eight, "dop853")}
    scipy = ("LSODA", "BDF", "Radau") if problem.stiff else ("LSODA", "DOP853")
    jaxes = {"diffrax Kvaerno5": diffrax.Kvaerno5} if problem.stiff else {"diffrax Tsit5": diffrax.Tsit5}
    most = 4 if problem.name == "heat" else 1_000_000
    return [
        *(Contender(name, solve, search=_searching(scheme)) for name, (solve, scheme) in ours.items()),
        Contender("CVODES", _cvodes),
        *(Contender(name, _by_diffrax(solver), most) for name, solver in jaxes.items()),
        *(Contender(f"SciPy {name}", _by_scipy(name), 4) for name in scipy),
    ]


def _five(problem: Problem, p: np.ndarray, rtol: float) -> np.ndarray:
    return pollux(problem, Adaptive(rtol, rtol * problem.atol, max_steps=100_000), p)


def _eight(problem: Problem, p: np.ndarray, rtol: float) -> np.ndarray:
    return pollux(problem, Adaptive(rtol, rtol * problem.atol, order=8, max_steps=100_000), p)


def _stiff(problem: Problem, p: np.ndarray, rtol: float) -> np.ndarray:
    jacobian = "tridiagonal" if problem.name == "heat" else "dense"
    return pollux(problem, Stiff(rtol, rtol * problem.atol, jacobian, max_steps=100_000), p)


def _searching(scheme: str) -> Solve:
    """The same steps with the tolerance as an argument of the kernel, so that a search compiles once."""

    def solve(problem: Problem, p: np.ndarray, rtol: float) -> np.ndarray:
        x0 = np.tile(problem.x0[:, None], p.shape[1])
        return _traced(problem.name, scheme, p.shape[1])(x0, p, np.float64(rtol))[0]

    return solve


@lru_cache
def _traced(name: str, scheme: str, sets: int) -> Any:
    problem = PROBLEMS[name]
    system = flatten(problem.twin).system
    chosen = {"tsit5": TSIT5, "dop853": DOP853, "stiff": rodas5p(TRIDIAGONAL if name == "heat" else DENSE)}[scheme]

    def fn(x0: Any, p: Any, rtol: Any) -> tuple[Any, ...]:
        m = march(system, chosen, Tolerance(rtol, rtol * problem.atol), 100_000, "forward")
        zero, end, u = jnp.zeros(()), jnp.asarray(problem.horizon), jnp.zeros(0)
        leg = Leg(zero, zero, end, end, jnp.bool_(False), u, p)
        return (m.advance(m.begin(zero, end, x0, u, p), x0, leg)[1],)

    return default().fleet(Program("search", (system, scheme, sets), fn, (True, True, False)))


def _by_scipy(method: str) -> Solve:
    def solve(problem: Problem, p: np.ndarray, rtol: float) -> np.ndarray:
        options: dict[str, Any] = {}
        if problem.name == "heat":
            options = {"lband": 1, "uband": 1} if method == "LSODA" else {"jac_sparsity": SPARSITY}
        out = np.full((len(problem.x0), p.shape[1]), np.nan)
        for i in range(p.shape[1]):
            run = solve_ivp(
                problem.f, (0.0, problem.horizon), problem.x0, method=method, args=(p[:, i],),
                rtol=rtol, atol=rtol * problem.atol, **options,
            )  # fmt: skip
            if run.success:
                out[:, i] = run.y[:, -1]
        return out

    return solve


@lru_cache(maxsize=8)
def _cvodes_of(name: str, rtol: float, sets: int) -> Any:
    problem = PROBLEMS[name]
    x, p = ca.SX.sym("x", len(problem.x0)), ca.SX.sym("p", len(flatten(problem.twin).p0))
    options: dict[str, Any] = {"reltol": rtol, "abstol": rtol * problem.atol, "max_num_steps": 1_000_000}
    if not problem.stiff:  # several times as fast there as its default, BDF
        options["linear_multistep_method"] = "adams"
    F = ca.integrator("F", "cvodes", {"x": x, "p": p, "ode": problem.symbolic(x, p)}, 0, problem.horizon, options)
    return F if sets == 1 else F.map(sets)  # its threads were no faster on two cores


def _cvodes(problem: Problem, p: np.ndarray, rtol: float) -> np.ndarray:
    sets = p.shape[1]
    try:
        end = _cvodes_of(problem.name, rtol, sets)(x0=np.tile(problem.x0[:, None], sets), p=p)["xf"]
    except RuntimeError:
        return np.full((len(problem.x0), sets), np.nan)
    return np.asarray(end)


@lru_cache
def _diffrax_of(name: str, solver: type, batch: bool) -> Any:
    problem = PROBLEMS[name]
    system = flatten(problem.twin).system
    no_input = jnp.zeros(0)
    f: Any = system.f
    term = diffrax.ODETerm(lambda t, x, p: f(t, x, no_input, p))
    gains: dict[str, Any] = {"pcoeff": 0.3, "icoeff": 0.4} if problem.stiff else {}

    def one(p: Any, rtol: Any) -> Any:
        run = diffrax.diffeqsolve(
            term, solver(), 0.0, problem.horizon, None, jnp.asarray(problem.x0), p,
            stepsize_controller=diffrax.PIDController(rtol, rtol * problem.atol, **gains),
            adjoint=diffrax.ForwardMode(), max_steps=100_000, throw=False,
        )  # fmt: skip
        assert run.ys is not None
        return jnp.where(run.result == diffrax.RESULTS.successful, run.ys[-1], jnp.nan)

    return jax.jit(jax.vmap(one, (1, None), 1) if batch else one)


def _by_diffrax(solver: type) -> Solve:
    def solve(problem: Problem, p: np.ndarray, rtol: float) -> np.ndarray:
        if p.shape[1] == 1:
            return np.asarray(_diffrax_of(problem.name, solver, False)(p[:, 0], rtol))[:, None]
        return np.asarray(_diffrax_of(problem.name, solver, True)(p, rtol))

    return solve
