"""Nonlinear model-predictive control: from a twin and `MpcOptions` to one compiled solver.

Everything that can change while it runs (time, state, parameters, set-points, weights, limits of the inputs) is an
argument, so a tick never compiles. A solve is a pure function of its arguments: the warm start goes in, the plan
comes out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np

from pollux.core.errors import DefinitionError
from pollux.core.twin import Twin
from pollux.intervene.mpc_options import InteriorPoint, MpcOptions, Outcome, Plan, Riccati, Weight
from pollux.intervene.mpc_pack import Given as Start
from pollux.intervene.mpc_pack import Packing, packing
from pollux.intervene.mpc_problem import Shape, Values, inputs
from pollux.intervene.mpc_sqp import DIVERGED, LIMIT, OPTIMAL, STALLED, sqp
from pollux.intervene.mpc_stagewise import stagewise
from pollux.model.backend import Backend, Kernel, Program, Xla, default
from pollux.model.statespace import StateSpace, System, flatten

_OUTCOMES = {
    OPTIMAL: Outcome.OPTIMAL,
    STALLED: Outcome.STALLED,
    LIMIT: Outcome.LIMIT,
    DIVERGED: Outcome.DIVERGED,
}
_NOWHERE = -1e30
"""A floor that nothing reaches."""
Given = Mapping[str, float | np.ndarray]
"""Signal name -> one value, or one for each step of the horizon."""


@dataclass(frozen=True)
class Mpc:
    """A compiled controller. Build it with `build_mpc`."""

    space: StateSpace
    options: MpcOptions
    shape: Shape
    solver: InteriorPoint | Riccati
    kernel: Kernel = field(repr=False)
    packing: Packing = field(repr=False)
    times: np.ndarray = field(repr=False)
    """Beginnings of the intervals, from the time of a solve."""

    @property
    def names(self) -> tuple[str, ...]:
        """The inputs that it decides."""
        return tuple(self.space.u[i].name for i in self.shape.controls)

    @property
    def rows(self) -> tuple[str, ...]:
        """Names of the limits, in the order of `Plan.margins`."""
        bounds = [self.space.x[i].name for i in self.shape.bounded]
        return (*self.space.system.margin_names, *(f"{b} low" for b in bounds), *(f"{b} high" for b in bounds))

    def solve(
        self,
        t: float,
        x: np.ndarray,
        before: np.ndarray,
        *,
        p: np.ndarray | None = None,
        warm: np.ndarray | None = None,
        references: Given | None = None,
        floor: Mapping[str, float] | None = None,
        held: Given | None = None,
        limits: Mapping[str, tuple[float, float]] | None = None,
        iterations: int | None = None,
    ) -> Plan:
        """The best plan from state `x` (n,) at time `t` (s), with the inputs `before` (m,) in force until now.

        `p`: parameter vector, default as declared. `warm` (steps, m): where to start, e.g. `plan.shifted()`; default
        `before` throughout. `references`: set-points of the states named in the options. `floor`: lowest accepted
        state at the end of the horizon. `held`: announced values of inputs that are not decided here. `limits`:
        narrower (low, high) of decided inputs. `iterations` replaces the bound of the
        options; 0 only judges the warm start. Never raises for numerical reasons: see `Plan.outcome`.
        """
        o, pack, space = self.options, self.packing, self.space
        flat = pack.template.copy()
        flat[pack.at["t"]] = t
        for name, value in (("x", x), ("before", before), ("p", p)):
            if value is not None:
                pack.put(flat, name, value)
        series = pack.view(flat, "held")
        series[:] = before
        for name, value in (held or {}).items():
            series[:, space.index("u", name)] = value
        low, high = self._limits(limits or {})
        flat[pack.at["low"]], flat[pack.at["high"]] = low, high
        self._set_points(pack.view(flat, "reference"), references or {})
        if floor:
            pack.put(flat, "floor", [floor.get(name, _NOWHERE) for name in o.floor])
        pack.put(flat, "start", series if warm is None else warm)
        flat[pack.at["iterations"]] = o.iterations if iterations is None else iterations
        flat[pack.at["tolerance"]] = o.tolerance
        u, states, rows, y, reduced, numbers = self.kernel(flat)
        cost, penalty, kkt, promised, passes, status = numbers.tolist()
        return Plan(
            t=float(t),
            times=t + self.times,
            inputs=u,
            states=states,
            margins=rows,
            multipliers=y,
            reduced=reduced / (high - low),
            cost=cost,
            penalty=penalty,
            kkt=kkt,
            promised=promised,
            iterations=int(passes),
            outcome=_OUTCOMES[int(status)],
        )

    def _set_points(self, out: np.ndarray, given: Given) -> None:
        for column, i in enumerate(self.shape.referenced):
            name = self.space.x[i].name
            if name not in given:
                raise DefinitionError(f"A set-point is needed for each state with a weight; {name!r} has none")
            out[:, column] = given[name]

    def _limits(self, given: Mapping[str, tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
        low, high = (self.packing.template[self.packing.at[name]] for name in ("low", "high"))
        if not given:
            return low, high
        low, high = low.copy(), high.copy()
        for name, (lowest, highest) in given.items():
            i = self.names.index(name)
            low[i], high[i] = max(low[i], lowest), min(high[i], highest)
        return low, np.maximum(high, low + 1e-9 * (1.0 + np.abs(low)))


def build_mpc(twin: Twin | StateSpace, options: MpcOptions, *, backend: Backend | None = None) -> Mpc:
    """Compile a controller for a twin. Compilation happens at the first `solve`.

    Raises `DefinitionError` for an unknown name, an input without finite limits, or nothing to optimise.
    """
    space = twin if isinstance(twin, StateSpace) else flatten(twin)
    o, s = options, space.system
    controls = tuple(space.index("u", name) for name in (o.controls if o.controls is not None else s.u_names))
    if not controls:
        raise DefinitionError(f"MPC needs an input to decide; `{s.name}` offers {s.u_names}")
    if s.period is not None and s.period != o.step:
        raise DefinitionError(f"The step of a discrete twin is its period {s.period} s, received {o.step} s")
    low, high = (b[list(controls)] for b in space.bounds("u"))
    for i, lowest, highest in zip(controls, low, high, strict=True):
        if not np.isfinite(highest - lowest):
            raise DefinitionError(
                f"MPC needs finite limits of each input it decides: declare `within` of {s.u_names[i]!r}"
            )
    goal = depends(s)
    limits = (*s.margin_names, *o.bounds, *o.bounds)
    w1, w2 = _each(o.price, limits), _each(o.limit, limits)
    economic = goal or bool(o.worth) or bool(o.floor) or bool(np.any(w1 > 0))
    names = {*o.references, *o.terminal}
    shape = Shape(
        system=s,
        steps=o.steps,
        step=float(o.step),
        substeps=o.substeps,
        controls=controls,
        referenced=tuple(sorted(space.index("x", name) for name in names)),
        bounded=tuple(space.index("x", name) for name in o.bounds),
        floored=tuple(space.index("x", name) for name in o.floor),
        goal=goal,
        exact=o.hessian == "exact",
        economic=economic,
    )
    if not goal and not names and not o.worth:
        raise DefinitionError(
            f"Nothing to optimise: `{s.name}` has no `goal` and the options no references; give one of them"
        )
    solver = o.solver or (InteriorPoint() if economic else Riccati())
    weights = np.zeros((o.steps, len(shape.referenced)))
    for column, i in enumerate(shape.referenced):
        weights[:, column] = o.references.get(s.x_names[i], 0.0)
        weights[-1, column] += o.terminal.get(s.x_names[i], 0.0)
    bound_low, bound_high = (b[list(shape.bounded)] for b in space.bounds("x"))
    defaults = Values(
        t=np.float64(0),
        x=space.x0,
        before=space.u0,
        p=space.p0,
        held=np.repeat(space.u0[None], o.steps, axis=0),
        low=low,
        high=high,
        reference=np.zeros_like(weights),
        reference_weight=weights,
        rate=_each(o.rate, tuple(s.u_names[i] for i in controls)),
        worth=_each(o.worth, s.x_names),
        bound_low=bound_low,
        bound_high=bound_high,
        reserve=_each(o.reserve, limits),
        floor=np.full(len(shape.floored), _NOWHERE),
        w1=w1,
        w2=w2,
        floor_price=_each(o.floor, tuple(o.floor)),
    )  # fmt: skip

    start = np.repeat(space.u0[None], o.steps, axis=0)
    pack = packing(Start(defaults, start, np.float64(o.iterations), np.float64(o.tolerance)))

    def program(flat):
        v, start, iterations, tolerance = pack.unpack(flat)
        w = jnp.clip((start[:, np.asarray(controls, int)] - v.low) / (v.high - v.low), 0.0, 1.0)
        if isinstance(solver, Riccati):
            found = stagewise(shape, v, w, solver, iterations, tolerance)
        else:
            found = sqp(shape, v, w, solver, iterations, tolerance)
        path, rows = found.path, found.path.rows
        numbers = (path.cost, path.penalty, found.kkt, found.promised, found.iterations, found.status)
        return (
            inputs(shape, v, found.w),
            path.states,
            rows,
            found.y[: rows.size].reshape(rows.shape),
            found.reduced,
            jnp.stack([jnp.asarray(number, jnp.float64) for number in numbers]),
        )

    # the dense subproblems of `InteriorPoint` are far beyond straight-line code; it would take seconds to find that out
    backend = backend or (default() if isinstance(solver, Riccati) else Xla())
    kernel = backend.one(Program("mpc", (shape, solver), program, (False,)))
    return Mpc(space, options, shape, solver, kernel, pack, o.step * np.arange(o.steps))


def depends(system: System) -> bool:
    """Whether the twin's goal depends on anything: the default goal is the constant 0 and costs nothing."""
    sizes = (len(system.x_names), len(system.u_names), len(system.p_names))
    traced = jax.make_jaxpr(system.goal)(0.0, *(jax.ShapeDtypeStruct((n,), np.float64) for n in sizes)).jaxpr
    moving: set[int] = {id(v) for v in traced.invars}
    for equation in traced.eqns:
        if any(id(v) in moving for v in equation.invars):
            moving.update(id(v) for v in equation.outvars)
    return any(id(v) in moving for v in traced.outvars)


def _each(weight: Weight, names: tuple[str, ...]) -> np.ndarray:
    if not isinstance(weight, Mapping):
        return np.full(len(names), float(weight))
    unknown = set(weight) - set(names)
    if unknown:
        raise DefinitionError(f"A weight names a signal that exists: {sorted(unknown)} not in {list(names)}")
    return np.array([float(weight.get(name, 0.0)) for name in names])
