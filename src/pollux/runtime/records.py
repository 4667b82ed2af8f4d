"""The records that a live twin keeps, for the store's codec: in snapshots as bytes, inside events as text."""

from base64 import b64decode, b64encode
from typing import Any

from pollux.autonomy.approve import Approvals, Pending
from pollux.autonomy.authorise import AutonomyState
from pollux.autonomy.bounds import Risk
from pollux.autonomy.guard_limits import GuardState, Held
from pollux.autonomy.levels import LevelState
from pollux.autonomy.policy import Principal
from pollux.core.signals import Belief, Cause, Crossing, Decision, Finding, Health, Level
from pollux.runtime.alarms import Alarm, AlarmBook
from pollux.runtime.outlooks import Plan
from pollux.runtime.state import LiveState, Told
from pollux.runtime.store.codec import Codec

TYPES: tuple[type, ...] = (
    Alarm, AlarmBook, Approvals, AutonomyState, Belief, Cause, Crossing, Decision, Finding, GuardState, Health, Held,
    Level, LevelState, LiveState, Pending, Plan, Principal, Risk, Told,
)  # fmt: skip

_CODEC = Codec(TYPES)


def codec(*examples: Any, types: tuple[type, ...] = ()) -> Codec:
    """The codec of snapshots; `types` and what occurs in `examples` (a detector's state, say) are known besides."""
    return Codec.of(*examples, types=(*TYPES, *types))


def encode(value: Any) -> str:
    """A record as text, for the data of an event."""
    return b64encode(_CODEC.encode(value)).decode()


def decode(text: str) -> Any:
    """The record. Raises `CorruptionError`, `StoreError`."""
    return _CODEC.decode(b64decode(text, validate=True))
