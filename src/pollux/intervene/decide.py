"""`decide`: from a belief to a `Decision`, with its reasons in numbers and what happens without it.

    plan = argmin of the twin's goal under its limits (`mpc`), from the mean of the belief
    figures = an ensemble from the whole belief under the plan, and under the expected inputs, with the same chance

A planner is pure: what it warm-starts from is the outlook that it is handed (the running plan, or
the plant's own habits).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from pollux.core.errors import InputError
from pollux.core.signals import Belief, Decision, Forecast
from pollux.core.twin import Twin
from pollux.intervene.duty import Duty, resample, switch
from pollux.intervene.forecast import Forecaster, Spread, build_forecaster
from pollux.intervene.mpc import Given, Mpc, build_mpc
from pollux.intervene.mpc_options import MpcOptions, Outcome, Plan
from pollux.intervene.reason import reasons
from pollux.model.backend import Backend

Outlook = tuple[np.ndarray, np.ndarray]
"""Expected inputs: times (k,), values (k, u), each row held until the next."""


@dataclass(frozen=True)
class Targets:
    """What one decision is asked for, beside the options: see `Mpc.solve`."""

    references: Given = field(default_factory=dict)
    floor: Mapping[str, float] = field(default_factory=dict)
    limits: Mapping[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Reckoning:
    """A decision with everything that it was made from; `expected` and `reason` of the decision come from here."""

    decision: Decision
    plan: Plan
    acting: Spread
    idle: Spread
    saving: float
    """Fall of the whole objective (goal, penalties, end of the horizon), on the mean of the belief."""


@dataclass(frozen=True)
class Planner:
    """A compiled planner. Build it with `build_planner`."""

    mpc: Mpc
    forecaster: Forecaster
    targets: Callable[[Belief], Targets] | None
    duties: tuple[Duty, ...]
    valid: float
    least: float
    seed: int
    cost: str
    proposer: str

    def plan(self, belief: Belief, *, outlook: Outlook | None = None) -> Decision | None:
        """The best plan from this belief, or None where the model gives no finite one or too little is gained."""
        found = self.reckon(belief, outlook=outlook)
        return found.decision if found is not None else None

    def reckon(self, belief: Belief, *, outlook: Outlook | None = None) -> Reckoning | None:
        """The same with all that it rests on."""
        t, options, space = belief.t, self.mpc.options, self.mpc.space
        expected = outlook or (np.array([t]), belief.inputs[None])
        grid = t + options.step * np.arange(options.steps)
        idle = resample(*expected, grid, options.step)
        targets = self.targets(belief) if self.targets else Targets()
        x, p = self._split(belief)
        held = {c.name: idle[:, i] for i, c in enumerate(space.u) if c.name not in self.mpc.names}
        solve = partial(
            self.mpc.solve, t, x, belief.inputs, p=p, warm=idle, references=targets.references, floor=targets.floor,
            limits=targets.limits, held=held,
        )  # fmt: skip
        before, plan = solve(iterations=0), solve()
        if plan.outcome is Outcome.DIVERGED or not np.isfinite(plan.inputs).all():
            return None
        saving = before.cost - plan.cost if np.isfinite(before.cost) else np.inf
        if saving < self.least:
            return None
        times, rows = self._switched(plan, belief)
        scenes = self.forecaster.grid(belief)
        pace = self.forecaster.step
        acting, still = (
            self.forecaster.ensemble(belief, scenes, resample(*series, scenes, pace), seed=self.seed)
            for series in (self._joined(times, rows, expected), expected)
        )
        figures = self._figures(acting, still)
        decision = Decision(
            twin=belief.twin,
            t=t,
            id=f"{belief.id}/decision",
            source=belief.id,
            proposer=self.proposer,
            values={name: float(rows[0, space.index("u", name)]) for name in self.mpc.names},
            times=times,
            plan=rows,
            expires=t + self.valid,
            reason=reasons(self.mpc, plan, figures, self.cost, self.forecaster.horizon),
            expected=figures,
        )
        return Reckoning(decision, plan, acting, still, float(saving))

    def _split(self, belief: Belief) -> tuple[np.ndarray, np.ndarray]:
        """State and parameters of the controller's twin, from the tracked vector of the belief."""
        known = {c.name: belief.mean[i] for i, c in enumerate(self.forecaster.space.x)}
        x = np.array([known[c.name] for c in self.mpc.space.x])
        p = self.mpc.space.p0
        for i, c in enumerate(self.mpc.space.p):
            p[i] = known.get(c.name, p[i])
        return x, p

    def _switched(self, plan: Plan, belief: Belief) -> tuple[np.ndarray, np.ndarray]:
        """The plan with its duties turned into on and off, on the grid of their slots."""
        if not self.duties:
            return plan.times, plan.inputs
        slot, step = self.duties[0].slot, self.mpc.options.step
        times = plan.t + slot * np.arange(max(1, round(len(plan.times) * step / slot)))
        rows = resample(plan.times, plan.inputs, times, slot)
        for d in self.duties:
            i = self.mpc.space.index("u", d.input)
            on = bool(belief.inputs[i] >= 0.5)
            rows[:, i] = switch(rows[:, i], slot, on, min_on=d.min_on, min_off=d.min_off)
        return times, rows

    def _joined(self, times: np.ndarray, rows: np.ndarray, after: Outlook) -> Outlook:
        """The plan, then the expected inputs once it has run out."""
        end = times[0] + self.mpc.options.steps * self.mpc.options.step
        later = after[0] > end
        first = resample(*after, np.array([end]), 1.0)
        return np.concatenate([times, [end], after[0][later]]), np.concatenate([rows, first, after[1][later]])

    def _figures(self, acting: Spread, idle: Spread) -> dict[str, float]:
        """Figures of acting and, prefixed `without_`, of not acting. Lowest margins are the 5 % quantile."""
        space = self.forecaster.space
        figures: dict[str, float] = {}
        for prefix, e in (("", acting), ("without_", idle)):
            figures[f"{prefix}{self.cost}"] = float(np.mean(e.goal))
            for name, worst, first in zip(space.system.margin_names, e.worst, e.first, strict=True):
                figures[f"{prefix}lowest {name}"] = float(np.quantile(worst, 0.05))
                figures[f"{prefix}P({name} violated)"] = float(np.mean(np.isfinite(first)))
            for name in {**self.mpc.options.floor, **self.mpc.options.worth}:
                i = space.index("x", name)
                figures[f"{prefix}{name} at the end [{space.x[i].unit}]"] = float(np.median(e.states[-1, i]))
        return figures


def build_planner(
    twin: Twin,
    options: MpcOptions,
    *,
    forecaster: Forecaster | None = None,
    targets: Callable[[Belief], Targets] | None = None,
    duties: tuple[Duty, ...] = (),
    valid: float | None = None,
    least: float = -np.inf,
    seed: int = 0,
    cost: str = "cost",
    proposer: str = "mpc",
    backend: Backend | None = None,
) -> Planner:
    """Compile a planner: the controller of `options` and, unless it is handed one, a forecaster over its horizon.

    The forecaster's twin judges the plan and may differ from the one that is planned with (which may keep a reserve).
    `targets(belief)` gives set-points, the floor at the end of the horizon and narrower limits. `duties` turns relaxed
    inputs into on and off. A decision holds for `valid` seconds (default: two steps) and is made only if the objective
    falls by `least`. `cost` names the integral of the goal with its unit, as "energy cost [EUR]".
    """
    mpc = build_mpc(twin, options, backend=backend)
    if len({d.slot for d in duties}) > 1:
        raise InputError(f"All duties of one planner share one slot, received {[d.slot for d in duties]}")
    for d in duties:
        mpc.space.index("u", d.input)
    forecaster = forecaster or build_forecaster(
        twin, horizon=options.steps * options.step, step=options.step, substeps=options.substeps, backend=backend
    )
    valid = 2 * options.step if valid is None else valid
    return Planner(mpc, forecaster, targets, duties, float(valid), float(least), seed, cost, proposer)


def what_if(
    forecaster: Forecaster,
    belief: Belief,
    values: Mapping[str, float],
    *,
    hours: float | None = None,
    outlook: Outlook | None = None,
    seed: int = 0,
) -> tuple[Forecast, Forecast]:
    """Two forecasts: with the inputs `values` held for `hours` (None: throughout), and with the expected inputs.

    Both meet the same disturbances. Raises `InputError` for an unknown input or a value that is not finite.
    """
    names = list(forecaster.space.system.u_names)
    unknown = sorted(set(values) - set(names))
    if unknown or not values or not all(np.isfinite(v) for v in values.values()):
        raise InputError(f"A question sets one or more of {names} to finite values, received {dict(values)!r}")
    times = forecaster.grid(belief)
    idle = resample(*(outlook or (times[:1], belief.inputs[None])), times, forecaster.step)
    acting = idle.copy()
    until = np.inf if hours is None else belief.t + 3600.0 * hours
    for name, value in values.items():
        acting[times < until, names.index(name)] = value
    one, other = (forecaster.forecast(belief, times, rows, seed=seed) for rows in (acting, idle))
    return one, other
