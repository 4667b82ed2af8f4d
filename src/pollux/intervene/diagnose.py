"""From a called fault to a `Finding`: the words, the priority and the numbers that support it."""

from dataclasses import dataclass

from pollux.core.signals import Belief, Cause, Finding

_PRIORITY = {Cause.PROCESS: 1, Cause.SYSTEM: 1, Cause.SENSOR: 2}


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


def describe(fault: Fault, size: float) -> str:
    """What a fault of this size means."""
    unit = "" if fault.unit == "1" else f" {fault.unit}"
    if fault.kind == "y":
        return f"{fault.label} reads {abs(size):.3g}{unit} too {'high' if size > 0 else 'low'}"
    if fault.kind == "p":
        return f"{fault.label} changed by {size:+.3g}{unit}"
    return f"{fault.label} changes by {size:+.3g}{unit}/s that the model does not explain"


def finding(belief: Belief, cause: Cause, subject: str, summary: str, evidence: dict[str, float]) -> Finding:
    """A finding about `subject` at the time of the belief."""
    id = f"{belief.id}/{cause.name.lower()}/{subject}"
    return Finding(belief.twin, belief.t, id, belief.id, cause, subject, summary, _PRIORITY.get(cause, 3), evidence)
