"""Anomalies that the runtime sees by itself: silent sensors, limits likely to be violated, unanswered commands."""

from collections.abc import Iterable, Mapping

from pollux.core.signals import Belief, Cause, Crossing, Finding, Health
from pollux.runtime.face import TwinFace


def silent(face: TwinFace, belief: Belief) -> Iterable[Finding]:
    """Sensors that have been silent for longer than their rate allows."""
    for sensor, health, age in zip(face.sensors, belief.health, belief.age, strict=True):
        if health is Health.STALE:
            yield Finding(
                belief.twin, belief.t, f"{belief.id}/silent/{sensor.name}", belief.id, Cause.DATA, sensor.name,
                f"{sensor.label} has given no usable value for {span(float(age))}", 3,
                {"dropout": 1.0, "age": float(age)},
            )  # fmt: skip


def limits(
    face: TwinFace, belief: Belief, crossings: Iterable[Crossing], source: str, likely: float
) -> Iterable[Finding]:
    """Limits whose violation within the horizon is likelier than `likely`."""
    labels = {m.name: m.label for m in face.margins}
    for c in crossings:
        if c.probability >= likely:
            first = c.t_median - belief.t
            yield Finding(
                belief.twin, belief.t, f"{source}/limit/{c.margin}", source, Cause.LIMIT, c.margin,
                f"{labels.get(c.margin, c.margin)}: {c.probability:.0%} likely to be violated, "
                f"typically in {span(max(first, 0.0))}",
                1 if c.probability >= 0.5 and first <= 3600.0 else 2,
                {"probability": c.probability, "t_median": c.t_median, "t_early": c.t_early},
            )  # fmt: skip


def unanswered(twin: str, t: float, source: str, waiting: Mapping[str, float], within: float) -> Iterable[Finding]:
    """Commands that were sent more than `within` seconds ago and that no actuator has answered."""
    for command, sent in waiting.items():
        if t - sent > within:
            yield Finding(
                twin, t, f"{command}/unknown", source, Cause.SYSTEM, command,
                f"Command {command} was not answered for {span(t - sent)}: whether it was done is unknown", 2,
                {"sent": sent, "waited": t - sent},
            )  # fmt: skip


def span(seconds: float) -> str:
    """A length of time as people say it."""
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"
