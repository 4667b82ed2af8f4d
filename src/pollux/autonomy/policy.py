"""What the guard is told in advance: the limits of every actuator, the envelope of autonomy, who may propose.

Everything is in the twin's own units and in seconds. A `Policy` is checked when it is made, so that the guard can
rely on it: ranges are finite and ordered, the safe command is inside them, a language model is capped at L2.
`policy_toml` reads one from a TOML table.
"""

from dataclasses import dataclass
from math import inf, isfinite, log
from typing import Literal

from pollux.core.errors import WiringError
from pollux.core.signals import Level

Role = Literal["viewer", "operator", "engineer", "admin"]
ROLES: tuple[str, ...] = ("viewer", "operator", "engineer", "admin")
Kind = Literal["person", "service", "agent"]
Operator = Literal["<", "<=", ">", ">=", "==", "!="]
OPERATORS: tuple[str, ...] = ("<=", ">=", "==", "!=", "<", ">")


@dataclass(frozen=True)
class Principal:
    """Who is asking, as authenticated by the server. An agent is never a person, whosever token it carries."""

    name: str
    role: Role
    kind: Kind

    def may(self, role: str) -> bool:
        """Whether the role is at least `role`; an unknown role is below every other."""
        return self.role in ROLES and ROLES.index(self.role) >= ROLES.index(role)


@dataclass(frozen=True)
class Actuator:
    """The limits of one actuator, in its own unit. All of them hold after rounding to `resolution`."""

    name: str
    unit: str
    low: float
    high: float
    safe: float | None = None
    """Value of the safe command; None leaves the actuator where it is."""
    slew: float = inf
    """Largest |change| per second since the last command."""
    step: float = inf
    """Largest single |change|."""
    dwell: float = 0.0
    """Seconds between two changes."""
    travel: float = inf
    """Sum of |change| in any 24 hours."""
    moves: float = inf
    """Number of changes in any 24 hours."""
    envelope: tuple[float, float] | None = None
    """Where L3 may act without an approval; None: nowhere."""
    resolution: float = 0.0
    """Grid of the actuator; 0 = none."""

    def __post_init__(self) -> None:
        who = f"actuator {self.name!r}"
        ordered(f"{who}: range", self.low, self.high)
        for name in ("slew", "step", "travel", "moves"):
            if not getattr(self, name) > 0:
                raise WiringError(
                    f"{who}: `{name}` must be above 0, got {getattr(self, name)!r}; leave it out for no limit"
                )
        for name in ("dwell", "resolution"):
            if not (isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise WiringError(f"{who}: `{name}` must be a number >= 0, got {getattr(self, name)!r}")
        if self.safe is not None and not self.low <= self.safe <= self.high:
            raise WiringError(f"{who}: `safe` must lie in [{self.low}, {self.high}], got {self.safe!r}")
        if self.envelope is not None:
            ordered(f"{who}: envelope", *self.envelope)
            if self.envelope[0] < self.low or self.envelope[1] > self.high:
                raise WiringError(f"{who}: envelope {self.envelope} must lie in the range [{self.low}, {self.high}]")


@dataclass(frozen=True)
class Term:
    """`name op value` on recorded or proposed values."""

    name: str
    op: Operator
    value: float


@dataclass(frozen=True)
class Interlock:
    """While every term of `when` holds, before or after the action, every term of `require` must hold after it."""

    name: str
    when: tuple[Term, ...]
    require: tuple[Term, ...]


@dataclass(frozen=True)
class Policy:
    """What may be done to one asset, by whom and under which conditions."""

    actuators: tuple[Actuator, ...]
    level: Level = Level.ADVISE
    """Level at start and after a raise has expired."""
    ceiling: Level = Level.APPROVE
    """Highest level to which a person may raise it."""
    caps: tuple[tuple[str, Level], ...] = (
        ("mpc", Level.AUTOMATIC), ("user", Level.APPROVE), ("agent", Level.APPROVE),
    )  # fmt: skip
    """Highest level per kind of proposer (the part of `Decision.proposer` before the colon). Others may nothing."""
    domain: tuple[tuple[str, float, float], ...] = ()
    """Operating domain of L4: (recorded name, low, high); empty: L4 is never automatic."""
    interlocks: tuple[Interlock, ...] = ()
    max_age: float = 60.0
    """Oldest belief, s."""
    min_good: float = 0.5
    """Least fraction of sensors in good health."""
    required: tuple[str, ...] = ()
    """Sensors that must be in good health."""
    consistency: tuple[float, float] = (0.1, 3.0)
    """Range of the running mean of NIS per degree of freedom (1 when the filter is consistent)."""
    eps: float = 0.01
    confidence: float = 0.99
    samples: int = 0
    """Posterior samples of the twin check; 0 = the fewest that can prove `eps` at `confidence`."""
    hold: float = 900.0
    """Seconds for which the action is assumed to stay when nothing follows it."""
    recover: float = 900.0
    """Seconds of the safe command simulated afterwards."""
    less_risk: bool = True
    """Whether a person may approve an action above `eps` that is provably less risky than not acting."""
    veto: float = 120.0
    """Seconds that people have to stop an automatic action at L3."""
    max_expiry: float = 86400.0
    """Longest validity of a decision, s."""
    command_expiry: float = 60.0
    """Validity of a command on its way to the actuator, s."""
    raise_for: float = 28800.0
    """Longest time for which a person's raise of the level lasts, s."""
    two_person: bool = False
    """Whether the approver must be someone else than the person who proposed."""
    seed: int = 0
    """Seed of the twin check; not shown to proposers."""

    def __post_init__(self) -> None:
        names = [a.name for a in self.actuators]
        if len(set(names)) != len(names):
            raise WiringError(f"Each actuator is declared once, got {names}")
        caps = dict(self.caps)
        if caps.get("agent", Level.APPROVE) > Level.APPROVE:
            raise WiringError(f"What an agent proposes never passes above level 2, got caps.agent = {caps['agent']:d}")
        if self.level > self.ceiling:
            raise WiringError(f"`level` must not exceed `ceiling`, got {self.level:d} > {self.ceiling:d}")
        for name, low, high in self.domain:
            ordered(f"domain {name!r}", low, high)
        ordered("consistency", *self.consistency)
        for name in ("eps", "confidence"):
            if not 0 < getattr(self, name) < 1:
                raise WiringError(f"`{name}` must lie between 0 and 1, got {getattr(self, name)!r}")
        if not 0 <= self.min_good <= 1:
            raise WiringError(f"`min_good` is a fraction from 0 to 1, got {self.min_good!r}")
        for name in ("max_age", "hold", "recover", "max_expiry", "command_expiry", "raise_for"):
            if not 0 < getattr(self, name) < inf:
                raise WiringError(f"`{name}` must be above 0 s and finite, got {getattr(self, name)!r}")
        if not 0 <= self.veto < inf:
            raise WiringError(f"`veto` must be >= 0 s and finite, got {self.veto!r}")
        if self.samples and self.samples < fewest_samples(self.eps, self.confidence):
            raise WiringError(
                f"`samples` = {self.samples} cannot prove eps = {self.eps} at confidence {self.confidence}; "
                f"at least {fewest_samples(self.eps, self.confidence)} are needed, or leave it out"
            )

    @property
    def draws(self) -> int:
        """Posterior samples per twin check."""
        return self.samples or fewest_samples(self.eps, self.confidence)

    def actuator(self, name: str) -> Actuator | None:
        """The limits of one actuator, None when there is none of exactly this name."""
        return next((a for a in self.actuators if a.name == name), None)


def fewest_samples(eps: float, confidence: float) -> int:
    """Fewest samples without violation that prove P(violation) <= eps: (1 - eps)^n <= 1 - confidence."""
    n = max(1, int(log(1 - confidence) / log(1 - eps)))
    while (1 - eps) ** n > 1 - confidence:
        n += 1
    return n


def ordered(what: str, low: float, high: float) -> None:
    """Raise `WiringError` unless low <= high are both finite."""
    if not (isfinite(low) and isfinite(high) and low <= high):
        raise WiringError(f"{what}: two finite numbers, the lower first, got [{low!r}, {high!r}]")
