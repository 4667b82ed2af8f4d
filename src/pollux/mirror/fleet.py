"""`build_fleet`: many twins of one structure in one kernel, as a structure of arrays with the fleet axis last.

Every twin has its own parameters, time, readings and belief; one call moves them all. The fleet has a fixed capacity:
twins come and go by taking and freeing a slot, which compiles nothing. A slot that has no news costs the same and
does not change. One twin whose step ends in a value that is not finite keeps its last good belief and changes no other.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pollux.core.errors import InputError
from pollux.core.twin import Twin
from pollux.mirror.ekf import Ekf
from pollux.mirror.method import Method
from pollux.mirror.update import GATE, REOPEN, positive_noise, threshold
from pollux.model.augment import augment
from pollux.model.backend import Backend, Kernel, Program, default
from pollux.model.compile import Kernels
from pollux.model.pieces import MAX_PIECES, fastest
from pollux.model.statespace import StateSpace, System, flatten


@dataclass(frozen=True, eq=False)
class FleetBelief:
    """The beliefs of N slots; arrays as in `Belief` with the fleet axis last, NaN in slots that are free.

    `used` is 1 where a reading was fused; `nis_dof` of a twin is its sum over the sensors.
    """

    t: np.ndarray
    active: np.ndarray
    mean: np.ndarray
    cov: np.ndarray
    inputs: np.ndarray
    params: np.ndarray
    predicted: np.ndarray
    innovation: np.ndarray
    innovation_var: np.ndarray
    used: np.ndarray
    refused: np.ndarray
    """Readings in a row that a gate has refused."""
    nis: np.ndarray

    @property
    def nis_dof(self) -> np.ndarray:
        """Number of readings that were fused, per twin."""
        return self.used.sum(axis=0).astype(int)

    @property
    def sd(self) -> np.ndarray:
        """Standard deviation of each state (n, N)."""
        return np.sqrt(np.diagonal(self.cov).T)


@dataclass(frozen=True, eq=False)
class Fleet:
    """The compiled mirror of a fleet of one structure. Built by `build_fleet`; holds no state of its own."""

    space: StateSpace
    capacity: int
    dt_max: float
    gate: float
    reopen: float
    Q: np.ndarray
    R: np.ndarray
    all_used: np.ndarray = field(repr=False)
    silent: np.ndarray = field(repr=False)
    kernel: Kernel = field(repr=False)
    method: Method
    substeps: int
    backend: Backend = field(repr=False)

    @property
    def reach(self) -> float:
        """The longest gap that an update crosses, s."""
        return MAX_PIECES * (self.space.system.period or self.dt_max)

    def start(self, t: float, params: np.ndarray | None = None, *, count: int | None = None) -> FleetBelief:
        """First beliefs of `count` twins (default: all slots) at time t; `params` is (k,) or (k, count)."""
        space, N = self.space, self.capacity
        ny = len(space.y)
        empty = FleetBelief(
            t=np.full(N, float(t)),
            active=np.zeros(N, dtype=bool),
            mean=_repeat(space.x0, N),
            cov=_repeat(np.diag(space.P0), N),
            inputs=_repeat(space.u0, N),
            params=_repeat(space.p0, N),
            predicted=np.full((ny, N), np.nan),
            innovation=np.full((ny, N), np.nan),
            innovation_var=np.full((ny, N), np.nan),
            used=np.zeros((ny, N)),
            refused=np.zeros((ny, N)),
            nis=np.zeros(N),
        )
        return self.add(empty, N if count is None else count, t, params)[0]

    def add(
        self, belief: FleetBelief, count: int, t: float, params: np.ndarray | None = None
    ) -> tuple[FleetBelief, np.ndarray]:
        """Put `count` new twins in free slots; returns the belief and the slots. Compiles nothing.

        Raises `InputError` when fewer slots are free.
        """
        free = np.flatnonzero(~belief.active)
        if count > len(free):
            raise InputError(
                f"A fleet has a fixed capacity: {count} twins are to be added and {len(free)} of {self.capacity} slots "
                "are free. Build it with a larger `capacity`"
            )
        slots = free[:count]
        p = np.asarray(self.space.p0 if params is None else params, dtype=np.float64)
        p = p[:, None] if p.ndim == 1 else p
        fresh = {
            "t": t, "active": True, "mean": self.space.x0[:, None], "cov": np.diag(self.space.P0)[..., None],
            "inputs": self.space.u0[:, None], "params": p, "predicted": np.nan, "innovation": np.nan,
            "innovation_var": np.nan, "used": 0.0, "refused": 0.0, "nis": 0.0,
        }  # fmt: skip
        return _put(belief, slots, fresh), slots

    def remove(self, belief: FleetBelief, slots: np.ndarray) -> FleetBelief:
        """Free slots. Compiles nothing."""
        return _put(belief, np.asarray(slots), {"active": False, "nis": 0.0, "used": 0.0})

    def update(
        self,
        belief: FleetBelief,
        t: float | np.ndarray,
        values: np.ndarray,
        inputs: np.ndarray | None = None,
        use: np.ndarray | None = None,
        *,
        into: FleetBelief | None = None,
    ) -> FleetBelief:
        """Predict to t (one for all, or (N,)) and fuse `values` (ny, N), NaN where nothing came.

        `inputs` (m, N) holds from t on, NaN = as before; `use` (ny, N) is 0 where a sensor is excluded. `into` is a
        belief that is not needed any more (neither this one nor one that shares its arrays): the result takes over its
        arrays. Raises `InputError` when an active twin would go back in time.
        """
        until = np.empty(self.capacity)
        until[...] = t
        gap = until - belief.t
        if not (gap >= 0).all():
            self._refuse_past(belief, until, gap)
        u = belief.inputs
        v = u if inputs is None else inputs
        use = self.all_used if use is None else use
        now, x, P, refused = belief.t, belief.mean, belief.cov, belief.refused
        pieces = self._pieces(belief, until, gap)
        for dt in pieces[:-1]:
            then = now + dt
            now, x, P, *_ = self._step(now, dt, then, belief, x, P, u, self.silent, use, refused, None)
        out = None if into is None or into is belief else _rooms(into)
        end = self._step(now, pieces[-1], until, belief, x, P, v, values, use, refused, out)
        return FleetBelief(end[0], belief.active, end[1], end[2], end[3], belief.params, *end[4:])

    def run(
        self, belief: FleetBelief, times: np.ndarray, values: np.ndarray, inputs: np.ndarray | None = None
    ) -> FleetBelief:
        """`update` at each of `times` (T,), in one kernel: beliefs stay in registers from one reading to the next.

        `values` (T, ny, N), NaN where nothing came; `inputs` (T, m, N) or, one for all twins, (T, m). The belief after
        the last reading equals that of T updates bit for bit. Intervals longer than `dt_max`, and discrete twins, go
        one by one. Compiles once for each T.
        """
        times = np.asarray(times, np.float64)
        m, whole = len(self.space.u), len(times) > 0 and self.space.system.period is None
        if inputs is None:
            inputs = np.full((len(times), m), np.nan)
        starts = np.append(belief.t.min(where=belief.active, initial=np.inf), times[:-1]) if whole else times
        if not whole or not (times - starts <= self.dt_max).all():
            for t, y, v in zip(times, values, inputs, strict=True):
                belief = self.update(belief, t, y, np.broadcast_to(v.reshape(m, -1), (m, self.capacity)))
            return belief
        first = np.full(self.capacity, times[0])
        steps = np.append(first[0], times)
        if not (np.diff(steps) >= 0).all() or not (first - belief.t >= 0).all():
            back = np.diff(steps).min() < 0
            self._refuse_past(belief, first, np.where(back, -1.0, first - belief.t))
        kernel = self.backend.fleet(run_program(self.method, self.space, self.substeps, inputs.ndim == 2))
        end = kernel(
            belief.t, belief.active, belief.mean, belief.cov, belief.inputs, belief.refused, belief.params, times,
            values, inputs, self.Q, self.R, self.gate, self.reopen,
        )  # fmt: skip
        return FleetBelief(end[0], belief.active, end[1], end[2], end[3], belief.params, *end[4:])

    def _step(self, t, dt, until, belief, x, P, v, y, use, refused, out):
        args = (
            t, dt, until, belief.active, x, P, belief.inputs, v, y, use, refused, belief.params, self.Q, self.R,
            self.gate, self.reopen,
        )  # fmt: skip
        return self.kernel(*args, out=out)

    def _refuse_past(self, belief: FleetBelief, until: np.ndarray, gap: np.ndarray) -> None:
        behind = np.flatnonzero(belief.active & ~(gap >= 0))
        if len(behind):
            slot = int(behind[0])
            raise InputError(
                f"Readings must not be older than the belief: slot {slot} is at t = {belief.t[slot]!r}, received "
                f"{until[slot]!r}. Leave it out (NaN values at its own time) or start it again"
            )

    def _pieces(self, belief: FleetBelief, until: np.ndarray, gap: np.ndarray) -> list[np.ndarray]:
        period = self.space.system.period
        if period is not None:
            counts = np.round(until / period) - np.round(belief.t / period)
            most = self._bounded(counts.max(where=belief.active, initial=0))
            return [np.where(k < counts, period, 0.0) for k in range(max(1, most))]
        if self.dt_max == math.inf:
            return [gap]
        n = max(1, self._bounded(math.ceil(gap.max(where=belief.active, initial=0) / self.dt_max)))
        return [gap] if n == 1 else [gap / n] * n

    def _bounded(self, pieces: float) -> int:
        if pieces > MAX_PIECES:
            raise InputError(
                f"A gap is crossed in at most {MAX_PIECES} pieces, this one needs {pieces:.0f}; "
                "remove the twins that are that far behind and add them again"
            )
        return int(pieces)


def build_fleet(
    twin: Twin | Kernels | StateSpace,
    capacity: int,
    *,
    track: tuple[str, ...] = (),
    method: Method | None = None,
    substeps: int = 4,
    dt_max: float | None = None,
    gate: float = GATE,
    reopen: int | None = REOPEN,
    backend: Backend | None = None,
) -> Fleet:
    """Compile the mirror of up to `capacity` twins of one structure; arguments as in `build_mirror`.

    Each twin has its own parameters (and tracked parameters, in its state); the noise levels are shared.
    """
    if isinstance(twin, Kernels):
        space, backend = twin.space, backend or twin.backend
    else:
        space = flatten(twin) if isinstance(twin, Twin) else twin
    space = augment(space, tuple(track))
    low, high = space.bounds("x")
    backend, method = backend or default(), method or Ekf()
    kernel = backend.fleet(fleet_program(method, space.system, substeps, low, high))
    ny = len(space.y)
    return Fleet(
        space=space,
        capacity=int(capacity),
        dt_max=fastest(space) if dt_max is None else float(dt_max),
        gate=threshold(gate),
        reopen=math.inf if reopen is None else float(reopen),
        Q=space.Q,
        R=positive_noise(space),
        all_used=np.ones((ny, int(capacity))),
        silent=np.full((ny, int(capacity)), np.nan),
        kernel=kernel,
        method=method,
        substeps=substeps,
        backend=backend,
    )


def fleet_program(method: Method, system: System, substeps: int, low: np.ndarray, high: np.ndarray) -> Program:
    """One twin's tick with everything that the fleet decides about it, so that the host only passes arrays on.

    (t, dt, until, active, x, P, u, v, y, use, refused, p, Q, R, gate, reopen) ->
    (t, x, P, v, y_hat, nu, S_diag, used, refused, nis)
    """
    tick = _tick(method, system, substeps, low, high)
    key = (system, method, substeps, low.tobytes(), high.tobytes())
    return Program(f"fleet {type(method).__name__.lower()}", key, tick, (*[True] * 12, *[False] * 4))


def run_program(method: Method, space: StateSpace, substeps: int, shared: bool) -> Program:
    """The tick over a whole record; `shared`: inputs are the same for all twins.

    (t, active, x, P, u, refused, p, times, values, inputs, Q, R, gate, reopen) -> as one tick
    """
    low, high = space.bounds("x")
    system, ny = space.system, len(space.y)
    tick = _tick(method, system, substeps, low, high)

    def fn(t, active, x, P, u, refused, p, times, values, inputs, Q, R, gate, reopen):
        def turn(now, row):
            t, x, P, u, *_, refused, _ = now
            until, y, v = row
            return tick(t, until - t, until, active, x, P, u, v, y, jnp.ones(ny), refused, p, Q, R, gate, reopen), None

        none = jnp.full(ny, jnp.nan)
        start = (t, x, P, u, none, none, none, jnp.zeros(ny), refused, jnp.zeros(()))
        return jax.lax.scan(turn, start, (times, values, inputs))[0]

    key = (system, method, substeps, low.tobytes(), high.tobytes(), shared)
    flags = (*[True] * 7, False, True, not shared, *[False] * 4)
    return Program(f"run {type(method).__name__.lower()}", key, fn, flags)


def _tick(method: Method, system: System, substeps: int, low: np.ndarray, high: np.ndarray) -> Callable[..., Any]:
    step = method.step(system, substeps, low, high)

    def tick(t, dt, until, active, x, P, u, v, y, use, refused, p, Q, R, gate, reopen):
        dt = jnp.where(active, dt, 0.0)
        v = jnp.where(jnp.isnan(v), u, v)
        y = jnp.where(active, y, jnp.nan)
        bound = jnp.where(refused >= reopen, jnp.inf, gate)
        x1, P1, y_hat, nu, S, used, nis, _ = step(t, dt, x, P, u, v, y, use, bound, p, Q, R)
        good = jnp.all(jnp.isfinite(x1)) & jnp.all(jnp.isfinite(P1))
        x, P = jnp.where(good, x1, x), jnp.where(good, P1, P)
        used, nis = jnp.where(good, used, 0.0), jnp.where(good, nis, jnp.inf)
        missing = jnp.isnan(nu)
        outside = ~missing & (use > 0) & (used == 0)
        refused = jnp.where(outside, refused + 1.0, jnp.where(missing, refused, 0.0))
        S = jnp.where(missing, jnp.nan, S)
        return jnp.where(active, until, t), x, P, v, y_hat, nu, S, used, refused, nis

    return tick


def _rooms(belief: FleetBelief) -> tuple[np.ndarray, ...]:
    """The arrays of a belief, in the order of the kernel's outputs."""
    b = belief
    return (
        b.t, b.mean, b.cov, b.inputs, b.predicted, b.innovation, b.innovation_var, b.used, b.refused, b.nis
    )  # fmt: skip


def _repeat(a: np.ndarray, n: int) -> np.ndarray:
    return np.repeat(a[..., None], n, axis=-1)


def _put(belief: FleetBelief, slots: np.ndarray, values: dict) -> FleetBelief:
    changed = {}
    for name, value in values.items():
        array = getattr(belief, name).copy()
        array[..., slots] = value
        changed[name] = array
    return replace(belief, **changed)
