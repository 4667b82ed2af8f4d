"""Leaks and sensor faults on the water plant: how soon found, called what, placed where; and false alarms."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks._water_walk import Walk
from pollux.core.signals import Cause
from pollux.twins.water.instruments import INSTRUMENTS
from pollux.twins.water.plant import JUNCTIONS, STEP, Plant
from pollux.twins.water.twin import LEAKS

HOUR = round(3600 / STEP)
QUIET, WATCHED = 50 * HOUR, 24 * HOUR
"""Steps before the fault, and after it."""


@dataclass(frozen=True)
class Case:
    """One fault, the cause that it should be called and the subjects that are right."""

    kind: str
    where: str
    size: float
    cause: Cause
    right: tuple[str, ...]

    @property
    def name(self) -> str:
        """As `leak 20 % at 31`."""
        return f"leak {self.size:g} % at {self.where}" if self.kind == "leak" else f"{self.kind} {self.where}"


def leaks(size: float) -> list[Case]:
    """A leak at each junction."""
    place = {node: tuple(leak for leak, nodes in LEAKS.items() if node in nodes) for node in JUNCTIONS}
    return [Case("leak", node, size, Cause.PROCESS, place[node]) for node in JUNCTIONS]


def sensor_faults() -> list[Case]:
    """A stuck and a biased fault of every instrument."""
    stuck = [Case("sensor_stuck", i.tag, 0.0, Cause.SENSOR, (i.tag,)) for i in INSTRUMENTS]
    return stuck + [Case("sensor_bias", i.tag, i.bias, Cause.SENSOR, (i.tag,)) for i in INSTRUMENTS]


def find(walk: Walk, case: Case, seed: int) -> dict:
    """Start the fault after `QUIET` steps and watch.

    `found`: hours until the right cause is called for the first time (None: never within a day); `placed`: whether the
    right subject was called then, and `placed_at_end` a day later; `other`: other subjects that were called beside.
    """
    found, first, other = None, (), set()
    last: tuple[str, ...] = ()
    with Plant(seed=seed) as plant:
        for k, tick in enumerate(walk.run(plant, QUIET + WATCHED)):
            if k == QUIET - 1:
                plant.fault(case.kind, case.where, case.size)
            if k < QUIET:
                continue
            last = tuple(f.subject for f in tick.findings if f.cause is case.cause)
            other |= {f.subject for f in tick.findings if f.cause is not case.cause}
            if last and found is None:
                found, first = (k - QUIET) / HOUR, last
    return {
        "case": case.name,
        "seed": seed,
        "found": None if found is None else round(found, 2),
        "placed": bool(first) and first[0] in case.right,
        "placed_at_end": any(subject in case.right for subject in last),
        "other": sorted(other),
    }


def false_alarms(walk: Walk, seed: int, days: int) -> list[tuple[float, str, str]]:
    """(hour, cause, subject) of everything that is called on a sound plant."""
    called: list[tuple[float, str, str]] = []
    before: set[tuple[str, str]] = set()
    with Plant(seed=seed) as plant:
        for k, tick in enumerate(walk.run(plant, days * 24 * HOUR)):
            now = {(str(f.cause), f.subject) for f in tick.findings}
            called += [(round(k / HOUR, 1), *what) for what in sorted(now - before)]
            before = now
    return called


def summary(results: Sequence[dict], within: float) -> dict:
    """Counts over cases: found in time, called right, placed right."""
    in_time = [r for r in results if r["found"] is not None and r["found"] <= within]
    return {
        "cases": len(results),
        "found_in_time": len(in_time),
        "slowest_hours": max((r["found"] for r in in_time), default=None),
        "placed": sum(r["placed"] for r in results),
        "placed_after_a_day": sum(r["placed_at_end"] for r in results),
        "with_another_cause_beside": sum(bool(r["other"]) for r in results),
    }
