"""Work item `coverage` (guarantee G5): are the stated uncertainties true? Every filter, and calibration, on the tanks.

- 95 % intervals of the states at the end of n = 10,000 independent records hold 94.4 to 95.6 % of the truths
  (2,000 records for the slow filters, with members or a window).
- Simulation-based calibration: ranks of the truths are uniform (`_calibration`), p > 0.001 for each state.
- Mean NIS over 1,000 updates lies in [0.86, 1.15], in each of 20 records.

The truth is simulated independently of Pollux: Euler and Maruyama with 80 steps an interval, noise entering
continuously, the start drawn from the declared spread. The upper level is never measured. Gaussian filters run as
native fleets; filters with members draw other random numbers for each record. Not here: `Var3d`, whose covariance is
chosen, not estimated, `Letkf`, which two states do not need, and filters of structures that the tanks do not have.
"""

import math
from dataclasses import replace
from typing import Any

import numpy as np
from filterpy.kalman import MerweScaledSigmaPoints, UnscentedKalmanFilter

from benchmarks import _tanks
from benchmarks._calibration import judged
from pollux import (
    AuxiliaryParticleFilter,
    Cubature,
    Ekf,
    Enkf,
    Etkf,
    Ienkf,
    Imm,
    IteratedEkf,
    LogNormal,
    Mhe,
    Mode,
    ParticleFilter,
    Record,
    Scalar,
    SelfTuning,
    SquareRootEkf,
    SquareRootUkf,
    Ukf,
    build_fleet,
    calibrate_fleet,
    param,
    smooth,
)
from pollux.mirror.method import Carrying, carried_program, of_twin, remember
from pollux.model.backend import default
from pollux.model.statespace import flatten

FINE = 80
METHODS = (
    Ekf(), SquareRootEkf(), IteratedEkf(), Ukf(), SquareRootUkf(), Cubature(), SelfTuning(),
    Imm((Mode("one"), Mode("other")), dwell=1e3), Mhe(10), Etkf(40), Enkf(100), Ienkf(40), ParticleFilter(1000),
    AuxiliaryParticleFilter(1000),
)  # fmt: skip
SLOW = (Mhe, Etkf, Enkf, Ienkf, ParticleFilter, AuxiliaryParticleFilter)
LOW, HIGH = 0.944, 0.956
NIS_LOW, NIS_HIGH = 0.86, 1.15
LEAST_P = 1e-3
DEFAULTS = {
    "n": 10_000,
    "steps": 40,
    "slow": 2_000,
    "runs": 20,
    "updates": 1_000,
    "peer": 1_000,
    "smooth": 2_000,
    "batch": 500,
}


def run(config: dict[str, Any]) -> dict[str, Any]:
    """Coverage, rank test and mean NIS of each method; `missed` names what is outside of what G5 says.

    The figure is the largest distance of a method's coverage from 95 %. The peer is filterpy's UKF, tuned alike. A row
    of fewer records (`n` in it) is allowed 2.75 standard errors, which for 10,000 are the 0.6 points of G5.
    """
    c = {k: int(config.get(k, v)) for k, v in DEFAULTS.items()}
    x, y, u = _truths(c["n"], c["steps"], seed=95)
    longer = _truths(c["runs"], c["updates"], seed=96)[1:]
    table: dict[str, Any] = {}
    for method in METHODS:
        many = _carried if isinstance(of_twin(method, _space()), Carrying) else _fleet
        n = min(c["n"], c["slow"]) if isinstance(method, SLOW) else c["n"]
        mean, sd, _ = many(method, y[:, :n], u, c["batch"])
        nis = many(method, *longer, c["batch"])[2]
        table[type(method).__name__] = judged(x[-1, :n], mean, sd, 1) | {"nis": [float(nis.min()), float(nis.max())]}
    table["smooth"] = _smoothed(x[:, : c["smooth"]], y[:, : c["smooth"]], u)
    table["calibrate_fleet"] = _calibrated(("k2", "k3"), c["n"], seed=97)
    # both time constants unknown: which is whose cannot be told, and the posterior has two modes
    table["calibrate_fleet, two modes"] = _calibrated(("k3", "k4"), c["n"], seed=97)
    few = min(c["peer"], c["n"])
    peer = [_filterpy(y[:, i], u) for i in range(few)]
    theirs = judged(x[-1, :few], np.array([p[0] for p in peer]), np.array([p[1] for p in peer]), 1)
    theirs["nis"] = [float(np.mean([p[2] for p in peer]))] * 2
    missed = {k: why for k, row in table.items() if (why := _missed(row))}
    off = {k: max(abs(share - 0.95) for share in row["inside"]) for k, row in table.items()}
    worst, other = max(off.values()), max(abs(share - 0.95) for share in theirs["inside"])
    return {
        "item": "coverage",
        "config": c | {"level": 0.95},
        "pollux": 100 * worst,
        "peers": {"filterpy ukf": 100 * other},
        "ratio": other / worst,
        "unit": "points off 95 %, worst method and unknown",
        "error": worst,
        "missed": missed,
        "table": {**table, "filterpy ukf": theirs},
    }


def _missed(row: dict[str, Any]) -> list[str]:
    room = max(HIGH - 0.95, 2.75 * math.sqrt(0.95 * 0.05 / row["n"]))
    why = [f"coverage {share:.4f}" for share in row["inside"] if abs(share - 0.95) > room]
    why += [f"ranks p {p:.2g}" for p in row["sbc_p"] if not p > LEAST_P]
    return why + [f"nis {v:.3f}" for v in row.get("nis", ()) if not NIS_LOW <= v <= NIS_HIGH]


def _space():
    return flatten(_tanks.Tanks())


def _fleet(method: Any, y: np.ndarray, u: np.ndarray, batch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(means, standard deviations (N, 2) at the end, mean NIS (N,)) of one native fleet."""
    T, N = y.shape
    fleet = build_fleet(_tanks.Tanks(), N, method=method, substeps=_tanks.SUBSTEPS, dt_max=math.inf, gate=0.0)
    belief, nis, held = fleet.start(0.0), np.zeros(N), np.empty((1, N))
    for k in range(T):
        held[:] = u[k]
        belief = fleet.update(belief, _tanks.DT * k, y[k][None], held)
        nis += belief.nis
    return belief.mean.T, belief.sd.T, nis / T


def _carried(method: Any, y: np.ndarray, u: np.ndarray, batch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same, `batch` records side by side, each with its own seed."""
    (T, N), space = y.shape, _space()
    made: Any = of_twin(method, space)
    kernel = default().fleet(carried_program(made, space, _tanks.SUBSTEPS))
    seeded, found = "seed" in made.__dataclass_fields__, []
    for first in range(0, N, batch):
        rows = range(first, min(first + batch, N))
        own = [replace(made, seed=i) if seeded else made for i in rows]
        memory = np.array([remember(m.start(space.x0, np.diag(space.P0))) for m in own]).T
        one, p, nis, x, P = (
            np.ones((1, len(rows))),
            np.repeat(space.p0[:, None], len(rows), axis=1),
            0.0,
            *[np.empty(0)] * 2,
        )
        for k in range(T):
            t, dt = np.full(len(rows), _tanks.DT * max(k - 1, 0)), np.full(len(rows), _tanks.DT * min(k, 1))
            held, now = u[max(k - 1, 0)] * one, u[k] * one
            x, P, _, _, _, _, step, memory = kernel(
                t, dt, memory, held, now, y[k][None, rows], one, np.inf * one, p, space.Q, space.R
            )
            nis = nis + step
        found.append((x.T, np.sqrt(np.diagonal(P).copy()), nis / T))
    mean, sd, nis = (np.concatenate(a) for a in zip(*found, strict=True))
    return mean, sd, nis


def _smoothed(x: np.ndarray, y: np.ndarray, u: np.ndarray) -> dict[str, Any]:
    """In the middle of each record."""
    T, N, t = len(y), y.shape[1], _tanks.DT * np.arange(len(y))
    found = [
        smooth(_tanks.Tanks(), Record(t, u[:, None], y[:, [i]], ("u",), ("y",)), substeps=_tanks.SUBSTEPS,
               dt_max=math.inf, gate=0.0)
        for i in range(N)
    ]  # fmt: skip
    half = T // 2
    return judged(x[half], np.array([s.mean[half] for s in found]), np.array([s.sd[half] for s in found]), 1)


class Unknown(_tanks.Tanks):
    """Tanks of which three coefficients are known to 20 %."""

    k2: Scalar = param("m^1/2/s", _tanks.K[1], prior=LogNormal(0.2))
    k3: Scalar = param("m^1/2/s", _tanks.K[2], prior=LogNormal(0.2))
    k4: Scalar = param("m/s/V", _tanks.K[3], prior=LogNormal(0.2))


def _calibrated(free: tuple[str, ...], n: int, seed: int, steps: int = 200) -> dict[str, Any]:
    """Coefficients (as logarithms, in which their prior is normal) and first states, all drawn from their priors."""
    g, own = np.random.default_rng(seed), [int(name[1]) - 1 for name in free]
    p = np.repeat(np.array(_tanks.K)[:, None], n, axis=1)
    p[own] *= np.exp(0.2 * g.standard_normal((len(own), n)))
    x0 = 1.0 + _tanks.SPREAD * g.standard_normal((2, n))
    x, u = x0, 1.0 + 0.5 * np.sign(np.sin(np.arange(steps) * 0.105))
    y, h = np.empty((steps, n)), _tanks.DT / 20
    for k in range(steps):
        y[k] = x[1]
        for _ in range(20):
            x = x + h * _tanks._f(x + h / 2 * _tanks._f(x, u[k], p), u[k], p)
    y += _tanks.NOISE * g.standard_normal(y.shape)
    t = _tanks.DT * np.arange(steps)
    fit = calibrate_fleet(Unknown(), {"y": y}, times=t, inputs={"u": u}, free=free, initial="prior")
    k, ok = len(own), fit.ok
    mean = np.concatenate([np.log(fit.values[:k]), fit.values[k:]])
    sd = np.concatenate([fit.errors[:k] / fit.values[:k], fit.errors[k:]])
    truth = np.concatenate([np.log(p[own]), x0])
    found = judged(truth[:, ok].T, mean[:, ok].T, sd[:, ok].T, 1)
    return found | {"names": fit.names, "failed": int((~ok).sum())}


def _truths(n: int, steps: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """States (steps, n, 2), readings (steps, n) and inputs (steps,)."""
    g = np.random.default_rng(seed)
    u = 1.0 + 0.2 * np.sign(np.sin(np.arange(steps) * 0.21))
    x, p, h = 1.0 + _tanks.SPREAD * g.standard_normal((2, n)), np.array(_tanks.K), _tanks.DT / FINE
    out = np.empty((steps, n, 2))
    for k in range(steps):
        out[k] = x.T
        for _ in range(FINE):
            shake = _tanks.DRIFT * math.sqrt(h) * g.standard_normal(x.shape)
            x = np.maximum(x + h * _tanks._f(x, u[k], p) + shake, 0.01)
    return out, out[:, :, 1] + _tanks.NOISE * g.standard_normal((steps, n)), u


def _filterpy(y: np.ndarray, u: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Mean and standard deviation at the end, and mean NIS, of filterpy's UKF with the same noise levels."""
    p, drive = np.array(_tanks.K), {"u": 1.0}

    def move(x: np.ndarray, dt: float) -> np.ndarray:
        h = dt / _tanks.SUBSTEPS
        for _ in range(_tanks.SUBSTEPS):
            x = x + h * _tanks._f(x + h / 2 * _tanks._f(x, drive["u"], p), drive["u"], p)
        return x

    points = MerweScaledSigmaPoints(2, alpha=1.0, beta=0.0, kappa=1.0)
    ukf = UnscentedKalmanFilter(2, 1, _tanks.DT, lambda x: x[1:], move, points)
    ukf.x, ukf.P = np.ones(2), np.eye(2) * _tanks.SPREAD**2
    ukf.Q, ukf.R = np.eye(2) * _tanks.DRIFT**2 * _tanks.DT, np.eye(1) * _tanks.NOISE**2
    nis = 0.0
    for k, reading in enumerate(y):
        if k:
            drive["u"] = float(u[k - 1])
            ukf.predict()
        else:
            ukf.sigmas_f = points.sigma_points(ukf.x, ukf.P)
        ukf.update(reading)
        nis += float(ukf.y @ np.linalg.solve(ukf.S, ukf.y))
    return ukf.x.copy(), np.sqrt(np.diag(ukf.P)), nis / len(y)
