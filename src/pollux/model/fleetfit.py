"""The result of calibrating a fleet: arrays with the fleet axis last, and one twin at a time on request.

    cov = (J'J / c^2 + P)^-1,   c^2 = max(1, chi^2 / dof)  (chi^2 / dof where noise was not declared)

are the plain errors of `Fit`. They hold where residuals are not autocorrelated; where they are, `calibrate` on that
twin alone gives robust ones.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from pollux.core.errors import DefinitionError
from pollux.core.twin import Twin
from pollux.model.coordinates import Coordinates
from pollux.model.covariance import covariance, equilibrated
from pollux.model.fit import AUTOCORRELATED, natural
from pollux.model.identify import OPEN, Identifiability, identify
from pollux.model.leastsquares import FIT_OUTCOMES, Descent, FitOutcome
from pollux.model.results import read
from pollux.model.statespace import StateSpace
from pollux.model.stream import Scatter
from pollux.model.table import number, table


@dataclass(frozen=True, eq=False, repr=False)
class FleetFit:
    """N calibrated twins; k unknowns, n states, n_p parameters, ny sensors."""

    twin: Twin = field(repr=False)
    space: StateSpace = field(repr=False)
    names: tuple[str, ...]
    units: tuple[str, ...]
    values: Float[np.ndarray, "k N"]
    """Estimates; those of a twin that did not start (`NOT_FINITE`) are what they started from."""
    errors: Float[np.ndarray, "k N"]
    """Standard errors; inf where record and prior do not determine the unknown."""
    at_bound: Bool[np.ndarray, "k N"]
    loss: Float[np.ndarray, " N"]
    """1/2 of the squared, noise-scaled residuals, priors not counted; inf where nothing was finite."""
    chi2: Float[np.ndarray, " N"]
    """Squared noise-scaled residuals per degree of freedom: about 1 when model and declared noise hold."""
    autocorrelation: Float[np.ndarray, " N"]
    """Lag-one correlation of the residuals; above 0.3 `errors` are too small to be quoted."""
    rmse: Float[np.ndarray, "ny N"]
    outcomes: tuple[FitOutcome, ...]
    passes: Int[np.ndarray, " N"]
    """Passes over the record that the fit of each twin took."""
    identifiable: Bool[np.ndarray, " N"]
    """Whether the record alone determines every unknown, by the rule of `Identifiability`."""
    parameters: Float[np.ndarray, "n_p N"]
    """All parameters of every twin, as `build_fleet(...).start(t, parameters)` takes them."""
    x0: Float[np.ndarray, "n N"]
    """First states."""
    information: Float[np.ndarray, "k k N"] = field(repr=False)
    """S'S of the noise-scaled sensitivities in natural units, with c^2 divided out."""
    logarithmic: Bool[np.ndarray, "k N"] = field(repr=False)

    def __len__(self) -> int:
        """Number of twins."""
        return self.values.shape[-1]

    @property
    def ok(self) -> Bool[np.ndarray, " N"]:
        """Which twins converged."""
        return np.array([o is FitOutcome.CONVERGED for o in self.outcomes])

    @property
    def robust(self) -> Bool[np.ndarray, " N"]:
        """Which twins need the robust errors of `calibrate`, because residuals are autocorrelated."""
        return self.autocorrelation > AUTOCORRELATED

    def __getitem__(self, name: str) -> Float[np.ndarray, " N"]:
        """Estimates of one unknown."""
        return self.values[self._index(name)]

    def error(self, name: str) -> Float[np.ndarray, " N"]:
        """Standard errors of one unknown."""
        return self.errors[self._index(name)]

    def member(self, i: int) -> Twin:
        """Twin i with its calibrated parameters."""
        return self.space.rebuild(self.parameters[:, i].copy())

    def initial(self, i: int) -> Any:
        """First state of twin i, as the definition's `State`."""
        return read(self.twin.signals()[0], self.x0[:, i])

    def identifiability(self, i: int) -> Identifiability:
        """What the record of twin i can say about its unknowns, with the open directions in words."""
        H = self.information[..., i]
        scale, values, vectors, null = equilibrated(H)
        S = np.sqrt(np.where(null, 0.0, values))[:, None] * vectors.T / scale
        return identify(S, self.names, self.logarithmic[:, i])

    def _index(self, name: str) -> int:
        if name not in self.names:
            raise DefinitionError(f"No unknown {name!r} was fitted; there are {list(self.names)}")
        return self.names.index(name)

    def __repr__(self) -> str:
        """Outcomes, and the spread of each unknown over the fleet."""
        ok = self.ok
        bad = {o: self.outcomes.count(o) for o in FIT_OUTCOMES[1:] if o in self.outcomes}
        rows = []
        for name, unit, v, e in zip(self.names, self.units, self.values[:, ok], self.errors[:, ok], strict=True):
            low, middle, high = np.quantile(v, (0.05, 0.5, 0.95)) if v.size else (np.nan,) * 3
            error = np.median(e) if e.size else np.nan
            rows.append((name, unit, number(low), number(middle), number(high), number(error, 2)))
        return "\n".join(
            [
                f"Fit of {len(self)} x {self.space.system.name}: {int(ok.sum())} converged"
                + "".join(f", {count} {outcome.value}" for outcome, count in bad.items()),
                table(("unknown", "unit", "5 %", "median", "95 %", "median error"), rows),
                f"{int((~self.identifiable).sum())} not identifiable, "
                f"{int(self.robust.sum())} with autocorrelated residuals",
            ]
        )


def summarise_fleet(
    twin: Twin, space: StateSpace, frame: Coordinates, parameters: np.ndarray, x0: np.ndarray, weight: np.ndarray,
    end: Descent, scatter: Scatter,
) -> FleetFit:  # fmt: skip
    """Statistics of a solved fleet; `parameters` (n_p, N) and `x0` (n, N) with the estimates put in."""
    k = len(frame)
    theta, slope = frame.value(end.z), frame.slope(end.z)
    precision = 1 / frame.deviation**2
    loss = end.loss - 0.5 * np.sum(precision * end.z**2, axis=0)
    chi2 = 2 * loss / np.maximum(scatter.count.sum(axis=0) - k, 1)
    declared = bool(np.all(space.R > 0))
    factor = np.maximum(1.0, chi2) if declared else np.where(chi2 > 0, chi2, 1.0)
    factor = np.where(np.isfinite(factor), factor, 1.0)
    H = np.moveaxis(end.H / factor, -1, 0)
    variance = np.diagonal(covariance(H, precision.T), axis1=-2, axis2=-1).T * slope**2
    to_natural, log = natural(theta, slope, frame)
    information = H * to_natural.T[:, :, None] * to_natural.T[:, None, :]
    information = np.where(np.isfinite(information), information, 0.0)  # a twin that is NaN knows nothing
    near = 1e-9 * (1 + np.abs(end.z))
    with np.errstate(invalid="ignore", divide="ignore"):
        rmse = np.sqrt(scatter.squares / scatter.count) / weight
        rho = np.where(scatter.paired > 0, scatter.lagged / scatter.paired, 0.0)
    return FleetFit(
        twin=twin,
        space=space,
        names=frame.names,
        units=frame.units,
        values=theta,
        errors=np.sqrt(variance),
        at_bound=(end.z <= frame.low + near) | (end.z >= frame.high - near),
        loss=loss,
        chi2=chi2,
        autocorrelation=rho,
        rmse=rmse,
        outcomes=tuple(FIT_OUTCOMES[c] for c in end.code.tolist()),
        passes=end.iterations,
        identifiable=_determined(information),
        parameters=parameters,
        x0=x0,
        information=np.moveaxis(information, 0, -1),
        logarithmic=log,
    )


def _determined(H: Float[np.ndarray, "N k k"]) -> Bool[np.ndarray, " N"]:
    """No direction lost altogether, and none known to no better than `OPEN`: the rule of `identify`, on S'S."""
    lost = np.any(equilibrated(H)[-1], axis=-1)
    values, vectors = np.linalg.eigh(H)
    with np.errstate(divide="ignore", invalid="ignore"):
        wide = np.max(np.abs(vectors), axis=-2) / np.sqrt(np.maximum(values, 0.0)) > OPEN
    return ~lost & ~np.any(wide, axis=-1)
