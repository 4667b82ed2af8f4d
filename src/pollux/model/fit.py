"""The result of a calibration: the calibrated twin, estimates with errors, and how far to trust them.

With S the noise-scaled sensitivities and c^2 = max(1, chi^2 / dof) (c^2 = chi^2/dof where noise was not declared),

    plain errors    cov = (S'S / c^2 + P)^-1                                P = precision of the priors
    robust errors   cov = H^-1 (sum_l w_l Gamma_l + P) H^-1,  H = S'S + P   Gamma_l = lagged products of the scores

The robust ones (Newey and West 1987) hold when residuals are autocorrelated, as they are whenever the model is not
perfect; `robust` says that they should be read.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from pollux.core.errors import DefinitionError
from pollux.core.twin import Twin
from pollux.model.coordinates import Coordinates
from pollux.model.covariance import covariance
from pollux.model.fitting import Data
from pollux.model.identify import Identifiability, identify
from pollux.model.leastsquares import FitOutcome
from pollux.model.record import Record
from pollux.model.results import read
from pollux.model.statespace import StateSpace
from pollux.model.table import number, table

AUTOCORRELATED = 0.3
"""Lag-one correlation of the residuals above which plain errors are too small to be quoted."""


@dataclass(frozen=True)
class Estimate:
    """One unknown: value, standard error and 95 % interval; inf where the record does not determine it."""

    name: str
    unit: str
    value: float
    error: float
    low: float
    high: float
    declared: float
    plain_error: float
    robust_error: float
    at_bound: bool


@dataclass(frozen=True)
class Trial:
    """Where one start ended."""

    loss: float
    iterations: int
    outcome: FitOutcome


@dataclass(frozen=True, eq=False, repr=False)
class Fit:
    """A calibrated twin and everything that is known about the calibration."""

    twin: Twin
    """The twin with its calibrated parameters."""
    estimates: tuple[Estimate, ...]
    correlations: Float[np.ndarray, "k k"]
    initial: tuple[Any, ...]
    """First state of each record, as the twin's `State`."""
    loss: float
    """1/2 of the squared, noise-scaled residuals, priors not counted."""
    rmse: dict[str, float]
    """Root mean square of the residuals of each sensor, in its unit, over all records."""
    chi2: float
    """Squared noise-scaled residuals per degree of freedom: about 1 when model and declared noise hold."""
    autocorrelation: float
    outcome: FitOutcome
    identifiability: Identifiability
    trials: tuple[Trial, ...]
    predicted: tuple[Float[np.ndarray, "T ny"], ...] = field(repr=False)
    space: StateSpace = field(repr=False)

    @property
    def ok(self) -> bool:
        """Whether the best start converged."""
        return self.outcome is FitOutcome.CONVERGED

    @property
    def robust(self) -> bool:
        """Whether `error` is the robust one, because residuals are autocorrelated."""
        return self.autocorrelation > AUTOCORRELATED

    @property
    def agreeing(self) -> int:
        """How many starts reached the best loss."""
        best = min(t.loss for t in self.trials)
        return sum(t.loss <= best * (1 + 1e-4) + 1e-12 for t in self.trials)

    def __getitem__(self, name: str) -> Estimate:
        """One estimate by name."""
        for e in self.estimates:
            if e.name == name:
                return e
        raise DefinitionError(f"No unknown {name!r} was fitted; there are {[e.name for e in self.estimates]}")

    def correlation(self, a: str, b: str) -> float:
        """Correlation of two estimates."""
        names = [e.name for e in self.estimates]
        return float(self.correlations[names.index(self[a].name), names.index(self[b].name)])

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON (None where a number is not finite)."""
        plain = {
            e.name: {
                "value": e.value, "error": _finite(e.error), "low": _finite(e.low), "high": _finite(e.high),
                "unit": e.unit, "declared": e.declared, "at_bound": e.at_bound,
            }
            for e in self.estimates
        }  # fmt: skip
        return {
            "twin": self.space.system.name,
            "outcome": self.outcome.value,
            "estimates": plain,
            "loss": self.loss,
            "rmse": self.rmse,
            "chi2": self.chi2,
            "autocorrelation": self.autocorrelation,
            "starts": len(self.trials),
            "agreeing": self.agreeing,
            "identifiability": self.identifiability.to_dict(),
        }

    def __repr__(self) -> str:
        """A table of the estimates, figures of fit, and the verdict."""
        rows = [
            (e.name, e.unit, e.value, _shown(e.error), _interval(e), e.declared, "at its bound" if e.at_bound else "")
            for e in self.estimates
        ]
        name = "robust error" if self.robust else "error"
        rmse = ", ".join(f"{n} {number(v)} {c.unit}" for (n, v), c in zip(self.rmse.items(), self.space.y, strict=True))
        return "\n".join(
            [
                f"Fit of {self.space.system.name}: {self.outcome.value}, loss {number(self.loss, 6)}, "
                f"{self.agreeing} of {len(self.trials)} starts agree",
                table(("unknown", "unit", "value", name, "95 %", "declared", ""), rows),
                f"rmse {rmse}; chi2 {number(self.chi2)}; lag-one autocorrelation {number(self.autocorrelation, 2)}",
                str(self.identifiability),
            ]
        )


def summarise(
    twin: Twin,
    space: StateSpace,
    records: tuple[Record, ...],
    data: Data,
    frame: Coordinates,
    chosen: tuple[int, ...],
    states: tuple[int, ...],
    X0: np.ndarray,
    z: np.ndarray,
    residuals: np.ndarray,
    J: np.ndarray,
    seen: np.ndarray,
    outcome: FitOutcome,
    trials: tuple[tuple[float, int, FitOutcome], ...],
) -> Fit:
    """Statistics of a solved problem: `z` the best coordinates, `residuals` and `J` those of the data there."""
    theta = frame.value(z)
    k, p = len(chosen), space.p0
    p[list(chosen)] = theta[:k]
    X = X0.copy()
    X[:, list(states)] = theta[k:].reshape(len(X0), len(states))
    dof = max(int(data.came.sum()) - len(z), 1)
    chi2 = float(residuals @ residuals) / dof
    declared = bool(np.all(space.R > 0))
    factor = max(1.0, chi2) if declared else chi2 or 1.0
    spot = residuals.reshape(data.came.shape)
    rho = _autocorrelation(spot, data.came)
    slope = frame.slope(z)
    plain = covariance(J.T @ J / factor, 1 / frame.deviation**2) * np.outer(slope, slope)
    robust = _at_least(plain, _robust(J, spot, frame.deviation) * np.outer(slope, slope))
    cov = robust if rho > AUTOCORRELATED else plain
    sd, sd_plain, sd_robust = (np.sqrt(np.diag(c)) for c in (cov, plain, robust))
    near = 1e-9 * (1 + np.abs(z))
    held = (z <= frame.low + near) | (z >= frame.high - near)
    estimates = tuple(
        Estimate(
            frame.names[i], frame.units[i], float(theta[i]), float(sd[i]),
            *_bounds(theta[i], sd[i], bool(frame.log[i])), float(frame.centre[i]),
            float(sd_plain[i]), float(sd_robust[i]), bool(held[i]),
        )
        for i in range(len(z))
    )  # fmt: skip
    known = np.where(np.isfinite(sd) & (sd > 0), sd, np.nan)
    correlations = np.where(np.eye(len(z), dtype=bool), 1.0, cov / np.outer(known, known))
    errors = spot * data.sigma
    rmse = {c.name: _rms(errors[..., i][data.came[..., i]]) for i, c in enumerate(space.y)}
    to_natural, log = natural(theta, slope, frame)
    state = twin.signals()[0]
    return Fit(
        space.rebuild(p),
        estimates,
        correlations,
        tuple(read(state, x) for x in X),
        0.5 * float(residuals @ residuals),
        rmse,
        chi2,
        rho,
        outcome,
        identify(J / np.sqrt(factor) * to_natural, frame.names, log),
        tuple(Trial(*t) for t in trials),
        tuple(np.asarray(seen[r][: len(rec)]) for r, rec in enumerate(records)),
        space,
    )


def natural(theta: np.ndarray, slope: np.ndarray, frame: Coordinates) -> tuple[np.ndarray, np.ndarray]:
    """(factor, log): what turns derivatives in z into natural units, and which of those are logarithms.

    The logarithm of what is positive by its bounds, else the scale of z.
    """
    positive = (theta > 1e-3 * np.abs(slope)) & (frame.log | np.isfinite(frame.low) & (_lowest(frame) >= 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(positive, theta / slope, 1.0), positive


def _lowest(frame: Coordinates) -> np.ndarray:
    return np.where(frame.log, 0.0, frame.centre + frame.scale * frame.low)


def _robust(J: np.ndarray, spot: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """Newey-West with Bartlett weights; the bandwidth is where the residuals' correlation has died out."""
    R, T, ny = spot.shape
    k = J.shape[1]
    scores = (J.reshape(R, T, ny, k) * spot[..., None]).sum(axis=2)
    reach = min(_memory(spot), max(T // 4, 1))
    middle = np.einsum("rti,rtj->ij", scores, scores)
    for lag in range(1, reach + 1):
        product = np.einsum("rti,rtj->ij", scores[:, lag:], scores[:, :-lag])
        middle += (1 - lag / (reach + 1)) * (product + product.T)
    bread = covariance(J.T @ J, 1 / deviation**2)
    lost = ~np.isfinite(np.diag(bread))
    bread = np.where(np.isfinite(bread), bread, 0.0)
    cov = bread @ (middle + np.diag(1 / deviation**2)) @ bread
    cov[np.diag_indices_from(cov)] = np.where(lost, np.inf, np.maximum(np.diag(cov), 0.0))
    return cov


def _at_least(plain: np.ndarray, robust: np.ndarray) -> np.ndarray:
    """Robust errors no smaller than plain ones: an unknown that few readings see has too few scores to go by."""
    a, b = np.diag(plain), np.diag(robust)
    known = np.isfinite(a) & np.isfinite(b) & (b > 0)
    grow = np.sqrt(np.where(known, np.maximum(np.where(known, a, 1.0) / np.where(known, b, 1.0), 1.0), 1.0))
    return robust * np.outer(grow, grow)


def _memory(spot: np.ndarray) -> int:
    """Twice the first lag at which the summed residuals are no longer positively correlated."""
    r = spot.sum(axis=2)
    r = r - r.mean()
    power = float(np.sum(r * r)) or 1.0
    for lag in range(1, r.shape[1] - 1):
        if np.sum(r[:, lag:] * r[:, :-lag]) < 0.05 * power:
            return 2 * lag
    return max(r.shape[1] // 4, 1)


def _autocorrelation(spot: np.ndarray, came: np.ndarray) -> float:
    """Lag-one correlation, averaged over sensors, over neighbours that both came."""
    both = came[:, 1:] & came[:, :-1]
    top = np.sum(np.where(both, spot[:, 1:] * spot[:, :-1], 0.0))
    bottom = np.sum(np.where(both, 0.5 * (spot[:, 1:] ** 2 + spot[:, :-1] ** 2), 0.0))
    return float(top / bottom) if bottom > 0 else 0.0


def _bounds(value: float, sd: float, log: bool) -> tuple[float, float]:
    """95 % interval, symmetric in the coordinate that the unknown was sought in."""
    if not np.isfinite(sd):
        return (0.0 if log else -np.inf), np.inf
    if log:
        factor = float(np.exp(min(1.96 * sd / value, 700.0)))
        return value / factor, value * factor
    return value - 1.96 * sd, value + 1.96 * sd


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2))) if len(values) else float("nan")


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _shown(value: float) -> str:
    return number(value, 2) if np.isfinite(value) else "undetermined"


def _interval(e: Estimate) -> str:
    return f"{number(e.low, 3)} .. {number(e.high, 3)}" if np.isfinite(e.error) else "-"
