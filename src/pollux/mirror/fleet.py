"""`build_fleet`: many twins of one structure in one kernel, as a structure of arrays with the fleet axis last.

Every twin has its own parameters, time, readings and belief; one call moves them all. The fleet has a fixed capacity:
twins come and go by taking and freeing a slot, which compiles nothing. A slot that has no news costs the same and
does not change. One twin whose step ends in a value that is not finite keeps its last good belief and changes no other.
"""

import math
from dataclasses import dataclass, field, replace

import numpy as np

from pollux.core.errors import InputError
from pollux.core.twin import Twin
from pollux.mirror.ekf import Ekf
from pollux.mirror.method import Method, program
from pollux.mirror.update import GATE, REOPEN, positive_noise, threshold
from pollux.model.augment import augment
from pollux.model.backend import Backend, Kernel, default
from pollux.model.compile import Kernels
from pollux.model.pieces import MAX_PIECES, fastest
from pollux.model.statespace import StateSpace, flatten


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
    kernel: Kernel = field(repr=False)

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
    ) -> FleetBelief:
        """Predict to t (one for all, or (N,)) and fuse `values` (ny, N), NaN where nothing came.

        `inputs` (m, N) holds from t on, NaN = as before; `use` (ny, N) is 0 where a sensor is excluded. Raises
        `InputError` when an active twin would go back in time.
        """
        until = np.where(belief.active, t, belief.t)
        gap = until - belief.t
        if not (gap >= 0).all():
            slot = int(np.flatnonzero(~(gap >= 0))[0])
            raise InputError(
                f"Readings must not be older than the belief: slot {slot} is at t = {belief.t[slot]!r}, received "
                f"{until[slot]!r}. Leave it out (NaN values at its own time) or start it again"
            )
        values = np.where(belief.active, values, np.nan)
        u = belief.inputs
        v = u if inputs is None else np.where(np.isnan(inputs), u, inputs)
        use = np.ones_like(values) if use is None else use
        gate = np.where(belief.refused >= self.reopen, math.inf, self.gate)
        x, P, now = belief.mean, belief.cov, belief.t
        silent = None
        pieces = self._pieces(belief.t, until)
        for dt in pieces[:-1]:
            silent = np.full_like(values, np.nan) if silent is None else silent
            x, P, *_ = self._step(now, dt, x, P, u, u, silent, use, gate, belief.params)
            now = now + dt
        x, P, y_hat, nu, S, used, nis = self._step(now, pieces[-1], x, P, u, v, values, use, gate, belief.params)
        good = np.isfinite(x).all(axis=0) & np.isfinite(P).all(axis=(0, 1))
        if not good.all():
            x = np.where(good, x, belief.mean)
            P = np.where(good, P, belief.cov)
            used, nis = np.where(good, used, 0.0), np.where(good, nis, math.inf)
        missing = np.isnan(nu)
        S = np.where(missing, np.nan, S)
        outside = ~missing & (use > 0) & (used == 0)
        refused = np.where(outside, belief.refused + 1.0, np.where(missing, belief.refused, 0.0))
        return FleetBelief(until, belief.active, x, P, v, belief.params, y_hat, nu, S, used, refused, nis)

    def _step(self, t, dt, x, P, u, v, y, use, gate, p):
        return self.kernel(t, dt, x, P, u, v, y, use, gate, p, self.Q, self.R)

    def _pieces(self, t: np.ndarray, until: np.ndarray) -> list[np.ndarray]:
        period = self.space.system.period
        if period is not None:
            counts = np.round(until / period) - np.round(t / period)
            most = self._bounded(counts.max())
            return [np.where(k < counts, period, 0.0) for k in range(max(1, most))]
        gap = until - t
        n = max(1, self._bounded(math.ceil(gap.max() / self.dt_max))) if self.dt_max < math.inf else 1
        return [gap / n] * n

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
    kernel = (backend or default()).fleet(program(method or Ekf(), space.system, substeps, low, high))
    return Fleet(
        space=space,
        capacity=int(capacity),
        dt_max=fastest(space) if dt_max is None else float(dt_max),
        gate=threshold(gate),
        reopen=math.inf if reopen is None else float(reopen),
        Q=space.Q,
        R=positive_noise(space),
        kernel=kernel,
    )


def _repeat(a: np.ndarray, n: int) -> np.ndarray:
    return np.repeat(a[..., None], n, axis=-1)


def _put(belief: FleetBelief, slots: np.ndarray, values: dict) -> FleetBelief:
    changed = {}
    for name, value in values.items():
        array = getattr(belief, name).copy()
        array[..., slots] = value
        changed[name] = array
    return replace(belief, **changed)
