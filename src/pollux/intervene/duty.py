"""From a relaxed input in [0, 1] to one that is on or off: sum-up rounding with a minimum dwell.

The plan owes running time; a slot is on when at least half of it is owed. The accumulated difference to the relaxed
plan then never exceeds the longest of the slot and the dwell. Source: Sager, Bock and Diehl, The integer approximation
error in mixed-integer optimal control, Math. Prog. 133 (2012).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from pollux.core.errors import DefinitionError


@dataclass(frozen=True)
class Duty:
    """Turn `input` on or off in slots of `slot` seconds, each state lasting at least `min_on` or `min_off` seconds."""

    input: str
    slot: float
    min_on: float = 0.0
    min_off: float = 0.0

    def __post_init__(self) -> None:
        if not (self.slot > 0 and self.min_on >= 0 and self.min_off >= 0):
            raise DefinitionError(f"A duty needs a slot above 0 s and dwells of at least 0 s, received {self!r}")


def switch(
    duty: Float[np.ndarray, " slots"], slot: float, on: bool, *, min_on: float = 0.0, min_off: float = 0.0
) -> Float[np.ndarray, " slots"]:
    """On (1) or off (0) in each slot. `on`: the state before, which has lasted long enough to be left."""
    out = np.zeros(len(duty))
    owed, lasted = 0.0, np.inf
    for k, share in enumerate(np.clip(duty, 0.0, 1.0)):
        owed += share * slot
        want = owed >= slot / 2 - 1e-9 * slot
        if want != on and lasted >= (min_on if on else min_off) - 1e-9:
            on, lasted = want, 0.0
        lasted += slot
        out[k] = float(on)
        owed -= slot * out[k]
    return out


def resample(
    times: Float[np.ndarray, " k"], rows: Float[np.ndarray, "k u"], wanted: Float[np.ndarray, " n"], last: float
) -> Float[np.ndarray, "n u"]:
    """Mean of a step function over each interval of `wanted`; the last interval lasts `last` seconds.

    `rows[i]` holds from `times[i]` on; the first row also before, the last one for ever.
    """
    ends = np.append(wanted[1:], wanted[-1] + last)
    total = np.concatenate([np.zeros((1, rows.shape[1])), np.cumsum(rows[:-1] * np.diff(times)[:, None], axis=0)])

    def integral(t: np.ndarray) -> np.ndarray:
        at = np.clip(np.searchsorted(times, t, side="right") - 1, 0, len(times) - 1)
        return total[at] + rows[at] * (t - times[at])[:, None]

    return (integral(ends) - integral(wanted)) / (ends - wanted)[:, None]
