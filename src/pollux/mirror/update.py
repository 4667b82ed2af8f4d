"""`build_mirror`: a twin becomes `Readings -> Belief`, a pure fold that is bit for bit repeatable.

The inputs of the previous belief are held until the new readings; long gaps are crossed in pieces of at most
`dt_max` seconds. `p` is not learned here: a parameter that drifts is named in `track` and becomes a state.
"""

import math
from dataclasses import dataclass, field
from functools import cached_property
from statistics import NormalDist

import numpy as np

from pollux.core.errors import InputError
from pollux.core.signals import Belief, Health, Readings
from pollux.core.twin import Twin
from pollux.mirror.ekf import Ekf
from pollux.mirror.method import Carrying, Method, OfTwin, carried_program, carrier, of_twin, program, remember
from pollux.model import pieces
from pollux.model.augment import augment
from pollux.model.backend import Backend, Kernel, default
from pollux.model.compile import Kernels
from pollux.model.statespace import StateSpace, flatten

GATE = 1e-6
"""Default probability that a good reading is refused by its gate: one in a million."""

REOPEN = 5
"""Readings in a row that a gate refuses by default; what goes on being refused is believed, unless it is excluded.

A spike is no reason to move; a lasting deviation means that the asset has changed or the estimate is lost, or that the
sensor is at fault, which is the detector's to say."""

STALE = 3.0
"""A sensor is stale when it has been silent for this many of its own periods."""


@dataclass(frozen=True, eq=False)
class Mirror:
    """The compiled stage 2 of one twin. Built by `build_mirror`; holds no state of its own.

    `params`, `Q` (per second), `R` are the vectors that it filters with; `tuned` replaces them.
    """

    name: str
    space: StateSpace
    method: Method | Carrying
    substeps: int
    dt_max: float
    gate: float
    """Bound on nu_i^2 / S_ii."""
    reopen: float
    """Readings in a row that a gate refuses at most."""
    stale_after: np.ndarray
    params: np.ndarray
    Q: np.ndarray
    R: np.ndarray
    kernel: Kernel = field(repr=False)
    backend: Backend = field(repr=False)

    def start(self, t: float) -> Belief:
        """The first belief, from the declared `start` and `spread`: no reading has been seen."""
        space = self.space
        y = len(space.y)
        silent = np.full(y, np.nan)
        x = space.x0
        P = np.diag(space.P0)
        kept = remember(carrier(self.method).start(x, P)) if self._carries else np.zeros(0)
        _, _, predicted, *_ = self._step(t, 0.0, (x, P, kept), space.u0, space.u0, silent, np.zeros(y), np.zeros(y))
        health = (Health.MISSING,) * y
        return Belief(
            self.name, float(t), f"{self.name}/belief/0", "", x, P, space.u0, predicted, silent, silent, health,
            0.0, 0, np.zeros(y), kept,
        )  # fmt: skip

    def update(self, belief: Belief, readings: Readings, excluded: frozenset[str] = frozenset()) -> Belief:
        """The belief after `readings`: predict over the gap, then fuse every value inside its gate.

        `excluded` names sensors that the detector holds a fault against: their innovation is still reported, but they
        do not move the belief. Raises `InputError` when the readings are older than the belief, are another twin's,
        or have the wrong length or an infinite value. A step that ends in a value that is not finite (model
        blow-up) keeps the previous mean and is marked by an infinite `nis`.
        """
        values, inputs = self._checked(belief, readings)
        use, gate = self._usual
        if excluded:
            use = np.array([c.name not in excluded for c in self.space.y], dtype=np.float64)
        state, u, t = (belief.mean, belief.cov, belief.memory), belief.inputs, belief.t
        gap = readings.t - t
        if Health.GATED in belief.health:
            refused = np.array([h is Health.GATED for h in belief.health]) & (belief.age >= self.reopen * gap)
            gate = np.where(refused, math.inf, gate)
        steps = self._pieces(t, readings.t)
        if len(steps) > pieces.MAX_PIECES:  # starts anew
            first = self.start(readings.t)
            state, steps = (first.mean, first.cov, first.memory), [0.0]
            t = readings.t
        for dt in steps[:-1]:
            x, P, *_, kept = self._step(t, dt, state, u, u, np.full(len(values), np.nan), use, gate)
            state = x, P, kept
            t += dt
        x, P, predicted, nu, S, used, nis, kept = self._step(t, steps[-1], state, u, inputs, values, use, gate)
        fused = used > 0
        nis = float(nis)
        if not (all(map(math.isfinite, x.tolist())) and np.isfinite(P).all()):
            x, P, kept = belief.mean, belief.cov + np.diag(self.Q * gap), belief.memory
            fused, nis = np.zeros(len(values), dtype=bool), math.inf
        age = np.where(fused, 0.0, belief.age + gap)
        came = ~np.isnan(values)
        health = self._health(came, fused, use, age)
        return Belief(
            self.name, float(readings.t), _next_id(belief.id), readings.id, x, P, inputs, predicted, nu,
            np.where(came, S, np.nan), health, nis, int(np.count_nonzero(fused)), age, kept,
        )  # fmt: skip

    # an update of a small twin takes no longer than some ten calls of NumPy: what never changes is kept
    @cached_property
    def _carries(self) -> bool:
        return isinstance(self.method, Carrying)

    @cached_property
    def _usual(self) -> tuple[np.ndarray, np.ndarray]:
        """(use, gate) where no sensor is excluded or refused."""
        ny = len(self.space.y)
        return np.ones(ny), np.full(ny, self.gate)

    def _step(self, t, dt, state, u, v, y, use, gate):
        """The kernel from state = (x, P, memory) to (x, P, predicted, nu, S, used, nis, memory)."""
        x, P, kept = state
        rest = (u, v, y, use, gate, self.params, self.Q, self.R)
        if self._carries:
            return self.kernel(t, dt, kept, *rest)
        return (*self.kernel(t, dt, x, P, *rest), kept)

    def _pieces(self, t: float, until: float) -> list[float]:
        period = self.space.system.period
        n = pieces.count(period, self.dt_max, t, until)
        return [period] * n or [0.0] if period is not None else [(until - t) / n] * n

    def _checked(self, belief: Belief, readings: Readings) -> tuple[np.ndarray, np.ndarray]:
        values = np.asarray(readings.values, dtype=np.float64)
        inputs = np.asarray(readings.inputs, dtype=np.float64)
        if readings.twin != self.name:
            raise InputError(
                f"Readings belong to one twin: this mirror is {self.name!r}, received {readings.twin!r}. "
                "Build the mirror with `name=` or route the readings to their own"
            )
        if not readings.t >= belief.t:
            raise InputError(
                f"Readings must not be older than the belief at t = {belief.t!r}, received t = {readings.t!r}. "
                "Start again from an earlier belief and replay, or drop the reading"
            )
        ny, m = len(self.space.y), len(self.space.u)
        if values.shape != (ny,) or inputs.shape != (m,):
            raise InputError(
                f"`{self.name}` has {ny} sensors and {m} inputs, received shapes {values.shape} and {inputs.shape}; "
                "fill what did not come with NaN"
            )
        if any(map(math.isinf, values.tolist())) or any(map(math.isinf, inputs.tolist())):
            raise InputError("A reading is finite or NaN (missing); received an infinite value. Drop it at the border")
        return values, np.where(np.isnan(inputs), belief.inputs, inputs)

    def _health(self, came, fused, use, age) -> tuple[Health, ...]:
        def one(came: bool, fused: bool, use: float, age: float, stale: float) -> Health:
            if not use:
                return Health.SUSPECT
            if fused:
                return Health.GOOD
            if came:
                return Health.GATED
            return Health.STALE if age > stale else Health.MISSING

        return tuple(map(one, *(a.tolist() for a in (came, fused, use, age, self.stale_after))))


def build_mirror(
    twin: Twin | Kernels | StateSpace,
    *,
    track: tuple[str, ...] = (),
    method: Method | Carrying | OfTwin | None = None,
    substeps: int = 4,
    dt_max: float | None = None,
    gate: float = GATE,
    reopen: int | None = REOPEN,
    every: float | dict[str, float] | None = None,
    name: str | None = None,
    backend: Backend | None = None,
) -> Mirror:
    """Compile the mirror of one twin.

    `track` names the parameters that drift and are estimated with the state; `method` is a filter, `Ekf()` by default.
    One that carries more than mean and covariance (`Etkf(24)`, `ParticleFilter(1000)`, `Imm(...)`) keeps it in the
    belief's `memory`; those that draw numbers or decompose matrices run on XLA.
    `gate` is the probability that a good reading is refused (0 switches gates off), `reopen` the number of readings in
    a row that a gate refuses at most (None: no end). `every` is the expected period
    of the sensors in seconds, one for all or by name: a sensor silent for three of them is stale. A gap is crossed
    in pieces of at most `dt_max` seconds of `substeps` Runge-Kutta steps each; None takes half the time constant of the
    fastest mode at the start values.
    """
    if isinstance(twin, Kernels):
        space, backend = twin.space, backend or twin.backend
    else:
        space = flatten(twin) if isinstance(twin, Twin) else twin
    space = augment(space, tuple(track))
    method = of_twin(method or Ekf(), space)
    low, high = space.bounds("x")
    backend = backend or default()
    if isinstance(method, Carrying):
        step = carried_program(method, space, substeps)
    else:
        step = program(method, space.system, substeps, low, high)
    return Mirror(
        name=name or space.system.name,
        space=space,
        method=method,
        substeps=substeps,
        dt_max=pieces.fastest(space) if dt_max is None else float(dt_max),
        gate=threshold(gate),
        reopen=math.inf if reopen is None else float(reopen),
        stale_after=_stale(space, every),
        params=space.p0,
        Q=space.Q,
        R=positive_noise(space),
        kernel=backend.one(step),
        backend=backend,
    )


def threshold(probability: float) -> float:
    """Bound on nu^2 / S that a good reading exceeds with this probability (chi-square with one degree of freedom)."""
    if not 0 <= probability < 1:
        raise InputError(
            f"`gate` is the probability of refusing a good reading, 0 <= gate < 1, received {probability!r}"
        )
    return NormalDist().inv_cdf(1 - probability / 2) ** 2 if probability > 1e-15 else math.inf


def positive_noise(space: StateSpace) -> np.ndarray:
    """The sensors' noise variances; `InputError` names a sensor that has none."""
    for channel in space.y:
        if not channel.noise > 0:
            raise InputError(
                f"A mirrored sensor needs its noise: `{space.system.name}.{channel.name}` has `noise={channel.noise}`. "
                "Declare it as `var(..., noise=<standard deviation>)`"
            )
    return space.R


def _stale(space: StateSpace, every: float | dict[str, float] | None) -> np.ndarray:
    if every is None:
        return np.full(len(space.y), math.inf)
    names = [c.name for c in space.y]
    if isinstance(every, dict):
        unknown = set(every) - set(names)
        if unknown:
            raise InputError(f"`every` names sensors of `{space.system.name}`: {sorted(unknown)} are not in {names}")
        return np.array([STALE * every.get(name, math.inf) for name in names])
    return np.full(len(names), STALE * float(every))


def _next_id(last: str) -> str:
    head, _, number = last.rpartition("/")
    return f"{head}/{int(number) + 1}"
