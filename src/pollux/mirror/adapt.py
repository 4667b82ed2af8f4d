"""`SelfTuning`: noise levels learned online, from the innovations of the running filter.

The unknowns are the logarithms theta of every drift and every sensor noise, relative to what was declared:
Q_i = Q0_i exp(2 theta_i) and so for R, so that no level can become negative. They follow the likelihood of the
readings, l_k = -1/2 (nu' S^-1 nu + log det S), by a recursive Gauss-Newton step with forgetting:

    g = d l_k / d theta,  through this step and, by the carried derivatives of x and P, through all before
    theta <- theta + (M + c I)^-1 (g - phi theta / s^2),     c = memory / 10
    M <- D M D + g g' / misfit^2 + phi I / s^2,              D = sqrt(1 - phi)
    phi = misfit / memory, at most 0.1, where a sensor was fused, else 0

so that theta is what `tune` would find on a record of which older readings count less and less (weight (1 - phi)^age),
with a prior N(0, s^2) that leaves a level of which the readings say nothing where it was declared. `misfit` is the
recent mean square of the normalised innovations, at least one. Where it is larger, g g' overstates the information by
its square, and what was learned with wrong levels is forgotten sooner.

What keeps it honest:

- Missing, gated and excluded readings have no part in l_k: they teach nothing and are not counted.
- No level moves by more than a factor exp(20 / memory) at a reading, nor further than `within` from what was declared.
- Noise makes successive innovations differ; a bias, a drift, a stuck value, or a model that misses something makes them
  alike. While their correlation over the last memory / 10 readings of a sensor exceeds three of its standard errors,
  that sensor's noise may not rise and no level may fall: a fault cannot talk its noise up, nor anyone else's down.
  Drifts may rise meanwhile, as too small a drift has the same sign; if that has not helped after `memory` readings,
  it was no drift, and they stop too.
- Detectors keep the declared levels: what is learned here never makes them deaf.

Sources: Ljung and Soderstrom (1983), Theory and Practice of Recursive Identification, sec. 3.4 (recursive prediction
error method, Gauss-Newton, forgetting); Ljung (1979), Asymptotic behavior of the extended Kalman filter as a parameter
estimator, IEEE TAC 24 (why the derivative of the gain is carried); Fortescue, Kershenbaum and Ydstie (1981),
Implementation of self-tuning regulators with variable forgetting factors, Automatica 17; Mehra (1970), On the
identification of variances and adaptive Kalman filtering, IEEE TAC 15 (the correlation of innovations tells the two
noises apart).
"""

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from pollux.core.errors import InputError
from pollux.core.signals import Belief
from pollux.mirror.ekf import Ekf
from pollux.mirror.method import CarryFn, Method
from pollux.mirror.tune import levels_report
from pollux.mirror.update import Mirror
from pollux.model.statespace import StateSpace, System

PRIOR_SD = 1.0
"""Standard deviation s of the prior of each log level."""
BRAKE = 0.1
"""The information c that is added in a step, over the memory: the first readings alone decide nothing."""
STRIDE = 20.0
"""Largest change of a log level at one reading, times the memory."""
FASTEST = 0.1
"""Share of the information that is forgotten at most at one reading."""
SURE = 3.0
"""Standard errors by which the correlation of innovations must exceed zero to count."""


class Learnt(NamedTuple):
    """What the filter carries: the belief; the log levels (k,), their information (k, k), and the derivatives of x and
    P with respect to them; of each sensor (ny, 3) the mean square, the mean product of successive ones and the last of
    its normalised innovations; and for how many readings some have been alike.
    """

    x: Array
    P: Array
    theta: Array
    info: Array
    dx: Array
    dP: Array
    z: Array
    alike: Array


@dataclass(frozen=True)
class SelfTuning:
    """A Gaussian filter that learns its noise levels while it runs, from about the last `memory` readings of a sensor.

    `within` is the largest factor between a learned and the declared level. Drifts of zero and the signals in `keep`
    stay as declared. `learned` reads the levels from a belief.
    """

    method: Method = field(default_factory=Ekf)
    memory: float = 500.0
    within: float = 10.0
    keep: tuple[str, ...] = ()

    def __post_init__(self):
        if not (self.memory >= 50 and self.within > 1):
            raise InputError(f"`SelfTuning` needs a memory of 50 readings or more and `within` > 1, received {self!r}")

    def of(self, space: StateSpace) -> "Learning":
        """The filter of one twin. Raises `InputError` when `keep` names no signal, or nothing is left to be learned."""
        unknown = set(self.keep) - {c.name for c in (*space.x, *space.y)}
        if unknown:
            raise InputError(
                f"`keep` names states and sensors of `{space.system.name}`, which {sorted(unknown)} are not"
            )
        drifts = tuple(i for i, c in enumerate(space.x) if c.drift > 0 and c.name not in self.keep)
        noises = tuple(i for i, c in enumerate(space.y) if c.name not in self.keep)
        if not drifts and not noises:
            raise InputError("Nothing is left to be learned: every drift is zero and every signal is in `keep`")
        return Learning(self.method, self.memory, self.within, drifts, noises, len(space.y))


@dataclass(frozen=True)
class Learning:
    """`SelfTuning` for one twin: `drifts` and `noises` are the places of those that are learned."""

    method: Method
    memory: float
    within: float
    drifts: tuple[int, ...]
    noises: tuple[int, ...]
    sensors: int

    def start(self, x0: Any, P0: Any) -> Learnt:
        """N(x0, P0) and the declared levels."""
        x, P = jnp.asarray(x0, jnp.float64), jnp.asarray(P0, jnp.float64)
        k, n = len(self.drifts) + len(self.noises), len(x)
        z = jnp.tile(jnp.array([1.0, 0.0, 0.0]), (self.sensors, 1))
        info, dx, dP = jnp.eye(k) / PRIOR_SD**2, jnp.zeros((k, n)), jnp.zeros((k, n, n))
        return Learnt(x, P, jnp.zeros(k), info, dx, dP, z, jnp.zeros(()))

    def carry(self, system: System, substeps: int, low: Any, high: Any) -> CarryFn:
        """One twin's step; see `pollux.mirror.method`."""
        step = self.method.step(system, substeps, low, high)
        to_q, to_r = self.scales(len(system.x_names))
        many, nq, noises = to_q.shape[1], len(self.drifts), np.array(self.noises, dtype=int)
        most = math.log(self.within)

        def carry(t, dt, s: Learnt, u, v, y, use, gate, p, Q, R):
            def run(x, P, theta):
                q, r = Q * jnp.exp(to_q @ theta), R * jnp.exp(to_r @ theta)
                return step(t, dt, x, P, u, v, y, use, gate, p, q, r)

            out, push = jax.linearize(run, s.x, s.P, s.theta)
            x, P, _, nu, S, used, _, _ = out
            dx, dP, *_, dnis, dlogdet = jax.vmap(push)(s.dx, s.dP, jnp.eye(many))
            some = jnp.max(used)
            share = jnp.concatenate([jnp.full(nq, some), used[noises]]) / self.memory
            misfit = jnp.maximum(1.0, used @ s.z[:, 0] / jnp.maximum(jnp.sum(used), 1.0))
            lost = jnp.minimum(share * misfit, FASTEST)
            g, pull = -(dnis + dlogdet) / 2, lost / PRIOR_SD**2
            root = jax.lax.linalg.cholesky(s.info + BRAKE * self.memory * jnp.eye(many), symmetrize_input=False)
            move = jax.scipy.linalg.cho_solve((root, True), g - pull * s.theta)
            kept = jnp.sqrt(1.0 - lost)
            info = kept[:, None] * s.info * kept + jnp.outer(g, g) / misfit**2 + jnp.diag(pull)

            z, alike = _compared(s.z, nu, S, used, 10.0 / self.memory)
            strange = jnp.max(jnp.where(alike, used, 0.0))
            since = jnp.clip(s.alike + jnp.where(strange > 0, some, -some), 0.0, self.memory)
            free = jnp.concatenate([jnp.ones(nq), jnp.where(alike[noises], 0.0, 1.0)])
            rise = STRIDE * share * free * jnp.where(since < self.memory, 1.0, 0.0)
            fall = STRIDE * share * (1.0 - strange)
            theta = jnp.clip(s.theta + jnp.clip(move, -fall, rise), -most, most)

            # a model that blows up here and recovers must not leave a NaN among the derivatives
            good = jnp.all(jnp.isfinite(theta)) & jnp.all(jnp.isfinite(dx)) & jnp.all(jnp.isfinite(dP))
            theta, info = jnp.where(good, theta, s.theta), jnp.where(good, info, s.info)
            return Learnt(x, P, theta, info, jnp.where(good, dx, 0.0), jnp.where(good, dP, 0.0), z, since), out

        return carry

    def scales(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """(n, k) and (ny, k): the factors of Q and R are exp of these times theta."""
        nq, k = len(self.drifts), len(self.drifts) + len(self.noises)
        to_q, to_r = np.zeros((n, k)), np.zeros((self.sensors, k))
        to_q[self.drifts, range(nq)] = 2.0
        to_r[self.noises, range(nq, k)] = 2.0
        return to_q, to_r


def _compared(z: Array, nu: Array, S: Array, used: Array, a: float) -> tuple[Array, Array]:
    """(the statistics with this reading, which sensors' successive innovations are alike)."""
    e = jnp.where(used > 0, nu / jnp.sqrt(S), 0.0)
    square, product, last = z[:, 0], z[:, 1], z[:, 2]
    fresh = jnp.stack([square + a * (e * e - square), product + a * (e * last - product), e], axis=1)
    z = jnp.where(used[:, None] > 0, fresh, z)
    return z, z[:, 1] > SURE * math.sqrt(a / 2) * z[:, 0]


@dataclass(frozen=True)
class Learned:
    """Noise levels that a belief has learned: `drift` (unit/sqrt(s)) by state, `noise` (unit) by sensor; `error` is the
    relative standard error of each that is learned; Q (n,) and R (ny,) are the same as variances.
    """

    Q: np.ndarray
    R: np.ndarray
    drift: dict[str, float]
    noise: dict[str, float]
    error: dict[str, float]

    def __str__(self) -> str:
        """A short report."""
        return levels_report(self.drift, self.noise, self.error)


def learned(mirror: Mirror, belief: Belief) -> Learned:
    """The noise levels in a belief of a mirror with a `SelfTuning` filter. Raises `InputError` for any other mirror."""
    method, space = mirror.method, mirror.space
    if not isinstance(method, Learning):
        raise InputError(f"Noise levels are learned by `SelfTuning`; this mirror filters with {method!r}")
    n, (to_q, to_r) = len(space.x), method.scales(len(space.x))
    k = to_q.shape[1]
    theta, info = np.split(belief.memory[n + n * n : n + n * n + k + k * k], [k])
    Q, R = mirror.Q * np.exp(to_q @ theta), mirror.R * np.exp(to_r @ theta)
    names = [f"drift {space.x[i].name}" for i in method.drifts] + [f"noise {space.y[i].name}" for i in method.noises]
    sd = np.sqrt(np.diag(np.linalg.inv(info.reshape(k, k))))
    return Learned(
        Q=Q,
        R=R,
        drift={c.name: math.sqrt(q) for c, q in zip(space.x, Q, strict=True)},
        noise={c.name: math.sqrt(r) for c, r in zip(space.y, R, strict=True)},
        error=dict(zip(names, sd.tolist(), strict=True)),
    )
