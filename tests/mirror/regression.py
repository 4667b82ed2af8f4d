"""Outputs of every estimator on one short record, as text, so that a review sees each number that a change moves.

    python tests/mirror/regression.py        writes tests/mirror/regression.csv anew

The record is made by formulas, not drawn: irregular times, a missing reading, a spike that a gate refuses, an instant
twice. `regression.csv` has, by estimator and instant, mean and covariance of the two states, nis and log-likelihood;
estimators that state no nis leave it empty.
"""

import csv
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from pollux import (
    AuxiliaryParticleFilter,
    Cubature,
    Dual,
    Ekf,
    Enkf,
    Etkf,
    Ienkf,
    Imm,
    IteratedEkf,
    Letkf,
    LogNormal,
    Mhe,
    Mode,
    ParticleFilter,
    RaoBlackwellParticleFilter,
    Record,
    Scalar,
    SelfTuning,
    Signals,
    SquareRootEkf,
    SquareRootUkf,
    Twin,
    Ukf,
    assimilate,
    localisation,
    param,
    smooth,
    var,
    var3d,
    variational,
)

FILE = Path(__file__).parent / "regression.csv"
HEAD = ("estimator", "k", "a", "b", "P_aa", "P_ab", "P_bb", "nis", "loglik")
SHOWN = (0, 3, 7, 8, 11)
"""Instants that are kept: the first, one with a missing reading, the spike, the one after, the last."""


class State(Signals):
    a: Scalar = var("1", start=0.5, within=(-4.0, 4.0), drift=0.1, spread=0.5)
    b: Scalar = var("1", start=0.2, drift=0.05, spread=0.3)


class Input(Signals):
    u: Scalar = var("1", start=0.0)


class Sensors(Signals):
    one: Scalar = var("1", noise=0.1)
    two: Scalar = var("1", noise=0.2)


class Pair(Twin[State, Input, Sensors]):
    """A damped cubic driven by a decaying bias; affine in the bias b."""

    c: Scalar = param("1", 0.05, prior=LogNormal(0.3))

    def dynamics(self, t: Scalar, x: State, u: Input) -> State:
        return State(a=-0.2 * x.a - self.c * x.a**3 + u.u + x.b, b=-0.1 * x.b)

    def observe(self, t: Scalar, x: State, u: Input) -> Sensors:
        return Sensors(one=x.a + 0.1 * x.a**2, two=x.b + 0.5 * jnp.sin(x.a))


def record() -> Record:
    """Twelve instants."""
    k = np.arange(12.0)
    t = np.array([0.0, 0.5, 1.0, 1.2, 2.0, 2.0, 3.1, 3.5, 4.0, 5.5, 6.0, 6.4])
    a = 0.6 + 0.5 * np.sin(0.7 * t)
    y = np.column_stack([a + 0.1 * a**2 + 0.08 * np.cos(5 * k), 0.2 + 0.5 * np.sin(a) + 0.15 * np.sin(3 * k)])
    y[3, 0], y[7, 1], y[9] = np.nan, 9.0, np.nan
    return Record(t, 0.3 * np.cos(t)[:, None], y, ("u",), ("one", "two"))


FILTERS: dict[str, Any] = {
    "Ekf": Ekf(),
    "SquareRootEkf": SquareRootEkf(),
    "IteratedEkf": IteratedEkf(),
    "Ukf": Ukf(),
    "SquareRootUkf": SquareRootUkf(),
    "Cubature": Cubature(),
    "Var3d": var3d(np.diag([0.04, 0.02])),
    "SelfTuning": SelfTuning(memory=50),
    "Imm": Imm((Mode("as declared"), Mode("stiffer", (("c", 0.2),), drift=2.0)), dwell=20.0),
    "Mhe": Mhe(5),
    "Dual": Dual(),
    "Etkf": Etkf(12),
    "Letkf": Letkf(12, localisation([0.0, 1.0], [0.0, 1.0], 1.0)),
    "Enkf": Enkf(12),
    "Ienkf": Ienkf(12),
    "ParticleFilter": ParticleFilter(100),
    "AuxiliaryParticleFilter": AuxiliaryParticleFilter(100),
    "RaoBlackwellParticleFilter": RaoBlackwellParticleFilter(50, ("b",)),
}
TRACKED = {"Dual": ("c",)}
MEMBERS = tuple(name for name, method in FILTERS.items() if hasattr(method, "members"))
"""Estimators with members: their numbers pass decompositions and draws, so fewer digits hold on another CPU."""


def filtered(name: str) -> np.ndarray:
    """(T, 7) of one filter."""
    track = assimilate(Pair(), record(), method=FILTERS[name], track=TRACKED.get(name, ()), substeps=1, dt_max=np.inf)
    return _rows(track.mean, track.cov, track.nis, track.loglik)


def smoothed(method: Any) -> np.ndarray:
    """(T, 7) of one smoother."""
    track = smooth(Pair(), record(), method=method, substeps=1, dt_max=np.inf)
    none = np.full(len(track.t), np.nan)
    return _rows(track.mean, track.cov, none, none)


def varied() -> np.ndarray:
    """(T, 7) of weak 4D-Var, covariances of the first and the last state only; the spike is taken out by hand."""
    data = record()
    data.y[7, 1] = np.nan
    best = variational(Pair(), data, substeps=1, dt_max=np.inf)
    cov = np.full((len(data.t), 2, 2), np.nan)
    cov[0], cov[-1] = best.cov_first, best.cov_last
    none = np.full(len(data.t), np.nan)
    return _rows(best.mean, cov, none, none)


def _rows(mean: Any, cov: Any, nis: Any, loglik: Any) -> np.ndarray:
    return np.column_stack([mean[:, :2], cov[:, 0, 0], cov[:, 0, 1], cov[:, 1, 1], nis, loglik])


ESTIMATORS: dict[str, Callable[[], np.ndarray]] = {
    **{name: partial(filtered, name) for name in FILTERS},
    "rts": lambda: smoothed(Ekf()),
    "ensemble_smoother": lambda: smoothed(Etkf(12)),
    "variational": varied,
}


def digits(name: str) -> int:
    """Digits that are kept of an estimator's numbers."""
    return 9 if name in (*MEMBERS, "ensemble_smoother", "variational", "Mhe") else 12


def stored() -> dict[str, dict[int, np.ndarray]]:
    """The file: by estimator and instant, (7,); NaN where a field is empty."""
    found: dict[str, dict[int, np.ndarray]] = {}
    with FILE.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            values = [float(row[h]) if row[h] else np.nan for h in HEAD[2:]]
            found.setdefault(row["estimator"], {})[int(row["k"])] = np.array(values)
    return found


def main() -> int:
    """Write the file anew."""
    with FILE.open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(HEAD)
        for name, run in ESTIMATORS.items():
            rows = run()
            for k in SHOWN:
                out.writerow([name, k, *("" if np.isnan(v) else f"{v:.{digits(name)}g}" for v in rows[k])])
    return 0


if __name__ == "__main__":
    sys.exit(main())
