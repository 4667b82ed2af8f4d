"""The records that go into and come out of the guard. No logic."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from pollux.autonomy.bounds import Risk
from pollux.autonomy.policy import Principal
from pollux.core.signals import Belief, Decision, Level

Mode = Literal["refused", "approval", "veto", "automatic"]


class TwinCheck(Protocol):
    """Simulate posterior samples and say by how much each limit is missed; opaque to the guard."""

    def __call__(self, belief: Belief, edges: np.ndarray, plan: np.ndarray, samples: int, seed: int) -> np.ndarray:
        """Shortfall (samples, 1 + margins): time mean of max(-margin, 0), 0 when never violated.

        Column 0 is infinite for a sample whose trajectory is not finite and 0 otherwise. `plan[k]` (u,) holds from
        `edges[k]` to `edges[k + 1]`, absolute seconds, `edges[0]` being the time of the belief. The same seed gives
        the same samples whatever the plan, so that plans can be compared sample by sample.
        """
        ...


@dataclass(frozen=True)
class Plant:
    """Names behind the vectors of one twin, and the version of its model."""

    twin: str
    tracked: tuple[str, ...]
    inputs: tuple[str, ...]
    sensors: tuple[str, ...]
    margins: tuple[str, ...]
    model_hash: str


@dataclass(frozen=True)
class Approval:
    """A person's word on exactly one action."""

    digest: str
    by: Principal
    at: float
    expires: float


@dataclass(frozen=True)
class Context:
    """What the caller knows at the moment of judgement."""

    now: float
    principal: Principal
    level: Level
    """Effective level (`levels.effective`)."""
    stopped: bool
    belief: Belief
    consistency: float
    """Running mean of NIS per degree of freedom (`levels.LevelState.consistency`); NaN is unknown."""
    model_hash: str
    """Version of the model that the belief was made with."""
    units: Mapping[str, str] | None = None
    """Units that the proposer declared; None: the twin's own."""
    outlook: tuple[np.ndarray, np.ndarray] | None = None
    """What the inputs are expected to be without this action: times (k,) and values (k, u), each held until the next,
    NaN where nothing is known. None: as they are now."""
    approval: Approval | None = None
    waiting: tuple[str, float] | None = None
    """(digest, time) since when people could have stopped this action."""


@dataclass(frozen=True)
class Verdict:
    """What the guard says.

    `passed` lists the checks before the first failure; `decision` is the clean, rounded copy, None when there is none.
    """

    mode: Mode
    rule: str
    reason: str
    passed: tuple[str, ...]
    decision: Decision | None
    risks: Mapping[str, Risk]
    digest: str
