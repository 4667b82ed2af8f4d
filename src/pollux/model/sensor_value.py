"""`sensor_value`: what each sensor is worth. How sure is each state with it, and how sure without?

Along a trajectory x(t) the belief of an (extended) Kalman filter has a covariance that depends on no reading:

    P- = Phi (P + dt/2 Q) Phi' + dt/2 Q,      P+ = (P-^-1 + sum_i h_i h_i' / r_i)^-1 = (I + P- M)^-1 P-

with the sum over the sensors that are there, h_i the derivative of sensor i by the states and r_i its noise variance.
It is run once for each set of sensors: all that are installed, without each of them, and with each candidate besides.
A candidate is a declared sensor that is not installed, or an instrument on one state. What is reported are standard
deviations at the end of the trajectory; for a stable or observable twin that is the steady state.

Source: Kalman (1960), A new approach to linear filtering and prediction problems; Mehra (1976), Optimization of
measurement schedules and sensor designs for linear dynamic systems, IEEE TAC 21.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pollux.core.errors import InputError
from pollux.core.twin import Twin
from pollux.model import pieces
from pollux.model.augment import augment
from pollux.model.backend import Program, default
from pollux.model.experiment import experiment
from pollux.model.gaussian import flow_jacobian, observe_jacobian
from pollux.model.record import Record, as_record
from pollux.model.statespace import StateSpace, flatten

SUBSTEPS = 4

MATTERS = 1.05
"""A sensor matters to a state whose deviation it changes by this factor at least."""


@dataclass(frozen=True, eq=False)
class SensorValue:
    """Standard deviations of the states with and without each sensor, at the end of the trajectory.

    `sd` (n,) with the installed sensors, `without` (sensors, n) without each of them, `added` (candidates, n) with each
    candidate besides. A candidate on a state is called by the state's name, one that is declared by the sensor's.
    """

    states: tuple[str, ...]
    units: tuple[str, ...]
    installed: tuple[str, ...]
    candidates: tuple[str, ...]
    sd: np.ndarray
    without: np.ndarray
    added: np.ndarray
    noise: np.ndarray
    """Noise (standard deviation) that each candidate was taken with, in its own unit."""

    @property
    def loss(self) -> np.ndarray:
        """(sensors, n): how many times wider each state becomes when a sensor dies."""
        return self.without / self.sd

    @property
    def gain(self) -> np.ndarray:
        """(candidates, n): how many times narrower each state becomes with a candidate."""
        return self.sd / self.added

    def best(self, state: str) -> tuple[str, float]:
        """(installed sensor, factor) that sharpens a state most; ("", 1.0) where none is installed."""
        return _most(self.installed, self.loss[:, self._at(state)])

    def next(self, state: str) -> tuple[str, float]:
        """(candidate, factor) that would sharpen a state most."""
        return _most(self.candidates, self.gain[:, self._at(state)])

    def _at(self, state: str) -> int:
        if state not in self.states:
            raise InputError(f"A state is one of {list(self.states)}, received {state!r}")
        return self.states.index(state)

    def lines(self) -> list[str]:
        """One line for each state, and one for each sensor whose loss nobody would notice."""
        found = []
        for i, state in enumerate(self.states):
            text = f"`{state}` is known to {self.sd[i]:.3g}{_unit(self.units[i])}"
            name, factor = self.best(state)
            if factor >= MATTERS:
                text += f"; most by `{name}` (without it {factor:.3g} times wider)"
            name, factor = self.next(state)
            if factor >= MATTERS:
                text += f"; a sensor of `{name}` would make it {factor:.3g} times narrower"
            found.append(text)
        spare = [n for k, n in enumerate(self.installed) if self.loss[k].max(initial=1.0) < MATTERS]
        return found + [f"`{name}` could be missed: no state becomes wider by 5 % without it" for name in spare]

    def __str__(self) -> str:
        """The lines."""
        return "\n".join(self.lines())

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON: standard deviations by state."""
        return {
            "sd": dict(zip(self.states, self.sd.tolist(), strict=True)),
            "without": {
                name: dict(zip(self.states, row.tolist(), strict=True))
                for name, row in zip(self.installed, self.without, strict=True)
            },
            "added": {
                name: {"noise": float(r), **dict(zip(self.states, row.tolist(), strict=True))}
                for name, r, row in zip(self.candidates, self.noise, self.added, strict=True)
            },
        }


def sensor_value(
    twin: Twin,
    record: Any = None,
    *,
    installed: Iterable[str] | None = None,
    candidates: Mapping[str, float] | None = None,
    track: tuple[str, ...] = (),
    times: Any = None,
) -> SensorValue:
    """How sharp every state (and parameter in `track`) is with its sensors, without each, and with each candidate.

    `record` gives instants, inputs and which reading came when; without one a synthetic experiment of the twin does.
    `installed` names the sensors that are there (default: all); the declared others become candidates. `candidates`
    gives the noise of instruments on states, by name, in the unit of the state; by default every state is one, with
    an instrument as exact as the state is known now. Candidates read at every instant. Raises `InputError` for a
    name that is none, a noise that is not positive, and a trajectory that does not stay finite.
    """
    space = augment(flatten(twin), tuple(track))
    data = experiment(twin, flatten(twin)).as_record() if record is None else as_record(space, record, times=times)
    Phi, noise, H = _along(space, data)
    names = tuple(c.name for c in space.y)
    there = _named(space, names, installed)
    r = np.array([c.noise for c in space.y]) ** 2
    missing = [n for n, v in zip(names, r, strict=True) if not v > 0]
    if missing:
        raise InputError(f"A sensor has a noise to be worth anything: declare `var(..., noise=...)` for {missing}")
    came = np.isfinite(data.y) & there
    now = _run(space, Phi, noise, H, r, came[None])[0]
    states = tuple(c.name for c in space.x)
    wanted = _candidates(states, now, candidates)
    own = [i for i in range(len(names)) if there[i]]
    others = [i for i in range(len(names)) if not there[i]]
    rows = np.concatenate([H, np.repeat(np.eye(len(states))[list(wanted)][None], len(H), axis=0)], axis=1)
    variance = np.concatenate([r, np.array(list(wanted.values())) ** 2])
    sets = np.zeros((len(own) + len(others) + len(wanted), len(came), len(variance)), dtype=bool)
    sets[:, :, : len(names)] = came
    for k, i in enumerate(own):
        sets[k, :, i] = False
    for k, i in enumerate([*others, *range(len(names), len(variance))]):
        sets[len(own) + k, :, i] = True
    found = _run(space, Phi, noise, rows, variance, sets)
    return SensorValue(
        states=states,
        units=tuple(c.unit for c in space.x),
        installed=tuple(names[i] for i in own),
        candidates=(*(names[i] for i in others), *(states[i] for i in wanted)),
        sd=now,
        without=found[: len(own)],
        added=found[len(own) :],
        noise=np.sqrt(np.concatenate([r[others], variance[len(names) :]])),
    )


def _along(space: StateSpace, data: Record) -> tuple[list[list[np.ndarray]], list[float], np.ndarray]:
    """Along the model's own path: transitions of each interval by piece, the length of a piece, and H (T, ny, n)."""
    system, p = space.system, space.p0
    at = default().one(Program("value", (system, SUBSTEPS), _step(system), (True,) * 6))
    x, longest = space.x0, pieces.fastest(space)
    transitions, lengths, H = [], [], []
    for k, t in enumerate(data.t):
        last = data.t[k - 1] if k else t
        u = data.u[max(k - 1, 0)]
        n = pieces.count(system.period, longest, last, t) if k else 0
        if n > pieces.MAX_PIECES:
            raise InputError(f"A gap of the record is too long for the twin: {t - last:g} s before t = {t:g}")
        dt, each = ((system.period or (t - last) / n) if n else 0.0), []
        for i in range(n):
            Phi, _, x = at(last + i * dt, dt, x, u, u, p)
            each.append(Phi)
        _, h, _ = at(t, 0.0, x, data.u[k], data.u[k], p)
        transitions.append(each)
        lengths.append(dt)
        H.append(h)
    if not (np.isfinite(H).all() and np.isfinite(x).all()):
        raise InputError("The twin's own path along the record does not stay finite; give a shorter record")
    return transitions, lengths, np.array(H)


def _step(system: Any) -> Any:
    def step(t, dt, x, u, v, p):
        out, Phi = flow_jacobian(system, SUBSTEPS, t, dt, x, u, p)
        _, H = observe_jacobian(system, t + dt, out, v, p)
        return Phi, H, out

    return step


def _run(
    space: StateSpace, Phi: list[list[np.ndarray]], dt: list[float], H: np.ndarray, r: np.ndarray, sets: np.ndarray
) -> np.ndarray:
    """Standard deviations (S, n) at the end for S sets of sensors: `sets` (S, T, sensors), H (T, sensors, n)."""
    n, discrete = len(space.x), space.system.period is not None
    P = np.repeat(np.diag(space.P0)[None], len(sets), axis=0)
    Q, eye = np.diag(space.Q), np.eye(n)
    for k, each in enumerate(Phi):
        for F in each:
            P = F @ P @ F.T + dt[k] * Q if discrete else F @ (P + dt[k] / 2 * Q) @ F.T + dt[k] / 2 * Q
        M = np.einsum("si,ij,ik->sjk", sets[:, k] / r, H[k], H[k])
        P = np.linalg.solve(eye + P @ M, P)
        P = (P + P.transpose(0, 2, 1)) / 2
    return np.sqrt(np.maximum(np.diagonal(P, axis1=1, axis2=2), 0.0))


def _named(space: StateSpace, names: tuple[str, ...], installed: Iterable[str] | None) -> np.ndarray:
    if installed is None:
        return np.ones(len(names), dtype=bool)
    there = np.zeros(len(names), dtype=bool)
    there[[space.index("y", name) for name in installed]] = True
    return there


def _candidates(states: tuple[str, ...], sd: np.ndarray, wanted: Mapping[str, float] | None) -> dict[int, float]:
    """Place of a state -> noise of an instrument on it."""
    if wanted is None:
        return {i: float(s) for i, s in enumerate(sd) if s > 0}
    for name, noise in wanted.items():
        if name not in states or not noise > 0:
            raise InputError(
                f"A candidate is a state with the noise of an instrument above 0, received {name!r}: {noise!r}; "
                f"the states are {list(states)}"
            )
    return {states.index(name): float(noise) for name, noise in wanted.items()}


def _most(names: tuple[str, ...], factors: np.ndarray) -> tuple[str, float]:
    if not names:
        return "", 1.0
    k = int(np.argmax(factors))
    return names[k], float(factors[k])


def _unit(unit: str) -> str:
    return "" if unit == "1" else f" {unit}"
