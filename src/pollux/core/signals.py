"""The five values that the data walk hands on, each with its origin.

    Readings -> Belief -> Forecast -> Decision -> Command | Refusal

Every value carries the twin's name, its time `t` (event time, seconds since 1970 UTC), its own `id` and the id
of the value that it came `source` from, so that a command can be walked back to the readings that caused it. Ids
are counters, not random: the same journal gives the same ids. All arrays are host arrays (NumPy, float64) and are
never written after construction.
"""

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

import numpy as np
from jaxtyping import Bool, Float

Vector = Float[np.ndarray, " n"]


class Health(StrEnum):
    """What the mirror thinks of one sensor at one time."""

    GOOD = "good"
    MISSING = "missing"
    """No value at this time."""
    STALE = "stale"
    """No value for longer than its rate allows."""
    GATED = "gated"
    """A value came and lay outside the gate; the belief is as if it had never come."""
    SUSPECT = "suspect"
    """The detector holds a sensor fault against it; it is left out until it recovers."""


class Level(IntEnum):
    """How far the autonomy may go (TRUST: L0 to L4)."""

    OBSERVE = 0
    ADVISE = 1
    APPROVE = 2
    SUPERVISED = 3
    AUTOMATIC = 4


@dataclass(frozen=True)
class Readings:
    """What the sensors and actuators of one twin said for one instant.

    `values` are in the twin's own units and order of `Sensors`, `inputs` in the order of `Input`;
    NaN means that nothing was said, never zero and never an error.
    """

    twin: str
    t: float
    id: str
    source: str
    values: Float[np.ndarray, " y"]
    inputs: Float[np.ndarray, " u"]


@dataclass(frozen=True)
class Belief:
    """The posterior after one `Readings`: x | y_1..k ~ N(mean, cov).

    `mean` and `cov` are over the tracked vector: the states in the order of `State`, then the tracked parameters.
    `innovation` is y - E[y | y_1..k-1], `innovation_var` its predicted variance (diagonal of S), both NaN where no
    value came, and both as they were *before* gating. `nis` = nu' S^-1 nu over the `nis_dof` sensors that were used.
    """

    twin: str
    t: float
    id: str
    source: str
    mean: Float[np.ndarray, " n"]
    cov: Float[np.ndarray, "n n"]
    inputs: Float[np.ndarray, " u"]
    predicted: Float[np.ndarray, " y"]
    innovation: Float[np.ndarray, " y"]
    innovation_var: Float[np.ndarray, " y"]
    health: tuple[Health, ...]
    nis: float
    nis_dof: int
    age: Float[np.ndarray, " y"]
    """Seconds since each sensor last gave a value that was used."""
    memory: Float[np.ndarray, " k"] = field(default_factory=lambda: np.zeros(0), repr=False)
    """What the filter carries beside mean and covariance (members, modes), flat; empty for a Gaussian filter."""


@dataclass(frozen=True)
class Crossing:
    """When and how likely one margin will be violated within the horizon."""

    margin: str
    probability: float
    t_median: float
    """Median time of the first violation among the samples that violate; NaN when none does."""
    t_early: float
    """5 % quantile of the same; NaN when none does."""


@dataclass(frozen=True)
class Forecast:
    """Predictive distribution over a horizon under one input plan, as quantiles of an ensemble.

    `states` and `sensors` have shape (quantile, time, signal); the quantile levels are in `levels`.
    """

    twin: str
    t: float
    id: str
    source: str
    times: Float[np.ndarray, " time"]
    plan: Float[np.ndarray, "time u"]
    levels: tuple[float, ...]
    states: Float[np.ndarray, "q time n"]
    sensors: Float[np.ndarray, "q time y"]
    margins: Float[np.ndarray, "q time m"]
    crossings: tuple[Crossing, ...]
    samples: int


class Cause(StrEnum):
    """What kind of thing went wrong."""

    SENSOR = "sensor fault"
    PROCESS = "process fault"
    DATA = "data fault"
    LIMIT = "limit forecast"
    SYSTEM = "system"


@dataclass(frozen=True)
class Finding:
    """An anomaly that was detected, with the recorded numbers that support it."""

    twin: str
    t: float
    id: str
    source: str
    cause: Cause
    subject: str
    """The sensor, margin or part of the asset that it is about."""
    summary: str
    priority: int
    """1 act now, 2 act soon, 3 for information."""
    evidence: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Decision:
    """What somebody proposes to do: a plan for the inputs, and what it is expected to bring.

    `values` holds the inputs to apply now; `plan` the whole horizon. The guard judges `values` and simulates `plan`.
    """

    twin: str
    t: float
    id: str
    source: str
    """Id of the belief or forecast that it was made from."""
    proposer: str
    """`mpc`, `agent:...`, `user:...`: the guard caps what each may do."""
    values: dict[str, float]
    times: Float[np.ndarray, " time"]
    plan: Float[np.ndarray, "time u"]
    expires: float
    reason: str
    expected: dict[str, float] = field(default_factory=dict)
    """Named figures of acting; the same names with the prefix `without_` for not acting."""


@dataclass(frozen=True)
class Command:
    """An authorised set-point on its way to an actuator. Idempotent by `id`, ordered by `sequence`."""

    twin: str
    t: float
    id: str
    source: str
    values: dict[str, float]
    sequence: int
    expires: float


@dataclass(frozen=True)
class Refusal:
    """An action that was not authorised, with the first rule that failed."""

    twin: str
    t: float
    id: str
    source: str
    rule: str
    reason: str


Mask = Bool[np.ndarray, " n"]
