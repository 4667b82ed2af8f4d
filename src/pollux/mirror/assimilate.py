"""`assimilate`: a twin and a record give the track of its hidden states, with the evidence that it can be trusted."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.special import ndtri

from pollux.core.errors import MissingExtraError
from pollux.core.twin import Twin
from pollux.mirror.ekf import Ekf
from pollux.mirror.method import Carrying, Method, OfTwin
from pollux.mirror.prepare import prepare
from pollux.mirror.quality import Consistency, SensorQuality, consistency, sensor_quality
from pollux.mirror.scan import compiled
from pollux.mirror.update import GATE, REOPEN
from pollux.model.record import Record
from pollux.model.statespace import Channel, StateSpace


@dataclass(frozen=True, eq=False)
class Track:
    """The filtered record: T instants, n states (tracked parameters last), ny sensors.

    `predicted` and `innovation` are one step ahead; `innovation_sd` is what was stated of the latter; `used` is 1 where
    a reading was fused. `loglik` (T,) are the log densities of the readings given all before.
    """

    name: str
    record: Record
    states: tuple[Channel, ...]
    sensors: tuple[Channel, ...]
    mean: np.ndarray
    cov: np.ndarray = field(repr=False)
    predicted: np.ndarray
    innovation: np.ndarray
    innovation_sd: np.ndarray
    used: np.ndarray
    nis: np.ndarray
    loglik: np.ndarray

    @property
    def t(self) -> np.ndarray:
        """Times (T,)."""
        return self.record.t

    @property
    def sd(self) -> np.ndarray:
        """Standard deviations (T, n)."""
        return np.sqrt(np.diagonal(self.cov, axis1=1, axis2=2))

    def consistency(self, level: float = 0.99, skip: int = 0) -> Consistency:
        """Whether the innovations are as large as stated, after the first `skip` instants."""
        return consistency(self.nis[skip:], self.used[skip:].sum(axis=1), level)

    def quality(self, skip: int = 0) -> tuple[SensorQuality, ...]:
        """Data quality of each sensor."""
        names = tuple(c.name for c in self.sensors)
        return sensor_quality(names, self.innovation[skip:], self.innovation_sd[skip:] ** 2, self.used[skip:])

    def coverage(self, level: float = 0.95, skip: int = 0) -> dict[str, float]:
        """Share of each sensor's readings inside its one-step-ahead interval of this level; refused readings count."""
        z = np.abs(self.innovation[skip:] / self.innovation_sd[skip:])
        half = float(ndtri(0.5 + level / 2))
        came = ~np.isnan(z)
        inside = (z <= half) & came
        return {c.name: float(inside[:, i].sum() / max(came[:, i].sum(), 1)) for i, c in enumerate(self.sensors)}

    def frame(self) -> Any:
        """Mean and standard deviation of every state as a pandas frame. Raises `MissingExtraError` without pandas."""
        try:
            import pandas as pd
        except ImportError:
            raise MissingExtraError("pandas", "frames") from None
        columns = {}
        for i, c in enumerate(self.states):
            columns[c.name], columns[f"{c.name}_sd"] = self.mean[:, i], self.sd[:, i]
        return pd.DataFrame(columns, index=pd.Index(self.t, name="t"))

    def plot(self) -> Any:
        """A figure: every sensor with its prediction and 95 % band, every other state with its band."""
        try:
            import matplotlib.pyplot as plt
        except ImportError:
            raise MissingExtraError("matplotlib", "plot") from None
        rows = len(self.sensors) + len(self.states)
        figure, axes = plt.subplots(rows, 1, sharex=True, squeeze=False, figsize=(9, 2.0 * rows))
        for ax, c, i in zip(axes[:, 0], self.sensors, range(len(self.sensors)), strict=False):
            band = 1.96 * self.innovation_sd[:, i]
            ax.fill_between(self.t, self.predicted[:, i] - band, self.predicted[:, i] + band, alpha=0.3)
            ax.plot(self.t, self.predicted[:, i], linewidth=1)
            ax.plot(self.t, self.record.y[:, i], ".", markersize=2, color="k")
            ax.set_ylabel(f"{c.label}\n{c.unit}")
        for ax, c, i in zip(axes[len(self.sensors) :, 0], self.states, range(len(self.states)), strict=True):
            ax.fill_between(
                self.t, self.mean[:, i] - 1.96 * self.sd[:, i], self.mean[:, i] + 1.96 * self.sd[:, i], alpha=0.3
            )
            ax.plot(self.t, self.mean[:, i], linewidth=1)
            ax.set_ylabel(f"{c.label}\n{c.unit}")
        axes[-1, 0].set_xlabel("t, s")
        figure.tight_layout()
        return figure

    def __str__(self) -> str:
        """A short report: last estimates, consistency, coverage, remarks."""
        lines = [f"{self.name}: {len(self.t)} instants, log-likelihood {self.loglik.sum():.6g}"]
        for i, c in enumerate(self.states):
            lines.append(f"  {c.name:<16} {self.mean[-1, i]:>12.6g} ± {1.96 * self.sd[-1, i]:.2g} {c.unit}")
        lines.append(f"  {self.consistency()}")
        cover = ", ".join(f"{k} {v:.1%}" for k, v in self.coverage().items())
        lines.append(f"  95 % one-step intervals hold {cover}")
        lines += [f"  {q.name}: {'; '.join(q.remarks)}" for q in self.quality() if q.remarks]
        return "\n".join(lines)


def assimilate(
    twin: Twin | StateSpace,
    record: Any,
    *,
    track: tuple[str, ...] = (),
    method: Method | Carrying | OfTwin | None = None,
    substeps: int = 4,
    dt_max: float | None = None,
    gate: float = GATE,
    reopen: int | None = REOPEN,
    times: Any = None,
    x0: np.ndarray | None = None,
    P0: np.ndarray | None = None,
    params: np.ndarray | None = None,
    Q: np.ndarray | None = None,
    R: np.ndarray | None = None,
) -> Track:
    """Filter a whole record; the same arithmetic as a mirror that is fed reading by reading.

    `record` is anything that `pollux.Record` understands (a data frame, columns by name); a missing value is NaN. The
    other arguments are those of `build_mirror`; `x0`, `P0`, `params`, `Q`, `R` replace what the definition declares.
    """
    made = prepare(
        twin, record, method or Ekf(), track=track, substeps=substeps, dt_max=dt_max, gate=gate, reopen=reopen,
        times=times, x0=x0, P0=P0, params=params, Q=Q, R=R,
    )  # fmt: skip
    space, system = made.space, made.space.system
    found = compiled(system, made.method, *made.key)(*made.args)
    x, P, y_hat, nu, S, used, nis, logdet = (np.asarray(a) for a in found)
    loglik = -0.5 * (nis + logdet + used.sum(axis=1) * math.log(2 * math.pi))
    S = np.where(np.isnan(nu), np.nan, S)
    return Track(system.name, made.record, space.x, space.y, x, P, y_hat, nu, np.sqrt(S), used, nis, loglik)
