"""From a called fault to a `Finding`: the words, the priority and the numbers that support it.

The first number of the evidence of a data-quality finding is named after its kind, one of `KINDS`, and is the
probability of that kind; so every face that shows evidence shows the kind.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pollux.core.signals import Belief, Cause, Finding

_PRIORITY = {Cause.PROCESS: 1, Cause.SYSTEM: 1, Cause.SENSOR: 2}

KINDS = ("stuck", "saturated", "bias", "drift", "spike", "swapped", "unit slip", "noise", "dropout")
"""What may be wrong with a sensor."""


@dataclass(frozen=True)
class Fault:
    """One hypothesis: what it is about, in which vector (`y`, `p` or `x`) and place, its unit and its sizes.

    `scale` is the standard deviation of sizes that make sense, in the fault's unit; infinite where nothing is known.
    `least` is the smallest size that is worth a call.
    """

    subject: str
    cause: Cause
    kind: str
    index: int
    label: str
    unit: str
    one_sided: bool
    scale: float
    least: float


def kind_of(evidence: Mapping[str, float]) -> str:
    """Which of `KINDS` the evidence names; empty for anything else."""
    return next((kind for kind in evidence if kind in KINDS), "")


def describe(fault: Fault, size: float) -> str:
    """What a fault of this size means."""
    if fault.kind == "y":
        return f"{fault.label} reads {amount(abs(size), fault.unit)} too {'high' if size > 0 else 'low'}"
    if fault.kind == "p":
        return f"{fault.label} changed by {amount(size, fault.unit, sign=True)}"
    unit = "" if fault.unit == "1" else f" {fault.unit}"
    return f"{fault.label} changes by {size:+.3g}{unit}/s that the model does not explain"


def amount(size: float, unit: str, *, sign: bool = False) -> str:
    """A number with its unit."""
    return f"{size:{'+' if sign else ''}.3g}{'' if unit == '1' else f' {unit}'}"


def finding(belief: Belief, cause: Cause, subject: str, summary: str, evidence: dict[str, float]) -> Finding:
    """A finding about `subject` at the time of the belief."""
    id = f"{belief.id}/{cause.name.lower()}/{subject}"
    return Finding(belief.twin, belief.t, id, belief.id, cause, subject, summary, _PRIORITY.get(cause, 3), evidence)
