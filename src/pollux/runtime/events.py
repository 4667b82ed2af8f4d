"""What is said to a live twin and what it says: intents, events, results. Plain records.

An `Intent` is imperative and may be refused; an `Event` is a fact in the past tense. The journal keeps events; a live
twin is the fold of its readings and of the events that are not `derived`.
"""

from dataclasses import dataclass, field
from math import nan
from typing import Any

from pollux.autonomy.policy import Principal as Identity
from pollux.core.signals import Belief, Command, Finding


@dataclass(frozen=True)
class Intent:
    """What somebody wants of one twin."""

    kind: str
    by: Identity
    params: dict[str, Any] = field(default_factory=dict)
    at: float = nan
    """When it is decided, on the twin's clock: set by the twin, which reads the clock and the stop once."""
    stopped: bool = False
    """Whether the stop was set then."""


@dataclass(frozen=True)
class Event:
    """Something that happened to one twin. `data` is JSON-able.

    `derived` events follow from the readings and come again when these are replayed: they are kept for people, and
    are not applied again.
    """

    twin: str
    t: float
    id: str
    kind: str
    by: str
    data: dict[str, Any] = field(default_factory=dict)
    derived: bool = False


@dataclass(frozen=True)
class StepResult:
    """What one reading brought: the belief, anomalies that are new, and (derived) events to keep.

    It never holds a command: a step is replayed, and what leaves the house is decided by an `Intent`.
    """

    belief: Belief
    findings: tuple[Finding, ...] = ()
    events: tuple[Event, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What an intent leads to: events to make durable and then apply, commands to send then, an answer to give."""

    events: tuple[Event, ...] = ()
    commands: tuple[Command, ...] = ()
    answer: Any = None
