"""What the fold of one live twin carries from reading to reading; a value that snapshots keep bit for bit."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import nan
from typing import Any

import numpy as np

from pollux.autonomy.authorise import AutonomyState
from pollux.core.signals import Belief, Crossing, Decision, Finding
from pollux.runtime.alarms import AlarmBook
from pollux.runtime.outlooks import Plan

TOLD = 50
"""Proposals without an entry among the approvals (refused, advice, executed at once) that stay listed."""


EXPLAINED = 40
"""Newest alarms whose belief is kept."""


@dataclass(frozen=True)
class Told:
    """A proposal that does not wait for anybody: it was refused, is advice only, or was executed at once."""

    id: str
    decision: Decision
    by: str
    status: str
    rule: str
    note: str
    digest: str
    risks: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """`acting`, `not_acting` -> limit -> share of samples that violate it."""


@dataclass(frozen=True)
class LiveState:
    """State of one live twin. Times are event time, s."""

    belief: Belief
    detector: Any
    alarms: AlarmBook
    autonomy: AutonomyState | None
    seen: np.ndarray
    """Last value of every sensor, NaN before the first."""
    count: int = 0
    """Of ids given out."""
    suspects: tuple[str, ...] = ()
    """Sensors that a finding holds a fault against; they do not move the belief."""
    crossings: tuple[Crossing, ...] = ()
    """Of the last forecast."""
    crossings_from: str = ""
    raised: Mapping[str, Belief] = field(default_factory=dict)
    """Alarm -> the belief that held when it was raised, for the newest alarms: what explains them."""
    reported: tuple[Finding, ...] = ()
    """Anomalies that other parts of the system reported and have not taken back."""
    measured: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Actuator -> its measured set-point and since when it has been that."""
    plan: Plan | None = None
    """The plan whose first values were sent last."""
    waiting: Mapping[str, float] = field(default_factory=dict)
    """Commands that no actuator has answered: id -> when they were sent."""
    told: tuple[Told, ...] = ()
    forecast_t: float = nan
    plan_t: float = nan
