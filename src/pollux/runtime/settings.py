"""How one live twin is run. Seconds are event time, as in its readings."""

from dataclasses import dataclass
from typing import Literal

from pollux.core.errors import WiringError


@dataclass(frozen=True)
class LiveSettings:
    """Settings of one live twin, checked when they are made."""

    time: Literal["wall", "event"] = "wall"
    """`event`: the plant runs at its own speed, and now is the time of the newest reading."""
    stale_after: float = 60.0
    """Wall seconds without a step after which everything shown is marked stale."""
    horizon: float = 86_400.0
    """Length of forecasts, s."""
    forecast_step: float = 900.0
    """Grid of forecasts, s."""
    samples: int = 64
    """Ensemble members of a forecast."""
    seed: int = 0
    forecast_every: float = 300.0
    """A new forecast for the page at least this often, s."""
    plan_every: float = 0.0
    """A new plan this often, s; 0 = the planner is not asked by itself."""
    proposal_valid: float = 3600.0
    """How long what a person or agent proposes waits for an approval, s."""
    likely: float = 0.2
    """Probability above which a forecast violation of a limit is an alarm."""
    clear_after: float = 300.0
    """An alarm clears after its cause has been absent for this long, s."""
    ack_within: float = 120.0
    """A command that its actuator has not answered for this long has an unknown state, s."""
    chart_points: int = 20_000
    """Steps that charts can look back."""

    def __post_init__(self) -> None:
        for name in ("stale_after", "horizon", "forecast_step", "forecast_every", "proposal_valid", "ack_within"):
            value = getattr(self, name)
            if not 0 < value < float("inf"):
                raise WiringError(f"`{name}` must be above 0 s and finite, received {value!r}")
        if self.forecast_step > self.horizon:
            raise WiringError(
                f"`forecast_step` must not exceed `horizon`, received {self.forecast_step!r} > {self.horizon!r}"
            )
        if self.samples < 2 or self.chart_points < 2:
            raise WiringError(
                f"`samples` and `chart_points` are at least 2, received {self.samples!r}, {self.chart_points!r}"
            )

    @property
    def steps(self) -> int:
        """Points of a forecast."""
        return round(self.horizon / self.forecast_step) + 1
